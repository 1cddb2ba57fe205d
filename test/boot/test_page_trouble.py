"""The page when something is wrong: a stale token, silence, an unexpected answer; against the stand-in of test_page_session.py."""
import time

import pytest

from test_page import browser, limit  # noqa: F401 (a fixture)
from test_page_session import CLOSE, HOST, api, log_in, page  # noqa: F401 (fixtures)

LATER = 2.2  # seconds; by then the page would have asked again
QUIET_MS = 7000  # a busy computer may stop the test or the browser for seconds


def expected(page, what):
    """Takes the page's message about it from the browser's console."""
    errors = [e["message"] for e in page.driver.get_log("browser") if e["level"] == "SEVERE"]
    assert any(what in e for e in errors), errors


def leave(page):
    page.driver.execute_script("sessionStorage.clear()")


def test_stale_token(page, api):  # noqa: F811
    """One request reveals it, in each view; the token is not kept, and the page makes no requests while it asks for one."""
    api.needs_token = True
    for view in ("", "guest/hog/console", "events"):
        page.open()
        page.driver.execute_script("sessionStorage.setItem('bulkhead-token', 'wrong')")
        api.asked.clear()
        page.open(view)
        page.wait(lambda: page.js("document.getElementById('login').open"), "the box for the token")
        assert "this token is not known" in page.text("#login-error")
        time.sleep(LATER)
        assert [auth for _, _, auth, _ in api.asked] == ["Bearer wrong"], view
        assert page.js("sessionStorage.length") == 0
    leave(page)


def test_token_that_becomes_stale(page, api):  # noqa: F811
    """The appliance restarts with another random token while a terminal or events are open."""
    api.needs_token, api.sockets, api.streams = True, [], []
    for view, them in (("guest/hog/console", api.sockets), ("events", api.streams)):
        page.open()
        page.driver.execute_script("sessionStorage.setItem('bulkhead-token', 'a-token')")
        page.open(view)
        page.wait(lambda them=them: them, "the connection")
        api.needs_token = "another"
        asked = len(api.asked)
        for one in list(them):
            one.connection.close() if them is api.streams else one.say(b"\x03\xf0", CLOSE)
        page.wait(lambda: page.js("document.getElementById('login').open"), "the box for the token")
        time.sleep(LATER)
        assert len([a for a in api.asked[asked:] if a[2] == "Bearer a-token"]) == 1 and len(api.protocols) == 1
        api.needs_token = True
    # After logging in again it goes on.
    log_in(page, "a-token")
    page.wait(lambda: api.streams and page.text(".status") == "live", "the stream")
    leave(page)


def test_one_terminal(page, api):  # noqa: F811
    """However often Connect is pressed there is one connection, and none after leaving the view."""
    api.sockets = []
    page.open("guest/hog/console")
    page.wait(lambda: len(api.sockets) == 1 and page.text(".status").startswith("connected"), "the connection")
    for _ in range(3):
        page.js("(() => { const b = document.querySelector('.tools [data-role]'); for (let i = 0; i < 5; i++) b.click(); })()")
        page.wait(lambda: len(api.sockets) <= 1 and page.text(".status") in ("disconnected", "connected; F6 leaves the terminal"), "one, or none")
    if not api.sockets:
        page.one(".tools [data-role]").click()
    page.wait(lambda: len(api.sockets) == 1 and page.text(".status").startswith("connected"), "the connection")
    # The connection breaks; the button reconnects at once and cancels the next automatic try.
    api.sockets[0].say(b"\x03\xf3some reason", CLOSE)
    page.wait(lambda: "some reason; trying again" in page.text(".status"), "that it is broken")
    page.one(".tools [data-role]").click()
    page.wait(lambda: len(api.sockets) == 1 and page.text(".status").startswith("connected"), "the connection")
    asked = len(api.protocols)
    time.sleep(LATER + 1)
    assert len(api.protocols) == asked and len(api.sockets) == 1
    page.js("void (location.hash = '#/')")
    page.wait(lambda: not api.sockets, "that it is closed")


def test_terminal_without_a_sign_of_life(page, api):  # noqa: F811
    """The server's end vanishes, as when the management guest restarts: the page detects the silence. An empty frame is a sign of life, and not shown."""
    api.sockets = []
    page.open("guest/hog/console")
    page.wait(lambda: api.sockets and page.text(".status").startswith("connected"), "the connection")
    limit(page, "quietMs", QUIET_MS)
    end = time.monotonic() + QUIET_MS / 1000 + 2
    while time.monotonic() < end:
        api.sockets[0].say(b"")
        time.sleep(0.5)
    assert len(api.protocols) == 1
    page.wait(lambda: len(api.protocols) == 2, "another connection")
    page.wait(lambda: len(api.sockets) == 1 and page.text(".status").startswith("connected"), "the connection")


