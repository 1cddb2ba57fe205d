"""HTTPS: negotiation, certificates, hostile clients, and the state they leave behind."""
import concurrent.futures
import contextlib
import hashlib
import http.client
import json
import re
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest

import openapi
from appliance import LIMIT

FINGERPRINT = r"management certificate: sha256 ((?:[0-9A-F]{2}:){31}[0-9A-F]{2})"
NO_RANDOM = "corei7_sandy_bridge_2600k"  # VT-x, but neither RDRAND nor RDSEED
REQUEST_MS = 10000  # the server's limit for a request to arrive, and for a handshake
# Permissions are tested elsewhere.
GUESTS = {"guests": [{"name": "control", "image": "guests/control.elf", "memory": "4M", "core": 0, "weight": 200}, {"name": "hog", "image": "guests/hog.elf", "memory": "2M", "core": 0}],
          "management": {"auth": "none"}}


@pytest.fixture(scope="module")
def m(start):
    return start(GUESTS, cpus=2)


@pytest.fixture(scope="module")
def pinned(m):
    """A context that trusts this machine's certificate and no other, by its name."""
    context = ssl.create_default_context(cadata=certificate(m))
    context.check_hostname = True
    return context


@pytest.fixture
def nothing_missed(m):
    """The control loop loses no period from the test's first second to its last."""
    at = len(m.serial())
    yield
    # The next report still covers part of the test: wait for one that begins after it.
    end = m.wait_serial(r"control: second \d+,[^\n]*\n", len(m.serial())).end()
    m.wait_serial(r"control: second \d+,[^\n]*\n", end)
    missed = re.findall(r"control: second \d+, periods 1000, missed (\d+),", m.serial()[at:])
    assert len(missed) >= 2 and set(missed) == {"0"}, missed


def certificate(m):
    return patiently(m, lambda: ssl.get_server_certificate(("127.0.0.1", m.https_port), timeout=LIMIT))


def patiently(m, f):
    """The emulator's network takes one new connection at a time."""
    end = time.monotonic() + LIMIT
    while True:
        try:
            return f()
        except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError, TimeoutError):
            assert m.process.poll() is None and time.monotonic() < end, m.serial()[-3000:]
            time.sleep(0.05)


VERSIONS = [ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2]
each_version = pytest.mark.parametrize("version", VERSIONS, ids=lambda v: v.name)


def anyone(version=None):
    """A context that accepts any certificate and speaks only this version."""
    context = ssl.create_default_context()
    if version:
        context.minimum_version = context.maximum_version = version
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


ANYONE = anyone()


def connect(m, context=None, name="bulkhead.local", session=None):
    """A TLS connection. Without a context: accepts any certificate, and uses an earlier connection's ticket if there is one, which saves the emulator much
    work."""
    quick = context is None
    if quick:
        context, session = ANYONE, getattr(m, "session", None)

    def once():
        raw = socket.create_connection(("127.0.0.1", m.https_port), timeout=LIMIT)
        try:
            return context.wrap_socket(raw, server_hostname=name, session=session, suppress_ragged_eofs=False)
        except BaseException:
            raw.close()
            raise

    s = patiently(m, once)
    if quick and s.session and s.session.has_ticket:  # with TLS 1.3 it comes later
        m.session = s.session
    return s


def plain(m):
    return patiently(m, lambda: socket.create_connection(("127.0.0.1", m.https_port), timeout=LIMIT))


def get(s, path, more=""):
    """(status, body) of one answer."""
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: bulkhead.local\r\n{more}\r\n".encode())
    return answer(s, "GET", path)


def answer(s, method, path):
    r = http.client.HTTPResponse(s)
    r.begin()
    body = r.read()
    openapi.check_answer(method, path, r.status, r.headers, body)
    return r.status, body


def served(m):
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate(m))).hexdigest()


def said(m, after=0):
    return m.wait_serial(FINGERPRINT, after).group(1).replace(":", "").lower()


def counts(m):
    text = m.request("GET", "/metrics")[2]
    return [int(re.search(rf"^bulkhead_tls_{n}_total (\d+)$", text, re.M).group(1)) for n in ("handshakes", "handshake_failures")]


def wait_counts(m, condition, what):
    end = time.monotonic() + LIMIT
    while not condition(now := counts(m)):
        assert time.monotonic() < end, (what, now)
        time.sleep(0.05)
    return now


