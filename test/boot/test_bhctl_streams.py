"""bhctl's streams: what ends them, and what they print after a lost connection, with servers that do what appliances rarely do."""
import json
import re
import subprocess
import termios
import threading
import time

import pytest

from bhctl import BHCTL, LIMIT, Other, Running, bare, begin_stream, chunk, cut, environment


class Talking(Other):
    """A server whose log and events continue: one piece each time `more` is set, or all the time."""

    def __init__(self, all_the_time):
        super().__init__()
        self.all_the_time = all_the_time
        self.more = threading.Event()

    def hook(self, handler):
        events = handler.path.startswith("/v1/events")
        if "follow=1" not in handler.path and not events:
            handler.say(200, b"[   0.000001] core 0: first\n[   0.000002] core 0: second\n", [("Bulkhead-Next", "57")])
            return True
        begin_stream(handler)
        n = 0
        while True:
            n += 1
            event = {"id": n, "time": "", "guest": "a", "state": "running", "why": ""}
            try:
                chunk(handler, f"data: {json.dumps(event)}\n\n".encode() if events else b"[   0.%06u] core 0: more\n" % n)
            except OSError:
                return True
            if not self.all_the_time:
                self.more.wait(LIMIT)
            time.sleep(0.01)


def follow(server, *args, stdout):
    return subprocess.Popen([BHCTL, *args], stdout=stdout, stderr=subprocess.PIPE, env=environment(server.url))


@pytest.mark.parametrize("all_the_time", [True, False])
@pytest.mark.parametrize("command", [("log", "-f"), ("log", "-f", "--json"), ("events", "-f"), ("events", "-f", "--json"), ("console", "a")])
def test_it_ends_with_who_reads_it(command, all_the_time):
    """As `| head -1` does: bhctl ends quietly, even if no more output comes."""
    with Talking(all_the_time) as s:
        p = follow(s, *command, stdout=subprocess.PIPE)
        assert p.stdout.readline()
        p.stdout.close()
        assert p.wait(LIMIT) == 0 and p.stderr.read() == b""
        s.more.set()


@pytest.mark.parametrize("command", [("log", "-f"), ("events", "-f"), ("console", "a")])
def test_it_ends_when_nothing_can_be_written(command):
    with Talking(True) as s, open("/dev/full", "wb") as full:
        p = follow(s, *command, stdout=full)
        assert p.wait(LIMIT) == 2 and p.stderr.read() == b"bhctl: standard output: No space left on device\n"
        assert len(s.asked) <= 2


@pytest.mark.parametrize("command", [("guests",), ("log", "--json"), ("--help",), ("top", "-n", "100", "-d", "1"), ("config",)])
def test_commands_end_so_too(command):
    with Other(body=b'{"guests": [{"name": "%s"}]}' % (b"x" * 200000)) as s:
        p = follow(s, *command, stdout=subprocess.PIPE)
        p.stdout.close()
        assert p.wait(LIMIT) == 0 and p.stderr.read() == b""


# ---- after a lost connection ----