def test_events_without_a_sign_of_life(page, api):  # noqa: F811
    api.streams = []
    page.open("events")
    page.wait(lambda: api.streams and page.text(".status") == "live", "the stream")
    limit(page, "quietMs", QUIET_MS)
    event = '{"id": 7, "uptime_ms": 1, "guest": "hog", "state": "restarting", "why": "", "restarts": 3}'
    api.streams[0].tell(f"id: 7\nevent: state\ndata: {event}\n\n")
    page.wait(lambda: page.text("[data-event='7'] .state") == "restarting", "the event")
    end = time.monotonic() + QUIET_MS / 1000 + 2
    while time.monotonic() < end:
        api.streams[0].tell(": \n\n")
        time.sleep(0.5)
    assert api.last_event_ids == ["0"]
    page.wait(lambda: len(api.last_event_ids) == 2 and page.text(".status") == "live", "another stream")
    assert api.last_event_ids == ["0", "7"]
    page.wait(lambda: len(api.streams) == 1, "the end of the old one")


@pytest.mark.parametrize("path, broken", [("/v1/host", {}), ("/v1/guests", {"guests": None}), ("/v1/guests", {"guests": [{"name": "hog"}]})])
def test_unexpected_answer(page, api, path, broken):  # noqa: F811
    """An error in the page is shown, and does not end it."""
    page.open()
    page.one("[data-guest=hog]")
    api.special[path] = lambda _: (200, broken)
    page.wait(lambda: "has made a mistake" in page.text("main > .error:not([hidden])"), "that something is wrong")
    del api.special[path]
    page.wait(lambda: not page.all("main > .error:not([hidden])"), "that it goes on")
    expected(page, "TypeError")


def test_no_json(page, api):  # noqa: F811
    page.open()
    page.one("[data-guest=hog]")
    api.special["/v1/guests"] = lambda _: (200, None)  # an empty answer
    page.wait(lambda: "has made a mistake" in page.text("main > .error:not([hidden])"), "that something is wrong")
    del api.special["/v1/guests"]
    page.wait(lambda: not page.all("main > .error:not([hidden])"), "that it goes on")
    expected(page, "TypeError")


def test_terminal_that_does_not_load(page, api):  # noqa: F811
    api.sockets, api.missing = [], {"/page/xterm.js"}
    page.open("guest/hog/console")
    page.wait(lambda: page.one("#offline").is_displayed(), "that it is not there")
    page.one(".tools [data-role]").click()  # nothing to connect to yet
    api.missing = set()
    page.wait(lambda: len(api.sockets) == 1 and page.text(".status").startswith("connected"), "the connection")


@pytest.mark.parametrize("view, there", [("guest/%", ".guests"), ("constructor", ".guests"), ("guest/hog/constructor", ".cards"), ("nothing", ".guests")])
def test_no_such_place(page, api, view, there):  # noqa: F811
    page.open("log")
    page.one(".ring")
    page.js("void (location.hash = arguments[0])", "#/" + view)
    page.one(there)
    page.open(view)
    page.one(there)


class Ring:
    """For the stand-in: the part of a ring that `from` asks for."""

    def __init__(self, text=""):
        self.text = text

    def __call__(self, query):
        start = min(int(query.get("from", 0)), len(self.text))
        return 200, {"from": start, "next": len(self.text), "text": self.text[start:]}


@pytest.mark.parametrize("view, path", [("log", "/v1/log"), ("guest/hog/console", "/v1/guests/hog/console")])
def test_ring_that_starts_anew(page, api, view, path):  # noqa: F811
    api.special[path] = Ring("the first life\n")
    if "console" in view:
        page.plain("hog")
    else:
        page.open(view)
    page.wait(lambda: page.text(".ring") == "the first life\n", "what was said")
    api.special[path] = Ring("the second\n")
    page.wait(lambda: page.text(".ring") == "the second\n", "what is said now")
    # A restarted machine may have printed more than before.
    api.special["/v1/host"] = lambda _: (200, {**HOST, "uptime_ms": 500})
    api.special[path] = Ring("the third life says more\n")
    page.wait(lambda: page.text(".ring") == "the third life says more\n", "the third")


def test_machine_that_starts_anew(page, api):  # noqa: F811
    """Events are counted from 1 again, and the server no longer knows the terminal's connection."""
    api.streams, api.sockets = [], []
    page.open("events")
    page.wait(lambda: api.streams and page.text(".status") == "live", "the stream")
    api.streams[0].tell('id: 7\ndata: {"id": 7, "uptime_ms": 1, "guest": "hog", "state": "running", "why": "", "restarts": 3}\n\n')
    page.one("[data-event='7']")
    api.special["/v1/host"] = lambda _: (200, {**HOST, "uptime_ms": 500})
    page.wait(lambda: len(api.last_event_ids) == 2 and not page.all("[data-event]"), "that it begins again")
    assert api.last_event_ids == ["0", "0"]
    page.open("guest/hog/console")
    page.wait(lambda: len(api.sockets) == 1 and page.text(".status").startswith("connected"), "the connection")
    api.special["/v1/host"] = lambda _: (200, {**HOST, "uptime_ms": 100})
    page.wait(lambda: len(api.protocols) == 2 and page.text(".status").startswith("connected"), "another connection")
