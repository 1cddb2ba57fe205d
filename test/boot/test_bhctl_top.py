"""bhctl top, in a terminal: what it shows, its keys, and what it leaves behind."""
import json
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time

import pytest

from bhctl import BHCTL, LIMIT, Other, Running, bare, cut, environment


class Looked(Other):
    """The parts of an appliance with two guests that `top` reads. It is running: counters grow with each request."""

    def __init__(self):
        super().__init__()
        self.looks = 0
        self.down = None  # what to do instead of answering

    def hook(self, handler):
        if self.down:
            return self.down(handler)
        path = handler.path
        if path == "/v1/guests":
            self.looks += 1
            answer = {"guests": [{"name": "busy"}, {"name": "large"}]}
        elif path == "/v1/host":
            answer = {"uptime_ms": 1000 * self.looks, "memory": {"total": 64 << 20, "free": 32 << 20}, "cores": [{"tsc_hz": 1000000, "busy_ticks": 500000 * self.looks,
                                                                                                                  "idle_ticks": 500000 * self.looks}]}
        else:
            name = path.rsplit("/", 1)[1]
            busy = name == "busy"
            answer = {"name": name, "state": "running", "configuration": {"memory": (4 if busy else 8) << 20},
                      "vcpus": [{"core": 0, "run_ticks": self.looks * (400000 if busy else 100000), "exits": {"HLT": self.looks * (10 if busy else 70)}}]}
        handler.say(200, json.dumps(answer).encode())
        return True


@pytest.fixture
def appliance():
    with Looked() as s:
        yield s


def test_the_last_page_stays(appliance):
    """While the management guest restarts, whatever comes instead of an answer."""
    with Running(appliance, "top", "-d", "1", terminal=True) as t:
        t.until("busy +running .* 40.0 ")
        for down in (cut, lambda handler: handler.say(503, b"{}") or True):
            appliance.down = down
            at = t.until("no answer: asking again", len(t.seen))
            t.send(b"n")
            at = t.until("by name", at)
            appliance.down = None
            t.until("busy +running .* 40.0 ", at)
        t.send(b"q")
        assert t.ended() == 0
    with Running(appliance, "top", "-n", "3", "-d", "1") as t:
        t.until("by cpu")
        appliance.down = cut
        time.sleep(3)
        appliance.down = None
        t.until("(?s)by cpu.*by cpu")
        assert t.ended() == 0


def test_it_may_be_left_meanwhile(appliance):
    with Running(appliance, "top", "-d", "1", terminal=True) as t:
        t.until("busy +running .* 40.0 ")
        appliance.down = cut
        t.until("no answer: asking again", len(t.seen))
        t.send(b"q")
        assert t.ended() == 0 and "bhctl:" not in t.seen


def test_who_was_never_there_is_not_waited_for(appliance):
    appliance.down = cut
    start = time.monotonic()
    assert bare("top", "-n", "1", url=appliance.url)[0] == 3 and time.monotonic() - start < 15


def order(page):
    return re.findall(r"^(?:\x1b\[\w)*(busy|large) ", page, re.M)


def test_keys(appliance):
    """Each key sorts at once, without another request."""
    with Running(appliance, "top", "-d", "3600", "--sort", "name", terminal=True) as t:
        t.until(r"\x1b\[\?1049h")  # by then it catches signals
        assert not t.seen.count("GUEST")
        t.process.send_signal(signal.SIGINT)
        assert t.ended() == 0
    with Running(appliance, "top", "-d", "2", terminal=True) as t:
        at = t.until(r"by cpu[^\0]*\x1b\[J")
        for _ in range(2):
            for key, by, first in (("n", "name", "busy"), ("e", "exits", "large"), ("c", "cpu", "busy"), ("m", "memory", "large")):
                looks, before, begun = appliance.looks, at, time.monotonic()
                t.send(key.encode())
                at = t.until(rf"\x1b\[H[^\0]*by {by}[^\0]*\x1b\[J", at)
                assert order(t.seen[before:at])[:2] == [first, "large" if first == "busy" else "busy"] and appliance.looks - looks <= 1 + (time.monotonic() - begun) // 2
        t.send(b"?")
        at = t.until(r"\x1b\[H[^\0]*by memory[^\0]*\x1b\[J", at)  # it goes on
        t.send(b"q")
        assert t.ended() == 0
        # The other screen, without a cursor, and back.
        assert t.seen.startswith("\x1b[?1049h\x1b[?25l") and t.seen.endswith("\x1b[?25h\x1b[?1049l")
        assert termios.tcgetattr(t.terminal) == t.before


@pytest.mark.parametrize("key", [b"\x03", b"\x1c"], ids=["ctrl-c", "ctrl-backslash"])
def test_signals_leave_the_terminal_in_order(appliance, key):
    with Running(appliance, "top", terminal=True) as t:
        t.until("by cpu")
        number = signal.SIGINT if key == b"\x03" else signal.SIGQUIT
        t.process.send_signal(number)
        assert t.ended() == 0 and t.seen.endswith("\x1b[?25h\x1b[?1049l") and termios.tcgetattr(t.terminal) == t.before


def test_without_keys_it_is_shown_once(appliance):
    """Output is a terminal, but input is not, so nobody could leave it."""
    output, other = pty.openpty()
    p = subprocess.Popen([BHCTL, "top", "-d", "1"], stdin=subprocess.DEVNULL, stdout=other, stderr=other, env=environment(appliance.url))
    assert p.wait(LIMIT) == 0
    assert select.select([output], [], [], 1)[0] and os.read(output, 65536).decode().count("GUEST") == 1
    os.close(output)
    os.close(other)
