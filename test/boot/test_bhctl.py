"""bhctl without an appliance: its usage, and servers that are not appliances."""
import base64
import hashlib
import json
import os
import re
import socket
import subprocess
import threading

import pytest

import third_party
from bhctl import BHCTL, COMMANDS, ECHO, LIMIT, Other, bare, environment


# ---- usage, without an appliance ----

def test_help():
    status, out, err = bare("--help")
    assert status == 0 and err == "" and max(map(len, out.splitlines())) <= 100
    assert all(re.search(rf"^  {c} ", out, re.M) for c in COMMANDS)
    for c in COMMANDS:
        status, out, err = bare(c, "--help")
        assert status == 0 and err == "" and out.startswith(f"usage: bhctl {c} ") and max(map(len, out.splitlines())) <= 100, out
    assert re.fullmatch(r"bhctl \d+\.\d+\.\d+ \([0-9a-f]{16}\)\n" + third_party.TEXT, bare("--version")[1])


def test_the_default_appliance():
    """The code, the help and the manual list the same commands and options."""
    with open("mgmt/bhctl/bhctl.1", encoding="utf-8") as f:
        manual = re.search(r"^without both, and without a current context, it is\n\.BR (\S+) \.$", f.read(), re.M)[1]
    shown = re.search(r"default\s+(\S+)\)", bare("--help")[1])[1]
    with open("mgmt/bhctl/api.c", encoding="utf-8") as f:
        code = re.search(r'known = "(https?://\S+)";', f.read())[1]
    assert manual == shown == code


def test_manual_and_completion_know_everything():
    with open("mgmt/bhctl/bhctl.1", encoding="utf-8") as f:
        manual = f.read().replace("\\-", "-")
    with open("mgmt/bhctl/bhctl.bash", encoding="utf-8") as f:
        completion = f.read()
    for c in COMMANDS:
        assert re.search(rf'^\.BI? "?{c}\b', manual, re.M) and re.search(rf"\b{c}\b", completion), c
        for option in re.findall(r"--[a-z-]+", bare(c, "--help")[1].split("\n\n", 1)[1]):
            assert option in manual and option in completion, (c, option)


@pytest.mark.parametrize("args, message", [
    ((), "a command is missing"), (("reboot",), "give --yes"), (("reboot", "now"), '"now" is one argument too many'), (("frob",), 'no command "frob"'), (("ps",), 'did you mean "bhctl guests"?'), (("console",), "console needs NAME"), (("status", "a", "b"), '"b" is one argument too many'),
    (("status", "a", "--memory", "4M"), "status has no option --memory"), (("guests", "--url"), "--url needs a value"), (("guests", "--json=1"), "takes no value"),
    (("guests", "--url", "127.0.0.1"), "must begin with http://"), (("guests", "--url", "http://"), "names no host"), (("guests", "--token", ""), "a token has 1 to"),
    (("guests", "--token", "a b"), "no blanks"), (("guests", "--token-file", "/nonexistent/t"), "No such file"), (("guests", "--token", "a", "--token-file", "b"), "exclude"),
    (("guests", "--fingerprint", "12:34"), "32 bytes"), (("guests", "--cacert", "/nonexistent/c"), "No such file"),
    (("guests", "--insecure", "--fingerprint", "00" * 32), "exclude"), (("guests", "-k", "--cacert", "/dev/null"), "exclude"),
    (("status", ".."), "cannot be a name"), (("status", ""), "cannot be a name"), (("console", ".."), "cannot be"), (("console", "a", "--quiet", "x"), "--quiet"),
    (("deploy", "/dev/_.elf"), "needs --name NAME: none can be made from"), (("deploy",), "needs FILE, or --image"), (("deploy", "/dev/null"), "not a regular file"), (("deploy", "/nonexistent/f", "--name", "a"), "/nonexistent/f: No such file"), (("deploy", "/", "--name", "a"), "directory"),
    (("deploy", "/dev/null", "--name", "a"), "not a regular file"), (("deploy", ECHO, "--name", "a", "--core", "one"), '--core: "one"'),
    (("deploy", ECHO, "--name", "a", "--module", "/nonexistent/i"), "/nonexistent/i"), (("deploy", ECHO, "--name", "a", "--module-args", "x"), "after its --module"),
    (("deploy", "--name", "a"), "needs FILE, or --image"), (("deploy", ECHO, "--name", "a", "--image", "b"), "needs FILE, or --image"),
    (("deploy", ECHO, "--name", ".."), "cannot be a guest's name"),
    (("vmcs", "a", "--format", "xml"), "text or json"), (("vmcs", "a", "--diff", "x"), "number of a snapshot"), (("vmcs", "a", "--check", "--exits"), "exclude"),
    (("vmcs", "a", "--to", "3"), "needs --diff"), (("vmcs", "a", "--check", "--group", "guest"), "has no meaning"), (("vmcs", "a", "--fields", "A," * 200), "too long"),
    (("top", "-n", "0"), "number of times"), (("top", "-d", "0"), "1 to 3600"), (("top", "--sort", "age"), "cpu, exits, memory or name"),
    (("events", "--from", "0"), "number of an event"),
    (("hash-token",), "needs --name"), (("hash-token", "--name", "A", "--role", "read"), "a-z, 0-9"), (("hash-token", "--name", "a" * 32, "--role", "read"), "1 to 31"),
    (("hash-token", "--name", "a", "--role", "king"), "read, operate or admin")])
