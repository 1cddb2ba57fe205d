"""Requests as fast as they are answered, and more connections than fit: a guest with short periods notices nothing."""
import itertools
import re
import socket
import ssl
import struct
import threading
import time

import pytest

from appliance import LIMIT
from test_names import PREFIX, WIRE, MGMT, US, checksum, exchange

CONTROL = {"name": "control", "image": "guests/control.elf", "memory": "4M", "weight": 200}
HOG = {"name": "hog", "image": "guests/hog.elf", "memory": "4M"}
CLIENTS, AT_ONCE, SECONDS = 4, 20, 3
REQUEST_MS = 10000  # the server's limit for a request to arrive
# Ticks, of 20 million a second, that one exit may add. An exit with a snapshot takes 2600, rarely 4700; one of the management guest, which sends and receives
# frames, 3400.
SNAPSHOT_EXIT, MGMT_EXIT = 6000, 6000
ONE_EXIT = 400  # an OUT, including the return to the guest


def settled(m):
    """Management has announced its certificate and its name: from now on it only does our work."""
    m.wait_serial(r"mgmt: also \S*bulkhead\.local/")
    return m


@pytest.fixture(scope="module")
def m(start):
    """The loop shares a core with `hog`, without management."""
    return settled(start({"guests": [{**CONTROL, "core": 1}, {**HOG, "core": 1}], "management": {"core": 0, "budget_us": 9000}}, cpus=2))


@pytest.fixture(scope="module")
def shared(start):
    return settled(start({"guests": [CONTROL, HOG]}, cpus=1))


def reports(m, n=SECONDS):
    """`n` whole seconds of the loop from now on: periods missed, worst and mean lateness in ticks, periods by lateness (below 256 ticks, 512, 1024 ...)."""
    return itertools.islice(all_reports(m), n)


def all_reports(m):
    at = m.wait_serial(r"control: second ([3-9]|\d\d+),[^\n]*\n", len(m.serial())).end()
    while True:
        match = m.wait_serial(r"control: second \d+, periods 1000, missed (\d+), late max (\d+) mean (\d+) ticks, plant \d+, histogram((?: \d+)+)\n", at)
        at = match.end()
        yield (*(int(x) for x in match.groups()[:3]), [int(x) for x in match[4].split()])


def flooded_reports(m, work, least):
    """The loop's reports while CLIENTS clients run, each of which calls work(stop, done) once, and how often they have called done(). It goes on until they have
    called it more than `least` times, however slow this computer is."""
    stop, calls, failures = threading.Event(), [], []

    def run():
        try:
            work(stop, lambda: calls.append(1))
        except BaseException as e:
            failures.append(e)
    threads = [threading.Thread(target=run) for _ in range(CLIENTS)]
    for t in threads:
        t.start()
    seconds, end = [], time.monotonic() + LIMIT
    try:
        for report in all_reports(m):
            seconds.append(report)
            if len(seconds) >= SECONDS and len(calls) > least:
                break
            assert not failures and time.monotonic() < end, (failures, len(calls))
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not failures, failures
    return seconds, len(calls)


def requests(m, target, at_once=AT_ONCE):
    """Pipelined on one connection, so that one more is always waiting."""
    def work(stop, done):
        with m.connect() as c:
            while not stop.is_set():
                c.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * at_once)
                for _ in range(at_once):
                    assert c.answer()[0] == 200
                    done()
    return work


def handshake(m):
    """A complete handshake. False: all places are taken, or the emulator's network is busy, which takes one at a time."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(("127.0.0.1", m.https_port), timeout=LIMIT) as s, context.wrap_socket(s):
            return True
    except OSError:
        return False


def handshakes(m):
    """One after another; they take so long that most are still under way when the block ends."""
    def work(stop, done):
        while not stop.is_set():
            if handshake(m):
                done()
    return work


def told(capsys, what, seconds, n=""):
    with capsys.disabled():
        print(f"\n{what:32}" + ", ".join(f"max {late} mean {mean}" for _, late, mean, _ in seconds), n, end=" ")


def worst(seconds):
    return max(late for _, late, _, _ in seconds)


def means(seconds):
    return [mean for _, _, mean, _ in seconds]


@pytest.mark.parametrize("what", ["requests", "handshakes"])
def test_jitter(m, capsys, what):
    """On a core without management the loop's figures do not change: a flood is another core's work. They are the same to the tick, except that the loop's
    timer may fall into an exit of `hog` or the root's own work, with or without a flood: one exit, a few hundred ticks."""
    quiet = list(reports(m))
    flooded, done = flooded_reports(m, requests(m, "/v1/guests"), 200) if what == "requests" else flooded_reports(m, handshakes(m), 0)
    told(capsys, "quiet", quiet)
    told(capsys, what, flooded, done)
    assert all(missed == 0 for missed, _, _, _ in quiet + flooded)
    assert all(histogram == quiet[0][3] and max(histogram) == 1000 for _, _, _, histogram in quiet + flooded), (quiet, flooded)
    assert max(means(flooded)) <= max(means(quiet)) + 3, (quiet, flooded)
    assert worst(flooded) <= max(means(quiet)) + ONE_EXIT and worst(quiet) <= max(means(quiet)) + ONE_EXIT, (quiet, flooded)


