"""bhctl, the command for people: against an appliance, in pipes and in a terminal, and against servers that are none."""
import base64
import hashlib
import http.server
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import termios
import threading
import time

import pytest

BUILD = os.environ.get("BULKHEAD_BUILD", "build")
BHCTL = os.path.abspath(f"{BUILD}/bhctl")
ECHO = f"{BUILD}/guests/echo.elf"
LIMIT = 60
COMMANDS = ("guests", "status", "deploy", "delete", "start", "stop", "pause", "resume", "reset", "nmi", "console", "images", "vmcs", "top", "events", "log", "config", "host",
            "hash-token")
GUESTS = [
    {"name": "hog", "image": "guests/hog.elf", "memory": "2M", "core": 0},
    {"name": "echo", "image": "guests/echo.elf", "memory": "4M", "core": 1, "restart": "on-failure"},
    {"name": "idle", "image": "guests/echo.elf", "memory": "4M", "core": 1},
]


def environment(url="http://127.0.0.1:9", token=""):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("BULKHEAD_")}
    return {**kept, "BULKHEAD_URL": url, "BULKHEAD_TOKEN": token, "TERM": "xterm"}


def bare(*args, stdin=b"", **env):
    """(exit status, standard output, standard error)"""
    r = subprocess.run([BHCTL, *map(str, args)], input=stdin, capture_output=True, timeout=120, check=False, env=environment(**env))
    return r.returncode, r.stdout.decode(), r.stderr.decode()


def address(m):
    return f"http://127.0.0.1:{m.port}"


def run(m, *args, token=None, **more):
    """The emulator's network takes one new connection at a time, and the management guest may be starting anew: who cannot reach it asks again."""
    end = time.monotonic() + LIMIT
    while True:
        answer = bare(*args, url=address(m), token=m.token if token is None else token, **more)
        if answer[0] != 3 or time.monotonic() > end:
            return answer


def says(m, *args, **more):
    """What it prints when all is well."""
    status, out, err = run(m, *args, **more)
    assert status == 0, (args, status, out, err)
    return out


def refused(m, status, *args, **more):
    """What it says on standard error, with this exit status and nothing on standard output."""
    got, out, err = run(m, *args, **more)
    assert got == status and out == "" and err.startswith("bhctl: "), (args, got, out, err)
    return err


@pytest.fixture(scope="module")
def tokens():
    """By role: (token, its entry), made by bhctl itself."""
    made = {}
    for role in ("read", "operate", "admin"):
        status, out, err = bare("hash-token", "--name", "t-" + role, "--role", role, "--json")
        assert (status, err) == (0, "")
        made[role] = json.loads(out)["token"], json.loads(out)["entry"]
    return made


@pytest.fixture(scope="module")
def m(start, tokens):
    machine = start({"guests": GUESTS, "management": {"core": 2, "auth": {"tokens": [entry for _, entry in tokens.values()]}}}, cpus=4)
    machine.known_token = tokens["admin"][0]
    return machine


# ---- usage, without an appliance ----

def test_help():
    status, out, err = bare("--help")
    assert status == 0 and err == "" and max(map(len, out.splitlines())) <= 100
    assert all(re.search(rf"^  {c} ", out, re.M) for c in COMMANDS)
    for c in COMMANDS:
        status, out, err = bare(c, "--help")
        assert status == 0 and err == "" and out.startswith(f"usage: bhctl {c} ") and max(map(len, out.splitlines())) <= 100, out
    assert re.fullmatch(r"bhctl \d+\.\d+\.\d+ \([0-9a-f]{16}\)\n", bare("--version")[1])


def test_manual_and_completion_know_everything():
    with open("mgmt/bhctl/bhctl.1", encoding="utf-8") as f:
        manual = f.read().replace("\\-", "-")
    with open("mgmt/bhctl/bhctl.bash", encoding="utf-8") as f:
        completion = f.read()
    for c in COMMANDS:
        assert re.search(rf'^\.BI? "?{c}\b', manual, re.M) and re.search(rf"\b{c}\b", completion), c
        for option in re.findall(r"--[a-z-]+", bare(c, "--help")[1].split("\n\n", 1)[1]):
            assert option in manual and option in completion, (c, option)