def hello(version=None):
    """The first message of an honest client."""
    out = ssl.MemoryBIO()
    context = anyone(version)
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="bulkhead.local").do_handshake()
    return out.read()


def talk(s, read, write, what, came=lambda: None):
    """What `what` of a TLS object over two memory BIOs returns, its records carried to the socket and back. `came` is called when something has come."""
    while True:
        try:
            return what()
        except ssl.SSLWantReadError:
            s.sendall(write.read())
            data = s.recv(65536)
            came()
            if not data:
                raise ConnectionError("closed") from None
            read.write(data)


def until(s, what):
    seen = b""
    while what not in seen:
        part = s.recv(4096)
        assert part, seen
        seen += part


def restart(m):
    """The serial output's length before it."""
    at = len(m.serial())
    with m.connect() as c:
        c.send(b'POST /v1/guests/mgmt/actions HTTP/1.1\r\nHost: bulkhead\r\nContent-Length: 18\r\n\r\n{"action":"reset"}')
        m.wait_serial(r"guest mgmt: started[^\0]*management address", at)
    return at


def ended(s):
    """Reads until the other side has closed."""
    try:
        while s.recv(4096):
            pass
    except (ConnectionError, ssl.SSLError):
        pass
    s.close()


# ---- negotiation ----

@pytest.mark.parametrize("most,version,suite", [
    (ssl.TLSVersion.MAXIMUM_SUPPORTED, "TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256"),  # though OpenSSL prefers AES
    (ssl.TLSVersion.TLSv1_2, "TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305"),
], ids=["TLS 1.3", "TLS 1.2"])
def test_handshake(m, pinned, most, version, suite):
    pinned.maximum_version = most
    with connect(m, pinned) as s:
        assert (s.version(), s.cipher()[0]) == (version, suite)
        status, body = get(s, "/healthz")
        assert status == 200 and json.loads(body) == {"status": "ok"}


def test_names(m, tmp_path):
    path = tmp_path / "cert.pem"
    path.write_text(certificate(m))
    text = subprocess.run(["openssl", "x509", "-in", path, "-noout", "-text"], capture_output=True, text=True, check=True).stdout
    assert re.search(r"DNS:bulkhead, DNS:bulkhead\.local, IP Address:10\.0\.2\.15\n", text), text
    for part in ("prime256v1", "ecdsa-with-SHA256", "CA:FALSE", "TLS Web Server Authentication", "Digital Signature"):
        assert part in text, text
    assert re.search(r"Version: 3", text) and re.search(r"Subject: CN ?= ?bulkhead\n", text), text  # OpenSSL 3.5 has no spaces there
    subprocess.run(["openssl", "x509", "-in", path, "-noout", "-checkend", "86400"], check=True, capture_output=True)
    for name in ("bulkhead", "bulkhead.local"):
        context = ssl.create_default_context(cafile=str(path))
        connect(m, context, name).close()
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(m, ssl.create_default_context(cafile=str(path)), "other.local")


def test_curl(m, tmp_path):
    path = tmp_path / "cert.pem"
    path.write_text(certificate(m))
    common = ["curl", "-sS", "--retry", "20", "--retry-all-errors", "--retry-delay", "1", "--max-time", str(LIMIT)]
    for how in (["-k", f"https://127.0.0.1:{m.https_port}/healthz"],
                ["--cacert", path, "--resolve", f"bulkhead.local:{m.https_port}:127.0.0.1", f"https://bulkhead.local:{m.https_port}/healthz"]):
        run = subprocess.run(common + how, capture_output=True, text=True, check=False)
        assert run.returncode == 0 and json.loads(run.stdout) == {"status": "ok"}, run


@pytest.mark.parametrize("suite", ["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"])
@pytest.mark.parametrize("curves,key", [("P-521:P-384:P-256:X25519", "X25519"), ("P-384:P-256", "ECDH, prime256v1|ECDH, P-256")])
def test_modern(m, suite, curves, key):
    """The fastest curve is taken, whatever the client prefers."""
    run = s_client(m, "-tls1_2", "-cipher", suite, "-groups", curves)
    assert re.search(rf"Cipher is {suite}\n", run), run
    assert re.search(f"(Server|Peer) Temp Key: ({key})", run), run