class Kept(Other):
    """An appliance's ring of `size` bytes and its events. lose() ends all streams, either by a cut connection or as for an overrun. `beyond`: the answer to a
    position that does not exist yet begins with everything (True), or with new output (False)."""

    def __init__(self, size=4000, beyond=True):
        super().__init__()
        self.size, self.beyond = size, beyond
        self.ring, self.events = b"", []
        self.changed = threading.Condition()
        self.lives, self.ends_well = 0, False
        self.streams = 0  # the number of streams begun
        self.refusing = 0  # the number of requests still to be answered with 503

    def say(self, text):
        with self.changed:
            self.ring += text
            self.changed.notify_all()

    def happen(self, guest, state):
        with self.changed:
            self.events.append({"id": len(self.events) + 1, "uptime_ms": 1000 * self.lives + len(self.events), "time": "", "guest": guest, "state": state, "why": "", "restarts": 0})
            self.changed.notify_all()

    def lose(self, well=False, meanwhile=lambda: None):
        with self.changed:
            self.lives += 1
            self.ends_well = well
            meanwhile()
            self.changed.notify_all()

    def followed(self, streams=1):
        with self.changed:
            assert self.changed.wait_for(lambda: self.streams >= streams, LIMIT)

    def begin_anew(self, text):
        self.ring, self.events = text, []

    def first(self, at):
        end, oldest = len(self.ring), max(0, len(self.ring) - self.size)
        return (oldest if self.beyond else end) if at > end else max(at, oldest)

    def news(self, at):
        """A stream's new output after position `at`, and its position then."""
        if isinstance(at, tuple):
            events = [e for e in self.events if e["id"] >= at[0]]
            return "".join(f"id: {e['id']}\nevent: state\ndata: {json.dumps(e)}\n\n" for e in events).encode(), (max(at[0], len(self.events) + 1),)
        at = self.first(at)
        return self.ring[at:], len(self.ring)

    def stream(self, handler, at):
        begin_stream(handler)
        with self.changed:
            life = self.lives
            self.streams += 1
            self.changed.notify_all()
        try:
            while True:
                with self.changed:
                    while self.news(at)[0] == b"" and self.lives == life:
                        self.changed.wait()
                    if self.lives != life:
                        break
                    data, at = self.news(at)
                chunk(handler, data)
            if self.ends_well:
                chunk(handler, b"")
        except OSError:
            pass
        return cut(handler)

    def hook(self, handler):
        path, _, query = handler.path.partition("?")
        query = dict(q.split("=") for q in query.split("&") if q)
        at = int(query.get("from", 0))
        if self.refusing:
            self.refusing -= 1
            handler.say(503, b'{"error":{"message":"8 streams are open"}}')
        elif path == "/v1/events":
            if at > len(self.events) and self.beyond:
                at = 1
            if query.get("follow") != "0":
                return self.stream(handler, (at,))
            handler.say(200, json.dumps({"events": [e for e in self.events if e["id"] >= at]}).encode())
        elif handler.command == "POST":
            handler.say(200, b'{"accepted": 1}')
        elif query.get("follow") == "1":
            return self.stream(handler, at)
        else:
            handler.say(200, self.ring[self.first(at):], [("Bulkhead-Next", str(len(self.ring)))])
        return True


def line(n):
    return b"[%4u.000000] core 0: line %u\n" % (n, n)


@pytest.fixture(params=[True, False], ids=["all", "none"])
def kept(request):
    with Kept(beyond=request.param) as s:
        s.say(b"".join(map(line, range(20))))
        for state in ("starting", "running", "crashed"):
            s.happen("a", state)
        yield s
        s.lose()


@pytest.mark.parametrize("well", [True, False], ids=["ended", "cut"])
@pytest.mark.parametrize("command", [("log", "-f"), ("console", "a")])
def test_a_ring_goes_on(kept, command, well):
    """Nothing is repeated, nothing is lost."""
    with Running(kept, *command) as r:
        at = r.until("line 19\r?\n")
        kept.followed()
        kept.say(line(20))
        at = r.until("line 20", at)
        kept.lose(well, meanwhile=lambda: kept.say(line(21)))
        at = r.until("line 21", at)
        kept.lose(well)
        kept.refusing = 3
        time.sleep(1)
        kept.say(line(22))
        r.until("line 22", at)
        assert re.findall(r"line (\d+)\r?\n", r.seen) == [str(n) for n in range(23)] and "bhctl" not in r.seen


