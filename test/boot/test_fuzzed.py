"""A hundred thousand requests that are nearly right, and some invalid ones, from a client with the token: the appliance answers each, and other guests notice
nothing."""
import collections
import json
import os
import random
import re
import socket
import threading
import time

import openapi
from appliance import LIMIT, memory

VICTIM = {"name": "victim", "image": "guests/echo.elf", "memory": "2M", "core": 0}
CONFIG = {"guests": [
    {"name": "control", "image": "guests/control.elf", "memory": "2M", "core": 0, "period_us": 1000, "guaranteed_us": 300},
    {"name": "keeper", "image": "guests/echo.elf", "memory": "2M", "core": 0},
    VICTIM,
], "management": {"core": 1, "budget_us": 10000}}
REQUESTS, CLIENTS, AT_ONCE = int(os.environ.get("FUZZ_REQUESTS", "100000")), 4, 40
BROKEN = 1000
SEED = int(os.environ.get("FUZZ_SEED", "1"))
# Relative shares of requests; the default is 40. Expensive answers are requested less often: a dump costs as much as ninety small answers.
VMCS = "/v1/guests/{guest}/vcpus/{vcpu}/vmcs"
SHARES = {("/healthz", "GET"): 600, ("/v1/whoami", "GET"): 600, ("/", "GET"): 200, ("/page/{file}", "GET"): 100, ("/v1/images/{name}", "GET"): 400, ("/v1/images/{name}", "DELETE"): 100,
          ("/openapi.json", "GET"): 1, ("/v1/vmx/capabilities", "GET"): 1, ("/v1/vmx/layout", "GET"): 1, ("/v1/compare", "GET"): 1, ("/metrics", "GET"): 1, ("/v1/log", "GET"): 2,
          ("/v1/events", "GET"): 2, ("/v1/host", "GET"): 6, ("/v1/config", "GET"): 3, ("/v1/guests", "GET"): 10, ("/v1/guests/{guest}", "GET"): 10, ("/v1/guests/{guest}/console", "GET"): 3, ("/v1/guests/{guest}/memory", "GET"): 10,
          ("/v1/guests/{guest}/vcpus/{vcpu}/exits", "GET"): 1, (VMCS, "GET"): 2, (VMCS + "/diff", "GET"): 2, (VMCS + "/check", "GET"): 2, (VMCS + "/snapshots/{sequence}", "GET"): 1,
          (VMCS + "/snapshots", "GET"): 10, (VMCS + "/snapshots", "POST"): 10, ("/v1/vmx/decode", "POST"): 2, ("/v1/images/{name}", "PUT"): 3, ("/v1/guests", "POST"): 12,
          ("/v1/guests/{guest}", "DELETE"): 12}
NUMBERS = ["0", "1", "2", "255", "4294967296", "18446744073709551615", "18446744073709551616", "-1", "1e9", "0x10", "007", "", "9" * 40]
WORDS = ["control", "victim", "mgmt", "..", ".", "%2e%2e", "%00", "%", "%zz", "a" * 70, "null", "true", "json", "text", "xml", "'\"<>", "%ff%fe", "+", "*", "GUEST_RIP", "0x681e"]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "LOCK", "SEARCH"]
QUERIES = ["from", "to", "format", "decode", "oddities", "group", "fields", "volatile", "n", "reason", "x"]
FIELDS = ["Accept", "Accept-Encoding", "If-None-Match", "Last-Event-ID", "Origin", "Repr-Digest", "Content-Type", "Cookie", "Range", "Referer", "User-Agent", "X-" + "y" * 50]
VALUES = ["text/plain", "application/json", "*/*", "", "x", "http://x", "https://evil.example", "\"abc\"", "sha-256=:AAAA:", "sha-256=:" + "A" * 43 + "=:", "bytes=0-", "\t\t", "\xff\xfe\x80",
          "a" * 400, "1", "gzip;q=0"]
