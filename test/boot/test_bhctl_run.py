"""bhctl run against a server that behaves like an appliance: exit statuses, signals, lost connections, and that nothing is left behind."""
import hashlib
import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest

from bhctl import BHCTL, LIMIT, Other, Running, bare, begin_stream, chunk, cut, environment

RUNS = {"state": "running"}
ENDED = {"state": "stopped", "why": "the guest exited with code 0"}


class Host(Other):
    """Images, guests and a console. `states`: the answers about a new guest, one after the other; the last one stays. A number: that status instead; or what
    answers."""

    def __init__(self, *states, console=b"hello\n", streams=True):
        super().__init__()
        self.states, self.console, self.streams = list(states), console, streams
        self.images, self.guests, self.typed, self.log = {}, {}, b"", []
        self.entry = None
        self.refuse = {}  # (method, path) -> answers, one for each request: a status, or cut

    def hook(self, handler):
        method, path = handler.command, handler.path.split("?")[0]
        body = self.asked[-1][3]
        self.log.append((method, path))
        refusals = self.refuse.get((method, path), [])
        if refusals:
            answer = refusals.pop(0)
            if callable(answer):
                return answer(handler)
            return self.give(handler, answer, {"error": {"message": "not now"}})
        return getattr(self, method.lower())(handler, path, body)

    def give(self, handler, status, answer=None):
        handler.say(status, json.dumps(answer).encode() if answer is not None else b"")
        return True

    def none(self, handler):
        return self.give(handler, 404, {"error": {"message": "there is none"}})

    def put(self, handler, path, body):
        name = path.removeprefix("/v1/images/")
        self.images[name] = {"name": name, "source": "upload", "sha256": hashlib.sha256(body).hexdigest(), "used_by": []}
        return self.give(handler, 201, self.images[name])

    def post(self, handler, path, body):
        if path.endswith("/console"):
            self.typed += body
            return self.give(handler, 200, {"accepted": len(body)})
        if path.endswith("/actions"):
            return self.give(handler, 202, {})
        self.entry = json.loads(body)
        if self.entry["image"] not in self.images:
            return self.give(handler, 400, {"error": {"message": f'no image "{self.entry["image"]}" exists', "pointer": "/image"}})
        self.guests[self.entry["name"]] = self.entry
        return self.give(handler, 201, {**self.entry, "state": "starting"})

    def delete(self, handler, path, _):
        where, name = path.split("/")[2:]
        if not getattr(self, where).pop(name, None):
            return self.none(handler)
        return self.give(handler, 204)

    def get(self, handler, path, _):
        if path == "/v1/images":
            return self.give(handler, 200, {"images": list(self.images.values())})
        name = path.split("/")[3]
        if name not in self.guests:
            return self.none(handler)
        if path.endswith("/console"):
            return self.stream(handler) if "follow" in handler.path else self.ring(handler)
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if callable(state):
            return state(handler)
        if isinstance(state, int):
            return self.give(handler, state, {"error": {"message": "not now"}})
        return self.give(handler, 200, {"name": name, "configuration": {"restart": "never"}, "why": "", "exit_code": 0, **state})

    def ring(self, handler):
        at = int((re.search(r"from=(\d+)", handler.path) or [0, 0])[1])
        handler.say(200, self.console[at:], [("Bulkhead-Next", str(len(self.console)))])
        return True

    def stream(self, handler):
        if not self.streams:
            return self.give(handler, 503, {"error": {"message": "no place"}})
        begin_stream(handler)
        at = int(re.search(r"from=(\d+)", handler.path)[1])
        try:
            while self.states and self.guests:
                if len(self.console) > at:
                    chunk(handler, self.console[at:])
                    at = len(self.console)
                time.sleep(0.02)
            chunk(handler, b"")
        except OSError:
            pass
        return True

    def changes(self):
        return [(m, p) for m, p in self.log if m != "GET"]


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "My Kernel.elf"
    path.write_bytes(b"image")
    return path


SHARED = "run-" + hashlib.sha256(b"image").hexdigest()[:32]


def run(s, *args, **more):
    return bare("run", *args, url=s.url, token="t", **more)


@pytest.mark.parametrize("last, status, message", [
    (ENDED, 0, ""), ({**ENDED, "exit_code": 0x107}, 7, ""), ({**ENDED, "exit_code": 5}, 5, ""), ({"state": "crashed", "why": "triple fault"}, 126, "crashed: triple fault"),
    ({"state": "failed", "why": "no memory"}, 126, "failed: no memory"), ({"state": "stopped", "why": "any words", "ended_by": "request"}, 143, "any words"),
    ({"state": "deleting"}, 125, "was deleted"), (404, 125, "is gone"), (403, 125, "not now")])