def test_wrong_usage(args, message):
    status, out, err = bare(*args)
    assert status == 2 and out == "" and err.startswith("bhctl: ") and message in err, err


def test_hash_token():
    status, out, err = bare("hash-token", "--name", "ops", "--role", "operate")
    assert status == 0 and err == ""
    token = re.search(r"token of ops, shown this once: ([a-z2-7]{32})\n", out)[1]
    entry = json.loads(out.splitlines()[-1])
    assert entry["name"] == "ops" and entry["role"] == "operate" and len(entry["salt"]) == 32
    assert entry["sha256"] == hashlib.sha256(bytes.fromhex(entry["salt"]) + token.encode()).hexdigest()
    assert token not in bare("hash-token", "--name", "ops", "--role", "operate")[1]


# ---- servers that are no appliance ----

def test_nobody_there():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        status, out, err = bare("guests", url=f"http://127.0.0.1:{s.getsockname()[1]}")
    assert status == 3 and out == "" and "cannot be reached" in err and "--url" in err
    status, _, err = bare("guests", url="http://nowhere.invalid")
    assert status == 3 and "nowhere.invalid" in err


@pytest.mark.parametrize("command", [("guests",), ("host",), ("status", "a"), ("config",), ("images",), ("events",), ("top", "-n", "1"), ("status", "a", "--json"), ("status",)])
def test_no_json(command):
    with Other(body=b"<html>a router</html>") as s:
        status, out, err = bare(*command, url=s.url)
        assert status == 3 and out == "" and "is that a Bulkhead appliance?" in err


def test_answers_without_end():
    with Other(body=b" " * (17 << 20)) as s:
        status, out, err = bare("guests", url=s.url)
        assert status == 2 and out == "" and "more than 16 MiB" in err


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'{"guests": 7, "images": {}, "events": [1, null], "cores": "x", "vcpus": [[]]}',
                                  b'{"guests": [7, {"name": 5}], "name": [], "vcpus": [{"exits": [], "last_exit": 3}], "configuration": 1, "memory": -1}'])
@pytest.mark.parametrize("command", [("guests",), ("host",), ("status",), ("status", "a"), ("images",), ("events",), ("top", "-n", "1", "-d", "1")])
def test_other_json(command, body):
    """The message may be poor, but bhctl must not crash."""
    with Other(body=body) as s:
        assert bare(*command, url=s.url)[0] in (0, 3)


EVIL = "a\x1b[2J\u009b\x07"


