"""What the management service does in the machine's own time, and what a flood of requests does to the guests."""
import os
import tempfile
import threading

REQUESTS, UPLOAD = 50, 1 << 20
OPEN = {"auth": "none", "http": "plain"}


def uptime(m):
    return m.get("/v1/host")["uptime_ms"]


def dumps(m):
    """(ms for an answer with a new snapshot of every field, ticks of the management guest)."""
    def ask(path):
        before = uptime(m), m.guest("mgmt")["vcpus"][0]["run_ticks"]
        for _ in range(REQUESTS):
            m.get(path)
        return uptime(m) - before[0], m.guest("mgmt")["vcpus"][0]["run_ticks"] - before[1]
    small, dump = ask("/healthz"), ask("/v1/guests/hog/vcpus/0/vmcs")
    return (dump[0] - small[0]) / REQUESTS, (dump[1] - small[1]) // REQUESTS


def upload(m):
    """MB in a second, and ticks a byte."""
    before, ran = uptime(m), m.guest("mgmt")["vcpus"][0]["run_ticks"]
    assert m.request("PUT", "/v1/images/a", os.urandom(UPLOAD))[0] == 201
    return UPLOAD / 1000 / (uptime(m) - before), (m.guest("mgmt")["vcpus"][0]["run_ticks"] - ran) / UPLOAD


def report(m, after):
    """The next whole second of the control loop: (missed, late max, mean, where it ends)."""
    first = m.wait_serial(r"control: second \d+, [^\n]*\n", after)
    match = m.wait_serial(r"control: second \d+, periods 1000, missed (\d+), late max (\d+) mean (\d+)[^\n]*\n", first.end())
    return tuple(int(x) for x in match.groups()) + (match.end(),)


def worst(m):
    return max(core["slice_late_max_ticks"] for core in m.get("/v1/host")["cores"])


def flood(m):
    """The control loop's second without and with requests as fast as they are answered: (quiet, flooded), each (missed, late max, mean, worst slice end)."""
    missed, late, mean, end = report(m, len(m.serial()))
    quiet = missed, late, mean, worst(m)
    stop = threading.Event()

    def ask():
        while not stop.is_set():
            m.request("GET", "/v1/guests/hog/vcpus/0/vmcs")
    clients = [threading.Thread(target=ask) for _ in range(8)]
    for c in clients:
        c.start()
    missed, late, mean, _ = report(m, end)
    stop.set()
    for c in clients:
        c.join()
    return quiet, (missed, late, mean, worst(m))


def rows():
    from appliance import Appliance
    guests = [{"name": "control", "image": "guests/control.elf", "memory": "4M", "weight": 200, "core": 0}, {"name": "hog", "image": "guests/hog.elf", "memory": "4M", "core": 0}]
    for cpus in (1, 4):
        with tempfile.TemporaryDirectory() as d:
            m = Appliance(d, {"guests": guests, "management": OPEN}, cpus=cpus)
            try:
                quiet, flooded = flood(m)
                for name, (missed, late, mean, slice_end) in (("quiet", quiet), ("in a flood of requests", flooded)):
                    yield f"control {name}, {cpus} cores", f"missed {missed}, late max {late} mean {mean}, slice end {slice_end} ticks", ""
                ms, ticks = dumps(m)
                yield f"VMCS dump over HTTP, {cpus} cores", f"{ms:.1f} ms, {ticks} ticks", ""
                rate, ticks = upload(m)
                yield f"upload with SHA-256, {cpus} cores", f"{rate:.2f} MB/s, {ticks:.0f} ticks a byte", ""
            finally:
                m.stop()
