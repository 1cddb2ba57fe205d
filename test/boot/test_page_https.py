"""The page in the appliance's default configuration: HTTPS with its own certificate, and the token from the console."""
import json
import os
import re
import ssl
import urllib.parse
import urllib.request

import pytest
from selenium.webdriver.common.keys import Keys

from appliance import BUILD, LIMIT
from test_page import Page, requests, start_browser
from test_page_live import terminal_text


@pytest.fixture(scope="module")
def m(start):
    with open("iso/guests.json", encoding="utf-8") as f:
        return start(f.read(), cpus=3)  # unchanged: the defaults apply


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = start_browser(tmp_path_factory.mktemp("chromium"), "--ignore-certificate-errors")
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, m):
    browser.get("about:blank")
    browser.get_log("browser")
    requests(browser)
    yield Page(browser, m, f"https://127.0.0.1:{m.https_port}/", limit=2 * LIMIT)  # six handshakes at once, in an emulator, on a busy computer
    errors = [e["message"] for e in browser.get_log("browser") if e["level"] in ("SEVERE", "WARNING")]
    assert [e for e in errors if not re.search(r"whoami.* a status of 401|xterm\.js .*willReadFrequently", e)] == []
    assert {urllib.parse.urlsplit(url).netloc for url in requests(browser) if url != "about:blank"} <= {f"127.0.0.1:{m.https_port}"}


def handshakes(m):
    """Completed so far, with the one for this request."""
    return int(re.search(r"^bulkhead_tls_handshakes_total (\d+)$", m.request("GET", "/metrics")[2], re.M).group(1))


def received(driver):
    """Bytes of the answers since the last call."""
    messages = (json.loads(entry["message"])["message"] for entry in driver.get_log("performance"))
    return sum(int(p["params"]["encodedDataLength"]) for p in messages if p["method"] == "Network.loadingFinished")


def test_costs(page, m):
    """A browser that was never here: three handshakes at most until it asks for the token, none or few more until a guest is seen."""
    seen, costs = handshakes(m), {}

    def stage(name):
        nonlocal seen
        now = handshakes(m)
        costs[name], seen = (now - seen - 1, received(page.driver)), now

    page.open()
    page.wait(lambda: page.js("document.getElementById('login').open"), "the box for the token")
    stage("login page")
    page.keys(m.token + Keys.ENTER)
    page.one("[data-guest=echo]")
    stage("signed in")
    page.js("document.querySelector('[data-guest=echo] a').click()")
    page.wait(lambda: page.text(".cards [data-fact=Image] dd").startswith("guests/echo.elf"), "its summary")
    stage("summary")
    page.driver.execute_script("sessionStorage.clear()")
    print("handshakes and bytes:", costs)
    assert costs["login page"][0] <= 3 and sum(n for n, _ in costs.values()) <= 3, costs
    assert costs["login page"][1] < 49152, costs  # what follows also counts polls, as many as a slow machine needs


def test_token_of_the_console(page, m):
    """The page asks for the token and clears the field; a wrong one is refused."""
    assert m.https and m.token
    with urllib.request.urlopen(page.base, context=ssl._create_unverified_context()) as answer:
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self';")
    page.open()
    page.wait(lambda: page.js("document.getElementById('login').open"), "the box for the token")
    assert not page.all("[data-guest]")
    page.keys("wrong" + Keys.ENTER)
    page.wait(lambda: page.text("#login-error"), "that it is wrong")
    page.keys(m.token + Keys.ENTER)
    page.one("[data-guest=echo]")
    assert page.text("#role") == "console (admin)" and page.js("document.getElementById('token').value") == ""
    # The policy holds: only the appliance's own scripts run.
    page.js("void document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.injected = 1'}))")
    assert page.js("window.injected === undefined")
    page.driver.get_log("browser")  # drops the browser's report of that


@pytest.fixture
def signed_in(page, m):
    page.open()
    page.wait(lambda: page.js("document.getElementById('login').open") or page.all("[data-guest]"), "the box for the token, or what it is for")
    if page.js("document.getElementById('login').open"):
        page.keys(m.token + Keys.ENTER)
        page.one("[data-guest=echo]")
    return page


def test_terminal(signed_in):
    page = signed_in
    page.open("guest/echo/console")
    page.wait(lambda: page.text(".status").startswith("connected"), "the connection")
    page.wait(lambda: terminal_text(page).rstrip().endswith(">"), "what it said before")
    page.keys("echo over TLS" + Keys.ENTER)
    page.wait(lambda: "\nover TLS\n" in terminal_text(page), "the guest's answer")


def test_deploy_and_events(signed_in, m):
    page = signed_in
    page.open("deploy")
    page.one("[data-image]")
    page.one("#deploy-image").send_keys(os.path.abspath(os.path.join(BUILD, "guests", "echo.elf")))
    page.fill(name="fresh", memory="4M")
    page.one(".deploy [type=submit]").click()
    page.wait(lambda: "#/guest/fresh/console" in page.driver.current_url, "the new guest's console")
    page.wait(lambda: "echo: ready" in terminal_text(page), "its first words")
    page.js("void (location.hash = '#/events')")
    page.wait(lambda: page.text(".status") == "live" and "freshrunning" in page.text(".events"), "the event")
    m.request("POST", "/v1/guests/fresh/actions", '{"action": "pause"}')
    page.wait(lambda: "freshpaused" in page.text("[data-event]"), "the pause, as it happens")
    told = [e for e in m.get("/v1/events?follow=0")["events"] if e["guest"] == "fresh"]
    assert [e["state"] for e in told] == ["starting", "running", "paused"] and {(e["by"], e["role"]) for e in told} == {("console", "admin")}
    page.open("guest/fresh/console")
    page.asks("[data-action=delete]").accept()
    page.wait(lambda: page.driver.current_url.endswith("#/") and not page.all("[data-guest=fresh]"), "that it is deleted")
    page.open("deploy")
    page.asks("[data-delete='fresh-echo.elf'][data-role]").accept()
    page.wait(lambda: not page.all("[data-image='fresh-echo.elf']"), "that the image is gone")