ACTIONS = ["start", "stop", "pause", "resume", "reset", "nmi", "explode", ""]
CONTROLS = ["hlt_exiting", "HLT_EXITING", "RDTSC_EXITING", "PAUSE_EXITING", "ENABLE_EPT", "NOTHING"]
PROFILES = ["least", "default", "most", "worst"]
LOOKS = ("GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "SEARCH")


class Fuzzer:
    """Requests from a seed. They spare what others need: every request that changes something names the victim."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        paths = openapi.document()["paths"]
        self.operations = [(template, method.upper()) for template, item in paths.items() for method in item if method != "parameters"]
        self.weights = [SHARES.get(o, 2 if "/vmcb" in o[0] or "/svm/" in o[0] else 40) for o in self.operations]  # 501 here

    def some(self, *choices):
        return self.random.choice(choices)

    def chance(self, percent):
        return self.random.random() * 100 < percent

    def argument(self, name, changes):
        if name == "guest":
            return self.some("victim", "victim", "victim", "nobody") if changes else self.some("victim", "victim", "control", "keeper", "mgmt", "nobody", *WORDS)
        return {"vcpu": lambda: "0" if self.chance(90) else self.some(*NUMBERS), "sequence": lambda: self.some("1", "2", *NUMBERS), "file": lambda: self.some("icon.svg", "nothing.js", *WORDS),
                "name": lambda: self.some("scrap", "spare", "scrap2", "guests%2Fecho.elf")}[name]()

    def wrecked(self, text, times=3):
        """The text with a few characters changed, removed or doubled."""
        for _ in range(self.random.randrange(1, times + 1)):
            at, n = self.random.randrange(len(text) + 1), self.random.randrange(1, 6)
            text = self.some(text[:at] + text[at + n:], text[:at] + text[at:at + n] * 2 + text[at + n:], text[:at] + chr(self.random.randrange(32, 127)) + text[at + 1:],
                             text[:at] + self.some(*NUMBERS, *WORDS) + text[at:])
        return text

    def json(self, template):
        """A body that fits the route, or nearly."""
        if template.endswith("/actions"):
            value = {"action": self.some(*ACTIONS)}
        elif template.endswith("/vmcs"):
            value = self.some({"exit_profile": self.some(*PROFILES)}, {"fields": {self.some("primary_controls", "pin_controls", "x"): {self.some(*CONTROLS): self.some(True, False, None)}}})
        elif template == "/v1/guests":
            value = dict(VICTIM, **self.some({}, {"memory": self.some("2M", "4M", "3M", "9G", 2097152, -1)}, {"guaranteed_us": self.some(0, 1000, 9999, 1 << 40)}, {"core": self.some(0, 1, 128, "0")},
                                            {"modules": self.some([], [{"file": "scrap"}], [{}] * 9, "x")}, {"devices": self.some([], ["uart"], ["uart", "bell"], {})},
                                            {"image": self.some("scrap", "guests/flat.bin", "guests/echo.elf", "")}, {"cmdline": "x" * self.random.randrange(600)}))
        else:
            value = self.some({}, [], {"a": [1, 2.5, None, True, "\u00e9\n"]}, "text", 1)
        text = json.dumps(value)
        if self.chance(30):
            text = self.wrecked(text)
        if self.chance(2):
            text = self.some("[" * 600, '{"a":' * 300, "\x00" * 100, '"\\ud800"', "{" + '"a":1,' * 700 + "}", '{"name":"' + "\\" * 301 + '"}')
        return text.encode("latin-1", "replace")

    def body(self, method, template):
        if template.endswith("/console"):
            return bytes(self.random.randrange(32, 127) for _ in range(self.random.randrange(40)))
        if template == "/v1/vmx/decode":
            return self.some(b"", b"x", b"\x2b\0\0\0" + bytes(4092), self.random.randbytes(4096), bytes(4097))
        if method == "PUT":
            return self.random.randbytes(self.random.randrange(600))
        return self.json(template)

    def target(self, template, changes):
        path = re.sub(r"\{(\w+)\}", lambda k: self.argument(k.group(1), changes), template)
        if self.chance(8):
            # Only where it cannot turn into another guest's name: a change keeps the guest it is about.
            kept = 3 if changes and path.startswith("/v1/") else 0
            parts = path.split("/")
            at = self.random.randrange(kept + 1, len(parts) + 1) if kept < len(parts) else len(parts)
            parts[at:at + self.random.randrange(2)] = [self.some("", "", "%2f", ";", *WORDS)]
            path = "/".join(parts) or "/"
        query = [f"{self.some(*QUERIES)}{self.some('=', '=', '=', '')}{self.some(*NUMBERS, *WORDS)}" for _ in range(self.random.randrange(3) if self.chance(40) else 0)]
        # The list, not the stream: the first parameter counts.
        if "events" in path:
            query.insert(0, "follow=0")
        return (path + ("?" + "&".join(query) if query else ""))[:250]

    def request(self, token):
        """(method, target, bytes) of a request with intact framing."""
        template, method = self.random.choices(self.operations, self.weights)[0]
        if self.chance(8):
            method = self.some(*METHODS)
        if method == "PUT" and template != "/v1/images/{name}" and self.chance(90):
            method = "GET"
        target = self.target(template, method not in LOOKS)
        body = self.body(method, template) if method in ("POST", "PUT", "PATCH") or self.chance(3) else b""
        fields = [("Host", "x"), ("Authorization", f"Bearer {token}")]
        if self.chance(2):
            fields[1] = ("Authorization", self.some("Basic eDp5", "Bearer", "x", ""))
        for _ in range(self.random.randrange(4) if self.chance(40) else 0):
            fields.insert(self.random.randrange(len(fields) + 1), (self.some(*FIELDS), self.some(*VALUES)))
        if body or method in ("POST", "PUT", "PATCH"):
            fields.insert(self.random.randrange(len(fields) + 1), ("Content-Length", str(len(body))))
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields) + "\r\n"
        return method, target, head.encode("latin-1") + body

    def broken(self, token):
        """Bytes that are no request, an incomplete one, or two."""
        method = "HEAD"
        while method == "HEAD":  # whose answers could not be told apart without knowing the method
            method, _, data = self.request(token)
        head, _, body = data.partition(b"\r\n\r\n")
        at = self.random.randrange(len(data))
        return self.some(
            lambda: data[:at],
            lambda: self.random.randbytes(self.random.randrange(1, 2000)),
            lambda: data[:at] + self.random.randbytes(self.random.randrange(1, 20)) + data[at:],
            lambda: data.replace(b"\r\n", self.some(b"\n", b"\r", b"\r\n\r\n", b"\0"), self.random.randrange(1, 4)),
            lambda: head + b"\r\nContent-Length: " + self.some(b"-1", b"1", b"99999999999999999999", b"8193", b"3, 3", b"x", b"0x10", b"") + b"\r\n\r\n" + body,
            lambda: head + b"\r\nTransfer-Encoding: " + self.some(b"chunked", b"gzip, chunked", b"chunked, x", b"identity") + b"\r\n\r\n" +
            self.some(b"5\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffff\r\nx", b"-1\r\n", b"5;x=" + b"y" * 300 + b"\r\nhello", b"zz\r\n", b""),
            lambda: head + b"\r\nX: " + b"y" * self.random.randrange(3000, 9000) + b"\r\n\r\n",
            lambda: head + b"\r\n" + b"a: b\r\n" * self.random.randrange(500, 2000) + b"\r\n",
            lambda: b"GET /" + b"a" * self.random.randrange(250, 5000) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
            lambda: re.sub(rb"HTTP/1\.1", self.some(b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.", b"HTTP/11", b"", b"ICY"), data, count=1),
            lambda: self.some(b"CONNECT x:80 HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"* * *\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", b" GET / HTTP/1.1\r\n\r\n"),
            lambda: data.replace(b"Host: x", self.some(b"Host: x\r\nHost: x", b"Host:", b"Hos: x", b"Host: " + b"x" * 300)),
            lambda: data.replace(b" ", self.some(b"  ", b"\t", b""), 1),
            lambda: data.replace(b": ", self.some(b" : ", b"", b":\0", b":\r\n "), 1))()


class Client:
    """Pipelines requests over one connection at a time, counts the answers and checks each against the description."""

    seen = set()  # answers that any client has checked already

    def __init__(self, m):
        self.m, self.socket, self.input, self.statuses, self.looked_at = m, None, b"", collections.Counter(), 0

    def close(self):
        if self.socket:
            self.socket.close()
        self.socket, self.input = None, b""

    def connect(self):
        self.close()
        self.socket = socket.create_connection(("127.0.0.1", self.m.port), timeout=LIMIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def more(self):
        part = self.socket.recv(1 << 18)
        self.input += part
        return bool(part)

    def check(self, method, target, status, headers, body):
        """Checks every small new answer, and some of the large ones, which are always new."""
        self.looked_at += 1
        what = hash((method, target, status, headers, body))
        if what in self.seen or (len(body) > 1500 and self.looked_at % 16):
            return
        self.seen.add(what)
        fields = dict(line.split(": ", 1) for line in headers.decode("latin-1").split("\r\n"))
        openapi.check_answer(method, target, status, fields, body)

    def answer(self, method, target, sure=True):
        """Whether the other side closes after it. None: it closed without an answer. `sure`: we know which request it answers."""
        while (end := self.input.find(b"\r\n\r\n")) < 0:
            if not self.more():
                assert not self.input, self.input
                return None
        status, headers = int(self.input[9:12]), self.input[self.input.index(b"\r\n") + 2:end]
        assert self.input.startswith(b"HTTP/1.1 ") and 200 <= status < 600 and status != 500, (method, target, self.input[:end])
        length = re.search(rb"(?m)^Content-Length: (\d+)", headers)
        length = int(length.group(1)) if length and method != "HEAD" and status not in (204, 304) else 0
        while len(self.input) < end + 4 + length:
            assert self.more(), (method, target, "cut")
        self.body, self.input = self.input[end + 4:end + 4 + length], self.input[end + 4 + length:]
        if sure:
            self.check(method, target, status, headers, self.body)
        elif status >= 400 and b"application/json" in headers:
            assert json.loads(self.body)["error"]["status"] == status
        self.statuses[status] += 1
        return b"Connection: close" in headers

    def ask(self, requests):
        """Gets an answer for each request. A refusal may end the connection: the requests after it were not read and are sent again."""
        while requests:
            if not self.socket:
                self.connect()
            self.socket.sendall(b"".join(data for _, _, data in requests))
            for n, (method, target, _) in enumerate(requests):
                closes = self.answer(method, target)
                assert closes is not None, ("no answer", method, target, requests[n][2][:500])
                if closes:
                    assert not self.input
                    self.close()
                    break
            requests = requests[n + 1:]

    def flood(self, n, seed):
        fuzzer, token = Fuzzer(seed), self.m.token
        who = ("GET", "/v1/whoami", f"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        for i in range(0, n, AT_ONCE):
            self.ask([fuzzer.request(token) for _ in range(min(AT_ONCE, n - i) - 1)] + [who])
            # As many answers as requests: the last answer belongs to the last request.
            assert json.loads(self.body) == {"name": "console", "role": "admin"}, self.body
        self.close()

    def break_frames(self, n, seed):
        """Each on its own connection, which is answered or not, and then closed."""
        fuzzer = Fuzzer(seed)
        for _ in range(n):
            data = fuzzer.broken(self.m.token)
            try:
                self.connect()
                self.socket.sendall(data)
                self.socket.shutdown(socket.SHUT_WR)
                while self.answer(None, None, sure=False) is False:
                    pass
                while self.more():  # of a stream
                    pass
            except (ConnectionError, TimeoutError) as e:
                self.statuses[type(e).__name__] += 1
            self.close()


def unchanged(m):
    """What must not change for any guest but the victim."""
    return [(g["name"], g["state"], g["restarts"], g["started_tsc"], g["configuration"]) for g in (m.guest(n) for n in ("mgmt", "control", "keeper"))]


def clean_up(m):
    for g in m.get("/v1/guests")["guests"]:
        if g["name"] not in ("mgmt", "control", "keeper"):
            assert m.request("DELETE", f"/v1/guests/{g['name']}")[0] in (202, 204)
            m.wait_for("/v1/guests", lambda r, n=g["name"]: n not in [o["name"] for o in r["guests"]], "it does not go")
    for image in m.get("/v1/images")["images"]:
        if image["source"] == "upload":
            assert m.request("DELETE", f"/v1/images/{image['name']}")[0] == 204


class Reports(threading.Thread):
    """All of the control loop's reports, from the first on: its console keeps only the latest."""

    def __init__(self, m):
        super().__init__()
        self.m, self.text, self.done = m, "", threading.Event()
        self.at = m.get("/v1/guests/control/console?format=json")["next"]

    def run(self):
        while not self.done.wait(1):
            self.read()

    def read(self):
        part = self.m.get(f"/v1/guests/control/console?format=json&from={self.at}")
        assert part["from"] == self.at
        self.text, self.at = self.text + part["text"], part["next"]

    def seconds(self):
        self.done.set()
        self.join()
        self.read()
        return [tuple(int(n) for n in r) for r in re.findall(r"control: second (\d+), periods (\d+), missed (\d+),.*\r\n", self.text)]


def test_a_hundred_thousand(start, capsys):
    m = start(CONFIG, cpus=2)
    clean_up(m)
    before, memory_before = unchanged(m), memory(m)
    assert m.request("POST", "/v1/guests", json.dumps(VICTIM))[0] == 201
    reports = Reports(m)
    reports.start()
    clients, failures = [Client(m) for _ in range(CLIENTS + 1)], []

    def run(f, *args):
        try:
            f(*args)
        except BaseException as e:
            failures.append(e)
            raise

    threads = [threading.Thread(target=run, args=(c.flood, REQUESTS // CLIENTS, SEED * 100 + i)) for i, c in enumerate(clients[:-1])]
    threads.append(threading.Thread(target=run, args=(clients[-1].break_frames, BROKEN, SEED * 100 + CLIENTS)))
    begun, uptime, ran = time.monotonic(), m.get("/v1/host")["uptime_ms"], m.guest("mgmt")["vcpus"][0]["run_ticks"]
    for t in threads:
        t.start()
    for t in threads[:-1]:
        t.join()
    took, virtual, ticks = time.monotonic() - begun, m.get("/v1/host")["uptime_ms"] - uptime, m.guest("mgmt")["vcpus"][0]["run_ticks"] - ran
    threads[-1].join()
    assert not failures, failures[0]
    statuses = sum((c.statuses for c in clients[:-1]), collections.Counter())
    seconds = reports.seconds()
    with capsys.disabled():
        print(f"\n{dict(sorted(statuses.items()))}; broken: {dict(sorted(clients[-1].statuses.items(), key=str))}\n{statuses.total()} answers in {took:.0f} s; "
              f"{statuses.total() * 1000 / virtual:.0f} requests a second of virtual time, {ticks // statuses.total()} ticks each; {len(seconds)} seconds of the control loop", end=" ")
    assert statuses.total() == REQUESTS
    assert set(statuses) >= {200, 201, 202, 204, 400, 401, 403, 404, 405, 409} and sum(n for s, n in statuses.items() if s < 400) > REQUESTS // 3, statuses
    # No other guest has noticed.
    assert len(seconds) > 20 and seconds == [(seconds[0][0] + i, 1000, 0) for i in range(len(seconds))], seconds
    clean_up(m)
    assert unchanged(m) == before
    assert memory(m) == memory_before
    assert len(re.findall("guest mgmt: started", m.serial())) == 1
    m.type("keeper", "echo still here\r")
    m.wait_for("/v1/guests/keeper/console?format=json", lambda c: "\nstill here" in c["text"].replace("\r", ""), "keeper does not answer")
    assert m.get("/healthz") == {"status": "ok"}
