"""The page's live views: terminal, plots, events; and using them by keyboard."""
import os
import re
import shutil
import time

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from appliance import BUILD, memory
from test_page import browser, limit, page  # noqa: F401 (fixtures)


@pytest.fixture(scope="module")
def m(start):
    return start(cpus=2)


def terminal_text(page):
    """As screen readers get it."""
    rows = page.js("[...document.querySelectorAll('.xterm-accessibility-tree > div')].map(r => r.textContent)")
    return "\n".join("" if r == "Blank line" else r.replace("\xa0", " ").rstrip() for r in rows)


def test_terminal(page, m):  # noqa: F811
    """By keyboard alone: typed text reaches the guest and its output is shown, also after a restart."""
    page.open("guest/echo/console")
    page.wait(lambda: page.text(".status").startswith("connected"), "the connection")
    page.wait(lambda: terminal_text(page).rstrip().endswith(">"), "what it said before")
    page.keys("echo over a socket" + Keys.ENTER)
    page.wait(lambda: "\nover a socket\n" in terminal_text(page), "the guest's answer")
    assert "> echo over a socket\r\nover a socket\r\n" in m.get("/v1/guests/echo/console?format=json")["text"]
    page.screenshot("terminal")
    lives = terminal_text(page).count("echo: ready")
    page.keys("triple" + Keys.ENTER)
    page.wait(lambda: terminal_text(page).count("echo: ready") > lives and terminal_text(page).rstrip().endswith(">"), "the restart")
    page.keys("echo after it" + Keys.ENTER)
    page.wait(lambda: "\nafter it\n" in terminal_text(page), "the guest's answer after its restart")
    # Tab goes to the guest; F6 moves the focus out, and the button there disconnects.
    page.keys(Keys.F6)
    page.wait(lambda: page.js("document.activeElement.textContent") == "Disconnect", "the way out")
    page.keys(Keys.ENTER)
    page.wait(lambda: page.text(".status") == "disconnected", "the end")
    page.keys(Keys.ENTER)
    page.wait(lambda: page.text(".status").startswith("connected"), "the connection again")
    page.wait(lambda: "\nafter it\n" in terminal_text(page), "the history")


def curve(page, plot):
    """The points of a plot's first curve."""
    return len(re.findall("[ML]", page.js(f"document.querySelector(`[data-plot='{plot}'] .line`).getAttribute('d') ?? ''")))


def test_plots(page, m):  # noqa: F811
    """The last hour, as the appliance has kept it, and the last minutes, as the page sees them; both with axes."""
    plots = ("Exits a second", "Share of a core", "Lateness of its timers", "Lateness of slice ends on its core")
    page.open("guest/control/plots")
    page.wait(lambda: all(curve(page, name) for name in plots), "a sample of each")
    kept = m.get("/v1/guests/control/history")
    n = len(kept["exits_per_second"])
    assert kept["interval_ms"] == 15000 and 0 < n <= 240 and {len(v) for v in kept.values() if isinstance(v, list)} == {n}
    assert kept["exits_per_second"][-1] > 500 and 0 < kept["run_permille"][-1] < 1000 and 0 < kept["timer_late_mean_ns"][-1] <= kept["timer_late_most_ns"][-1]
    assert page.js("[...document.querySelectorAll('[data-plot=\"Exits a second\"] .axis.x span')].map(s => s.textContent)") in (["4 min ago", "3", "2", "1", "now"], ["20 min ago", "15", "10", "5", "now"])
    top, middle, bottom = (float(v.removesuffix("/s").replace(",", "")) for v in page.js("[...document.querySelectorAll('[data-plot=\"Exits a second\"] .axis.y span')].map(s => s.textContent)"))
    assert top >= max(v for v in kept["exits_per_second"] if v is not None) and (middle, bottom) == (top / 2, 0)
    page.one("[data-range=live]").click()
    page.wait(lambda: re.search(r"[1-9][0-9,]*/s", page.text("[data-plot='Exits a second'] .now")), "exits")
    for name in plots[2:]:
        page.wait(lambda name=name: re.search(r"mean [0-9.]+ (µs|ms), at most [0-9.]+ (µs|ms)", page.text(f"[data-plot='{name}'] .now")), name)
    page.wait(lambda: curve(page, plots[0]) > 8, "some time")
    page.screenshot("plots")
    assert m.request("GET", "/v1/guests/nobody/history")[0] == 404