def complete(*words, url="http://127.0.0.1:9", token=""):
    """What bash offers for the last of the words."""
    script = 'source mgmt/bhctl/bhctl.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _bhctl "$1" "${@: -1}" "${@: -2:1}"; printf "%s\\n" "${COMPREPLY[@]}"'
    r = subprocess.run(["bash", "-c", script, "bash", BHCTL, *words], capture_output=True, text=True, timeout=60, check=True, env=environment(url, token))
    assert r.stderr == ""
    return r.stdout.split()


def test_completion(tmp_path):
    assert complete("sta") == ["status", "start"] and complete("--js") == ["--json"]
    assert complete("--url", "http://x", "ima") == ["images"]
    assert complete("deploy", "f", "--mod") == ["--module", "--module-args"] and complete("deploy", "f", "--restart", "") == ["never", "on-failure", "always"]
    (tmp_path / "kernel.elf").write_bytes(b"")
    assert complete("deploy", str(tmp_path / "ker")) == [str(tmp_path / "kernel.elf")]
    assert complete("status", "") == []
    with Other(body=b'{"guests":[{"name":"echo"},{"name":"hog"}]}') as s:
        assert complete("status", "", url=s.url, token="t") == ["echo", "hog"] and complete("console", "h", url=s.url) == ["hog"]
        assert complete("--url", s.url, "--token", "u", "pause", "e") == ["echo"]
    assert [h.get("Authorization") for _, _, h, _ in s.asked] == ["Bearer t", None, "Bearer u"]


@pytest.mark.parametrize("args, message", [
    ((), "a command is missing"), (("frob",), 'no command "frob"'), (("status",), "status needs NAME"), (("status", "a", "b"), '"b" is one argument too many'),
    (("status", "a", "--memory", "4M"), "status has no option --memory"), (("guests", "--url"), "--url needs a value"), (("guests", "--json=1"), "takes no value"),
    (("guests", "--url", "127.0.0.1"), "must begin with http://"), (("guests", "--url", "http://"), "names no host"), (("guests", "--token", ""), "a token has 1 to"),
    (("guests", "--token", "a b"), "no blanks"), (("guests", "--token-file", "/nonexistent/t"), "No such file"), (("guests", "--token", "a", "--token-file", "b"), "exclude"),
    (("guests", "--fingerprint", "12:34"), "32 bytes"), (("guests", "--cacert", "/nonexistent/c"), "No such file"),
    (("guests", "--insecure", "--fingerprint", "00" * 32), "exclude"), (("guests", "-k", "--cacert", "/dev/null"), "exclude"),
    (("status", ".."), "cannot be a name"), (("status", ""), "cannot be a name"), (("console", ".."), "cannot be"), (("console", "a", "--quiet", "x"), "--quiet"),
    (("deploy", "/dev/null"), "needs --name"), (("deploy", "/nonexistent/f", "--name", "a"), "/nonexistent/f: No such file"), (("deploy", "/", "--name", "a"), "directory"),
    (("deploy", "/dev/null", "--name", "a"), "not a regular file"), (("deploy", ECHO, "--name", "a", "--core", "one"), '--core: "one"'),
    (("deploy", ECHO, "--name", "a", "--module", "/nonexistent/i"), "/nonexistent/i"), (("deploy", ECHO, "--name", "a", "--module-args", "x"), "after its --module"),
    (("deploy", ECHO, "--name", ".."), "cannot be a guest's name"),
    (("vmcs", "a", "--format", "xml"), "text or json"), (("vmcs", "a", "--diff", "x"), "number of a snapshot"), (("vmcs", "a", "--check", "--exits"), "exclude"),
    (("vmcs", "a", "--to", "3"), "needs --diff"), (("vmcs", "a", "--check", "--group", "guest"), "says nothing"), (("vmcs", "a", "--fields", "A," * 200), "too long"),
    (("top", "-n", "0"), "number of times"), (("top", "-d", "0"), "1 to 3600"), (("top", "--sort", "age"), "cpu, exits, memory or name"),
    (("events", "--from", "0"), "number of an event"), (("log", "-f", "--json"), "exclude"),
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

class Other:
    """A server that answers everything with the same, and remembers what it was asked."""

    def __init__(self, status=200, body=b"{}", headers=()):
        asked = self.asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                asked.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def test_nobody_there():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        status, out, err = bare("guests", url=f"http://127.0.0.1:{s.getsockname()[1]}")
    assert status == 3 and out == "" and "cannot be reached" in err and "--url" in err
    status, _, err = bare("guests", url="http://nowhere.invalid")
    assert status == 3 and "nowhere.invalid" in err


@pytest.mark.parametrize("command", [("guests",), ("host",), ("status", "a"), ("config",), ("images",), ("events",), ("top", "-n", "1"), ("status", "a", "--json")])
def test_no_json(command):
    with Other(body=b"<html>a router</html>") as s:
        status, out, err = bare(*command, url=s.url)
        assert status == 3 and out == "" and "is that a Bulkhead appliance?" in err


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'{"guests": 7, "images": {}, "events": [1, null], "cores": "x", "vcpus": [[]]}',
                                  b'{"guests": [7, {"name": 5}], "name": [], "vcpus": [{"exits": [], "last_exit": 3}], "configuration": 1, "memory": -1}'])
