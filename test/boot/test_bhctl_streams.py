"""bhctl's streams: what ends them, and what they say after a lost connection, with servers that do what appliances seldom do."""
import json
import subprocess
import threading
import time

import pytest

from bhctl import BHCTL, LIMIT, Other, begin_stream, chunk, environment


class Talking(Other):
    """Its log and its events go on, a piece each time that `more` is set, or all the time."""

    def __init__(self, all_the_time):
        super().__init__()
        self.all_the_time = all_the_time
        self.more = threading.Event()

    def hook(self, handler):
        events = handler.path.startswith("/v1/events")
        if "follow=1" not in handler.path and not events:
            handler.say(200, b"[   0.000001] core 0: first\n[   0.000002] core 0: second\n", [("Bulkhead-Next", "54")])
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
@pytest.mark.parametrize("command", [("log", "-f"), ("events", "-f"), ("events", "-f", "--json"), ("console", "a")])
def test_it_ends_with_who_reads_it(command, all_the_time):
    """As `| head -1` does: quietly, and also when nothing more is said."""
    with Talking(all_the_time) as s:
        p = follow(s, *command, stdout=subprocess.PIPE)
        assert p.stdout.readline()
        p.stdout.close()
        assert p.wait(10) == 0 and p.stderr.read() == b""
        s.more.set()


@pytest.mark.parametrize("command", [("log", "-f"), ("events", "-f"), ("console", "a")])
def test_it_ends_when_nothing_can_be_written(command):
    with Talking(True) as s, open("/dev/full", "wb") as full:
        p = follow(s, *command, stdout=full)
        assert p.wait(10) == 2 and p.stderr.read() == b"bhctl: standard output: No space left on device\n"
        assert len(s.asked) <= 2


@pytest.mark.parametrize("command", [("guests",), ("log", "--json"), ("--help",), ("top", "-n", "100", "-d", "1"), ("config",)])
def test_commands_end_so_too(command):
    with Other(body=b'{"guests": [{"name": "%s"}]}' % (b"x" * 200000)) as s:
        p = follow(s, *command, stdout=subprocess.PIPE)
        p.stdout.close()
        assert p.wait(10) == 0 and p.stderr.read() == b""