def test_events(page, m):  # noqa: F811
    page.open("events")
    page.wait(lambda: page.text(".status") == "live" and page.all("[data-event='1']"), "the first event")
    seen = {e["id"] for e in m.get("/v1/events?follow=0")["events"]}
    page.wait(lambda: {int(r.get_attribute("data-event")) for r in page.all("[data-event]")} >= seen, "all that there were")
    m.request("POST", "/v1/guests/hog/actions", '{"action": "pause"}')
    page.wait(lambda: "hogpaused" in page.text("[data-event]"), "the pause")
    m.request("POST", "/v1/guests/hog/actions", '{"action": "resume"}')
    page.wait(lambda: "hogrunning" in page.text("[data-event]"), "that it goes on")
    by = {(e["guest"], e["state"]): (e["by"], e["role"], e["from"]) for e in m.get("/v1/events?follow=0")["events"]}
    assert by["hog", "paused"] == by["hog", "running"] == ("console", "admin", "10.0.2.2") and by["echo", "starting"] == by["mgmt", "running"] == ("appliance", None, None)
    assert "hogpausedconsole" in page.text(".events")
    page.size(1200, 580)
    page.screenshot("events")
    page.usual()


def test_actions_at_a_glance(page, m):  # noqa: F811
    page.open()
    page.one("[data-guest=hog] [data-do=pause]").click()
    page.wait(lambda: "paused" in page.text("[data-guest=hog] .state"), "the pause")
    page.wait(lambda: " 0 %" in page.text("[data-guest=hog]"), "that it does not run")
    page.size(1200, 470)
    page.screenshot("overview")
    page.usual()
    page.one("[data-guest=hog] [data-do=resume]").click()
    page.wait(lambda: page.text("[data-guest=hog] .state") == "running", "that it goes on")
    assert not page.all("[data-guest=mgmt] [data-do]")


