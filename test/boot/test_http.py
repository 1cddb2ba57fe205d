"""The HTTP server against clients that are slow, silent, rude or broken, at a static address. Whatever they do, guests keep running and other clients are
answered."""
import contextlib
import datetime
import email.utils
import json
import random

import pytest

CONFIG = {
    "guests": [
        {"name": "hog", "image": "guests/hog.elf", "memory": "2M"},
        {"name": "echo", "image": "guests/echo.elf", "memory": "2M"},
    ],
    "management": {"address": "10.0.2.77/24", "gateway": "10.0.2.2", "auth": "none", "hostname": "x"},
}
CONNECTIONS = 16
REQUEST_MS = 10000  # the server's limit for a request to arrive
IDLE_MS = 30000  # and for the time between two requests
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
HEALTHY = b'{"status":"ok"}\n'


@pytest.fixture(scope="module")
def machine(start):
    return start(CONFIG, model="corei7_icelake_u", address="10.0.2.77")


@pytest.fixture
def m(machine):
    """The machine; after the test the server must answer, and no guest may have been disturbed."""
    before = {g["name"]: g for g in machine.get("/v1/guests")["guests"]}
    yield machine
    assert machine.get("/healthz") == {"status": "ok"}
    for name in ("hog", "echo"):
        machine.wait_for(f"/v1/guests/{name}", lambda g, n=name: g["vcpus"][0]["run_ticks"] > before[n]["run_ticks"], f"{name} stands still")
    after = machine.get("/v1/guests")["guests"]
    assert all(g["state"] == "running" for g in after)
    assert machine.guest("mgmt")["restarts"] == 0


def uptime_ms(m):
    return m.get("/v1/host")["uptime_ms"]


def is_error(answer, *statuses):
    status, headers, body = answer
    assert status in statuses, answer
    assert headers["content-type"] == "application/json" and json.loads(body)["error"]["status"] == status, answer


def test_static_address(m):
    network = m.get("/v1/host")["network"]
    assert (network["address"], network["netmask"]) == ("10.0.2.77", "255.255.255.0")


# ---- slow and silent ----


def test_one_byte_at_a_time(m):
    begun = uptime_ms(m)
    with m.connect() as c:
        for i in range(len(GET)):
            c.send(GET[i:i + 1])
        status, _, body = c.answer()
        # By the machine's clock it may have taken too long.
        assert status == 200 and body == HEALTHY or status == 408 and uptime_ms(m) - begun >= REQUEST_MS


def test_body_in_small_pieces(m):
    begun = uptime_ms(m)
    with m.connect() as c:
        c.send(b"POST /v1/guests/echo/console HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n")
        for i in range(6):
            c.send(b"\r")
        status, _, body = c.answer()
        assert status == 200 and json.loads(body) == {"accepted": 6} or status == 408 and uptime_ms(m) - begun >= REQUEST_MS


@pytest.mark.parametrize("part", [b"G", GET[:-2], b"POST /v1/guests/echo/console HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"],
                         ids=["one byte", "no end of head", "body too short"])
def test_request_that_never_ends(m, part):
    begun = uptime_ms(m)
    with m.connect() as c:
        c.send(part)
        is_error(c.answer(), 408)
        assert c.ended()
    assert REQUEST_MS <= uptime_ms(m) - begun


def fill(m, stack, n=CONNECTIONS):
    """`n` open connections, each of which was answered."""
    clients = []
    while len(clients) < n:
        c = stack.enter_context(m.connect())
        c.send(GET)
        assert c.answer()[0] == 200
        clients.append(c)
    return clients


