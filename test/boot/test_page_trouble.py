"""What the page does when something is wrong: a stale token, silence, an answer that nobody expects; against the stand-in of test_page_session.py."""
import time

from test_page import browser  # noqa: F401 (a fixture)
from test_page_session import api, log_in, page  # noqa: F401 (fixtures)

LATER = 2.2  # seconds in which the page would have asked again


def limit(page, name, ms):
    page.driver.execute_async_script("const [name, ms, done] = arguments; import('/page/lib.js').then((lib) => { lib.limits[name] = ms; done(); })", name, ms)


def leave(page):
    page.driver.execute_script("sessionStorage.clear()")


def test_stale_token(page, api):  # noqa: F811
    """One request shows it, in each view; it is not kept, and nothing is asked while a token is asked for."""
    api.needs_token = True
    for view in ("", "events"):
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
    """The appliance starts anew with another random token."""
    api.needs_token, api.streams = True, []
    for view, them in (("events", api.streams),):
        page.open()
        page.driver.execute_script("sessionStorage.setItem('bulkhead-token', 'a-token')")
        page.open(view)
        page.wait(lambda them=them: them, "the connection")
        api.needs_token = "another"
        asked = len(api.asked)
        for one in list(them):
            one.connection.close()
        page.wait(lambda: page.js("document.getElementById('login').open"), "the box for the token")
        time.sleep(LATER)
        assert len([a for a in api.asked[asked:] if a[2] == "Bearer a-token"]) == 1
        api.needs_token = True
    # Logged in again, it goes on.
    log_in(page, "a-token")
    page.wait(lambda: api.streams and page.text(".status") == "live", "the stream")
    leave(page)


def test_events_without_a_sign_of_life(page, api):  # noqa: F811
    api.streams = []
    page.open("events")
    page.wait(lambda: api.streams and page.text(".status") == "live", "the stream")
    limit(page, "quietMs", 3000)
    event = '{"id": 7, "uptime_ms": 1, "guest": "hog", "state": "restarting", "why": "", "restarts": 3}'
    api.streams[0].tell(f"id: 7\nevent: state\ndata: {event}\n\n")
    page.wait(lambda: page.text("[data-event='7'] .state") == "restarting", "the event")
    end = time.monotonic() + 5
    while time.monotonic() < end:
        api.streams[0].tell(": \n\n")
        time.sleep(0.5)
    assert api.last_event_ids == ["0"]
    page.wait(lambda: len(api.last_event_ids) == 2 and page.text(".status") == "live", "another stream")
    assert api.last_event_ids == ["0", "7"]
    page.wait(lambda: len(api.streams) == 1, "the end of the old one")