def test_keys(page):  # noqa: F811
    page.open()
    page.one("[data-guest=hog]")
    page.keys("?")
    page.wait(lambda: page.js("document.getElementById('help').open"), "the list of keys")
    page.keys(Keys.ESCAPE)
    page.wait(lambda: not page.js("document.getElementById('help').open"), "its end")
    for key, view in (("e", "#/events"), ("d", "#/deploy"), ("l", "#/log"), ("c", "#/capabilities"), ("v", "#/layout"), ("b", "#/compare"), ("g", "#/")):
        page.keys(key)
        page.wait(lambda view=view: page.driver.current_url.endswith(view), view)
    page.open("guest/hog/vmcs")
    page.one(".tabs")
    page.keys("]")
    page.wait(lambda: "#/guest/hog/diff" in page.driver.current_url and not page.all("[type=search]"), "the next view")
    page.keys("[")
    page.wait(lambda: "#/guest/hog/vmcs" in page.driver.current_url, "the view before")
    page.wait(lambda: page.js("(s => !!s && s.getClientRects().length > 0)(document.querySelector('[type=search]'))"), "its search")
    page.one("[type=search]").send_keys("d?")
    assert page.js("document.querySelector('[type=search]').value") == "d?" and "#/guest/hog/vmcs" in page.driver.current_url
    # Everything that Tab reaches shows its focus.
    page.open()
    page.one("[data-guest=hog]")
    page.js("document.querySelector('.skip').focus()")
    seen = set()
    for _ in range(12):
        page.keys(Keys.TAB)
        seen.add(page.js("document.activeElement.textContent.trim()"))
        assert page.js("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert {"Bulkhead", "Guests", "New guest", "Events", "Log"} <= seen


def test_deploy_and_delete(page, m, tmp_path):  # noqa: F811
    """A file becomes a guest that answers; then both are deleted. A refusal appears at its field."""
    page.open("deploy")
    page.wait(lambda: page.all("[data-image]"), "the images")
    assert [r.get_attribute("data-image") for r in page.all("[data-image]")] == [i["name"] for i in m.get("/v1/images")["images"]]
    image = shutil.copy(os.path.join(BUILD, "guests", "echo.elf"), tmp_path / "sent.elf")
    page.one("#deploy-image").send_keys(str(image))
    page.fill(name="fresh", memory="3000M")
    page.one(".deploy [type=submit]").click()
    page.wait(lambda: page.text("#memory-error"), "that the memory is short")
    assert page.js("document.activeElement.id") == "deploy-memory"
    page.fill(memory="4M")
    page.one(".deploy [type=submit]").click()
    page.wait(lambda: "#/guest/fresh/console" in page.driver.current_url, "the new guest's console")
    page.wait(lambda: "echo: ready" in terminal_text(page), "its first words")
    assert m.guest("fresh")["configuration"]["memory"] == 4 << 20
    page.asks("[data-action=delete]").accept()
    page.wait(lambda: page.driver.current_url.endswith("#/"), "that it is deleted")
    assert "fresh" not in [g["name"] for g in m.get("/v1/guests")["guests"]]
    page.open("deploy")
    page.asks("[data-delete='fresh-sent.elf'][data-role]").accept()
    page.wait(lambda: not page.all("[data-image='fresh-sent.elf']"), "that the image is gone")


def drop(page, *paths):
    """Drops files as the browser does when they are dragged in from outside."""
    place = {"x": 600, "y": 300, "data": {"items": [], "files": [str(p) for p in paths], "dragOperationsMask": 1}}
    for kind in ("dragEnter", "dragOver", "drop"):
        page.driver.execute_cdp_cmd("Input.dispatchDragEvent", {"type": kind, **place})


def test_drop(page, m, tmp_path):  # noqa: F811
    """Files dropped on the overview become a guest: the browser does not open them."""
    image, module = shutil.copy(os.path.join(BUILD, "guests", "echo.elf"), tmp_path / "Dropped One.elf"), tmp_path / "initrd.img"
    module.write_bytes(b"x" * 5000)
    page.open()
    page.one("[data-guest=hog]")
    drop(page, module, image)
    page.wait(lambda: page.driver.current_url.endswith("#/deploy") and page.all("[data-image]"), "the form")
    assert page.js("document.getElementById('deploy-name').value") == "dropped-one"
    page.fill(memory="4M", cmdline="told by the page")
    page.one(".modules [type=text]").send_keys("a=b")
    page.one("#deploy-modules > button").click()
    Select(page.one(".modules li:nth-child(2) select")).select_by_visible_text("guests/hog.elf")  # from the ISO: both kinds can be combined
    page.one(".advanced summary").click()
    page.fill(weight="50", budget_us="3000")
    page.media("dark")
    page.size(1000, 1160)
    page.js("scrollTo(0, 0)")
    page.screenshot("deploy")
    page.usual()
    page.one(".deploy [type=submit]").click()
    page.wait(lambda: "#/guest/dropped-one/console" in page.driver.current_url, "the new guest's console")
    page.wait(lambda: "echo: ready" in terminal_text(page), "its first words")
    made = m.guest("dropped-one")["configuration"]
    assert (made["image"], made["weight"], made["budget_us"], made["cmdline"]) == ("dropped-one-Dropped_One.elf", 50, 3000, "told by the page")
    sent = {i["name"]: i["used_by"] for i in m.get("/v1/images")["images"] if i["source"] == "upload"}
    assert next(i for i in m.get("/v1/images")["images"] if i["name"] == "guests/hog.elf")["used_by"] == ["hog", "dropped-one"]
    assert sent == {"dropped-one-Dropped_One.elf": ["dropped-one"], "dropped-one-initrd.img": ["dropped-one"]}
    for path in ("guests/dropped-one", *(f"images/{name}" for name in sent)):
        assert m.request("DELETE", f"/v1/{path}")[0] == 204


def test_held_back(page, m, tmp_path):  # noqa: F811
    """A guest that keeps ending at once: the page says how long it is held back; it can be started earlier, or stopped."""
    (tmp_path / "moth.bin").write_bytes(b"\xf4")
    page.open("deploy")
    page.one("[data-image]")
    page.one("#deploy-image").send_keys(str(tmp_path / "moth.bin"))
    page.fill(memory="2M")
    page.one(".advanced summary").click()
    Select(page.one("#deploy-kind")).select_by_visible_text("flat")
    Select(page.one("#deploy-restart")).select_by_visible_text("always")
    page.one(".deploy [type=submit]").click()
    page.wait(lambda: re.search(r"restarting: .*; held back for [0-9.]+ s after ([6-9]|1[0-9]) short lives", page.text("h2 .state")), "that it is held back")
    page.one(".state.restarting")
    restarts = m.guest("moth")["restarts"]
    page.one("[data-action=start][aria-disabled=false]").click()
    page.wait(lambda: m.guest("moth")["restarts"] > restarts and m.guest("moth")["short_lives"] < 6, "another start")
    page.open()
    page.asks("[data-guest=moth] [data-do=stop]").accept()
    page.wait(lambda: page.text("[data-guest=moth] .state") == "stopped", "that it is stopped")
    for path in ("guests/moth", "images/moth-moth.bin"):
        assert m.request("DELETE", f"/v1/{path}")[0] == 204


ROUNDS = 45  # a round takes about 1.3 s


def test_again_and_again_by_page(page, m):  # noqa: F811
    """Deployed from a file, used and deleted, all by the page: nothing is left, however often. With the rounds by curl and bhctl, there are more than 200."""
    image = os.path.abspath(os.path.join(BUILD, "guests", "echo.elf"))
    page.open("deploy")
    page.one("[data-image]")
    before, begun = memory(m), time.monotonic()
    for n in range(ROUNDS):
        page.one("#deploy-image").send_keys(image)
        page.js("(() => { for (const [id, text] of arguments[0]) document.getElementById(id).value = text; })()", [["deploy-name", "again"], ["deploy-memory", "4M"]])
        page.one(".deploy [type=submit]").click()
        page.wait(lambda: page.text(".status").startswith("connected") and terminal_text(page).rstrip().endswith(">"), "the new guest's prompt")
        page.keys(f"echo round {n}" + Keys.ENTER)
        page.wait(lambda n=n: f"\nround {n}\n" in terminal_text(page), "its answer")
        page.asks("[data-action=delete]").accept()
        page.wait(lambda: page.driver.current_url.endswith("#/"), "that it is deleted")
        page.js("void (location.hash = '#/deploy')")
        page.asks("[data-delete='again-echo.elf'][data-role]").accept()
        page.wait(lambda: page.all("[data-image]") and not page.all("[data-image='again-echo.elf']"), "that the image is gone")
        assert memory(m) == before, f"round {n}"
    print(f"{ROUNDS} rounds, {(time.monotonic() - begun) / ROUNDS:.2f} s each")


def test_management_starts_anew(page, m):  # noqa: F811
    """Its old connections are dead then, without notice: events and terminals reconnect."""
    def reset():
        at = len(m.serial())
        with m.connect() as c:
            c.send(b'POST /v1/guests/mgmt/actions HTTP/1.1\r\nHost: x\r\nContent-Length: 18\r\n\r\n{"action":"reset"}')
            m.wait_serial(r"guest mgmt: started[^\0]*management address", at)

    page.open("events")
    page.wait(lambda: page.text(".status") == "live" and page.all("[data-event]"), "the events that are still there")
    limit(page, "quietMs", 3000)
    newest = int(page.one("[data-event]").get_attribute("data-event"))
    reset()
    page.wait(lambda: int(page.js("document.querySelector('[data-event]').dataset.event")) > newest and "mgmt" in page.text("[data-event]"), "the event of its start")
    ids = page.js("[...document.querySelectorAll('[data-event]')].map((r) => Number(r.dataset.event))")
    assert len(set(ids)) == len(ids), "each once"
    page.open("guest/echo/console")
    page.wait(lambda: page.text(".status").startswith("connected") and terminal_text(page).rstrip().endswith(">"), "the connection")
    limit(page, "quietMs", 3000)
    limit(page, "answerMs", 3000)
    reset()
    page.wait(lambda: "trying again" in page.text(".status") or page.text(".status") == "connecting ...", "that it is gone")
    page.wait(lambda: page.text(".status").startswith("connected"), "the connection")
    limit(page, "quietMs", 40000)
    limit(page, "answerMs", 8000)
    page.wait(lambda: page.text(".status").startswith("connected"), "that it still is, or is again")
    page.keys("echo after all that" + Keys.ENTER)
    page.wait(lambda: "\nafter all that\n" in terminal_text(page), "the guest's answer")