def test_silent_connections(m):
    """Silent clients take all connections: the next client gets the place of the first, and the server does not keep silent ones for ever."""
    def attempt():
        begun = uptime_ms(m)
        with contextlib.ExitStack() as stack:
            silent = []
            for _ in range(CONNECTIONS):
                # One after another: the emulator's network makes a client that comes too soon wait for a second.
                with m.connect() as c:
                    c.send(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                    assert c.answer()[0] == 200 and c.ended()
                silent.append(stack.enter_context(m.connect()))
            with m.connect() as c:
                c.send(GET)
                assert c.answer()[0] == 200
            assert silent[0].ended() and uptime_ms(m) - begun < IDLE_MS
            assert all(c.ended() for c in silent)
        assert IDLE_MS <= uptime_ms(m) - begun
    m.within(IDLE_MS, attempt)


def test_seventeenth_takes_the_place_of_the_idlest(m):
    def attempt():
        with contextlib.ExitStack() as stack:
            clients = fill(m, stack)
            clients[0].send(GET)
            assert clients[0].answer()[0] == 200
            fill(m, stack, 1)
            assert clients[1].ended()
            for c in clients[:1] + clients[2:]:
                c.send(GET)
                assert c.answer()[0] == 200
    m.within(IDLE_MS, attempt)


def test_reader_that_does_not_read(m):
    with m.connect() as c:
        c.send(b"GET /v1/guests/hog/vcpus/0/vmcs HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        for _ in range(5):
            assert m.get("/healthz") == {"status": "ok"}


# ---- not HTTP ----

GARBAGE = {
    "zeros": bytes(100) + b"\r\n\r\n",
    "random": bytes(random.Random(1).randrange(256) for _ in range(600)) + b"\r\n\r\n",
    "tls": bytes.fromhex("16030100c8010000c40303") + bytes(range(200)),
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "wrong version": b"GET / HTTP/9.9\r\n\r\n",
    "not a header": b"GET / HTTP/1.1\r\nthis is not a header\r\n\r\n",
    "control characters": b"GET /\x01\x02 HTTP/1.1\r\nHost: x\r\n\r\n",
    "header with nul": b"GET / HTTP/1.1\r\nHost: x\x00y\r\n\r\n",
    "method": b"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n",
    "negative length": b"POST /v1/guests/echo/console HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "wrapping length": b"POST /v1/guests/echo/console HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551617\r\n\r\n",
    "two lengths": b"POST /v1/guests/echo/console HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": b"POST /v1/guests/echo/console HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
    "chunk size": b"POST /v1/guests/echo/console HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n",
    "wrapping chunk size": b"POST /v1/guests/echo/console HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000001\r\nab",
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage(m, what):
    with m.connect() as c:
        c.send(GARBAGE[what])
        is_error(c.answer(), 501 if what == "method" else 400, 400, 501)
        assert c.ended()


def test_empty_lines_before_a_request(m):
    with m.connect() as c:
        c.send(b"\r\n\r\n" + GET)
        assert c.answer()[2] == HEALTHY


# ---- too much ----


def test_target_size(m):
    with m.connect() as c:
        c.send(b"GET /" + b"a" * 255 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        is_error(c.answer(), 404)
        c.send(b"GET /" + b"a" * 256 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        is_error(c.answer(), 414)
        assert c.ended()


@pytest.mark.parametrize("field", [b"A: " + b"b" * 5000, b"c" * 5000 + b": d", b"\r\n".join(b"E%d: %d" % (i, i) for i in range(900))],
                         ids=["value", "name", "many"])
def test_header_size(m, field):
    with m.connect() as c:
        c.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 4000 + b"\r\n\r\n")
        assert c.answer()[0] == 200
        c.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + field + b"\r\n\r\n")
        is_error(c.answer(), 431)
        assert c.ended()


@pytest.mark.parametrize("length", [8193, 2**31, 2**64 - 1])
def test_body_size(m, length):
    with m.connect() as c:
        c.send(b"POST /v1/guests/hog/actions HTTP/1.1\r\nHost: x\r\nContent-Length: 8192\r\n\r\n" + b" " * 8192)
        is_error(c.answer(), 400)
        c.send(b"POST /v1/guests/hog/actions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length)
        is_error(c.answer(), 413)
        assert c.ended()


def test_refusal_reaches_a_client_that_still_sends(m):
    with m.connect() as c:
        c.send(b"POST /v1/guests/hog/actions HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n" + b" " * 50000)
        is_error(c.answer(), 413)
        assert c.ended()


# ---- wrong ----


@pytest.mark.parametrize("method,path,allowed", [
    ("POST", "/healthz", "GET, HEAD"), ("DELETE", "/v1/guests", "GET, HEAD, POST"), ("PUT", "/v1/guests/hog/console", "GET, HEAD, POST"),
    ("GET", "/v1/guests/hog/actions", "POST"), ("HEAD", "/v1/guests/hog/actions", "POST"), ("OPTIONS", "/v1/host", "GET, HEAD"),
])
def test_wrong_method(m, method, path, allowed):
    status, headers, body = m.request(method, path)
    assert status == 405 and headers["Allow"] == allowed
    assert method == "HEAD" and not body or json.loads(body)["error"]["status"] == 405


@pytest.mark.parametrize("path,status", [
    ("/nowhere", 404), ("//", 200), ("/v1", 404), ("/v1/guests/hog/vcpus/0/vmcs/snapshots/1/2/3", 404), ("/v1/guests/hog/vcpus/18446744073709551616/vmcs", 404),
    ("/v1/guests/%68og", 200), ("/v1/guests/h%2Fg", 404), ("/v1/%67uests?%66ormat=json", 200), ("/v1/guests/%6", 400), ("/v1/guests/hog%00", 400), ("/v1/guests?format=%zz", 400),
    ("http://x/v1/guests/hog", 200), ("http://y/v1/guests/hog", 421), ("HTTP://y", 200), ("/v1/guests?fromat=text", 400), ("/v1/log?from=1&from=1", 400), ("/healthz?from=1", 400), ("/?x", 200), ("/../../v1/host", 404), ("/v1/guests/" + "h" * 200, 404),
    ("/v1/log?from=-1", 400), ("/v1/log?from=18446744073709551616", 400), ("/v1/log?from=", 400), ("/v1/log?from=1x", 400), ("/v1/log?from=1&format=yaml", 400),
    ("/v1/log?from=99999999999999999999999999999999", 400), ("/v1/guests/echo/console?from=x", 400),
])
def test_wrong_target(m, path, status):
    with m.connect() as c:
        c.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        if status == 200:
            assert c.answer()[0] == 200
        else:
            is_error(c.answer(), status)
        c.send(GET)  # a refusal of this kind does not end the connection
        assert c.answer()[2] == HEALTHY


@pytest.mark.parametrize("accept,kind", [
    ("application/json, text/plain, */*", "application/json"), ("text/plain;q=0, application/json", "application/json"), ("*/*", "application/json"),
    ("text/plain", "text/plain; charset=utf-8"), ("application/json;q=0.5, text/*", "text/plain; charset=utf-8"), ("image/png", "application/json"),
])
def test_accept(m, accept, kind):
    assert m.request("GET", "/v1/host", headers={"Accept": accept})[1]["Content-Type"] == kind


def test_fields_in_escapes(m):
    fields = m.get("/v1/guests/hog/vcpus/0/vmcs?fields=GUEST_RIP%2C0x681C")["fields"]
    assert [f["name"] for f in fields] == ["GUEST_RSP", "GUEST_RIP"]


@pytest.mark.parametrize("field,status", [(b"Content-Range: bytes 0-0/2", 400), (b"Content-Encoding: gzip", 415), (b"Transfer-Encoding: gzip, chunked", 501)])
def test_body_that_stands_for_another(m, field, status):
    for line in (b"PUT /v1/images/part", b"POST /v1/guests/echo/console"):
        with m.connect() as c:
            c.send(line + b" HTTP/1.1\r\nHost: x\r\n" + field + (b"" if status == 501 else b"\r\nContent-Length: 1") + b"\r\n\r\nx")
            is_error(answer := c.answer(), status)
            assert answer[1].get("accept-encoding") == ("identity" if status == 415 else None)
            assert c.ended()
    assert m.request("GET", "/v1/images/part")[0] == 404


def test_conditions(m):
    tag = m.request("GET", "/openapi.json")[1]["ETag"]
    for condition, status in (("*", 304), (tag, 304), (f'"a", W/{tag}', 304), ('"' + tag, 200), ('"other"', 200)):
        got, headers, body = m.request("GET", "/openapi.json", headers={"If-None-Match": condition})
        assert (got, headers["ETag"], not body) == (status, tag, status == 304)
    for status in (201, 412):
        assert m.request("PUT", "/v1/images/new", b"x", {"If-None-Match": "*"})[0] == status
    assert m.request("DELETE", "/v1/images/new")[0] == 204


def test_date(m):
    """Each answer has one: the machine has a clock."""
    now = datetime.datetime.fromisoformat(m.get("/v1/host")["time"].replace("Z", "+00:00"))
    for target in ("/healthz", "/", "/nowhere", "/v1/guests?x"):
        date = email.utils.parsedate_to_datetime(m.request("GET", target)[1]["Date"])
        assert datetime.timedelta(seconds=-1) <= date - now < datetime.timedelta(minutes=10), (date, now)


@pytest.mark.parametrize("body", ["", "{", "{}", '{"action":"explode"}', '{"action":1}', "[]", "\0\0\0", '{"action": "stop"' + " " * 3000], ids=range(8))
def test_wrong_body(m, body):
    with m.connect() as c:
        c.send(f"POST /v1/guests/hog/actions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        is_error(c.answer(), 400)


# ---- connections that are used again ----


def test_keep_alive(m):
    with m.connect() as c:
        for _ in range(100):
            c.send(GET)
            status, headers, body = c.answer()
            assert status == 200 and "connection" not in headers and body == HEALTHY


@pytest.mark.parametrize("request_head", [b"GET /healthz HTTP/1.0\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"], ids=["1.0", "close"])
def test_close(m, request_head):
    with m.connect() as c:
        c.send(request_head)
        status, headers, body = c.answer()
        assert status == 200 and headers["connection"] == "close" and body == HEALTHY
        assert c.ended()


def test_pipelining_in_one_segment(m):
    requests = [(b"GET /v1/guests/%s HTTP/1.1\r\nHost:x\r\n\r\n", name) for name in (b"hog", b"no", b"echo", b"mgmt")] * 9
    data = b"".join(form % name for form, name in requests)
    assert len(data) <= 1460
    with m.connect() as c:
        c.send(data)
        for _, name in requests:
            status, _, body = c.answer()
            assert status == 404 if name == b"no" else json.loads(body)["name"] == name.decode()


def test_pipelining_in_many_segments(m):
    with m.connect() as c:
        c.send(GET * 400)
        for _ in range(400):
            assert c.answer()[2] == HEALTHY


def test_head(m):
    with m.connect() as c:
        for path, status in (("/healthz", 200), ("/", 200), ("/nowhere", 404), ("/v1/guests/hog/actions", 405)):
            c.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\nHEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            with_body, headers, _ = c.answer()
            assert c.head() == (with_body, headers) and with_body == status
        c.send(GET)  # so no body came
        assert c.answer()[2] == HEALTHY


def test_chunked_bodies(m):
    post = b"POST /v1/guests/echo/console HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with m.connect() as c:
        c.send(post + b"1\r\n\r\r\n2;name=value\r\n\r\r\r\n0\r\nTrailer: t\r\n\r\n" + GET)
        assert json.loads(c.answer()[2]) == {"accepted": 3}
        assert c.answer()[2] == HEALTHY
        c.send(post + b"0\r\n\r\n")
        assert json.loads(c.answer()[2]) == {"accepted": 0}
        c.send(post + b"400\r\n" + b"x" * 1024 + b"\r\n" + b"1c01\r\n" + b"y" * 7169 + b"\r\n0\r\n\r\n")
        is_error(c.answer(), 413)
        assert c.ended()


def test_expect_continue(m):
    post = b"POST /v1/guests/echo/console HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
    with m.connect() as c:
        for _ in range(3):
            c.send(post % 2)
            assert c.head() == (100, {})
            c.send(b"\r\r")
            assert json.loads(c.answer()[2]) == {"accepted": 2}
        c.send(post % 2 + b"\r\r" + GET)  # a client that does not wait need not get 100 Continue
        first = c.head()
        status, headers = c.head() if first[0] == 100 else first
        assert status == 200 and json.loads(c.input.read(int(headers["content-length"]))) == {"accepted": 2}
        assert c.answer()[2] == HEALTHY
        c.send(post % 9000)
        is_error(c.answer(), 413)
        assert c.ended()


# ---- connections that end at the wrong time ----

DUMP = b"GET /v1/guests/hog/vcpus/0/vmcs HTTP/1.1\r\nHost: x\r\n\r\n"


def test_reset_in_the_middle_of_an_answer(m):
    for read in [1, 2000, 10000] * CONNECTIONS:
        c = m.connect()
        c.send(DUMP * 3)
        assert len(c.input.read(read)) == read
        c.reset()
    # All connections are available again.
    with contextlib.ExitStack() as stack:
        fill(m, stack)


def test_reset_before_the_answer(m):
    for data in [DUMP, GET, GET[:10], b""] * 6:
        c = m.connect()
        c.send(data)
        c.reset()
        assert m.get("/healthz") == {"status": "ok"}
    with contextlib.ExitStack() as stack:
        fill(m, stack)


@pytest.mark.parametrize("data,answers", [(GET, 1), (GET * 3, 3), (DUMP, 1), (DUMP + GET + DUMP, 3), (GET + GET[:10], 1)],
                         ids=["one", "three", "dump", "dumps", "one and a half"])
def test_half_closed(m, data, answers):
    """A client that shuts down its sending side gets all its answers."""
    with m.connect() as c:
        c.send(data)
        c.socket.shutdown(1)
        for _ in range(answers):
            assert c.answer()[0] == 200
        assert c.ended()