@pytest.mark.parametrize("command", [("guests",), ("host",), ("status", "a"), ("images",), ("events",), ("top", "-n", "1", "-d", "1")])
def test_other_json(command, body):
    """It may be told badly, but nothing falls over."""
    with Other(body=body) as s:
        assert bare(*command, url=s.url)[0] in (0, 3)


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
    vmcs = "/v1/guests/a/vcpus/0/vmcs"
    assert [(method, path) for method, path, _, _ in s.asked] == [
        ("GET", "/v1/guests/a%2Fb%3Fc"), ("GET", vmcs + "?format=text&decode=1&oddities=1&group=guest&fields=GUEST_RIP,0x4002"),
        ("GET", vmcs + "/diff?from=3&format=text&to=5&volatile=0"), ("GET", vmcs + "/diff?from=3&format=text"),
        ("GET", vmcs + "/snapshots/2?format=json&decode=0"), ("POST", vmcs + "/snapshots?format=text&decode=1")]
    assert s.asked[0][2]["Authorization"] == "Bearer from-a-file" and "Authorization" not in s.asked[1][2]


def test_cut_answers_are_asked_for_again():
    """The management guest that dies over a request is back in less than a second. What changes something is not sent twice."""
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
        r = subprocess.run([BHCTL, "log", "--json"], stdout=full, stderr=subprocess.PIPE, env=environment(url=s.url), timeout=60, check=False)
        assert r.returncode == 2 and b"standard output" in r.stderr


# ---- the appliance ----

def test_guests_and_host(m):
    table = says(m, "guests").splitlines()
    assert table[0].split() == ["NAME", "STATE", "MEMORY", "CORE", "WHY"] and re.fullmatch(r"echo +running +4 MiB +1 *", next(x for x in table if x.startswith("echo")))
    assert {g["name"] for g in json.loads(says(m, "guests", "--json"))["guests"]} == {"mgmt", "hog", "echo", "idle"}
    status = says(m, "status", "hog")
    assert re.search(r"^state: +running$", status, re.M) and re.search(r"^image: +guests/hog.elf \(multiboot2\)$", status, re.M) and "PREEMPTION_TIMER" in status
    assert json.loads(says(m, "--json", "status", "hog"))["configuration"]["image"] == "guests/hog.elf"
    host = says(m, "host")
    assert re.search(r"^core: +3: .* % busy, 0 guests", host, re.M) and re.search(r"^network: +82540EM, 10\.0\.2\.15", host, re.M)
    assert len(json.loads(says(m, "host", "--json"))["cores"]) == 4
    assert re.search(r"^guests/hog.elf +[\d.]+ KiB iso +- +hog$", says(m, "images"), re.M)
    assert refused(m, 1, "status", "nobody") == 'bhctl: there is no guest of this name; "bhctl guests" lists them\n'
    assert refused(m, 1, "status", "a b/c").startswith("bhctl: there is no guest")


