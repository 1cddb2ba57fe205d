"""The page at / on the real appliance, in headless Chromium: it shows what the API says. Leaves screenshots in the build directory."""
import gzip
import http.client
import json
import os
import re
import signal
import urllib.parse

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.ui import WebDriverWait

from appliance import BUILD, LIMIT

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--hide-scrollbars", "--window-size=1200,850")
# Refusals are part of the interface, but the browser logs them as errors.
EXPECTED = re.compile(r"the server responded with a status of 409|/v1/guests/(nobody|fresh).* a status of 404|/v1/whoami.* a status of 404|xterm\.js .*willReadFrequently")


@pytest.fixture(scope="module")
def m(start):
    return start(cpus=2)


def start_browser(directory, *flags):
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, *flags, f"--user-data-dir={directory}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = start_browser(tmp_path_factory.mktemp("chromium"))
    yield driver
    driver.quit()


class Page:
    def __init__(self, driver, machine, base=None, limit=LIMIT):
        self.driver = driver
        self.limit = limit
        self.base = base or f"http://127.0.0.1:{machine.port}/"

    def open(self, view=""):
        self.driver.get("about:blank")
        self.driver.get(f"{self.base}#/{view}")

    def plain(self, guest):
        """A guest's console as plain text, as if chosen before; kept for this address, as localStorage is."""
        self.open()
        self.driver.execute_script("localStorage.setItem('bulkhead-plain-console', '1')")
        self.open(f"guest/{guest}/console")
        self.one(".ring")

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.wait(lambda: self.all(selector), selector)[0]

    def asks(self, selector):
        """The question of a button that asks first. Not WebDriver's click, which goes to where the button was a moment ago, while rows come in above it."""
        self.js("void setTimeout(() => arguments[0].click())", self.one(f"{selector}:not([aria-disabled=true])"))
        return WebDriverWait(self.driver, self.limit).until(expected_conditions.alert_is_present(), selector)

    def wait(self, condition, what):
        return WebDriverWait(self.driver, self.limit, poll_frequency=0.1).until(lambda _: condition(), what)

    def js(self, script, *args):
        return self.driver.execute_script("return " + script, *args)

    def text(self, selector):
        """The text in the document, visible or not. WebDriver's own read can fail on a node that was just replaced."""
        return self.js("document.querySelector(arguments[0])?.textContent ?? ''", selector)

    def hover(self, selector):
        ActionChains(self.driver).move_to_element(self.one(selector)).perform()

    def keys(self, *keys):
        ActionChains(self.driver).send_keys(*keys).perform()

    def media(self, scheme):
        features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": n, "value": v} for n, v in features.items()]})

    def size(self, width, height):
        """Sets the size of the viewport; Chromium's window cannot be narrower than 500."""
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})

    def usual(self):
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    def fill(self, **fields):
        """Fills in fields of the deploy form."""
        for name, text in fields.items():
            self.one(f"#deploy-{name}").clear()
            self.one(f"#deploy-{name}").send_keys(text)

    def screenshot(self, name):
        os.makedirs(os.path.join(BUILD, "screenshots"), exist_ok=True)
        assert self.driver.save_screenshot(os.path.join(BUILD, "screenshots", name + ".png"))


def limit(page, name, ms):
    """Changes one of the page's own time limits, which are too long for a test."""
    page.driver.execute_async_script("const [name, ms, done] = arguments; import('/page/app.js').then((app) => { app.settings[name] = ms; done(); })", name, ms)


def requests(driver):
    messages = (json.loads(entry["message"])["message"] for entry in driver.get_log("performance"))
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


