"""The console over a WebSocket: both directions, history, a guest's restart, and clients that break the protocol."""
import json
import os
import socket
import time

import pytest

from appliance import LIMIT
from websocket_client import BINARY, CLOSE, PING, PONG, WebSocket, frame

CONFIG = {"guests": [
    {"name": "hog", "image": "guests/hog.elf", "memory": "2M", "core": 0, "devices": ["pic", "pit"]},
    {"name": "echo", "image": "guests/echo.elf", "memory": "4M", "core": 0, "restart": "on-failure"},
]}
PATH = "/v1/guests/echo/terminal"


class Stranger:
    token = ""

    def __init__(self, port):
        self.port = port


@pytest.fixture(scope="module")
def m(start):
    machine = start(CONFIG, cpus=2)
    machine.wait_for("/v1/guests/echo/console?format=json", lambda c: c["text"].endswith("> "), "no prompt")
    return machine


def test_opening(m):
    with WebSocket(m, PATH, "bulkhead.console, chat") as w:
        assert w.accepted() and w.headers["sec-websocket-protocol"] == "bulkhead.console" and "content-length" not in w.headers
    with WebSocket(m, PATH, None) as w:
        assert w.accepted() and "sec-websocket-protocol" not in w.headers
    origin = f"Origin: http://127.0.0.1:{m.port}\r\n"
    with WebSocket(m, PATH, headers=origin.replace(f"127.0.0.1:{m.port}", "x")) as w:
        assert w.accepted()
    for path, protocols, headers, status in ((PATH, "chat", "", 400), (PATH, None, "Origin: http://evil.example\r\n", 403), ("/v1/guests/no/terminal", None, "", 404),
                                             ("/v1/guests/hog/terminal", None, "", 409), (PATH, None, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n", 400)):
        with WebSocket(m, path, protocols, headers) as w:
            assert w.status == status and "sec-websocket-accept" not in w.headers
            body = json.loads(w.input.read(int(w.headers["content-length"])))
            assert body["error"]["status"] == status
    status, headers, _ = m.request("GET", PATH)
    assert status == 426 and headers["Upgrade"] == "websocket" and headers["Sec-WebSocket-Version"] == "13"
    assert m.request("POST", PATH)[0] == 405
    # A wrong token, and none.
    for protocols, wrong in (("bulkhead.console, bearer.wrong", "not known"), ("bulkhead.console", "is needed"), ("bulkhead.console, bearer." + "a" * 121, "not known")):
        with WebSocket(Stranger(m.port), PATH, protocols) as w:
            assert w.status == (401 if m.token else 101)
            if m.token:
                assert wrong in w.input.read(int(w.headers["content-length"])).decode()
    # An unknown upgrade is ignored: the request is answered.
    assert m.request("GET", "/healthz", headers={"Connection": "Upgrade", "Upgrade": "h2c"})[0] == 200


def test_both_ways_and_history(m):
    with WebSocket(m, PATH) as w:
        w.until(rb"echo: ready[^>]*> $")
        w.type(b"echo one\r")
        w.until(rb"> echo one\r\none\r\n> $")
        w.send(frame(PING, b"there?"))
        for byte in frame(0x02, b"echo t") + frame(PING, b"2") + frame(0x80, b"wo\r"):  # a message in two, a byte a segment
            w.send(bytes([byte]))
        w.until(rb"\r\ntwo\r\n> $")
        assert w.pongs == [b"there?", b"2"]
        first = w.seen
        w.send(frame(CLOSE, b"\x03\xe8"))
        assert w.closed() == 1000
    with WebSocket(m, PATH) as w:
        w.until(rb"\r\ntwo\r\n> $")
        assert w.seen == first
        assert w.seen.decode() == m.get("/v1/guests/echo/console?format=json")["text"]


def test_text_frames(m):
    """Many clients send nothing else."""
    with WebSocket(m, PATH) as w:
        w.until(rb"> $")
        w.send(frame(0x81, b"echo three\r"))
        w.until(rb"\r\nthree\r\n> $")


def test_two_at_once(m):
    with WebSocket(m, PATH) as a, WebSocket(m, PATH) as b:
        a.type(b"echo from a\r")
        b.until(rb"\r\nfrom a\r\n> $")
        b.type(b"echo from b\r")
        a.until(rb"\r\nfrom b\r\n> $")


def test_nothing_is_lost(m):
    """More bytes than all buffers on the way to the guest hold, while the guest is paused."""
    lines = [f"echo {n:04} {'abcdefghijklmnopqrstuvwxyz' * 2}\r".encode() for n in range(150)]
    with WebSocket(m, PATH) as w:
        w.until(rb"> $")
        m.request("POST", "/v1/guests/echo/actions", '{"action": "pause"}')
        m.wait_state("echo", "paused")
        w.seen = b""
        w.send(b"".join(frame(BINARY, line) for line in lines))
        w.send(frame(PING, b"behind it"))
        m.request("POST", "/v1/guests/echo/actions", '{"action": "resume"}')
        for n in range(150):
            w.until(rb"\n%04d [a-z]{52}\r\n" % n)
        while not w.pongs:
            w.seen, first = b"", w.read()
            if first[0] == PONG:
                w.pongs.append(first[1])
        assert w.pongs == [b"behind it"]


def test_restart_keeps_it_open(m):
    with WebSocket(m, PATH) as w:
        w.until(rb"> $")
        w.seen = b""
        w.type(b"triple\r")
        w.until(rb"(?s)triple\r\n.*echo: ready[^>]*> $")
        w.type(b"echo again\r")
        w.until(rb"\r\nagain\r\n> $")
        m.request("POST", "/v1/guests/echo/actions", '{"action": "stop"}')
        m.wait_state("echo", "stopped")
        w.seen = b""
        m.request("POST", "/v1/guests/echo/actions", '{"action": "start"}')
        w.until(rb"echo: ready[^>]*> $")


def test_wrong_frames(m):
    """Each ends only its own connection, with the right code, and the guest gets nothing."""
    before = m.get("/v1/guests/echo/console?format=json")["next"]
    wrong = [(b"\x82\x01x", 1002), (frame(0xC2, b"x"), 1002), (frame(0x83, b"x"), 1002), (frame(0x80, b"x"), 1002), (frame(0x09), 0), (frame(0x81, b"\xff"), 1007),
             (frame(BINARY, b"x" * 4097), 1009), (frame(BINARY, b"x", length=1 << 40), 1009), (b"\x82\xfe\x00\x05", 0), (frame(CLOSE, b"\x03\xed"), 1002),
             (b"\xff" * 2000, 0), (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1002)]
    for data, code in wrong:
        with WebSocket(m, PATH) as w:
            w.send(data)
            assert w.closed() == code, data[:16]
    assert m.get("/v1/guests/echo/console?format=json")["next"] == before
    with WebSocket(m, PATH) as w:
        w.send(frame(BINARY, b"\b" * 4096))
        w.send(frame(PING, b"alive"))
        while (got := w.read()) != (PONG, b"alive"):
            assert got[0] == BINARY
        # The guest has all of that behind it, which would otherwise erase what the next test types.
        w.type(b"echo taken\r")
        w.until(rb"\r\ntaken\r\n> $")


def test_garbage(m):
    noise = os.urandom(20000)
    for n in range(12):
        with WebSocket(m, PATH) as w:
            try:
                # Nothing that reaches the guest: the first, unmasked frame ends the connection.
                w.send(bytes([0x82, 0x01]) + noise[n * 1000:])
            except ConnectionError:
                pass
            assert w.closed() in (1002, None)
    assert m.get("/healthz") == {"status": "ok"}


def test_half_closed_and_cut(m):
    """What was typed before the end still reaches the guest."""
    with WebSocket(m, PATH) as w:
        w.until(rb"> $")
        w.type(b"echo last words\r")
        w.socket.shutdown(socket.SHUT_WR)
        while w.read() is not None:
            pass
    m.wait_for("/v1/guests/echo/console?format=json", lambda c: "\r\nlast words\r\n> " in c["text"], "what was typed last")
    for _ in range(20):  # more than there are places
        w = WebSocket(m, PATH)
        assert w.accepted()
        w.input.close()
        w.socket.close()
    with WebSocket(m, PATH) as w:
        w.until(rb"last words\r\n> $")


def opened(m):
    """An accepted WebSocket: connections just left may still hold their places."""
    end = time.monotonic() + LIMIT
    while not (w := WebSocket(m, PATH)).accepted():
        assert w.status == 503 and time.monotonic() < end
        w.input.close()
        w.socket.close()
    return w


def test_counts_as_a_stream(m):
    open_ones = [opened(m) for _ in range(8)]
    with WebSocket(m, PATH) as w:
        assert w.status == 503
    assert m.request("GET", "/v1/events")[0] == 503
    for w in open_ones:
        w.until(rb"> $")
        w.send(frame(CLOSE))
        assert w.closed() == 0
    with WebSocket(m, PATH) as w:
        assert w.accepted()