@pytest.mark.parametrize("suite", ["TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"])
@pytest.mark.parametrize("groups,key", [("X25519:P-256", "X25519"), ("P-256:X25519", "ECDH, prime256v1|ECDH, P-256"),
                                        ("P-521:P-384", "ECDH, secp384r1|ECDH, P-384")])  # the last one: only after a HelloRetryRequest
def test_tls_1_3(m, suite, groups, key):
    """The key share that the client sent at once is taken: no extra round trip."""
    run = s_client(m, "-tls1_3", "-ciphersuites", suite, "-groups", groups)
    assert re.search(rf"New, TLSv1.3, Cipher is {suite}\n", run), run
    assert re.search(f"(Server|Peer) Temp Key: ({key})", run), run


def s_client(m, *options):
    return patiently_run(m, ["openssl", "s_client", "-connect", f"127.0.0.1:{m.https_port}", *options])


def patiently_run(m, command):
    def once():
        run = subprocess.run(command, input="", capture_output=True, text=True, check=False, timeout=LIMIT)
        if "errno=104" in run.stderr or "Connection refused" in run.stderr:
            raise ConnectionResetError
        return run.stdout + run.stderr
    return patiently(m, once)


@pytest.mark.parametrize("options", [
    ["-tls1"], ["-tls1_1"],
    ["-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256"], ["-tls1_3", "-groups", "P-521:X448"],
    *(["-tls1_2", "-cipher", f"{suite}:@SECLEVEL=0"] for suite in (
        "AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA256", "DHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-CCM", "NULL-SHA256",
        "ECDHE-RSA-CHACHA20-POLY1305")),  # the last one: for another kind of key than ours
    ["-tls1_2", "-groups", "P-521"],
], ids=lambda o: " ".join(o))
def test_refused(m, options):
    before = counts(m)
    if options[-1].endswith("SECLEVEL=0") or options[0] in ("-tls1", "-tls1_1"):
        options = options if "-cipher" in options else options + ["-cipher", "ALL:@SECLEVEL=0"]
    text = s_client(m, *options)
    assert re.search(r"alert|no protocols available|no cipher match", text), text
    assert re.search(r"Cipher is \(NONE\)|no cipher match", text) or "alert" in text, text
    assert "alert protocol version" in text or options[0] not in ("-tls1", "-tls1_1"), text
    assert counts(m)[0] == before[0]


@pytest.mark.parametrize("version", ["-tls1_3", "-tls1_2"])
def test_no_client_certificate_is_asked_for(m, version):
    text = s_client(m, version)
    assert "No client certificate CA names sent" in text and "Client Certificate Types" not in text, text


def test_no_renegotiation(m):
    """OpenSSL's client asks for it with a line "R"."""
    def once():
        run = subprocess.run(["openssl", "s_client", "-tls1_2", "-connect", f"127.0.0.1:{m.https_port}"], input="R\n", capture_output=True, text=True, check=False,
                             timeout=LIMIT)
        if "Connection refused" in run.stderr or "CONNECTED" not in run.stdout or "Cipher is (NONE)" in run.stdout:
            raise ConnectionResetError
        return run.stdout + run.stderr
    text = patiently(m, once)
    assert re.search(r"no renegotiation|renegotiation", text, re.I) and "Secure Renegotiation IS" in text, text
    assert m.get("/healthz") == {"status": "ok"}


@each_version
def test_second_connection_is_cheap(m, version):
    """The client has a ticket: nothing is signed again, and with TLS 1.2 no keys are computed."""
    context = anyone(version)
    with connect(m, context) as s:
        assert get(s, "/healthz")[0] == 200
        session = s.session
        assert session.has_ticket and not s.session_reused
    before = ticks(m)
    with connect(m, context, session=session) as s:
        assert s.session_reused and get(s, "/healthz")[0] == 200
    resumed = ticks(m) - before
    before = ticks(m)
    with connect(m, context) as s:
        assert not s.session_reused and get(s, "/healthz")[0] == 200
    assert resumed * 2 < ticks(m) - before


def ticks(m):
    return m.guest("mgmt")["vcpus"][0]["run_ticks"]


@each_version
def test_broken_ticket(m, version):
    """An invalid ticket leads to a full handshake, not to a refusal."""
    context = anyone(version)
    with connect(m, context) as s:
        get(s, "/healthz")
        session = s.session
    restart(m)
    with connect(m, context, session=session) as s:
        assert not s.session_reused and get(s, "/healthz")[0] == 200


# ---- bytes through it ----

