"""The page against a stand-in for the API, whose answers each test chooses: tokens, roles, refusals and uploads. test_page.py covers the appliance's own
answers."""
import base64
import gzip
import hashlib
import http.server
import json
import os
import re
import threading
import urllib.parse

import pytest
from selenium.webdriver.common.keys import Keys

from appliance import BUILD
from test_page import Page, browser, limit  # noqa: F401 (a fixture)
from websocket_client import BINARY, CLOSE, GUID

POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
SOURCES = {"/": "mgmt/page/index.html", "/page/icon.svg": "mgmt/page/icon.svg"}
MADE = {"app.js": "page.js.gz", "style.css": "page.css.gz", "xterm.js": "xterm.js.gz"}
ROLES = {"r-token": "read", "o-token": "operate", "a-token": "admin"}
VCPU = {"id": 0, "core": 0, "halted": False, "run_ticks": 0, "entries": 0, "exits": {}, "last_exit": None,
        "unclaimed_memory": {"reads": 0, "writes": 0, "address": None}}
GUEST = {"name": "hog", "state": "running", "management": False, "why": "", "restarts": 0, "uptime_ms": 1000, "network": None,
         "configuration": {"image": "hog.elf", "memory": 1 << 21, "vcpus": 1, "devices": ["uart"]}, "vcpus": [VCPU]}
NO_EXITS = {"exits": [], "top": {"rips": [], "ports": [], "msrs": [], "pages": []}}
HOST = {"version": "0", "build_id": "0" * 16, "uptime_ms": 1000, "cpu": "stand-in", "memory": {"free": 1, "total": 2}, "network": {"nic": "", "address": ""},
        "serial_console": "COM1", "tsc": {"hz": 1000, "verdict": "alone", "sources": [{"name": "PIT", "hz": 1000, "measured": True, "taken": True, "agrees": True}]},
        "cores": [{"id": i, "busy_ticks": 0, "idle_ticks": 0, "tsc_hz": 1000, "vcpus": 1, "apic_id": i, "package": 0, "physical_core": i, "thread": 0, "node": 0} for i in range(2)],
        "topology": {"packages": 1, "physical_cores": 2, "threads": 2, "nodes": 1, "smt": "off", "unused_threads": []}}


def listed(guest):
    """A guest as the list of all has it."""
    vcpus = guest["vcpus"]
    sums = {"run_ticks": sum(v["run_ticks"] for v in vcpus), "entries": sum(v["entries"] for v in vcpus), "halted": all(v["halted"] for v in vcpus), "cores": sorted({v["core"] for v in vcpus})}
    return {**{k: v for k, v in guest.items() if k not in ("configuration", "network", "vcpus")}, "memory": guest["configuration"]["memory"], **sums}