@pytest.mark.parametrize("command", [("log", "-f"), ("console", "a", "--new")])
def test_a_ring_is_overrun(kept, command):
    with Running(kept, *command) as r:
        kept.followed()
        kept.say(line(20))
        at = r.until("line 20\r?\n")
        kept.lose(meanwhile=lambda: kept.say(b"".join(map(line, range(21, 300)))))
        r.until("line 299", at)
        missing = int(re.search(r"bhctl: (\d+) bytes were overwritten before they could be read\n", r.seen[at:])[1])
        # The first line is incomplete.
        text = re.sub(r"bhctl: .*\n", "", r.seen[at:])
        assert missing + len(text) >= len(b"".join(map(line, range(21, 300)))) - 1 and re.findall(r"line (\d+)", text)[-100:] == [str(n) for n in range(200, 300)]


@pytest.mark.parametrize("command", [("log", "-f"), ("console", "a")])
@pytest.mark.parametrize("lines", [3, 20, 50])
def test_a_ring_begins_anew(kept, command, lines):
    with Running(kept, *command) as r:
        at = r.until("line 19\r?\n")
        kept.followed()
        kept.lose(meanwhile=lambda: kept.begin_anew(b"".join(map(line, range(500, 500 + lines)))))
        r.until(f"line {499 + lines}", at)
        assert "bhctl: it starts from the beginning" in r.seen and re.findall(r"line (\d+)", r.seen[at:]) == [str(n) for n in range(500, 500 + lines)]


def test_events_go_on(kept):
    with Running(kept, "events", "-f") as r, Running(kept, "events", "-f", "--json") as j:
        at = r.until("a +crashed")
        j.until('"crashed"')
        kept.followed(2)
        for state in ("one", "two", "three"):
            kept.lose(state == "two", meanwhile=lambda state=state: kept.happen("b", state))
            at = r.until(f"b +{state}", at)
            j.until(f'"{state}"')
        kept.lose()
        kept.refusing = 4
        time.sleep(1)
        kept.happen("b", "four")
        r.until("b +four", at)
        j.until('"four"')
        assert re.findall(r"^ +(\d+) ", r.seen, re.M) == [str(n) for n in range(1, 8)] and "bhctl" not in r.seen
        assert [json.loads(x)["id"] for x in j.seen.splitlines()] == list(range(1, 8))


def test_events_are_overwritten(kept):
    with Running(kept, "events", "-f") as r:
        at = r.until("a +crashed")

        def meanwhile():
            for n in range(10):
                kept.happen("b", f"s{n}")
            del kept.events[:8]

        kept.lose(meanwhile=meanwhile)
        r.until("b +s9", at)
        assert "bhctl: 5 events were overwritten before they could be read\n" in r.seen and re.findall(r"b +(s\d)", r.seen) == [f"s{n}" for n in range(5, 10)]


@pytest.mark.parametrize("count", [1, 3, 6])
def test_events_begin_anew(kept, count):
    with Running(kept, "events", "-f") as r:
        at = r.until("a +crashed")

        def meanwhile():
            kept.begin_anew(b"")
            for n in range(count):
                kept.happen("c", f"s{n}")

        kept.lose(meanwhile=meanwhile)
        r.until(f"c +s{count - 1}", at)
        assert "bhctl: the appliance has restarted, and counts" in r.seen and re.findall(r"^ +(\d+) .* c +(s\d)", r.seen, re.M) == [(str(n + 1), f"s{n}") for n in range(count)]


def test_events_that_are_not_there_yet(kept):
    with Running(kept, "events", "-f", "--from", "5") as r:
        time.sleep(0.5)
        kept.happen("a", "fourth")
        if not kept.beyond:
            kept.lose()
        kept.happen("a", "fifth")
        r.until("a +fifth")
        assert r.seen.count("\n") <= 1 and "fourth" not in r.seen
    assert bare("events", "--from", "6", url=kept.url)[:2] == (0, "")


def test_who_is_gone_for_long_is_given_up(kept):
    with Running(kept, "log", "-f") as r:
        r.until("line 19")
        kept.followed()
        kept.refusing = 1000
        start = time.monotonic()
        kept.lose()
        assert r.ended() == 1 and "8 streams are open" in r.seen and time.monotonic() - start > 10