def test_the_same_answers(m):
    """HTTPS serves everything that HTTP serves; large answers take many records."""
    with connect(m) as s:
        for path in ("/", "/app.js", "/v1/vmx/capabilities", "/v1/guests/hog/vcpus/0/vmcs/snapshots/1?decode=1", "/v1/nothing"):
            status, _, body = m.request("GET", path)
            assert get(s, path) == (status, body.encode()), path


def test_many_requests_on_one_connection(m):
    with connect(m) as s:
        for _ in range(20):
            assert get(s, "/healthz")[0] == 200


def test_pipelining(m):
    """Requests in one record of the largest size, and each byte in a record of its own."""
    one = b"GET /healthz HTTP/1.1\r\nHost: bulkhead\r\nX-Long: " + b"a" * 900 + b"\r\n\r\n"
    with connect(m) as s:
        s.sendall(one * 16)
        with s.makefile("rb") as f:
            for _ in range(16):
                assert f.readline() == b"HTTP/1.1 200 OK\r\n"
                while f.readline() != b"\r\n":
                    pass
                assert json.loads(f.readline()) == {"status": "ok"}
    with connect(m) as s:
        for byte in b"GET /healthz HTTP/1.1\r\nHost: bulkhead\r\n\r\n":
            s.sendall(bytes([byte]))
        assert answer(s, "GET", "/healthz")[0] == 200


def test_goodbye(m):
    """With close_notify, so that an answer cannot be cut short unnoticed. (A missing one would be an error here.)"""
    with connect(m) as s:
        assert get(s, "/healthz", "Connection: close\r\n")[0] == 200
        assert s.recv(1) == b""


def test_refusal(m):
    """An invalid request gets an error; bytes still on their way then do no harm."""
    with connect(m) as s:
        s.sendall(b"BREW / HTTP/1.1\r\n\r\n")
        status, body = answer(s, None, None)
        assert status == 501 and body
        s.sendall(b"x" * 1000)
        assert s.recv(1) == b""
    assert_healthy(m)


def test_killed_in_the_middle(m, nothing_missed):
    """The management guest is restarted while one client is in its handshake, one sends a request and one reads a stream: it comes back, and other guests do
    not notice."""
    hog = m.guest("hog")
    half = plain(m)
    half.sendall(hello())
    with connect(m) as asking, connect(m) as reading:
        asking.sendall(b"PUT /v1/images/half HTTP/1.1\r\nHost: bulkhead\r\nContent-Length: 100000\r\n\r\n" + b"x" * 1000)
        reading.sendall(b"GET /v1/log?follow=1 HTTP/1.1\r\nHost: bulkhead\r\n\r\n")
        until(reading, b"management address")
        restart(m)
    half.close()  # there is no server left to end it
    assert_healthy(m)
    assert not [i for i in m.get("/v1/images")["images"] if i["source"] == "upload"]
    after = m.guest("hog")
    assert (after["state"], after["started_tsc"]) == ("running", hog["started_tsc"])


def test_stream(m):
    """Events come while they happen."""
    with connect(m) as s:
        s.sendall(b"GET /v1/events HTTP/1.1\r\nHost: bulkhead\r\nAccept: text/event-stream\r\n\r\n")
        until(s, b"hog")
        assert m.request("POST", "/v1/guests/hog/actions", '{"action":"pause"}')[0] in (200, 202)
        until(s, b"paused")
    assert m.request("POST", "/v1/guests/hog/actions", '{"action":"resume"}')[0] in (200, 202)


def test_slow_reader(m):
    """The client reads nothing for a while; then everything arrives in order."""
    path = "/v1/guests/hog/vcpus/0/vmcs/snapshots/1?decode=1"
    _, _, body = m.request("GET", path)
    raw = plain(m)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    context = anyone()
    with context.wrap_socket(raw) as s:
        for _ in range(3):
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: bulkhead\r\n\r\n".encode())
        assert m.get("/healthz") == {"status": "ok"}
        with s.makefile("rb") as f:
            for _ in range(3):
                while f.readline() != b"\r\n":
                    pass
                assert f.read(len(body)) == body.encode()


# ---- hostile clients ----