def test_jitter_beside_snapshots(m, capsys):
    """Each request for the VMCS of a guest on that core costs one exit of that guest, and no period."""
    quiet = list(reports(m))
    flooded, done = flooded_reports(m, requests(m, "/v1/guests/hog/vcpus/0/vmcs?fields=GUEST_RIP", 1), 50)
    told(capsys, "quiet", quiet)
    told(capsys, "snapshots", flooded, done)
    assert all(missed == 0 for missed, _, _, _ in quiet + flooded)
    assert worst(flooded) <= worst(quiet) + SNAPSHOT_EXIT, (quiet, flooded)


def test_jitter_beside_management(shared, capsys):
    """With management on the loop's core, the timer may fall into one of its exits: the loop is late by that much, and misses no period."""
    quiet = list(reports(shared))
    flooded, done = flooded_reports(shared, requests(shared, "/v1/guests"), 200)
    told(capsys, "quiet, all on one core", quiet)
    told(capsys, "requests, all on one core", flooded, done)
    assert all(missed == 0 for missed, _, _, _ in quiet + flooded)
    assert worst(flooded) <= min(late for _, late, _, _ in quiet) + MGMT_EXIT, (quiet, flooded)
    shared.stop()


def test_slow_clients(m):
    """Sixteen clients without a token, which send a byte now and then, hold all places. A client with a token is not kept out: one of them is dropped for
    it."""
    m.within(REQUEST_MS, lambda: slow_clients(m))
    assert all(missed == 0 for missed, _, _, _ in reports(m))


def slow_clients(m):
    slow = []
    for _ in range(16):
        s = socket.create_connection(("127.0.0.1", m.port), timeout=LIMIT)
        # Once answered, it has its place: the emulator takes one connection at a time, and further ones wait for seconds.
        s.sendall(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        while not s.recv(4096).endswith(b"\r\n\r\n"):
            pass
        s.sendall(b"GET /v1/gu")
        slow.append(s)
    # All places are taken, so each new client displaces one.
    asked, gone, end = 0, set(), time.monotonic() + LIMIT
    while not gone:
        assert time.monotonic() < end, "nobody had to go"
        assert m.request("GET", "/healthz")[0] == 200
        asked += 1
        for s in slow:
            s.setblocking(False)
            try:
                s.sendall(b"e")
                data = s.recv(100)
                assert data == b"", data
                gone.add(s)
            except ConnectionError:
                gone.add(s)
            except BlockingIOError:
                pass
    assert len(gone) <= asked
    for s in slow:
        s.close()


@pytest.fixture(scope="module")
def wired(start):
    """A machine with a guest that sends the frames it is given."""
    return start({"guests": [WIRE, {**CONTROL, "core": 0}], "management": {"core": 1, "reachable_from_guests": True}, "mac_prefix": PREFIX}, cpus=2)


STRANGER, SERVER = bytes([10, 0, 2, 77]), bytes([10, 0, 2, 15])


def arp_request():
    return MGMT + US + struct.pack(">HHHBBH", 0x806, 1, 0x800, 6, 4, 1) + US + STRANGER + bytes(6) + SERVER


def syn(source, port):
    """The first segment of a connection; nothing follows."""
    tcp = struct.pack(">HHIIBBHHH", source, port, 1000, 0, 5 << 4, 2, 8192, 0, 0)
    pseudo = STRANGER + SERVER + struct.pack(">BBH", 0, 6, len(tcp))
    tcp = tcp[:16] + struct.pack(">H", checksum(pseudo + tcp)) + tcp[18:]
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0, STRANGER, SERVER)
    return MGMT + US + b"\x08\x00" + header[:10] + struct.pack(">H", checksum(header)) + header[12:] + tcp


def is_syn_ack(f):
    return f[12:14] == b"\x08\x00" and f[23] == 6 and f[47] == 0x12


@pytest.mark.parametrize("port", [80, 443])
def test_half_open(wired, port):
    """Far more half-open connections than fit: a client that comes after them is served, at once and half a minute later."""
    exchange(wired, arp_request(), lambda f: f[12:14] == b"\x08\x06" and f[20:22] == b"\0\2")
    exchange(wired, syn(1000, port), is_syn_ack)
    for n in range(160):
        wired.type("wire", syn(2000 + n, port).hex() + "\n")
    assert wired.get("/healthz") == {"status": "ok"}
    assert all(missed == 0 for missed, _, _, _ in reports(wired, 31))
    assert wired.get("/healthz") == {"status": "ok"}
    while not handshake(wired):
        assert wired.process.poll() is None
    assert wired.guest("mgmt")["restarts"] == 0


def test_garbage(m):
    """Broken requests, and thousands for missing resources; test_fuzzed.py sends a hundred thousand, the fuzzers millions."""
    parts = [b"\x16\x03\x01\x02\x00", b"PUT /v1/images/x HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n", b"GET /" + b"%" * 300 + b" HTTP/1.1\r\n\r\n",
             b"\xff" * 200, b"POST /v1/guests HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n{{{{{", b"A: b\r\n" * 100]
    for i in range(60):
        with m.connect() as c:
            c.send(parts[i % len(parts)] + bytes([i % 256]) * (i % 50))
    with m.connect() as c:
        for i in range(0, 2000, 20):
            c.send(b"".join(b"GET /v1/%x/%%%02x?%s HTTP/1.1\r\nHost: x\r\n\r\n" % (i * 7919 + n, n, b"=&" * n) for n in range(20)))
            assert all(c.answer()[0] in (400, 404) for _ in range(20))
    assert m.get("/healthz") == {"status": "ok"}
    assert m.guest("mgmt")["restarts"] == 0
    assert not re.search(r"missed [1-9]", m.serial()[m.serial().index("management address"):])