class Api:
    """The stand-in's state, and the requests it got."""

    def __init__(self):
        self.needs_token = False
        self.images = [{"name": "echo.elf", "size": 1 << 20, "sha256": None, "source": "iso", "used_by": ["echo"]}]
        self.guests = {"hog": GUEST}
        self.refusal = None  # refuses the next POST: (status, message, pointer)
        self.protocols = []  # offered with WebSockets
        self.sockets = None  # a list: WebSockets are accepted, and listed here while open
        self.streams = None  # a list: /v1/events is a stream, and listed here while open
        self.last_event_ids = []
        self.begun = []  # paths of uploads
        self.go = threading.Event()  # set: uploads are read
        self.go.set()
        self.missing = set()  # paths that are answered with 503
        # "PATH" -> function of the query, "METHOD PATH" -> function of the body; returns (status, answer) in place of the usual one
        self.special = {}
        self.asked = []  # (method, path, authorization, body)

    def answer(self, method, path, body, auth):
        token = (auth or "").removeprefix("Bearer ")
        if self.needs_token and (token not in ROLES or self.needs_token == "another"):
            return 401, {"error": {"status": 401, "message": "a token is needed" if not token else "this token is not known"}}
        path, _, query = path.partition("?")
        if f"{method} {path}" in self.special:
            return self.special[f"{method} {path}"](body)
        if path in self.special:
            return self.special[path](dict(urllib.parse.parse_qsl(query)))
        if path == "/v1/whoami":
            return 200, {"name": token or None, "role": ROLES.get(token, "admin")}
        if path == "/v1/host":
            return 200, HOST
        if path == "/v1/images":
            return 200, {"images": self.images}
        if path.startswith("/v1/images/"):
            name = path.rsplit("/", 1)[1]
            replaced = [i["name"] for i in self.images if i["name"] == name]
            self.images = [i for i in self.images if i["name"] != name]
            if method == "DELETE":
                return 204, None
            self.images.append({"name": name, "size": len(body), "sha256": "ab" * 32, "source": "upload", "used_by": []})
            return 200 if name in replaced else 201, self.images[-1]
        if path == "/v1/guests" and method == "POST":
            if self.refusal:
                (status, message, pointer), self.refusal = self.refusal, None
                return status, {"error": {"status": status, "reason": "x", "message": message, "pointer": pointer}}
            guest = json.loads(body)
            for i in self.images:
                if i["name"] in [guest["image"], *(m["file"] for m in guest.get("modules", []))]:
                    i["used_by"] = [*i["used_by"], guest["name"]]
            self.guests[guest["name"]] = {**GUEST, "name": guest["name"]}
            return 201, self.guests[guest["name"]]
        if path == "/v1/guests":
            return 200, {"guests": [listed(g) for g in self.guests.values()]}
        if method == "DELETE" and path.rsplit("/", 1)[1] in self.guests:
            del self.guests[path.rsplit("/", 1)[1]]
            return 204, None
        if path.endswith("/exits"):
            return 200, NO_EXITS
        if path.endswith("/console"):
            return 200, {"from": 0, "next": 0, "text": ""}
        if path.endswith("/terminal"):
            return 503, {"error": {"status": 503, "message": "not here"}}
        if path.startswith("/v1/guests/") and path.split("/")[3] in self.guests and "/vcpus/" not in path:
            return 200, self.guests[path.split("/")[3]]
        return 404, {"error": {"status": 404, "message": "there is no such resource"}}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def send(self, status, kind, data):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(data)

    def handle_any(self):
        length = int(self.headers.get("Content-Length", 0))
        if self.command == "PUT":
            self.server.api.begun.append(self.path)
            self.server.api.go.wait()
        try:
            body = self.rfile.read(length)
        except ConnectionResetError:
            body = b""
        if len(body) < length:
            self.close_connection = True  # aborted: the appliance keeps nothing of it
            return
        if self.path in self.server.api.missing:
            self.send(503, "text/plain", b"")
            return
        if self.path in SOURCES:
            with open(SOURCES[self.path], "rb") as f:
                self.send(200, TYPES[os.path.splitext(SOURCES[self.path])[1]], f.read())
            return
        made = os.path.basename(self.path.split("?")[0])
        if self.path.startswith("/page/") and made in MADE:
            with gzip.open(os.path.join(BUILD, "gen", MADE[made])) as f:
                self.send(200, TYPES[os.path.splitext(made)[1]], f.read())
            return
        auth = self.headers.get("Authorization")
        self.server.api.asked.append((self.command, self.path, auth, body))
        api = self.server.api
        if "Upgrade" in self.headers:
            api.protocols.append(self.headers["Sec-WebSocket-Protocol"])
            if api.sockets is not None:
                self.be_socket(api)
                return
        if self.path.split("?")[0] == "/v1/events" and api.streams is not None:
            self.be_stream(api)
            return
        status, answer = api.answer(self.command, self.path, body, auth)
        self.send(status, "application/json", b"" if answer is None else json.dumps(answer).encode())

    def until_closed(self, them):
        """Ignores what the client sends; the tests send with say()."""
        self.close_connection = True
        them.append(self)
        try:
            while (data := self.connection.recv(4096)) and data[0] != CLOSE:
                pass
        except OSError:
            pass
        them.remove(self)

    def be_socket(self, api):
        key = base64.b64encode(hashlib.sha1((self.headers["Sec-WebSocket-Key"] + GUID).encode()).digest()).decode()
        self.wfile.write(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {key}\r\n"
                         "Sec-WebSocket-Protocol: bulkhead.console\r\n\r\n".encode())
        self.until_closed(api.sockets)

    def be_stream(self, api):
        api.last_event_ids.append(self.headers["Last-Event-ID"])
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n: here\n\n")
        self.until_closed(api.streams)

    def say(self, data, first=BINARY):
        self.wfile.write(bytes([first, len(data)]) + data)

    def tell(self, text):
        self.wfile.write(text.encode())

    do_GET = do_POST = do_PUT = do_DELETE = handle_any

    def log_message(self, *_):
        pass