@pytest.mark.parametrize("command", [("guests",), ("status",), ("status", "a"), ("images",), ("events",), ("host",), ("top", "-n", "1", "-d", "1"), ("log",), ("vmcs", "a")])
def test_nothing_takes_the_terminal_over(command):
    """Whichever member of an answer holds the control sequence."""
    guest = {"name": EVIL, "state": EVIL, "why": EVIL, "image": EVIL, "vcpus": [{"exits": {EVIL: 1}}], "configuration": {"image": EVIL, "devices": [EVIL]}, "source": EVIL, "sha256": EVIL,
             "used_by": [EVIL], "id": 1, "guest": EVIL, "time": EVIL}
    body = json.dumps({**guest, "guests": [guest], "images": [guest], "events": [guest], "cores": [guest], "network": {"nic": EVIL}, "version": EVIL}).encode()
    with Other() as s:
        s.hook = lambda handler: handler.say(200, EVIL.encode() if command[0] in ("log", "vmcs") else body, [("Bulkhead-Next", "1000")]) or True
        status, out, err = bare(*command, url=s.url)
        assert status == 0 and "a?[2J???" in out and not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", out + err), out
    with Other(308, b"", [("Location", "https://x/\x1b[2J")]) as s:
        assert "https://x/?[2J" in bare(*command, url=s.url)[2]


def test_guests_that_are_held_back():
    """A state that is newer than this command, and one that is unknown."""
    for state, more in (("restarting", {"short_lives": 3, "next_start_tsc": 12345}), ("frozen", {"short_lives": 0}), ("state-of-the-day-after-tomorrow", {})):
        guest = {"name": "a", "state": state, "configuration": {"restart": "always"}, "restarts": 4, "memory": 1 << 20, "core": 0, **more}
        with Other(body=json.dumps({**guest, "guests": [guest], "events": [{"id": 1, "guest": "a", "state": state, "time": ""}]}).encode()) as s:
            status = bare("status", "a", url=s.url)[1]
            assert re.search(rf"^state: +{state}$", status, re.M) and ("short lives:    3 in a row\n" in status) == (state == "restarting")
            assert re.search(rf"^a +{state} +1 MiB", bare("guests", url=s.url)[1], re.M) and state in bare("events", url=s.url)[1]
            assert re.search(rf"^a +{state[:23]} ", bare("top", "-n1", "-d1", url=s.url)[1], re.M)


def test_terminal_is_not_taken_over():
    with Other(body=json.dumps({"guests": [{"name": "a", "state": "crashed", "why": "\x1b[2Jgone\x07", "memory": 1, "core": 0}]}).encode()) as s:
        status, out, _ = bare("guests", url=s.url)
        assert status == 0 and "?[2Jgone?" in out and "\x1b" not in out


@pytest.mark.parametrize("status, headers, body, expected, message", [
    (308, [("Location", "https://a/")], b"", 3, "https://a/"), (401, [], b'{"error":{"message":"this token is not known"}}', 4, "this token is not known"),
    (403, [], b'{"error":{"message":"this needs the role admin"}}', 4, "role admin"), (429, [("Retry-After", "7")], b'{"error":{"message":"too many"}}', 4, "again in 7 s"),
    (404, [], b'{"error":{"message":"none; GET /v1/guests lists them"}}', 1, '"bhctl guests" lists'), (500, [], b"oops", 1, "HTTP status 500"),
    (503, [], b'{"error":{"message":7}}', 1, "HTTP status 503"), (400, [], b'{"error":[]}', 1, "HTTP status 400")])
def test_refusals(status, headers, body, expected, message):
    with Other(status, body, headers) as s:
        got, out, err = bare("status", "a", url=s.url, token="secret")
        assert got == expected and out == "" and message in err and "secret" not in err
        assert len(s.asked) == 1  # a redirect is not followed
        if b"message" in body:
            assert bare("status", "a", "--json", url=s.url, token="secret")[:2] == (expected, body.decode() + "\n")