def test_exit_status(image, last, status, message):
    with Host({"state": "starting"}, RUNS, last) as s:
        got, out, err = run(s, image)
        assert (got, out) == (status, "hello\n" if status != 125 else out) and message in err and bool(err) == bool(message)
        assert s.guests == {} and s.images == {}


def test_what_is_asked(image):
    with Host(RUNS, ENDED) as s:
        assert run(s, "--memory", "4M", image, "--disk", image, "--", "-x", "quiet root=/dev/vda", "--json")[0] == 0
        name = s.entry["name"]
        assert re.fullmatch(r"my-kernel-[a-z2-7]{8}", name)
        assert s.entry == {"name": name, "image": SHARED, "memory": "4M", "cmdline": "-x quiet root=/dev/vda --json", "disks": [{"file": SHARED}]}
        assert s.changes() == [("PUT", "/v1/images/" + SHARED)] * 2 + [("POST", "/v1/guests"), ("DELETE", "/v1/guests/" + name)] + [("DELETE", "/v1/images/" + SHARED)] * 2


def test_images_that_are_there(image):
    """An image of the same content is used as it is; one by name, too. Neither is deleted."""
    with Host(RUNS, ENDED) as s:
        s.images = {"base": {"name": "base", "sha256": hashlib.sha256(b"image").hexdigest()}, "iso/a.elf": {"name": "iso/a.elf", "sha256": None}}
        for what in ((image,), ("iso/a.elf",), ("--image", "base")):
            s.states = [RUNS, ENDED]
            assert run(s, *what)[0] == 0
            assert s.entry["image"] == ("iso/a.elf" if "iso/a.elf" in what else "base") and len(s.images) == 2
        assert "PUT" not in {m for m, _ in s.log}
        assert s.entry["name"].startswith("base-")


def test_no_image(tmp_path):
    with Host(RUNS) as s:
        for what in (("nothing",), ("--image", "nothing"), (tmp_path,)):
            status, out, err = run(s, *what)
            assert (status, out) == (127, "") and err.startswith("bhctl: ")
        assert s.changes() == []


@pytest.mark.parametrize("args, message", [((), "run needs IMAGE"), (("f", "--image", "b"), "instead"), (("f", "--cmdline", "a", "--", "b"), "exclude each other"), (("f", "--patience", "x"), "--patience"),
                                           (("f", "--raw", "--filter"), "exclude"), (("f", "--name", "a" * 32), "31"), (("f", "--core", "x"), "--core"), (("f", "--", "x" * 5000), "too long")])
def test_wrong_usage(image, args, message):
    with Host(RUNS) as s:
        status, _, err = run(s, *(image if a == "f" else a for a in args))
        assert status == 2 and message in err and s.changes() == []


def test_an_image_that_goes(image):
    """Another run deletes it between the list and the guest: it is uploaded again."""
    with Host(RUNS, ENDED) as s:
        s.images[SHARED] = {"name": SHARED, "sha256": hashlib.sha256(b"image").hexdigest()}
        s.refuse["POST", "/v1/guests"] = [lambda handler: s.images.clear() or s.give(handler, 400, {"error": {"message": "none", "pointer": "/image"}})]
        assert run(s, image)[0] == 0
        assert [m for m, _ in s.changes()] == ["POST", "PUT", "POST", "DELETE", "DELETE"] and s.images == {}


def test_an_image_that_comes(image):
    """Another run makes a guest from it while this one uploads it."""
    def in_use(handler):
        s.images[SHARED] = {"name": SHARED, "sha256": hashlib.sha256(b"image").hexdigest()}
        return s.give(handler, 409, {"error": {"message": "in use"}})

    with Host(RUNS, ENDED) as s:
        s.refuse["PUT", "/v1/images/" + SHARED] = [in_use]
        s.refuse["DELETE", "/v1/images/" + SHARED] = [409]
        assert run(s, image)[0] == 0 and SHARED in s.images


def test_refusals(image):
    with Host(RUNS) as s:
        s.guests["taken"] = {}
        assert "exists already" in run(s, image, "--name", "taken")[2] and s.changes() == [] and "taken" in s.guests
        s.refuse["POST", "/v1/guests"] = [409]
        status, _, err = run(s, image)
        assert status == 125 and "not now" in err and s.images == {} and list(s.guests) == ["taken"]
    assert run(s, "--patience", "1", image)[0] == 125  # there is no server any more


def test_a_guest_that_is_scrubbed_for_long(image):
    """202: its memory is still being scrubbed, and its image in use. Whatever its exit code: 3 is not bhctl's own."""
    with Host(RUNS, {**ENDED, "exit_code": 3}) as s:
        s.refuse["DELETE", "/v1/guests/long"] = [202, 202]
        assert run(s, image, "--name", "long")[0] == 3 and s.guests == {} and s.images == {}