@pytest.fixture
def api():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.api = Api()
    server.api.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.api
    server.shutdown()
    server.server_close()


@pytest.fixture
def page(browser, api):  # noqa: F811
    """After each test: the page tried nothing that the policy forbids; other refusals are the tests' own."""
    browser.get("about:blank")
    browser.get_log("browser")
    yield Page(browser, api)
    errors = [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
    assert [e for e in errors if not re.search("the server responded with a status of [45]|WebSocket connection", e)] == []


def log_in(page, token):
    page.wait(lambda: page.js("document.getElementById('login').open"), "the box for the token")
    page.keys(token + Keys.ENTER)


def test_token(page, api):
    api.needs_token = True
    page.open()
    log_in(page, "wrong")
    page.wait(lambda: "this token is not known" in page.text("#login-error"), "the API's own words")
    log_in(page, "r-token")
    page.one("[data-guest=hog]")
    assert page.text("#role") == "r-token (read)" and not page.js("document.getElementById('login').open")
    asked = len(api.asked)
    page.wait(lambda: len(api.asked) > asked + 3, "more questions")
    assert {auth for _, _, auth, _ in api.asked[asked:]} == {"Bearer r-token"}
    # The token is kept for this tab only.
    page.driver.refresh()
    page.one("[data-guest=hog]")
    assert page.js("sessionStorage.length") == 1 and page.js("localStorage.length") == 0 and page.js("document.cookie") == ""
    page.one("#logout").click()
    log_in(page, "a-token")
    page.wait(lambda: page.text("#role") == "a-token (admin)", "the other role")
    assert page.js("document.getElementById('token').value") == ""
    page.driver.execute_script("sessionStorage.clear()")


@pytest.mark.parametrize("token, may", [("r-token", set()), ("o-token", {"pause", "stop"}), ("a-token", {"pause", "stop", "delete"})])
def test_roles(page, api, token, may):
    api.needs_token = True
    page.open("guest/hog/console")
    log_in(page, token)
    page.one("h2 .state.running")
    for action in ("pause", "stop", "delete"):
        button = page.one(f"[data-action={action}]")
        assert (button.get_attribute("aria-disabled") != "true") == (action in may), action
        if action not in may:
            assert f'yours is "{ROLES[token]}"' in button.get_attribute("title")
            button.click()  # no dialog, no request
    assert not [a for a in api.asked if a[0] != "GET"]
    page.driver.execute_script("sessionStorage.clear()")


def test_terminal_token(page, api):
    api.needs_token = True
    page.open("guest/hog/console")
    log_in(page, "o-token")
    page.wait(lambda: api.protocols, "the terminal's request")
    assert api.protocols[0] == "bulkhead.console, bearer.o-token"
    page.wait(lambda: "trying again" in page.text(".tools .status"), "what became of it")
    page.one("#logout").click()
    log_in(page, "r-token")
    # Who may only read gets the text, and no terminal.
    page.one(".ring")
    asked = len(api.protocols)
    assert 'needs the role "operate"' in page.one(".tools [data-role=operate]").get_attribute("title") and not page.one(".plain-text").is_enabled()
    page.one(".tools [type=text]").send_keys("x" + Keys.ENTER)
    assert len(api.protocols) == asked and not [a for a in api.asked if a[0] == "POST"]
    page.driver.execute_script("sessionStorage.clear()")


def test_delete_guest(page, api):
    page.open("guest/hog/console")
    page.asks("[data-action=delete]").dismiss()
    assert "hog" in api.guests
    page.asks("[data-action=delete]").accept()
    page.wait(lambda: page.driver.current_url.endswith("#/") and "hog" not in api.guests, "that it is gone")
    page.wait(lambda: page.all(".guests") and not page.all("[data-guest]"), "the list without it")


def test_reset_of_the_machine(page, api):
    """The page asks before it resets the machine."""
    asked = []

    def reset(body):
        asked.append(json.loads(body))
        return 202, {"action": "reboot", "status": "accepted"}

    api.special["POST /v1/host/actions"] = reset
    page.open("")
    page.asks("[data-do=reboot]").dismiss()
    question = page.asks("[data-do=reboot]")
    assert "power cut" in question.text and not asked
    question.accept()
    page.wait(lambda: asked == [{"action": "reboot"}] and "is being reset" in page.text(".actions [role=status]"), "that it is on its way")


def test_slow_delete(page, api):
    """Zeroing a large guest's memory takes a while: other guests are updated meanwhile, and a user who has moved to another view stays there."""
    go = threading.Event()

    def delete(_):
        go.wait(30)
        del api.guests["hog"]
        return 204, None

    page.open("guest/hog/console")
    page.one("h2 .state.running")
    limit(page, "answerMs", 1000)
    api.special["DELETE /v1/guests/hog"] = delete
    page.asks("[data-action=delete]").accept()
    page.js("void (location.hash = '#/log')")
    asked = len(api.asked)
    page.wait(lambda: len([a for a in api.asked[asked:] if a[1].startswith("/v1/log")]) > 2, "other questions")
    go.set()
    page.wait(lambda: "hog" not in api.guests, "that it is gone")
    asked = len(api.asked)
    page.wait(lambda: len(api.asked) > asked + 2, "what comes then")
    assert page.driver.current_url.endswith("#/log") and not page.one("#offline").is_displayed()


def test_token_that_cannot_be_sent(page, api):
    """Extra characters copied with the token are reported before it is sent."""
    api.needs_token = True
    page.open()
    log_in(page, "a-token\u2026")
    page.wait(lambda: "letters, digits" in page.text("#login-error"), "what is wrong")
    assert page.js("document.getElementById('login').open && sessionStorage.length === 0")
    page.js("void (document.getElementById('token').value = '  a-token ')")
    page.one("#login [type=submit]").click()
    page.one("[data-guest=hog]")
    page.driver.execute_script("sessionStorage.clear()")


def test_snapshot_needs_a_role(page, api):
    api.needs_token = True
    api.special["/v1/guests/hog/vcpus/0/vmcs/snapshots"] = lambda _: (200, {"snapshots": []})
    page.open("guest/hog/diff")
    log_in(page, "r-token")
    page.wait(lambda: page.js("document.querySelector('main p.tools button')?.dataset.refused") and page.one("main p.tools button").is_displayed(), "that it is not allowed")
    page.one("main p.tools button").click()
    assert not [a for a in api.asked if a[0] != "GET"]
    page.driver.execute_script("sessionStorage.clear()")


def test_several_vcpus(page, api):
    """A guest's row covers all its vCPUs, its views the chosen one; with one vCPU there is no choice."""
    page.open("guest/hog/exits")
    page.wait(lambda: [a for a in api.asked if a[1] == "/v1/guests/hog/vcpus/0/exits"], "its only vCPU")
    assert page.js("document.querySelector('nav[aria-label=\"vCPUs of hog\"]').hidden")
    api.guests["hog"] = {**GUEST, "vcpus": [{**VCPU, "entries": 40}, {**VCPU, "id": 1, "core": 1, "entries": 2, "exits": {"HLT": 7}, "unclaimed_memory": {"reads": 3, "writes": 1, "address": "0xfed40000"}}]}
    page.wait(lambda: page.js("document.querySelectorAll('nav[aria-label=\"vCPUs of hog\"] a').length") == 2, "the choice")
    page.js("void document.querySelectorAll('nav[aria-label=\"vCPUs of hog\"] a')[1].click()")
    page.wait(lambda: [a for a in api.asked if a[1] == "/v1/guests/hog/vcpus/1/exits"], "the other vCPU")
    page.wait(lambda: page.js("document.querySelector('[data-reason=HLT]')?.dataset.count") == "7", "its exits")
    page.wait(lambda: "3 reads, 1 writes, the last at 0xfed40000" in page.text(".unclaimed"), "where it reached nothing")
    assert page.js("document.querySelector('nav[aria-label=\"vCPUs of hog\"] [aria-current]').textContent") == "vCPU 1"
    page.open("")
    page.wait(lambda: "0, 1" in page.text("[data-guest=hog]") and "42" in page.text("[data-guest=hog]"), "both of them")


@pytest.mark.parametrize("reads", [True, False])
def test_long_line(page, api, reads):
    """A line longer than the guest's queue is sent as room appears; what the guest never reads is not reported as sent."""
    room = [16, 0, 0, 20, 0, 1000] if reads else [16]
    got = []

    def take(body):
        n = min(room.pop(0) if room else 0, len(body))
        got.append(body[:n])
        return 200, {"accepted": n}

    api.special["POST /v1/guests/hog/console"] = take
    page.open("guest/hog/console")
    page.wait(lambda: page.one(".plain-text").is_displayed(), "the choice")
    page.one(".plain-text").click()
    page.one(".ring")
    page.one("form input").send_keys("x" * 100 + Keys.ENTER)
    if reads:
        page.wait(lambda: b"".join(got) == b"x" * 100 + b"\r", "the line")
        assert page.js("document.querySelector('form input').value") == ""
    else:
        page.wait(lambda: "85 bytes were not sent" in page.text("form + .error:not([hidden])"), "what is wrong")


POSSIBLE = {"stopped": {"start"}, "crashed": {"start"}, "failed": {"start"}, "restarting": {"start", "stop"}, "starting": {"stop"}, "running": {"pause", "nmi", "stop"},
            "paused": {"resume", "stop"}, "deleting": set()}


def test_states(page, api):
    """The actions available in each state, in the guest's view and the overview; a guest that is held back shows for how long."""
    page.open("guest/hog/console")
    for state, possible in POSSIBLE.items():
        api.guests["hog"] = {**GUEST, "state": state, "stopped_tsc": 5000, "next_start_tsc": 13000 if state == "restarting" else 0, "short_lives": 3}
        page.one(f"h2 .state.{state}")
        assert {a for a in ("start", "stop", "pause", "resume", "nmi") if page.all(f"[data-action={a}][aria-disabled=false]")} == possible, state
    page.open()
    for state in ("restarting", "starting"):
        api.guests["hog"] = {**GUEST, "state": state, "stopped_tsc": 5000, "next_start_tsc": 13000 if state == "restarting" else 0, "short_lives": 3}
        page.one(f"[data-guest=hog] .state.{state}")
        assert {b.get_attribute("data-do") for b in page.all("[data-guest=hog] [data-do]")} == POSSIBLE[state]
        if state == "restarting":
            assert "restarting: held back for 8.0 s after 3 short lives" in page.text("[data-guest=hog]")
