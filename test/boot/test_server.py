"""Denial of service against the server: floods of half-open connections, odd segments, TLS that turns into noise, connections that never end; and what a
browser can be made to do."""
import contextlib
import json
import re
import socket
import ssl
import struct

import machine
import pytest

from appliance import LIMIT
from test_names import PREFIX, WIRE, MGMT, MGMT_LINK_LOCAL, exchange, ipv6, is_advertisement, solicitation

PLACES = 16
IDLE_MS = 30000  # for which the server keeps a connection without requests
ECHO = {"name": "echo", "image": "guests/echo.elf", "memory": "4M", "core": 0}
PAGE_FILE = b"GET /page/icon.svg HTTP/1.1\r\nHost: bulkhead\r\n\r\n"  # needs no token


@pytest.fixture(scope="module")
def m(start):
    booted = start({"guests": [WIRE, ECHO], "management": {"reachable_from_guests": True}, "mac_prefix": PREFIX}, cpus=2)
    booted.wait_serial(r"mgmt: also https://\[fe80::5042:48ff:fe00:0\]/ and ")
    exchange(booted, solicitation(MGMT_LINK_LOCAL), lambda f: is_advertisement(f, MGMT_LINK_LOCAL))
    return booted


@pytest.fixture(scope="module")
def bare(start):
    """Without tokens."""
    return start({"guests": [], "management": {"auth": "none", "hostname": "kettle"}})


def syn(port, source, mss=1440, window=8192):
    tcp = struct.pack(">HHIIBBHHHBBH", source, port, 1000, 0, 6 << 4, 2, window, 0, 0, 2, 4, mss)
    return ipv6(MGMT, MGMT_LINK_LOCAL, 6, tcp, 16)


def is_from(f, port, source):
    return f[12:14] == b"\x86\xdd" and f[20] == 6 and struct.unpack(">HH", f[54:58]) == (port, source)


def https(m):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    while True:
        raw = socket.create_connection(("127.0.0.1", m.https_port), timeout=LIMIT)
        try:
            return context.wrap_socket(raw)
        except (ConnectionError, ssl.SSLError):  # the emulator's network takes one new connection at a time
            raw.close()
            assert m.process.poll() is None


def answers(m):
    """Answers on both ports, by a management guest that never restarted."""
    assert m.get("/healthz") == {"status": "ok"}
    with https(m) as s:
        s.sendall(f"GET /healthz HTTP/1.1\r\nHost: bulkhead\r\nAuthorization: Bearer {m.token}\r\n\r\n".encode())
        assert s.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
    assert m.guest("mgmt")["restarts"] == 0
    return True


def test_half_open_connections(m):
    """More half-open connections than fit, on both ports, none continued. An open connection stays."""
    with m.connect() as old:
        old.send(b"GET /v1/whoami HTTP/1.1\r\nHost: bulkhead\r\n\r\n")
        assert old.answer()[0] == 200
        frames = [syn(port, 2000 + i).hex() for i in range(60) for port in (80, 443)]
        m.type("wire", "".join(f + "\n" for f in frames))
        assert answers(m)
        old.send(b"GET /v1/whoami HTTP/1.1\r\nHost: bulkhead\r\n\r\n")
        assert old.answer()[0] == 200


def test_tiny_segments(m):
    """Neither port accepts a client whose segments would be smaller than any network needs: answers and handshakes would not fit the send queue."""
    for port in (80, 443):
        for odd in (syn(port, 3000, mss=1), syn(port, 3001, mss=255), syn(port, 3002, mss=0), syn(port, 3003, window=1)):
            m.type("wire", odd.hex() + "\n")
        answer = exchange(m, syn(port, 3004, mss=256), lambda f, p=port: is_from(f, p, 3004))
        assert answer[67] == 0x12
        console = m.get("/v1/guests/wire/console?format=json")["text"]
        assert not any(is_from(bytes.fromhex(line), port, 3000 + i) for line in re.findall(r"^< ([0-9a-f]{120,})\r?\n", console, re.M) for i in range(4) if len(line) % 2 == 0)
    assert answers(m)