def test_refusals_without_words(image):
    with Host(RUNS, lambda handler: handler.say(401, b"") or True) as s:
        assert run(s, image)[0] == 125


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals(image, number):
    with Host(RUNS) as s:
        r = subprocess.Popen([BHCTL, "run", image], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment(s.url, "t"))
        assert r.stdout.readline() == b"hello\n"
        r.send_signal(number)
        assert r.wait(LIMIT) == 128 + number and s.guests == {} and s.images == {}
        r.stdout.close()


def test_a_signal_during_the_upload(image):
    begun = threading.Event()

    def stop(handler):
        begun.wait(LIMIT)  # it may be asked before Popen() has returned
        r.send_signal(signal.SIGTERM)
        time.sleep(2)
        return cut(handler)

    with Host(RUNS) as s:
        s.refuse["PUT", "/v1/images/" + SHARED] = [stop]
        r = subprocess.Popen([BHCTL, "run", image], stdin=subprocess.DEVNULL, env=environment(s.url, "t"))
        begun.set()
        assert r.wait(LIMIT) == 143 and s.guests == {} and "POST" not in {m for m, _ in s.log}


def test_nobody_reads(image):
    with Host(RUNS, console=b"x\n") as s:
        r = subprocess.Popen([BHCTL, "run", image], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment(s.url, "t"))
        r.stdout.readline()
        r.stdout.close()
        assert r.wait(LIMIT) == 128 + signal.SIGPIPE and s.guests == {}


def test_lost_connections(image):
    """They are made again, and the console goes on where it stood."""
    with Host(RUNS, cut, 503, cut, ENDED) as s:
        s.refuse = {("POST", "/v1/guests"): [cut, 503], ("PUT", "/v1/images/" + SHARED): [cut], ("DELETE", "/v1/images/" + SHARED): [cut, 503]}
        status, out, _ = run(s, image)
        assert (status, out) == (0, "hello\n") and s.guests == {} and s.images == {}


def test_a_guest_that_was_made_all_the_same(image):
    with Host(RUNS, ENDED) as s:
        s.refuse["POST", "/v1/guests"] = [lambda handler: s.guests.update({json.loads(s.asked[-1][3])["name"]: {}}) or cut(handler)]
        assert run(s, image)[0] == 0 and s.guests == {} and s.log.count(("POST", "/v1/guests")) == 1


def test_an_appliance_that_is_lost(image):
    with Host(RUNS) as s, Running(s, "run", "--patience", "1", str(image)) as r:
        r.until("hello\r?\n")
        gone = time.monotonic()
        s.hook, s.states = cut, []
        assert r.ended() == 125 and 0.9 < time.monotonic() - gone < 29 and "cannot be reached" in r.seen and "could not be deleted" in r.seen


def test_without_a_place_for_a_stream(image):
    """Streams are few: the console is then asked for again and again."""
    with Host(RUNS, console=b"one\n", streams=False) as s, Running(s, "run", "--patience", "3", str(image)) as r:
        r.until("one\n")
        time.sleep(4)
        s.console += b"two\n"
        r.until("two\n")
        s.console += b"three\n"
        s.states = [ENDED]
        assert r.ended() == 0 and r.seen == "one\ntwo\nthree\n"


def test_restarts(image):
    """An end that the restart policy follows is none."""
    again = {"configuration": {"restart": "on-failure"}}
    with Host(RUNS, {"state": "crashed", **again}, {"state": "running", "restarts": 1, **again}, {"state": "crashed", "restarts": 1, **again}, {"state": "starting", "restarts": 2, **again},
              {**ENDED, "restarts": 2, **again}) as s:
        assert run(s, image)[0] == 0 and len([p for _, p in s.log if re.fullmatch(r"/v1/guests/[^/]*", p)]) > 6


def test_typed(image):
    with Host({"state": "starting"}, RUNS) as s:
        with Running(s, "run", str(image)) as r:
            r.send(b"ls\n")
            r.process.stdin.close()
            end = time.monotonic() + LIMIT
            while s.typed != b"ls\r":
                assert time.monotonic() < end
                time.sleep(0.05)
            assert r.process.poll() is None  # the end of the input is not the guest's
            s.states = [ENDED]
            assert r.ended() == 0
    with Host(RUNS) as s, Running(s, "run", str(image), terminal=True) as r:
        r.until(r"Ctrl-\] ends the guest")
        r.send(b"\x03x\x1d")
        assert r.ended() == 130 and s.guests == {}


def test_keep_and_detach(image):
    with Host(RUNS, ENDED) as s:
        assert run(s, "--keep", image, "--name", "kept")[0] == 0
        assert s.changes()[-1] == ("POST", "/v1/guests/kept/actions") and list(s.guests) == ["kept"] and list(s.images) == [SHARED]
    with Host(RUNS) as s:
        status, out, _ = run(s, "--detach", image)
        assert status == 0 and list(s.guests) == [out.strip()] and list(s.images) == [SHARED] and s.changes()[-1] == ("POST", "/v1/guests")