GARBAGE = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: bulkhead\r\n\r\n",
    "zeros": bytes(600),
    "ones": b"\xff" * 600,
    "SSL 2": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(35),
    "long record": b"\x16\x03\x01\xff\xff" + b"\x01" * 2000,
    "empty handshake": b"\x16\x03\x03\x00\x00" * 50,
    "alert": b"\x15\x03\x03\x00\x02\x02\x28",
    "data before keys": b"\x17\x03\x03\x00\x20" + bytes(32),
    "lying lengths": b"\x16\x03\x01\x00\x40\x01\xff\xff\xff" + b"\x03\x03" + bytes(58),
}


@pytest.mark.parametrize("what", GARBAGE, ids=list(GARBAGE))
def test_garbage(m, what, nothing_missed):
    before = counts(m)
    s = plain(m)
    s.sendall(GARBAGE[what])
    s.shutdown(socket.SHUT_WR)
    answered = s.recv(5)
    # The last one waits for more, until the client ends.
    assert answered[:1] == (b"" if what in ("alert", "lying lengths") else b"\x15"), answered
    ended(s)
    after = wait_counts(m, lambda c: c[1] > before[1], what)
    assert after[0] == before[0]
    assert_healthy(m)


@each_version
@pytest.mark.parametrize("size", [200, 30, 5, 1])
def test_hello_in_several_records(m, version, size):
    """RFC 8446, section 5.1. A record with less than a message's head is told to be wrong."""
    head, body = (first := hello(version))[:3], first[5:]
    s = plain(m)
    s.sendall(b"".join(head + struct.pack(">H", len(part)) + part for part in (body[at:at + size] for at in range(0, len(body), size))))
    answered = s.recv(5)
    assert answered[0] == (22 if size > 4 else 21), answered  # a handshake, or an alert
    s.close()
    assert_healthy(m)


def assert_healthy(m):
    with connect(m) as s:
        assert get(s, "/healthz")[0] == 200
    assert m.guest("mgmt")["state"] == "running" and not re.search(r"guest mgmt: (crashed|stopped): (?!stopped by|reset)", m.serial()[-2000:])


@each_version
def test_bits_of_a_hello(m, version, nothing_missed):
    """An honest first message with some bytes changed, one at a time: an answer or a closed connection, never the guest's death."""
    honest = hello(version)
    restarts = m.guest("mgmt")["restarts"]
    for at in list(range(0, 48, 3)) + list(range(76, len(honest), 23)):
        s = plain(m)
        s.sendall(honest[:at] + bytes([honest[at] ^ 0x55]) + honest[at + 1:])
        s.shutdown(socket.SHUT_WR)
        ended(s)
    assert m.guest("mgmt")["restarts"] == restarts
    assert_healthy(m)


@each_version
def test_turned_bits_after_the_handshake(m, version, nothing_missed):
    """A record with a bad tag ends only its own connection."""
    context = anyone(version)
    read, write = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(read, write)
    s = plain(m)
    talk(s, read, write, tls.do_handshake)
    s.sendall(write.read())
    tls.write(b"GET /healthz HTTP/1.1\r\nHost: bulkhead\r\n\r\n")
    record = bytearray(write.read())
    record[-1] ^= 1
    s.sendall(record)
    with pytest.raises(ssl.SSLError, match="(?i)bad record mac"):  # by an alert
        while True:
            try:
                came = s.recv(65536)
                assert came, "closed without an alert"
                read.write(came)
                tls.read(1000)
            except ssl.SSLWantReadError:  # a ticket of TLS 1.3 comes first
                pass
    s.close()
    assert_healthy(m)


@pytest.mark.parametrize("part", [0, 1, 5, 60, None], ids=["nothing", "one byte", "a record's head", "some", "all of the hello"])
def test_stops_in_the_middle(m, part, nothing_missed):
    """Ten seconds, and its place is free again."""
    first = hello()

    def attempt():
        before, begun = counts(m), m.get("/v1/host")["uptime_ms"]
        s = plain(m)
        s.sendall(first[:len(first) if part is None else part])
        ended(s)
        wait_counts(m, lambda c: c[1] == before[1] + 1, "the failure is not counted")
        assert 8000 <= m.get("/v1/host")["uptime_ms"] - begun < 20000
    m.within(20000, attempt)
    assert_healthy(m)