class RawTls:
    """A TLS connection into which any bytes can be mixed."""

    def __init__(self, m):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.input, self.output = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.input, self.output)
        self.socket = socket.create_connection(("127.0.0.1", m.https_port), timeout=LIMIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.step(self.tls.do_handshake)

    def step(self, f):
        while True:
            try:
                result = f()
                self.socket.sendall(self.output.read())
                return result
            except ssl.SSLWantReadError:
                self.socket.sendall(self.output.read())
                data = self.socket.recv(4096)
                assert data, "closed"
                self.input.write(data)


def raw_tls(m):
    while True:
        try:
            return RawTls(m)
        except (ConnectionError, ssl.SSLError, AssertionError):
            assert m.process.poll() is None


@pytest.mark.parametrize("noise", [b"\x17\x03\x03\x00\x20" + bytes(32), b"\x99" * 10, b"\x17\x03\x03\x7f\xff"], ids=["forged record", "no record", "too long"])
def test_noise_in_tls(m, noise):
    """After the noise nothing can be decrypted: later bytes must not pile up, and the connection ends."""
    t = raw_tls(m)
    t.step(lambda: t.tls.write(f"GET /healthz HTTP/1.1\r\nHost: bulkhead\r\nAuthorization: Bearer {m.token}\r\n\r\n".encode()))
    assert t.step(lambda: t.tls.read(100)).startswith(b"HTTP/1.1 200 OK\r\n")
    with contextlib.suppress(ConnectionError):
        t.socket.sendall(noise)
        for _ in range(2000):
            t.socket.sendall(b"x")
    assert answers(m)
    with contextlib.suppress(ConnectionError):
        while t.socket.recv(4096):
            pass
    t.socket.close()


def test_places(m):
    """Clients without a token, whether silent, half-way or answered, cannot keep out a client that has one. A client that has shown a token stays."""
    def attempt():
        with m.connect() as known:
            known.send(b"GET /v1/whoami HTTP/1.1\r\nHost: bulkhead\r\n\r\n")
            assert known.answer()[0] == 200
            with contextlib.ExitStack() as stack:
                for _ in range(PLACES):
                    s = stack.enter_context(contextlib.closing(socket.create_connection(("127.0.0.1", m.port), timeout=LIMIT)))
                    s.sendall(say)
                assert m.get("/v1/whoami")["role"] == "admin"
            known.send(b"GET /v1/whoami HTTP/1.1\r\nHost: bulkhead\r\n\r\n")
            assert known.answer()[0] == 200

    for say in (b"", b"GET /hea", PAGE_FILE):
        m.within(IDLE_MS, attempt)  # the emulator takes one new connection a second


def test_whose_host(bare):
    """Without tokens a page of another site could make its own name resolve to the appliance (DNS rebinding)."""
    for host, status in (("kettle", 200), ("kettle.local", 200), ("10.0.2.15:80", 200), ("localhost:8080", 200), ("[fe80::1]", 200), ("evil.example", 421), ("kettle.evil.example", 421)):
        got, _, body = bare.request("GET", "/v1/whoami", headers={"Host": host})
        assert got == status, (host, body)
    assert bare.request("GET", "/", headers={"Host": "evil.example"})[0] == 200  # a page without any of our data


def test_log_with_times(m):
    plain, timed = (m.request("GET", f"/v1/log?format=text{more}")[2].splitlines() for more in ("", "&time=1"))
    for a, b in zip(plain, timed):
        assert re.sub(r"^\[ *\d+\.\d{6}\] ", "", a) == re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z ", "", b) != b
    assert m.request("GET", "/v1/log?time=maybe")[0] == 400


def test_stream_of_a_deleted_guest(m):
    """The stream ends, and does not continue with another guest of the same number."""
    status, _, body = m.request("POST", "/v1/guests", json.dumps({"name": "first", "image": "guests/echo.elf", "memory": "2M"}))
    assert status == 201, body
    m.wait_for("/v1/guests/first/console?format=json", lambda c: c["text"].endswith("> "), "no prompt")
    s = socket.create_connection(("127.0.0.1", m.port), timeout=LIMIT)
    s.sendall(f"GET /v1/guests/first/console?follow=1 HTTP/1.1\r\nHost: bulkhead\r\nAuthorization: Bearer {m.token}\r\n\r\n".encode())
    seen = b""
    while b"> \r\n" not in seen:
        seen += s.recv(4096)
    assert b"\r\nBulkhead-Next: 0\r\n" in seen
    assert m.request("DELETE", "/v1/guests/first")[0] in (202, 204)
    while data := s.recv(4096):
        seen += data
    assert seen.endswith(b"\r\n0\r\n\r\n")
    s.close()


def test_https_without_a_lease(start, monkeypatch):
    """Without a DHCP server, HTTPS still works over IPv6."""
    monkeypatch.setattr(machine, "BOCHSRC", machine.BOCHSRC.replace("ethmod=slirp, script={dir}/slirp.conf", "ethmod=null"))
    m = start({"guests": [], "management": {"http": "redirect"}, "mac_prefix": PREFIX}, wait=False)
    m.wait_serial(r"mgmt: also https://\[fe80::5042:48ff:fe00:0\]/\n")
    m.wait_serial(r"mgmt: management certificate: sha256 ")
    assert "management address: " not in m.serial()
    m.stop()