def test_what_is_asked(tmp_path):
    (tmp_path / "token").write_text("from-a-file\nand more\n")
    with Other() as s:
        assert bare("status", "a/b?c", "--json", "--url", s.url + "/", "--token-file", tmp_path / "token", token="other")[0] == 0
        assert bare("vmcs", "a", "--fields", "GUEST_RIP,0x4002", "--group", "guest", "--oddities", url=s.url)[0] == 0
        assert bare("vmcs", "a", "--diff", "3", "--to", "5", url=s.url)[0] == 0
        assert bare("vmcs", "a", "--diff", "3", "--volatile", url=s.url)[0] == 0
        assert bare("vmcs", "a", "--snapshot", "2", "--no-decode", "--format", "json", url=s.url)[0] == 0
        assert bare("vmcs", "a", "--keep", url=s.url)[0] == 0
        assert bare("vmcb", "a", "--diff", "3", url=s.url)[0] == 0
        assert bare("compare", url=s.url)[0] == 0
    vmcs = "/v1/guests/a/vcpus/0/vmcs"
    assert [(method, path) for method, path, _, _ in s.asked] == [
        ("GET", "/v1/guests/a%2Fb%3Fc"), ("GET", vmcs + "?format=text&decode=1&oddities=1&group=guest&fields=GUEST_RIP,0x4002"),
        ("GET", vmcs + "/diff?from=3&format=text&to=5&volatile=0"), ("GET", vmcs + "/diff?from=3&format=text"),
        ("GET", vmcs + "/snapshots/2?format=json&decode=0"), ("POST", vmcs + "/snapshots?format=text&decode=1"),
        ("GET", "/v1/guests/a/vcpus/0/vmcb/diff?from=3&format=text&volatile=0"), ("GET", "/v1/compare?format=text")]
    assert s.asked[0][2]["Authorization"] == "Bearer from-a-file" and "Authorization" not in s.asked[1][2]


def test_cut_answers_are_asked_for_again():
    """If the management guest dies during a request it is back in less than a second. Requests that change something are not sent twice."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        seen = []

        def serve():
            while True:
                try:
                    c, _ = s.accept()
                except OSError:
                    return
                with c:
                    seen.append(c.recv(65536).split(b" ")[0])
                    if seen[-1] == b"GET" and len(seen) == 3:
                        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"guests\":[]}")

        threading.Thread(target=serve, daemon=True).start()
        url = f"http://127.0.0.1:{s.getsockname()[1]}"
        assert bare("guests", url=url)[0] == 0 and seen == [b"GET"] * 3
        assert bare("reset", "a", url=url)[0] == 3 and seen == [b"GET"] * 3 + [b"POST"]
        s.shutdown(socket.SHUT_RDWR)


def test_nobody_reads():
    with Other(body=b'{"text":"' + b"x" * 1000000 + b'"}') as s, open("/dev/full", "wb") as full:
        r = subprocess.run([BHCTL, "log", "--json"], stdout=full, stderr=subprocess.PIPE, env=environment(url=s.url), timeout=LIMIT, check=False)
        assert r.returncode == 2 and b"standard output" in r.stderr


def test_images_arrive_as_they_are(tmp_path):
    """With the digest of the files."""
    data = os.urandom(100000)
    (tmp_path / "f").write_bytes(data)
    with Other(404, b'{"error":{"message":"none"}}') as s:
        assert bare("deploy", tmp_path / "f", "--name", "g", url=s.url, token="t")[0] == 1
    method, path, headers, body = s.asked[1]
    assert (method, path, body) == ("PUT", "/v1/images/g-f", data) and headers["Authorization"] == "Bearer t"
    assert headers["Repr-Digest"] == f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"
    assert len(s.asked) == 2  # an upload that was refused is not deleted


@pytest.mark.parametrize("option", ["name", "image", "module-image", "memory", "cmdline", "restart", "paused-clock", "exit-profile", "devices", "module-args"])
def test_options_that_are_no_text(tmp_path, option):
    """An argument that JSON cannot express is an error rather than left out: without its command line it would be a different guest. Nothing is uploaded for
    it."""
    (tmp_path / "f").write_bytes(b"image")
    name = [] if option == "name" else ["--name", "g"]
    module = ["--module", os.fsencode(tmp_path / "f")] if option == "module-args" else []
    with Other(404) as s:
        for value in (b"a\xffb", b"\xc3", b"uart,\x80"):
            r = subprocess.run([BHCTL, "deploy", *([] if option == "image" else [tmp_path / "f"]), *name, *module, "--" + option, value], capture_output=True, timeout=LIMIT, check=False, env=environment(s.url))
            assert r.returncode == 2 and r.stderr == f"bhctl: --{option}: is not UTF-8\n".encode(), r.stderr
    assert s.asked == []