def test_actions(m):
    assert says(m, "pause", "hog") == ""
    m.wait_state("hog", "paused")
    assert "the guest is paused" in refused(m, 1, "pause", "hog")
    assert json.loads(says(m, "resume", "hog", "--json")) == {"guest": "hog", "status": "accepted"}
    m.wait_state("hog", "running")
    says(m, "stop", "idle")
    m.wait_state("idle", "stopped")
    says(m, "start", "idle")
    m.wait_state("idle", "running")
    at = len(m.serial())
    says(m, "nmi", "idle")
    m.wait_serial(r"\[idle\] NMI 1", at)
    says(m, "reset", "idle")
    m.wait_serial(r"\[idle\] echo: ready", at)
    assert "cannot be stopped" in refused(m, 1, "stop", "mgmt")


def test_roles(m, tokens):
    assert "guests" in json.loads(says(m, "guests", "--json", token=tokens["read"][0]))
    assert "role operate" in refused(m, 4, "pause", "hog", token=tokens["read"][0])
    assert "role admin" in refused(m, 4, "config", token=tokens["operate"][0])
    assert "role admin" in refused(m, 4, "deploy", ECHO, "--name", "late", token=tokens["operate"][0])
    assert "a token is needed" not in refused(m, 4, "guests", token="wrong") and "--token-file" in refused(m, 4, "guests", token="")
    config = json.loads(says(m, "config"))
    assert [t["name"] for t in config["management"]["auth"]["tokens"]] == ["t-read", "t-operate", "t-admin"]


def test_vmcs(m):
    text = says(m, "vmcs", "hog", "--group", "control")
    assert "0x4002  PRIMARY_PROCESSOR_CONTROLS" in text and "HLT exits" in text and "GUEST_RIP" not in text
    assert "HLT exits" not in says(m, "vmcs", "hog", "--group=control", "--no-decode")
    one = json.loads(says(m, "vmcs", "hog", "--fields", "GUEST_RIP,0x4002", "--json"))
    assert sorted(f["name"] for f in one["fields"]) == ["GUEST_RIP", "PRIMARY_PROCESSOR_CONTROLS"]
    kept = int(re.search(r"^sequence: (\d+)$", says(m, "vmcs", "hog", "--keep"), re.M)[1])
    assert f"sequence: {kept}\n" in says(m, "vmcs", "hog", "--snapshot", kept)
    assert f"sequence: {kept}\n" in says(m, "vmcs", "hog", "--snapshots") and "cause: launch" in says(m, "vmcs", "hog", "--snapshots")
    assert says(m, "vmcs", "hog", "--diff", 1, "--to", kept, "--volatile").startswith("from: 1\n")
    assert "sequence" in says(m, "vmcs", "hog", "--check") and "PREEMPTION_TIMER" in says(m, "vmcs", "hog", "--exits")
    assert "--snapshots lists them" in refused(m, 1, "vmcs", "hog", "--snapshot", 12345)
    assert "neither a field's name" in refused(m, 1, "vmcs", "hog", "--fields", "GUEST_RAX")