def test_sixteen_half_open(m, nothing_missed):
    """More handshakes than fit. HTTP is answered at once, HTTPS once the first handshakes have timed out."""
    sockets = []
    first = hello()
    for n in range(16):
        s = plain(m)
        s.sendall(first[:n])
        sockets.append(s)
    with m.connect() as c:
        c.send(b"GET /healthz HTTP/1.1\r\nHost: bulkhead\r\n\r\n")
        assert c.answer()[0] == 200
    with connect(m) as s:
        assert get(s, "/healthz")[0] == 200
    for s in sockets:
        s.close()
    assert_healthy(m)


def test_all_connections_taken(m):
    """A seventeenth client gets the place of an idle one; if all are busy it gets an error, over TLS too."""
    def attempt():
        with contextlib.ExitStack() as stack:
            open_ones = []
            for _ in range(16):
                c = stack.enter_context(m.connect())
                c.send(b"GET /healthz HTTP/1.1\r\nHost: bulkhead\r\n\r\n")
                assert c.answer()[0] == 200
                open_ones.append(c)
            with connect(m) as s:
                assert get(s, "/healthz")[0] == 200
                assert open_ones.pop(0).ended()
                for c in open_ones:
                    c.send(b"GET /heal")
                s.sendall(b"GET /heal")
                with connect(m) as refused:
                    status, body = answer(refused, None, None)
                    assert status == 503 and b"16 connections are" in body
    m.within(REQUEST_MS, attempt)
    assert_healthy(m)


def test_no_slot_is_lost(m, nothing_missed):
    """Clients leave in every possible way; then fourteen are all served."""
    first = hello()
    for n in range(24):
        if n % 4 == 0:
            s = connect(m)
            s.sendall(b"GET /v1/gue")
        else:
            s = plain(m)
            s.sendall(first if n % 4 == 1 else first[:20 * (n % 4)])
        if n % 3 == 0:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()

    def attempt():
        with contextlib.ExitStack() as stack:
            open_ones = [stack.enter_context(connect(m)) for _ in range(14)]
            for s in open_ones:
                assert get(s, "/healthz")[0] == 200
    m.within(REQUEST_MS, attempt)
    assert_healthy(m)


