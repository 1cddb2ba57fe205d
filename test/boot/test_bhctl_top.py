"""bhctl top, in a terminal: what it shows, its keys, and what it leaves behind."""
import json
import time

import pytest

from bhctl import Other, Running, bare, cut


class Looked(Other):
    """An appliance with two guests, as far as `top` looks. It runs: each look finds more."""

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
    """While the management guest starts anew, whatever comes instead of an answer."""
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
    assert bare("top", "-n", "1", url=appliance.url)[0] == 3 and time.monotonic() - start < 10