def test_what_is_typed_meets_503(kept):
    with Running(kept, "console", "a", "--quiet", "0") as r:
        r.until("line 19")
        kept.followed()
        kept.refusing = 2
        r.send(b"x")
        r.process.stdin.close()
        assert r.ended() == 0
    assert [body for method, _, _, body in kept.asked if method == "POST"] == [b"x"] * 3


HOSTILE = b"\x1b]0;title\x07\x1b[2J\x9b1Gred \xc3\xa4\xe2\x80\xae\r\nnext\n"
CLEAN = "red \xe4\ufffd\nnext\n"


@pytest.mark.parametrize("option, terminal, filtered", [(None, False, True), ("--filter", False, True), ("--raw", False, False), (None, True, False), ("--raw", True, False), ("--filter", True, True)])
def test_what_a_console_may_do(kept, option, terminal, filtered):
    """Into a pipe it is plain text; to a terminal it goes unfiltered, after a notice. Either can be chosen."""
    with Running(kept, "console", "a", *([option] if option else []), terminal=terminal) as r:
        r.until("line 19")
        kept.followed()
        at = len(r.seen)
        kept.say(HOSTILE)
        r.until(r"next\r?\n", at)
        assert ("can control it" in r.seen[:r.seen.index("line 0")]) == (terminal and not filtered)
        said = r.seen[at:]
        assert ("\x1b" in said) != filtered
        if filtered:
            assert CLEAN in said.replace("\r\n", "\n"), said
        r.send(b"\x1d") if terminal else r.process.terminate()
        assert r.ended() == 0


def test_raw_or_filtered(kept):
    status, _, err = bare("console", "a", "--raw", "--filter", url=kept.url)
    assert status == 2 and "--raw and --filter exclude each other" in err


@pytest.mark.parametrize("answer", ["nothing", "none", "503"])
def test_a_terminal_can_always_be_left(kept, answer):
    """Even after much was typed to a guest that takes no input."""
    hook = kept.hook

    def full(handler):
        if handler.command != "POST":
            return hook(handler)
        if answer == "nothing":
            kept.over.wait(LIMIT)
            return cut(handler)
        handler.say(200 if answer == "none" else 503, b'{"accepted": 0}')
        return True

    kept.over = threading.Event()
    kept.hook = full
    with Running(kept, "console", "a", terminal=True) as r:
        r.until("line 19")
        kept.followed()
        for _ in range(12):
            r.send(b"x" * 500)
        r.until("\a")
        r.send(b"y" * 100 + b"\x1dz")
        start = time.monotonic()
        assert r.ended() == 0 and time.monotonic() - start < 9  # before any answer is given up
        assert termios.tcgetattr(r.terminal) == r.before
    kept.over.set()


def test_a_log_as_json(kept):
    """One object per line."""
    with Running(kept, "log", "-f", "--json") as r:
        r.until('"line 19"')
        kept.followed()
        kept.say(b"[  20.5000")
        time.sleep(0.3)
        kept.say(b"01] core 3: half\n[what] is \"this\"\n\xc3\xa4\n\xe4\x00\x1b\n[1.0] core x: y\n")
        kept.say(b"z" * 1500 + b"\nend\n")
        r.until('"end"')
        said = [json.loads(x) for x in r.seen.splitlines()]
        assert said[:20] == [{"seconds": n, "core": 0, "text": f"line {n}"} for n in range(20)]
        assert said[20:] == [{"seconds": 20.500001, "core": 3, "text": "half"}, {"text": '[what] is "this"'}, {"text": "\xe4"}, {"text": "\xe4?\x1b"}, {"text": "[1.0] core x: y"},
                             {"text": "z" * 1023}, {"text": "z" * 477}, {"text": "end"}]
        r.process.terminate()
        assert r.ended() == 0
