"""Streams: events with their reasons, replayed from an id; live consoles; other requests are answered meanwhile."""
import json
import re
import socket
import time

import pytest

import openapi
from appliance import LIMIT, with_token

CONFIG = {"guests": [
    {"name": "hog", "image": "guests/hog.elf", "memory": "2M", "core": 0},
    {"name": "echo", "image": "guests/echo.elf", "memory": "4M", "core": 0, "restart": "on-failure"},
]}


@pytest.fixture(scope="module")
def m(start):
    return start(CONFIG, cpus=2)


class Stream:
    """A client that reads an endless answer and decodes its chunks."""

    def __init__(self, m, path, headers="", version="1.1"):
        self.s = socket.create_connection(("127.0.0.1", m.port), timeout=LIMIT)
        self.s.sendall(with_token(f"GET {path} HTTP/{version}\r\nHost: x\r\n{headers}\r\n".encode(), m.token))
        self.raw = b""
        while b"\r\n\r\n" not in self.raw:
            self.read()
        head, self.raw = self.raw.split(b"\r\n\r\n", 1)
        self.head = head.decode()
        self.text = ""
        line, *fields = self.head.split("\r\n")
        openapi.check_answer("GET", path, int(line.split()[1]), dict(f.split(": ", 1) for f in fields), None)

    def read(self):
        data = self.s.recv(65536)
        assert data, "the stream ended"
        self.raw += data

    def chunk(self):
        while True:
            match = re.match(rb"([0-9a-f]+)\r\n", self.raw)
            if match and len(self.raw) >= match.end() + int(match[1], 16) + 2:
                end = match.end() + int(match[1], 16)
                assert self.raw[end:end + 2] == b"\r\n" and int(match[1], 16) > 0
                self.text += self.raw[match.end():end].decode()
                self.raw = self.raw[end + 2:]
                return
            self.read()

    def until(self, pattern):
        while not re.search(pattern, self.text):
            self.chunk()

    def events(self):
        """The data of the complete events."""
        found = []
        for part in self.text.split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in part.split("\n") if not line.startswith(":"))
            if fields:
                data = json.loads(fields["data"])
                assert fields["event"] == "state" and int(fields["id"]) == data["id"]
                found.append(data)
        return found

    def close(self):
        self.s.close()


def test_events(m):
    s = Stream(m, "/v1/events")
    assert s.head.startswith("HTTP/1.1 200") and "Content-Type: text/event-stream" in s.head and "Transfer-Encoding: chunked" in s.head
    s.until(r'"guest":"mgmt","state":"running"')
    m.type("echo", "triple\r")
    s.until(r'(?s)"echo","state":"crashed".*"echo","state":"running"')
    m.request("POST", "/v1/guests/hog/actions", '{"action": "pause"}')
    s.until('"hog","state":"paused"')
    m.request("POST", "/v1/guests/hog/actions", '{"action": "resume"}')
    s.until(r'(?s)"hog","state":"paused".*"hog","state":"running"')
    seen = s.events()
    assert [e["id"] for e in seen] == list(range(1, len(seen) + 1))
    assert [e["uptime_ms"] for e in seen] == sorted(e["uptime_ms"] for e in seen)
    assert [(e["state"], e["restarts"]) for e in seen if e["guest"] == "echo"] == [
        ("starting", 0), ("running", 0), ("crashed", 0), ("starting", 1), ("running", 1)]
    died = next(e for e in seen if e["state"] == "crashed")
    assert "triple fault at RIP 0x" in died["why"]
    s.close()
    # Events after a given one, as a stream and as a list.
    for path, headers in ((f"/v1/events?from={died['id'] + 1}", ""), ("/v1/events", f"Last-Event-ID: {died['id']}\r\n")):
        again = Stream(m, path, headers)
        again.until('"hog","state":"paused"')
        assert again.events()[0] == seen[died["id"]]
        again.close()
    assert m.get("/v1/events?follow=0")["events"][:len(seen)] == seen


def test_console(m):
    m.wait_for("/v1/guests/echo/console?format=json", lambda c: c["text"].endswith("> "), "no prompt")
    s = Stream(m, "/v1/guests/echo/console?follow=1")
    s.until("echo: ready")
    m.type("echo", "echo one\r")
    s.until(r"(?s)> echo one\r\none\r\n")
    m.type("echo", "echo two\r")
    s.until(r"(?s)> echo two\r\ntwo\r\n> $")
    assert s.text == m.get("/v1/guests/echo/console?format=json")["text"]
    s.close()
    old = Stream(m, "/v1/guests/echo/console?follow=1", version="1.0")
    assert "chunked" not in old.head and "Content-Length" not in old.head
    while b"two\r\n> " not in old.raw:
        old.read()
    assert old.raw.decode() == s.text
    old.close()
    log = Stream(m, "/v1/log?follow=1")
    log.until("management address")
    log.close()


def opened(m, path):
    """A stream, as soon as there is room: the server may not know yet that others have left."""
    end = time.monotonic() + LIMIT
    while True:
        s = Stream(m, path)
        if s.head.startswith("HTTP/1.1 200"):
            return s
        assert s.head.startswith("HTTP/1.1 503") and time.monotonic() < end, s.head
        s.close()


def test_limits(m):
    """Streams leave room for other requests; a stream that ends makes room for the next."""
    streams = [Stream(m, "/v1/events") for _ in range(8)]
    status, _, body = m.request("GET", "/v1/events")
    assert status == 503 and "8 streams" in body
    assert m.get("/healthz") == {"status": "ok"}
    for s in streams:
        s.close()
    for s in [opened(m, "/v1/events") for _ in range(8)]:
        s.until("mgmt")
        s.close()
    status, _, body = m.request("HEAD", "/v1/events")
    assert status == 200 and body == ""
    # A bad request in a place that had a stream gets its answer, and no stream.
    with m.connect() as c:
        c.send(b"BAD\r\n\r\n")
        assert c.answer()[0] in (400, 501)