def test_many_at_once(m, nothing_missed):
    def one(n):
        with connect(m) as s:
            return [get(s, "/healthz")[0] for _ in range(n % 3 + 1)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(set(r) == {200} for r in pool.map(one, range(16)))


def second(m):
    """The machine's time, in whole seconds, without asking management."""
    return int(re.findall(r"control: second (\d+),", m.serial())[-1])


@each_version
def test_twenty_at_once(m, version, nothing_missed):
    """Far more handshakes than can be computed soon. Each client is answered, or refused within two seconds; none hears nothing for ten, and what has begun
    is finished. On a busy computer clients may come too late, or notice too late what they have got: three tries."""
    for _ in range(2):
        with contextlib.suppress(AssertionError):
            twenty_at_once(m, version)
            break
    else:
        twenty_at_once(m, version)
    assert_healthy(m)


def twenty_at_once(m, version):
    turn = threading.Lock()

    def one(_):
        tls = anyone(version).wrap_bio(read := ssl.MemoryBIO(), write := ssl.MemoryBIO())
        with turn:  # the emulator's network takes one new connection at a time
            s = plain(m)
        begun, heard = second(m), []
        with s:
            try:
                talk(s, read, write, tls.do_handshake, came=lambda: heard.append(second(m)) if not heard else None)
                tls.write(b"GET /healthz HTTP/1.1\r\nHost: bulkhead\r\n\r\n")
                return begun, heard[0], second(m), talk(s, read, write, lambda: tls.read(15))
            except ConnectionError:
                now = second(m)
                return begun, heard[0] if heard else now, now, None
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        clients = list(pool.map(one, range(20)))
    for begun, heard, end, answered in clients:
        # A second more, as the clock has only whole ones.
        assert end - begun <= 2 + 1 and heard == end if answered is None else heard - begun < 10 and answered == b"HTTP/1.1 200 OK", clients
    assert 4 <= sum(c[3] is not None for c in clients) < 20, clients


# ---- the certificate ----

def test_fingerprint_and_restart(m, nothing_missed):
    """The console shows the fingerprint of the served certificate, which survives a restart of the management guest."""
    before = said(m)
    assert served(m) == before
    assert said(m, restart(m)) == before
    assert served(m) == before


def openssl(*command):
    subprocess.run(["openssl", *map(str, command)], check=True, capture_output=True)


def make(directory, name, kind=("ec", "-pkeyopt", "ec_paramgen_curve:P-256"), issuer=None):
    """NAME.pem and NAME.key; signed by `issuer`, else self-signed."""
    by = ["-CA", directory / f"{issuer}.pem", "-CAkey", directory / f"{issuer}.key"] if issuer else []
    openssl("req", "-x509", "-newkey", *kind, "-nodes", "-keyout", directory / f"{name}.key", "-out", directory / f"{name}.pem", "-days", "30", "-subj", f"/CN={name}",
            "-addext", f"subjectAltName=DNS:{name}", "-addext", "keyUsage=critical,digitalSignature,keyCertSign", *by)  # Python 3.13 asks authorities for it
    return (directory / f"{name}.pem").read_bytes(), (directory / f"{name}.key").read_bytes()


def configured(start, cert, key, **management):
    return start({"guests": [], "management": {"auth": "none", "certificate": "tls/cert", "key": "tls/key", **management}}, cpus=1, wait=False, files={"tls/cert": cert, "tls/key": key})


@pytest.mark.parametrize("kind", [("ec", "-pkeyopt", "ec_paramgen_curve:P-256"), ("ec", "-pkeyopt", "ec_paramgen_curve:P-384"), ("rsa:2048",)],
                         ids=["P-256", "P-384", "RSA 2048"])
def test_configured(start, tmp_path, kind):
    cert, key = make(tmp_path, "host.example", kind)
    m = configured(start, cert, key, http="plain")
    der = ssl.PEM_cert_to_DER_cert(cert.decode())
    assert said(m) == hashlib.sha256(der).hexdigest()
    for version, suite in zip(VERSIONS, ("TLS_", "ECDHE-RSA-" if kind[0].startswith("rsa") else "ECDHE-ECDSA-")):
        context = ssl.create_default_context(cadata=cert.decode())
        context.minimum_version = context.maximum_version = version
        with connect(m, context, "host.example") as s:
            assert s.cipher()[0].startswith(suite)
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: bulkhead.local\r\n\r\n")
            r = http.client.HTTPResponse(s)
            r.begin()
            assert r.status == 200 and r.headers["Strict-Transport-Security"] == "max-age=15768000"
            r.read()
    assert "Strict-Transport-Security" not in m.request("GET", "/healthz")[1]  # by HTTP
    end = subprocess.run(["openssl", "x509", "-noout", "-enddate"], input=cert, capture_output=True, check=True).stdout.decode().strip().split("=")[1]
    assert f"\nbulkhead_tls_certificate_not_after_timestamp_seconds {ssl.cert_time_to_seconds(end)}\n" in m.request("GET", "/metrics")[2]
    # No guest can be made from them.
    assert not {i["name"] for i in m.get("/v1/images")["images"]} & {"tls/cert", "tls/key"}
    for name in ("tls/cert", "tls/key"):
        assert m.request("POST", "/v1/guests", json.dumps({"name": "thief", "image": name}))[0] == 400
    m.stop()


def test_configured_in_der_and_chain(start, tmp_path):
    """A chain is sent completely. DER holds one certificate."""
    root, _ = make(tmp_path, "authority")
    cert, key = make(tmp_path, "host.example", issuer="authority")
    m = configured(start, cert + root, key)
    with connect(m, ssl.create_default_context(cadata=root.decode()), "host.example") as s:
        assert get(s, "/healthz")[0] == 200
    m.stop()
    openssl("pkcs8", "-topk8", "-nocrypt", "-in", tmp_path / "host.example.key", "-outform", "DER", "-out", tmp_path / "key.der")
    m = configured(start, ssl.PEM_cert_to_DER_cert(cert.decode()), (tmp_path / "key.der").read_bytes())
    with connect(m, ssl.create_default_context(cadata=root.decode()), "host.example") as s:
        assert get(s, "/healthz")[0] == 200
    m.stop()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    directory = tmp_path_factory.mktemp("pair")
    return make(directory, "host.example"), make(directory, "other.example")


BROKEN = {
    "another's key": (lambda a, b: (a[0], b[1]), "the key is not that of the certificate"),
    "no certificate": (lambda a, b: (b"nothing", a[1]), r"the certificate cannot be read \(mbedTLS -0x[0-9a-f]{4}\)"),
    "half a certificate": (lambda a, b: (a[0][:300], a[1]), r"the certificate cannot be read"),
    "certificate as key": (lambda a, b: (a[0], a[0]), r"the key cannot be read \(mbedTLS -0x[0-9a-f]{4}\)"),
    "empty key": (lambda a, b: (a[0], b""), r'"tls/key" is empty'),
    "a long file": (lambda a, b: (bytes(0x8000), a[1]), r'"tls/cert" is too long'),
    "a long chain": (lambda a, b: (a[0] * 20, a[1]), "longer than 7 KiB"),
}


@pytest.mark.parametrize("what", BROKEN, ids=list(BROKEN))
def test_broken(start, pair, what):
    """A bad certificate is not replaced by another, nor HTTPS by plain HTTP."""
    files, why = BROKEN[what]
    m = configured(start, *files(*pair), http="plain")
    m.wait_serial(rf"no HTTPS: .*{why}")
    m.wait_serial("management address")
    status, _, body = m.request("GET", "/v1/guests")
    assert status == 503 and "the log says why" in body
    assert "management certificate" not in m.serial()
    ended(plain(m))
    m.stop()


def test_missing_module(start):
    m = start({"guests": [], "management": {"auth": "none", "certificate": "nowhere", "key": "neither"}}, cpus=1, wait=False)
    m.wait_serial(r'no HTTPS: "nowhere" is not among the boot modules')
    m.stop()


@pytest.mark.parametrize("http_mode", ["plain", "redirect"])
def test_without_random_numbers(start, http_mode):
    m = start({"guests": [], "management": {"auth": "none", "http": http_mode}}, cpus=1, model=NO_RANDOM)
    m.wait_serial("no HTTPS: this CPU has neither RDSEED nor RDRAND")
    status, _, body = m.request("GET", "/healthz")
    if http_mode == "plain":
        assert status == 200
    else:
        assert status == 503 and "can make no keys" in body
    ended(plain(m))
    assert "management certificate" not in m.serial()
    m.stop()


# ---- port 80 ----

@pytest.fixture(scope="module")
def redirecting(start):
    return start({"guests": [], "management": {"auth": "none", "http": "redirect", "hostname": "tower"}}, cpus=1)


@pytest.mark.parametrize("host,target,location", [
    ("bulkhead.local", "/v1/guests?x=1", "https://bulkhead.local/v1/guests?x=1"),
    ("10.0.2.15:80", "/", "https://10.0.2.15/"),
    ("[fe80::1]:8080", "/a", "https://[fe80::1]/a"),
    ("Tower:8080", "http://elsewhere:80/v1/host?x=1", "https://elsewhere/v1/host?x=1"),  # then Host does not count
])
def test_redirect(redirecting, host, target, location):
    with redirecting.connect() as c:
        for method in ("GET", "HEAD"):
            c.send(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            status, headers = c.head()
            assert (status, headers["location"], headers["content-length"]) == (308, location, "0")


@pytest.mark.parametrize("host", ["", "a b", "evil\"onload=", "x/../y", "[fe80"])
def test_redirect_to_nowhere(redirecting, host):
    status, headers, _ = redirecting.request("GET", "/", headers={"Host": host})
    assert status == 400 and "location" not in headers


def test_redirect_changes_nothing(redirecting):
    """No body is acted on, no data is shown, and HTTPS works."""
    restarts = said(redirecting)
    assert redirecting.request("POST", "/v1/guests/mgmt/actions", '{"action":"reset"}')[0] == 308
    with connect(redirecting) as s:
        status, body = get(s, "/v1/guests/mgmt")
        assert status == 200 and json.loads(body)["restarts"] == 0
    assert restarts == served(redirecting)
    assert "management address: https://10.0.2.15/\n" in redirecting.serial()


def test_host_name(redirecting, tmp_path):
    (tmp_path / "c.pem").write_text(certificate(redirecting))
    connect(redirecting, ssl.create_default_context(cafile=str(tmp_path / "c.pem")), "tower.local").close()


def test_http_off(start):
    m = start({"guests": [], "management": {"auth": "none", "http": "off"}}, cpus=1)
    with connect(m) as s:
        assert get(s, "/healthz")[0] == 200
    s = patiently(m, lambda: socket.create_connection(("127.0.0.1", m.port), timeout=LIMIT))
    s.sendall(b"GET / HTTP/1.1\r\nHost: bulkhead\r\n\r\n")
    try:
        assert s.recv(100) == b""
    except ConnectionError:
        pass
    s.close()
    m.stop()