def test_deploy_and_delete(m, tmp_path):
    module = tmp_path / "a module.txt"
    module.write_bytes(os.urandom(300000))
    out = says(m, "deploy", ECHO, "--name", "late", "--memory", "8M", "--core", 3, "--cmdline", 'x "y"', "--restart", "on-failure", "--weight", 7, "--budget", 4000, "--period", 9000,
               "--devices", "uart,pic,pit", "--module", module, "--module-args", "one two", "--module", ECHO)
    assert re.fullmatch(r"late: (starting|running), 8 MiB on core 3\n", out)
    m.wait_state("late", "running")
    entry = next(g for g in json.loads(says(m, "config"))["guests"] if g["name"] == "late")
    assert entry["image"] == "late-echo.elf" and entry["cmdline"] == 'x "y"' and entry["devices"] == ["uart", "pic", "pit"]
    assert [entry[k] for k in ("memory", "core", "restart", "weight", "budget_us", "period_us")] == [8 << 20, 3, "on-failure", 7, 4000, 9000]
    assert entry["modules"] == [{"file": "late-a_module.txt", "args": "one two"}, {"file": "late-echo.elf-2", "args": ""}]
    images = {i["name"]: i for i in json.loads(says(m, "images", "--json"))["images"]}
    assert images["late-a_module.txt"]["sha256"] == hashlib.sha256(module.read_bytes()).hexdigest()
    assert "there is a guest late already" in refused(m, 1, "deploy", ECHO, "--name", "late")
    assert "in use: late" in refused(m, 1, "images", "--delete", "late-echo.elf")
    assert says(m, "delete", "late") == ""
    assert refused(m, 1, "status", "late")
    assert "late-echo.elf " in says(m, "images") and says(m, "images", "--delete", "late-echo.elf") == ""
    # The rest goes with the next one.
    deployed = json.loads(says(m, "deploy", ECHO, "--name", "late", "--memory", "4M", "--module", module, "--json"))
    assert deployed["name"] == "late" and deployed["configuration"]["image"] == "late-echo.elf"
    says(m, "delete", "--images", "late")
    assert re.findall(r"^late\S*", says(m, "images"), re.M) == ["late-echo.elf-2"]
    says(m, "images", "--delete", "late-echo.elf-2")


@pytest.mark.parametrize("options, message", [
    (("--memory", "5M"), "--memory: must be 2M"), (("--memory", "3G"), "--memory: not enough memory: 3145728 KiB asked"), (("--core", "17"), "--core: there is no core 17"),
    (("--weight", "5000"), "--weight: must be a whole number from 1 to 1000"), (("--budget", "20000"), "--budget: "), (("--devices", "uart,tape"), "--devices: "),
    (("--restart", "maybe"), "--restart: "), (("--guarantee", "600000", "--period", "500000"), "--guarantee: ")])
def test_refused_deployments(m, options, message):
    """Nothing remains of them."""
    assert message in refused(m, 1, "deploy", ECHO, "--name", "no", *options)
    assert "no-echo.elf" not in says(m, "images")


def test_no_image(m, tmp_path):
    (tmp_path / "broken").write_bytes(b"\x7fELF" + bytes(1000))
    assert refused(m, 1, "deploy", tmp_path / "broken", "--name", "no").startswith("bhctl: image: ")
    (tmp_path / "empty").write_bytes(b"")
    assert "empty" in refused(m, 2, "deploy", tmp_path / "empty", "--name", "no")
    assert "no-" not in says(m, "images")


def test_images_arrive_as_they_are(tmp_path):
    """With the digest that they have."""
    data = os.urandom(100000)
    (tmp_path / "f").write_bytes(data)
    with Other(404, b'{"error":{"message":"none"}}') as s:
        assert bare("deploy", tmp_path / "f", "--name", "g", url=s.url, token="t")[0] == 1
    method, path, headers, body = s.asked[1]
    assert (method, path, body) == ("PUT", "/v1/images/g-f", data) and headers["Authorization"] == "Bearer t"
    assert headers["Repr-Digest"] == f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"
    assert len(s.asked) == 2  # what was not taken is not deleted


