"""The performance of the management service in the machine's own time, on one core and on four, and the effect of a flood of requests on a guest with short periods.

With sync=slowdown the machine's time never runs ahead of real time: a client's delays count as they would on a network."""
import concurrent.futures
import contextlib
import re
import socket
import ssl
import tempfile
import threading

CLIENTS, AT_ONCE, ROUNDS = 4, 20, 20
HANDSHAKES, DUMPS, UPLOAD, SECONDS = 4, 12, 1 << 20, 3
DUMP = "/v1/guests/hog/vcpus/0/vmcs"


def context(version):
    c = ssl.create_default_context()
    c.minimum_version = c.maximum_version = version
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    return c


def connect(m, tls=None, session=None):
    s = socket.create_connection(("127.0.0.1", m.https_port if tls else m.port), timeout=600)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return tls.wrap_socket(s, session=session) if tls else s


def ask(s, target, n=1):
    """Pipelined. One reader for all answers, since it reads ahead."""
    s.sendall(f"GET {target} HTTP/1.1\r\nHost: bulkhead\r\n\r\n".encode() * n)
    with s.makefile("rb") as f:
        for _ in range(n):
            assert f.readline() == b"HTTP/1.1 200 OK\r\n"
            length = 0
            while (line := f.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split()[1])
            body = f.read(length)
            assert len(body) == length
    return body