@pytest.fixture
def page(browser, m):
    """After each test: the browser logged no error, and contacted only the appliance."""
    if m.token:  # as if typed in this tab
        browser.get(f"http://127.0.0.1:{m.port}/page/style.css")
        browser.execute_script("sessionStorage.setItem('bulkhead-token', arguments[0])", m.token)
    browser.get("about:blank")
    browser.get_log("browser")
    requests(browser)  # drops earlier ones: the browser's start page
    yield Page(browser, m)
    errors = [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    asked = [url for url in requests(browser) if url != "about:blank"]
    assert [e for e in errors if not EXPECTED.search(e)] == []
    assert asked and {urllib.parse.urlsplit(url).netloc for url in asked} == {f"127.0.0.1:{m.port}"}


def test_files(m):
    """Files are sent with a policy, and a second time only if they changed."""
    # What the build makes of the sources exists only compressed.
    made = {"/": None, "/page/icon.svg": None, "/page/app.js": "page.js.gz", "/page/style.css": "page.css.gz", "/page/xterm.js": "xterm.js.gz"}
    paths = list(made)
    for path, source in made.items():
        connection = http.client.HTTPConnection("127.0.0.1", m.port, timeout=LIMIT)
        connection.request("GET", path)
        r = connection.getresponse()
        headers, body = r.headers, r.read()
        connection.close()
        with open(os.path.join(BUILD, "gen", source) if source else "mgmt/page/" + (os.path.basename(path) or "index.html"), "rb") as f:
            assert r.status == 200 and body == f.read(), path
        assert headers["Content-Encoding"] == ("gzip" if source else None)
        assert headers["Content-Security-Policy"].startswith("default-src 'self';") and headers["X-Content-Type-Options"] == "nosniff"
        assert headers["ETag"] == '"%s"' % m.get("/v1/host")["build_id"] and headers["Cache-Control"] == "no-cache"
        status, again, body = m.request("GET", path, headers={"If-None-Match": '"old", ' + headers["ETag"]})
        assert (status, body, again["ETag"]) == (304, "", headers["ETag"])
        if not source:
            assert m.request("GET", path, headers={"If-None-Match": '"old"'})[0] == 200
    for name in os.listdir("mgmt/page"):
        with open("mgmt/page/" + name, encoding="utf-8") as f:
            assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", f.read()), name
    for name, words in (("xterm.js.gz", "export default module.exports.Terminal"), ("page.css.gz", ".xterm-screen"), ("page.js.gz", "export const {")):
        with gzip.open(os.path.join(BUILD, "gen", name), "rt", encoding="utf-8") as f:
            assert words in f.read()
    types = {path: m.request("HEAD", path)[1]["Content-Type"].split(";")[0] for path in paths}
    assert types["/"] == "text/html" and types["/page/style.css"] == "text/css" and types["/page/app.js"] == "text/javascript"
    for path in ("/page", "/page/", "/page/nothing.js", "/page/index.html", "/page/app.js/x", "/page/../v1/host"):
        assert m.request("GET", path)[0] == 404, path


def test_overview(page, m):
    page.open()
    names = [g["name"] for g in m.get("/v1/guests")["guests"]]
    page.wait(lambda: len(page.all("[data-guest]")) == len(names), "the guests")
    assert [row.get_attribute("data-guest") for row in page.all("[data-guest]")] == names
    page.wait(lambda: "..." not in page.text("[data-guest=hog]"), "rates, of two answers")
    # One request for all of them.
    page.js("performance.clearResourceTimings()")
    asked = lambda: page.js("performance.getEntriesByType('resource').map(e => new URL(e.name).pathname)")
    page.wait(lambda: asked().count("/v1/guests") >= 2, "two more answers")
    assert not [path for path in asked() if path.startswith("/v1/guests/")]
    host = m.get("/v1/host")
    assert host["version"] in page.text("#host") and host["build_id"][:8] in page.text("#host")
    assert len(page.all(".cores li")) == len(host["cores"])
    # By keyboard alone: to a guest, and to its next view.
    page.js("document.querySelector('[data-guest=hog] a').focus()")
    page.keys(Keys.ENTER)
    page.wait(lambda: page.driver.current_url.endswith("#/guest/hog"), "the guest's view")
    page.wait(lambda: page.one(".tabs [aria-current=page]").text == "Summary", "its summary")


def facts(page):
    return page.js("Object.fromEntries([...document.querySelectorAll('[data-fact]')].map(f => [f.dataset.fact, f.querySelector('dd').textContent.trim()]))")


def test_summary(page, m):
    """What a guest is and does, from one answer and its last exits."""
    page.open("guest/control")
    page.wait(lambda: re.fullmatch(r"[1-9][0-9,]*", facts(page).get("Exits a second", "")), "rates, of two answers")
    c, seen = m.guest("control")["configuration"], facts(page)
    assert seen["Image"] == f"{c['image']} ({c['kind']})" and seen["Memory"] == "4 MiB" and seen["Devices"] == ", ".join(c["devices"])
    assert (seen["Weight"], seen["Restart"], seen["Slice"], seen["Command line"], seen["Card"]) == ("200", "on failure", "2 ms", "none", "none")
    assert re.fullmatch(r"\d+:\d\d:\d\d", seen["Up"]) and seen["Of its core"].endswith("%")
    page.one(".cards .card:last-child td")
    assert {r.get_attribute("data-sum") for r in page.all("[data-sum]")} >= {"HLT"} and "Exits" in seen
    page.screenshot("summary")
    page.media("dark")
    page.screenshot("summary-dark")
    page.usual()
    # The management guest has a card; a stopped guest says so.
    page.open("guest/mgmt")
    page.wait(lambda: "Received" in facts(page), "its card")
    assert facts(page)["Address"] == m.guest("mgmt")["network"]["mac"]


def misfits(dump):
    return {f["name"]: f for f in dump["fields"] if f["group"] != f["belongs_to"]}


def test_map(page, m):
    dump = m.get("/v1/guests/hog/vcpus/0/vmcs?decode=1")
    page.open("guest/hog/vmcs")
    page.wait(lambda: len(page.all(".tile")) == len(dump["fields"]), "a tile for each field")
    tiles = {t["name"]: t for t in page.js("[...document.querySelectorAll('.tile')].map(t => ({name: t.dataset.name, classes: [...t.classList], "
                                          "label: t.textContent, section: t.closest('section').getAttribute('aria-label')}))")}
    sections = {"guest": "Guest state", "host": "Host state", "control": "Controls", "read-only": "Read-only data"}
    for f in dump["fields"]:
        tile = tiles[f["name"]]
        assert f["group"] in tile["classes"] and tile["section"] == sections[f["belongs_to"]]
        assert ("absent" in tile["classes"]) == (f["value"] is None)
    odd = misfits(dump)
    assert odd and {n for n, t in tiles.items() if "misfit" in t["classes"]} == set(odd)
    for name, f in odd.items():
        assert f["oddity"] and f["oddity"] in tiles[name]["label"]
        page.js("document.querySelector(`[data-name=${arguments[0]}]`).focus()", name)
        page.wait(lambda: f["oddity"] in page.text(".inspector .misfit-reason"), f"why {name} does not fit")


def test_registers(page, m):
    page.open("guest/hog/vmcs")
    page.wait(lambda: len(re.findall(r"\b(?:R\w\w?|RFLAGS|CR2) 0x[0-9a-f]{16}", page.js("document.querySelector('.registers').textContent"))) == 19, "all registers")
    page.js("document.querySelector('.map summary').click()")
    assert "RIP 0x" in page.text(".registers")


def test_changes_are_highlighted(page):
    page.open("guest/hog/vmcs")
    page.one(".tile.changed[data-name=GUEST_RIP]")
    for name in ("VPID", "HOST_CR3", "PIN_BASED_CONTROLS"):
        assert not page.all(f".tile.changed[data-name={name}]"), name
    shown = page.text("[data-name=GUEST_RIP] .value")
    page.wait(lambda: page.text("[data-name=GUEST_RIP] .value") != shown, "another value")
    page.js("document.querySelector('[data-name=VMCS_LINK_POINTER]').click()")
    page.js("document.querySelector('[data-name=GUEST_RIP]').scrollIntoView({block: 'center'})")
    page.one(".tile.changed[data-name=GUEST_RIP]")
    page.screenshot("map")


def test_decoders(page, m):
    field = m.get("/v1/guests/control/vcpus/0/vmcs?decode=1&fields=PRIMARY_PROCESSOR_CONTROLS")["fields"][0]
    page.open("guest/control/vmcs")
    page.hover("[data-name=PRIMARY_PROCESSOR_CONTROLS]")
    page.wait(lambda: page.text(".inspector h3") == field["name"], "the field that is pointed at")
    rows = page.js("[...document.querySelectorAll('.inspector tbody tr')].map(r => [...r.cells].map(c => c.textContent))")
    assert [r[:2] for r in rows] == [[b["bits"], b["name"]] for b in field["bits"]]
    assert [r[3] for r in rows] == [b["meaning"] for b in field["bits"]]
    why = {r[1]: r[4] for r in rows}
    assert why["HLT_EXITING"] == "wanted" and "by IA32_VMX_TRUE_PROCBASED_CTLS" in why["ACTIVATE_TERTIARY_CONTROLS"]
    page.screenshot("decoder")
    # The same by keyboard: the map is one tab stop, arrow keys move from there.
    page.js("document.querySelector('[data-name=PRIMARY_PROCESSOR_CONTROLS]').focus()")
    page.keys(Keys.ARROW_LEFT)
    page.wait(lambda: page.text(".inspector h3") == "PIN_BASED_CONTROLS", "the field to the left")
    page.keys(Keys.ENTER, Keys.ARROW_RIGHT)
    page.wait(lambda: page.text(".inspector h3") == "PIN_BASED_CONTROLS (kept)", "the field that is kept")
    assert page.js("document.activeElement.dataset.name") == "PRIMARY_PROCESSOR_CONTROLS"
    assert page.js("document.querySelectorAll('.tile[tabindex=\"0\"]').length") == 1
    page.one("[type=search]").send_keys("0x681e")
    page.wait(lambda: [t.get_attribute("data-name") for t in page.all(".tile:not([hidden])")] == ["GUEST_RIP"], "what is searched for")


def test_snapshots_and_check(page, m):
    page.open("guest/hog/diff")
    before = len(m.get("/v1/guests/hog/vcpus/0/vmcs/snapshots")["snapshots"])
    page.wait(lambda: len(page.all(".snapshots tbody tr")) == before, "the snapshots")
    for n in (before + 1, before + 2):
        page.one("main p.tools button").click()
        page.wait(lambda n=n: len(page.all(".snapshots tbody tr")) == n, f"{n} snapshots")
    first, *_, last = [s["sequence"] for s in m.get("/v1/guests/hog/vcpus/0/vmcs/snapshots")["snapshots"]]
    diff = m.get(f"/v1/guests/hog/vcpus/0/vmcs/diff?from={first}&to={last}")
    page.wait(lambda: page.text("[aria-live] caption").startswith(f"{len(diff['fields'])} fields differ"), "the difference")
    rows = page.js("[...document.querySelectorAll('[aria-live] tbody tr')].map(r => [...r.cells].map(c => c.textContent))")
    assert [[r[1], *r[3:]] for r in rows] == [[f["name"], f["from"], f["to"]] for f in diff["fields"]]
    page.open("guest/hog/check")
    page.wait(lambda: page.text(".verdict").startswith("It enters: all "), "the entry check")


def test_exits(page, m):
    # A stopped guest, so that the page and the test see the same.
    assert m.request("POST", "/v1/guests/echo/actions", '{"action": "stop"}')[0] == 202
    m.wait_state("echo", "stopped")
    vcpu = m.guest("echo")["vcpus"][0]
    recorded = m.get("/v1/guests/echo/vcpus/0/exits")
    page.open("guest/echo/exits")
    page.one(".exit")
    bars = page.js("[...document.querySelectorAll('[data-reason]')].map(r => [r.dataset.reason, Number(r.dataset.count), r.cells[2].textContent])")
    assert {reason: n for reason, n, _ in bars} == vcpu["exits"] and all(f"{n:,}" == text for _, n, text in bars)
    sequences = page.js("[...document.querySelectorAll('.exit')].map(x => Number(x.dataset.sequence))")
    assert sequences == [e["sequence"] for e in recorded["exits"]]
    page.hover(f"[data-sequence='{sequences[9]}']")
    e = recorded["exits"][9]
    page.wait(lambda: page.text(".tip").startswith(f"{e['sequence']}: {e['reason']} at RIP {e['rip']}, qualification {e['qualification']}"), "the exit")
    page.js("document.querySelector('.timeline').focus()")
    page.keys(Keys.HOME, Keys.ARROW_RIGHT)
    page.wait(lambda: page.text(".readout").startswith(f"{sequences[1]}: "), "the second exit")
    ports = {p["port"] for p in recorded["top"]["ports"]}
    assert all(port in page.text(".tops") for port in ports)
    page.open("guest/control/exits")
    page.one(".exit")
    page.screenshot("exits")
    assert m.request("POST", "/v1/guests/echo/actions", '{"action": "start"}')[0] == 202
    m.wait_state("echo", "running")


def test_controls(page, m):
    def bit(word, name):
        bits = m.get(f"/v1/guests/hog/vcpus/0/vmcs?decode=1&fields={word}")["fields"][0]["bits"]
        return {b["name"]: b["value"] for b in bits}[name]

    page.open("guest/hog/controls")
    page.one("[data-bit=RDTSC_EXITING]").click()
    page.wait(lambda: page.text(".result") == "Done: RDTSC_EXITING is on.", "the change")
    assert bit("PRIMARY_PROCESSOR_CONTROLS", "RDTSC_EXITING") == "0x1"
    page.one("[data-profile=default]").click()
    page.wait(lambda: page.text(".result") == "Done: exit profile default.", "the profile")
    page.one("[data-profile=default][aria-pressed=true]")
    assert len(page.all("[data-profile][aria-pressed=true]")) == 1
    assert bit("PRIMARY_PROCESSOR_CONTROLS", "RDTSC_EXITING") == "0x0"
    page.js("void (document.querySelector('[data-bit=ACTIVATE_VMX_PREEMPTION_TIMER]').disabled = false)")  # as if the page did not know
    page.one("[data-bit=ACTIVATE_VMX_PREEMPTION_TIMER]").click()
    page.wait(lambda: page.text(".result.error").startswith("not changed: PIN_BASED_CONTROLS"), "the refusal")
    page.wait(lambda: page.js("document.querySelector('[data-bit=ACTIVATE_VMX_PREEMPTION_TIMER]').checked"), "the box as the bit is")
    bits = [b for f in m.get("/v1/guests/hog/vcpus/0/vmcs?decode=1&fields=PIN_BASED_CONTROLS,PRIMARY_PROCESSOR_CONTROLS")["fields"] for b in f["bits"]]
    can = {b["name"]: b["changeable"] for b in bits if b["name"] != "RESERVED"}
    assert set(can.values()) == {False, True} and not [b for b in bits if b.get("forced") is not None and b["changeable"]]
    for name, changeable in can.items():
        assert (page.one(f"[data-bit={name}]").get_attribute("disabled") is None) == changeable, name


def test_actions(page, m):
    page.open("guest/hog/check")
    for action, state, other in (("pause", "paused", "resume"), ("resume", "running", "pause")):
        page.one(f"[data-action={action}][aria-disabled=false]").click()
        page.wait(lambda state=state: page.text("h2 .state") == state, state)
        assert m.guest("hog")["state"] == state
        page.one(f"[data-action={action}][aria-disabled=true]")
        page.one(f"[data-action={other}][aria-disabled=false]")
    page.asks("[data-action=stop]").dismiss()
    assert m.guest("hog")["state"] == "running"


def test_console_is_text(page):
    page.plain("echo")
    page.one("form input").send_keys("echo <b>bold</b><img src=x onerror=alert(1)>" + Keys.ENTER)
    page.wait(lambda: "\n<b>bold</b><img src=x onerror=alert(1)>" in page.text(".ring"), "what the guest said")
    assert not page.all("main b, main img")
    page.js("localStorage.clear()")


def test_log_and_machine(page, m):
    page.open("log")
    page.wait(lambda: "in VMX root operation" in page.text(".ring"), "the log")
    layout = m.get("/v1/vmx/layout")["fields"]
    page.open("layout")
    page.wait(lambda: len(page.all(".region g.field:not(.header)")) == sum(f["offset"] is not None for f in layout), "the fields of the region")
    page.js("document.querySelector('.region').focus()")
    page.keys(Keys.HOME)
    first = min((f for f in layout if f["offset"] is not None), key=lambda f: f["offset"])
    page.wait(lambda: f"{first['size']} bytes: {first['name']}" in page.text(".readout"), "the first field")
    page.open("capabilities")
    page.wait(lambda: "IA32_VMX_TRUE_PROCBASED_CTLS" in page.text("main") and "The same as core 0." in page.text("main"), "the capabilities")


def test_there_is_no_such_guest(page):
    page.open("guest/nobody/vmcs")
    page.wait(lambda: "There is no guest \u201cnobody\u201d" in page.text("main h2"), "that it does not exist")
    assert not page.all("main button, main .tabs, main .error:not([hidden])")


def test_silence(page, m):
    """The page says when it gets no answers, and resumes by itself when it does."""
    page.open()
    page.one("[data-guest=hog]")
    assert not page.one("#offline").is_displayed()
    os.killpg(m.process.pid, signal.SIGSTOP)
    try:
        page.wait(lambda: page.one("#offline").is_displayed(), "that there is no answer")
        assert page.text("#offline").startswith("The appliance is not answering. What you see is ")
    finally:
        os.killpg(m.process.pid, signal.SIGCONT)
    page.wait(lambda: not page.one("#offline").is_displayed(), "that there is an answer again")