def test_https(m):
    url = f"https://127.0.0.1:{m.https_port}"
    fingerprint = m.wait_serial(r"management certificate: sha256 ([0-9A-F:]{95})")[1]

    def ask(*options):
        end = time.monotonic() + LIMIT
        while True:
            answer = bare("guests", "--json", *options, url=url, token=m.token)
            if answer[0] != 3 or "cannot be reached" not in answer[2] or time.monotonic() > end:
                return answer

    status, _, err = ask()
    assert status == 3 and "certificate cannot be trusted" in err and "--fingerprint" in err
    other = ("0" if fingerprint[0] != "0" else "1") + fingerprint[1:]
    status, _, err = ask("--fingerprint", other)
    assert status == 3 and f"it shows  {fingerprint}\n" in err and f"expected  {other}\n" in err
    for good in (("--fingerprint", fingerprint), ("--fingerprint", fingerprint.replace(":", "").lower()), ("-k",)):
        status, out, err = ask(*good)
        assert status == 0 and json.loads(out)["guests"], err


# ---- what goes on ----

class Running:
    """bhctl while it runs, in a terminal or with pipes."""

    def __init__(self, m, *args, terminal=False):
        self.m = m
        self.seen = ""
        env = environment(address(m), m.token)
        if terminal:
            self.input, other = pty.openpty()
            self.output, self.terminal = self.input, other
            self.before = termios.tcgetattr(other)
            self.process = subprocess.Popen([BHCTL, *args], stdin=other, stdout=other, stderr=other, env=env, start_new_session=True)
        else:
            self.process = subprocess.Popen([BHCTL, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)
            self.input, self.output = self.process.stdin.fileno(), self.process.stdout.fileno()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def send(self, data):
        os.write(self.input, data)

    def until(self, pattern, after=0):
        """The end of the first match behind `after`."""
        end = time.monotonic() + LIMIT
        while not (match := re.compile(pattern).search(self.seen, after)):
            assert time.monotonic() < end, (pattern, self.seen)
            if select.select([self.output], [], [], 0.1)[0]:
                try:
                    data = os.read(self.output, 65536)
                except OSError:  # the other side of a terminal is closed
                    data = b""
                assert data, (pattern, self.seen)
                self.seen += data.decode("utf-8", "replace")
        return match.end()

    def ended(self):
        """Its exit status; what else it says is read meanwhile."""
        end = time.monotonic() + LIMIT
        while self.process.poll() is None:
            assert time.monotonic() < end, self.seen
            if select.select([self.output], [], [], 0.05)[0]:
                self.seen += os.read(self.output, 65536).decode("utf-8", "replace")
        while select.select([self.output], [], [], 0)[0]:
            try:
                data = os.read(self.output, 65536)
            except OSError:
                break
            if not data:
                break
            self.seen += data.decode("utf-8", "replace")
        return self.process.returncode


def persistently(m, *args, terminal=False, first):
    """A command that has come so far that it shows `first`."""
    end = time.monotonic() + LIMIT
    while True:
        r = Running(m, *args, terminal=terminal)
        try:
            r.until(first)
            return r
        except AssertionError:
            if "cannot be reached" not in r.seen or time.monotonic() > end:
                raise
        finally:
            if not re.search(first, r.seen):
                r.__exit__()


def test_console_in_a_terminal(m):
    m.wait_for("/v1/guests/idle/console?format=json", lambda c: c["text"].endswith("> "), "no prompt")
    with persistently(m, "console", "idle", terminal=True, first="echo: ready") as c:
        at = c.until(r"Ctrl-\] leaves")
        for key in "echo Ab":
            c.send(key.encode())
        at = c.until("> echo Ab|echo Ab", at)
        c.send(b"\r")
        c.until(r"Ab\r\n> ", at)
        # In raw mode Ctrl-C is the guest's.
        c.send(b"\x03")
        c.send(b"\recho still\r")
        at = c.until(r"still\r\n> ", at)
        says(m, "stop", "idle")
        m.wait_state("idle", "stopped")
        c.send(b"x")
        c.until("not running", at)
        c.send(b"\x1d")
        assert c.ended() == 0
        assert termios.tcgetattr(c.terminal) == c.before
    says(m, "start", "idle")
    m.wait_state("idle", "running")


def test_console_in_pipes(m):
    with persistently(m, "console", "echo", "--new", first="$") as c:
        c.send(b"echo piped\n")
        c.until(r"piped\r\npiped\r\n> ")
        assert "echo: ready" not in c.seen
        c.process.stdin.close()
        assert c.ended() == 0
    long = "".join(f"echo {i:04}\n" for i in range(60))  # more than a UART takes at once
    with persistently(m, "console", "echo", "--new", first="$") as c:
        c.send(long.encode())
        c.until(r"0059\r\n0059\r\n> ")
        assert re.findall(r"(\d{4})\r\n> ", c.seen) == [f"{i:04}" for i in range(60)]
        c.process.terminate()
        assert c.ended() == 0
    assert "no guest of this name" in refused(m, 1, "console", "nobody")
    with Other(body=b"hello\n") as s:
        status, out, err = bare("console", "a", url=s.url)
        assert status == 3 and out == "hello\n" * 2 and "ends what has no end" in err
    assert "echo piped" in json.loads(says(m, "console", "echo", "--json"))["text"]


def test_typing_to_the_dead(m):
    says(m, "stop", "idle")
    m.wait_state("idle", "stopped")
    status, _, err = run(m, "console", "idle", stdin=b"hello\n")
    assert status == 1 and "not running" in err
    says(m, "start", "idle")
    m.wait_state("idle", "running")


def test_events(m):
    lines = says(m, "events").splitlines()
    assert re.search(r"^ +1  \d{4}-\d\d-\d\dT\S+Z  \S+ +running", lines[0])
    with persistently(m, "events", "--follow", first=r"mgmt +running") as e, persistently(m, "events", "-f", "--json", first='"mgmt"') as j:
        at = len(e.seen)
        says(m, "pause", "hog")
        at = e.until(r"hog +paused", at)
        serial = len(m.serial())
        with m.connect() as other:
            other.send(b'POST /v1/guests/mgmt/actions HTTP/1.1\r\nHost: x\r\nContent-Length: 19\r\n\r\n{"action": "reset"}')
            m.wait_serial("management address", serial)
        says(m, "resume", "hog")
        e.until(r"hog +running", at)
        j.until(r'"hog","state":"paused"[^\0]*"hog","state":"running"')
        ids = [json.loads(line)["id"] for line in j.seen.splitlines() if line.endswith("}")]
        assert ids == list(range(1, len(ids) + 1))
        for r in (e, j):
            r.process.send_signal(signal.SIGINT)
            assert r.ended() == 0
    assert says(m, "events", "--from", "3").splitlines()[0].split()[0] == "3"


def test_log(m):
    assert "management address" in says(m, "log") and "management address" in json.loads(says(m, "log", "--json"))["text"]
    with persistently(m, "log", "-f", first="management address") as r:
        at = len(r.seen)
        says(m, "nmi", "echo")
        r.until("t-admin: POST /v1/guests/echo/actions: 202", at)
        r.process.send_signal(signal.SIGINT)
        assert r.ended() == 0


# ---- top ----

def test_top_once(m):
    out = says(m, "top", "-n", "1", "-d", "1", "--sort", "name")
    assert re.match(r"up .*, by name\ncores  0 .*\n\nGUEST ", out)
    assert re.findall(r"^(\w+) +running", out, re.M) == ["echo", "hog", "idle", "mgmt"]
    rows = {g["name"]: g for g in json.loads(says(m, "top", "-n", "1", "-d", "1", "--json"))}
    assert 80 < rows["hog"]["cpu_percent"] <= 101 and rows["idle"]["cpu_percent"] < 20 and rows["hog"]["exits_per_second"] > 0
    assert says(m, "top", "-n2", "-d1").count("GUEST") == 2


def test_progress_in_a_terminal(m, tmp_path):
    (tmp_path / "pad").write_bytes(bytes(400000))
    with persistently(m, "deploy", ECHO, "--name", "seen", "--memory", "8M", "--core", "3", "--module", str(tmp_path / "pad"), terminal=True, first=r"seen: |already") as d:
        d.ended()
        assert re.search(r"\rseen-pad \[#+\] 100 %  390 KiB", d.seen), d.seen
    says(m, "delete", "--images", "seen")