class Meter:
    """The cost of the block: `ms` of the machine's time, `ticks` that the management guest ran."""

    def __init__(self, m):
        self.m = m

    def now(self):
        return self.m.get("/v1/host")["uptime_ms"], self.m.guest("mgmt")["vcpus"][0]["run_ticks"]

    def __enter__(self):
        self.begun = self.now()
        return self

    def __exit__(self, *_):
        ms, ticks = self.now()
        self.ms, self.ticks = ms - self.begun[0] - self.own[0], ticks - self.begun[1] - self.own[1]

    own = (0, 0)

    def calibrate(self):
        """The cost of measuring."""
        seen = []
        for _ in range(4):
            with self:
                pass
            seen.append((self.ms, self.ticks))
        self.own = tuple(sorted(column)[len(column) // 2] for column in zip(*seen))
        return self


def rate(m, meter, tls):
    """(requests a second, ticks each)."""
    clients = [connect(m, tls) for _ in range(CLIENTS)]

    def work(s):
        for _ in range(ROUNDS):
            ask(s, "/healthz", AT_ONCE)
    with meter, concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(work, clients))
    for s in clients:
        s.close()
    n = CLIENTS * AT_ONCE * ROUNDS
    return n * 1000 / meter.ms, meter.ticks // n


def handshakes(m, meter, tls, session=None):
    """(ms, ticks) of one handshake, with a connection and a small answer; and a session to resume."""
    with meter:
        for _ in range(HANDSHAKES):
            with connect(m, tls, session) as s:
                ask(s, "/healthz")
                kept = s.session if tls else None
    return meter.ms / HANDSHAKES, meter.ticks // HANDSHAKES, kept


def dumps(m, meter):
    """(ms, ticks, bytes) from the request for a dump until all of it has arrived."""
    with connect(m) as s:
        with meter:
            for _ in range(DUMPS):
                size = len(ask(s, DUMP))
    return meter.ms / DUMPS, meter.ticks // DUMPS, size


def upload(m, meter):
    """(MiB per second, ticks per byte)."""
    data = bytes(range(256)) * (UPLOAD // 256)
    with meter:
        assert m.request("PUT", "/v1/images/a", data)[0] == 201
    return UPLOAD / 2**20 / (meter.ms / 1000), meter.ticks / UPLOAD


# ---- a flood ----

def reports(m):
    """From whole seconds of the control loop: periods missed, worst and mean lateness."""
    at = m.wait_serial(r"control: second ([3-9]|\d\d+), [^\n]*\n", len(m.serial())).end()
    seen = []
    for _ in range(SECONDS):
        match = m.wait_serial(r"control: second \d+, periods 1000, missed (\d+), late max (\d+) mean (\d+)[^\n]*\n", at)
        seen.append([int(x) for x in match.groups()])
        at = match.end()
    return sum(r[0] for r in seen), max(r[1] for r in seen), max(r[2] for r in seen)


def slice_ends(m, core, hz=20000000):
    """Cumulative histogram of the core's slices by lateness in ticks."""
    text = m.request("GET", "/metrics")[2]
    return {float("inf") if le == "+Inf" else round(float(le) * hz): int(n)
            for le, n in re.findall(rf'^bulkhead_slice_end_lateness_seconds_bucket\{{core="{core}",le="([^"]+)"\}} (\d+)$', text, re.M)}


def late(before, after):
    """For the slices that ended in between: "99 % below X, all below Y"."""
    between = {le: after[le] - before[le] for le in after}
    total = max(between.values())

    def below(share):
        return min(le for le, n in between.items() if n >= total * share)
    return f"99 % < {below(0.99)}, all < {below(1)}"


@contextlib.contextmanager
def flooded(m, target, at_once):
    stop = threading.Event()

    def work():
        with connect(m) as s:
            while not stop.is_set():
                ask(s, target, at_once)
    threads = [threading.Thread(target=work) for _ in range(CLIENTS if target else 0)]
    for t in threads:
        t.start()
    try:
        yield
    finally:
        stop.set()
        for t in threads:
            t.join()


def flood(m, core):
    """For each kind of flood: (what, figures of the control loop, figures of the slices' ends on its core)."""
    m.wait_serial(r"mgmt: also \S*bulkhead\.local/")  # it has begun by then
    for what, target, at_once in (("quiet", None, 0), ("requests", "/v1/guests", AT_ONCE), ("VMCS dumps", DUMP, 1)):
        before = slice_ends(m, core)
        with flooded(m, target, at_once):
            missed, worst, mean = reports(m)
        yield what, f"{missed}; {worst}; {mean}", late(before, slice_ends(m, core))


def measure(cpus):
    """(what, figures) for each row."""
    from appliance import Appliance
    core = 1 if cpus > 1 else 0
    guests = [{"name": "control", "image": "guests/control.elf", "memory": "4M", "weight": 200, "core": core}, {"name": "hog", "image": "guests/hog.elf", "memory": "4M", "core": core}]
    management = {"auth": "none", "http": "plain"}
    with tempfile.TemporaryDirectory() as d:
        m = Appliance(d, {"guests": [], "management": management}, cpus=cpus, sync="slowdown")
        try:
            meter = Meter(m).calibrate()
            for name, tls in (("HTTP", None), ("HTTPS", context(ssl.TLSVersion.TLSv1_3))):
                per_second, each = rate(m, meter, tls)
                yield f"small answers over {name}: a second; ticks each", f"{per_second:.0f}; {each}"
            handshakes(m, meter, None)
            bare_ms, bare_ticks, _ = handshakes(m, meter, None)
            for name, version in (("1.3", ssl.TLSVersion.TLSv1_3), ("1.2", ssl.TLSVersion.TLSv1_2)):
                tls = context(version)
                ms, ticks, session = handshakes(m, meter, tls)
                yield f"a handshake of TLS {name}: ms; ticks", f"{ms - bare_ms:.0f}; {ticks - bare_ticks}"
                ms, ticks, _ = handshakes(m, meter, tls, session)
                yield f"one of TLS {name} with a ticket: ms; ticks", f"{ms - bare_ms:.0f}; {ticks - bare_ticks}"
            speed, ticks = upload(m, meter)
            yield "an upload, with its SHA-256: MiB a second; ticks a byte", f"{speed:.2f}; {ticks:.0f}"
        finally:
            m.stop()
    with tempfile.TemporaryDirectory() as d:
        m = Appliance(d, {"guests": [], "management": management}, cpus=cpus, model="corei7_icelake_u", sync="slowdown")
        try:
            speed, ticks = upload(m, Meter(m).calibrate())
            yield "the same on a CPU with instructions for it (Ice Lake)", f"{speed:.2f}; {ticks:.0f}"
        finally:
            m.stop()
    with tempfile.TemporaryDirectory() as d:
        m = Appliance(d, {"guests": guests, "management": management}, cpus=cpus, sync="slowdown")
        try:
            ms, ticks, size = dumps(m, Meter(m).calibrate())
            yield f"a VMCS dump over HTTP, {size // 1024} KiB, beside `control` and `hog`: ms; ticks", f"{ms:.0f}; {ticks}"
        finally:
            m.stop()
    with tempfile.TemporaryDirectory() as d:
        # In the machine's own time only, so the loop's figures are the same every time.
        m = Appliance(d, {"guests": guests, "management": management}, cpus=cpus)
        try:
            for what, loop, ends in flood(m, core):
                yield f"`control` beside `hog`, {what}: periods missed; worst lateness; mean", loop
                yield f"slices' ends on their core, {what}: ticks late", ends
        finally:
            m.stop()


def rows():
    """(what, on one core, on four)."""
    one, four = list(measure(1)), list(measure(4))
    names = [name for name, _ in one]
    assert [re.sub(r"\d+ KiB", "", name) for name, _ in four] == [re.sub(r"\d+ KiB", "", name) for name in names]
    return list(zip(names, (v for _, v in one), (v for _, v in four)))
