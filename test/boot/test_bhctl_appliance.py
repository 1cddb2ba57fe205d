"""bhctl against an appliance, in pipes and in a terminal."""
import hashlib
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import tarfile
import termios
import time

import pytest

from appliance import with_token
from bhctl import BUILD, ECHO, LIMIT, Other, Running, bare, persistently, refused, run, says

GUESTS = [
    {"name": "hog", "image": "guests/hog.elf", "memory": "2M", "core": 0},
    {"name": "echo", "image": "guests/echo.elf", "memory": "4M", "core": 1, "restart": "on-failure"},
    {"name": "idle", "image": "guests/echo.elf", "memory": "4M", "core": 1},
]


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


# ---- the appliance ----

def test_guests_and_host(m):
    table = says(m, "guests").splitlines()
    assert table[0].split() == ["NAME", "STATE", "MEMORY", "CORE", "WHY"] and re.fullmatch(r"echo +running +4 MiB +1 *", next(x for x in table if x.startswith("echo")))
    assert {g["name"] for g in json.loads(says(m, "guests", "--json"))["guests"]} == {"mgmt", "hog", "echo", "idle"}
    status = says(m, "status", "hog")
    assert re.search(r"^state: +running$", status, re.M) and re.search(r"^image: +guests/hog.elf \(multiboot2\)$", status, re.M) and "PREEMPTION_TIMER" in status
    assert re.search(r"^ran: +[\d.]+ (ms|s|min \d+ s), waited [\d.]+ (us|ms|s) for the core$", status, re.M)
    overview = says(m, "status")
    assert re.search(r"^address: +10\.0\.2\.15$", overview, re.M) and re.search(r"^memory: +\d+ MiB of \d+ MiB free$", overview, re.M) and overview.endswith("\n\n" + "\n".join(table) + "\n")
    assert set(json.loads(says(m, "status", "--json"))) == {"host", "guests"}
    assert json.loads(says(m, "--json", "status", "hog"))["configuration"]["image"] == "guests/hog.elf"
    host = says(m, "host")
    assert re.search(r"^core: +3 \(APIC id 3, package \d, node 0\): .* % busy, vCPUs: 0, slices ended: \d+, at most [\d.]+ us late$", host, re.M) and re.search(r"^network: +82540EM, 10\.0\.2\.15", host, re.M)
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
    assert "the management guest takes no stop, pause or nmi" in refused(m, 1, "stop", "mgmt")


def test_roles(m, tokens):
    assert "guests" in json.loads(says(m, "guests", "--json", token=tokens["read"][0]))
    assert "role operate" in refused(m, 4, "pause", "hog", token=tokens["read"][0])
    assert "role admin" in refused(m, 4, "config", token=tokens["operate"][0])
    assert "role admin" in refused(m, 4, "reboot", "--yes", token=tokens["operate"][0])
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
    assert "a guest late exists already" in refused(m, 1, "deploy", ECHO, "--name", "late")
    assert "in use: late" in refused(m, 1, "images", "--delete", "late-echo.elf")
    assert says(m, "delete", "late") == ""
    assert refused(m, 1, "status", "late")
    assert "late-echo.elf " in says(m, "images") and says(m, "images", "--delete", "late-echo.elf") == ""
    # Deleting the next guest with its images also removes the module left over.
    deployed = json.loads(says(m, "deploy", ECHO, "--name", "late", "--memory", "4M", "--module", module, "--json"))
    assert deployed["name"] == "late" and deployed["configuration"]["image"] == "late-echo.elf"
    says(m, "delete", "--images", "late")
    assert re.findall(r"^late\S*", says(m, "images"), re.M) == ["late-echo.elf-2"]
    says(m, "images", "--delete", "late-echo.elf-2")


def test_deploy_what_is_there(m, tmp_path):
    """An image of the ISO, and one uploaded earlier: nothing is uploaded, and nothing is deleted if the guest is refused."""
    assert re.fullmatch(r"fromiso: (starting|running), 4 MiB on core 3\n", says(m, "deploy", "--image", "guests/echo.elf", "--name", "fromiso", "--memory", "4194304", "--core", 3))
    assert "a guest echo exists already" in refused(m, 1, "deploy", "--image", "guests/echo.elf", "--memory", "4M")  # it is named after the file
    (tmp_path / "pad").write_bytes(bytes(5000))
    says(m, "deploy", ECHO, "--name", "first", "--memory", "4mib", "--core", 3, "--module", tmp_path / "pad")
    images = says(m, "images", "--json")
    says(m, "deploy", "--image=first-echo.elf", "--name", "second", "--memory", "4M", "--core", 3, "--module-image", "first-pad", "--module-args", "x", "--module-image=first-pad")
    entry = next(g for g in json.loads(says(m, "config"))["guests"] if g["name"] == "second")
    assert entry["image"] == "first-echo.elf" and entry["modules"] == [{"file": "first-pad", "args": "x"}, {"file": "first-pad", "args": ""}]
    assert 'no image "second-pad" exists' in refused(m, 1, "deploy", "--image", "guests/echo.elf", "--name", "third", "--module-image", "second-pad")
    assert 'no image "nothing" exists; "bhctl images" lists them' in refused(m, 1, "deploy", "--image", "nothing", "--name", "third")
    assert "--memory: " in refused(m, 1, "deploy", "--image", "first-echo.elf", "--name", "third", "--memory", "5M", "--module", tmp_path / "pad")
    assert [i["name"] for i in json.loads(says(m, "images", "--json"))["images"]] == [i["name"] for i in json.loads(images)["images"]]
    says(m, "delete", "fromiso")
    says(m, "delete", "--images", "first")
    assert "first-echo.elf " in says(m, "images")
    says(m, "delete", "--images", "second")
    assert "first-" not in says(m, "images")


@pytest.mark.parametrize("options, message", [
    (("--memory", "5M"), "--memory: must be 2M"), (("--memory", "5242880"), "--memory: must be 2M"), (("--memory", "4MX"), "--memory: must be 2M"), (("--memory", ""), "--memory: must be 2M"), (("--kind", "linux"), "not of --kind"), (("--memory", "3G"), "--memory: not enough memory: 3072 MiB asked"), (("--core", "17"), "--core: no core 17 exists"),
    (("--weight", "5000"), "--weight: must be a whole number from 1 to 1000"), (("--budget", "20000"), "--budget: "), (("--devices", "uart,tape"), "--devices: "),
    (("--restart", "maybe"), "--restart: "), (("--guarantee", "600000", "--period", "500000"), "--guarantee: ")])
def test_refused_deployments(m, options, message):
    """Nothing of them remains."""
    assert message in refused(m, 1, "deploy", ECHO, "--name", "no", *options)
    assert "no-echo.elf" not in says(m, "images")


def test_no_image(m, tmp_path):
    (tmp_path / "broken").write_bytes(b"\x7fELF" + bytes(1000))
    assert refused(m, 1, "deploy", tmp_path / "broken", "--name", "no").startswith("bhctl: image: ")
    (tmp_path / "empty").write_bytes(b"")
    assert "empty" in refused(m, 2, "deploy", tmp_path / "empty", "--name", "no")
    assert "no-" not in says(m, "images")


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


@pytest.fixture(scope="module")
def as_it_comes(start):
    """An appliance whose configuration mentions neither HTTPS nor tokens, and the options to reach it."""
    m = start(json.dumps({"guests": [{"name": "echo", "image": "guests/echo.elf", "memory": "4M", "core": 0}]}), cpus=2)
    return m, {"url": f"https://127.0.0.1:{m.https_port}", "BULKHEAD_FINGERPRINT": m.wait_serial(r"management certificate: sha256 ([0-9A-F:]{95})")[1]}


def test_commands_over_https(as_it_comes, tmp_path):
    m, trust = as_it_comes
    (tmp_path / "pad").write_bytes(os.urandom(100000))
    out = says(m, "deploy", ECHO, "--name", "late", "--memory", "4M", "--core", 0, "--module", tmp_path / "pad", **trust)
    assert re.fullmatch(r"late: (starting|running), 4 MiB on core 0\n", out)
    images = {i["name"]: i for i in json.loads(says(m, "images", "--json", **trust))["images"]}
    assert images["late-pad"]["sha256"] == hashlib.sha256((tmp_path / "pad").read_bytes()).hexdigest()
    m.wait_for("/v1/guests/late/console?format=json", lambda c: c["text"].endswith("> "), "no prompt")
    assert says(m, "console", "late", "--new", "--quiet", "5", stdin=b"echo over tls\n", **trust).replace("\r", "").startswith("echo over tls\nover tls\n")
    assert re.search(r"^late +running", says(m, "top", "-n", "1", "-d", "1", **trust), re.M)
    assert re.search(r"late +running", says(m, "events", **trust))
    wrong = {**trust, "BULKHEAD_FINGERPRINT": "00" * 32}
    assert "another certificate" in refused(m, 3, "deploy", ECHO, "--name", "no", patient=False, **wrong)
    says(m, "delete", "--images", "late", **trust)
    assert "late" not in says(m, "images", **trust)


def test_streams_over_https(as_it_comes):
    """Streams outlive a restart of the management guest, which also cuts handshakes."""
    m, trust = as_it_comes
    with persistently(m, "events", "-f", first=r"mgmt +running", **trust) as e, persistently(m, "console", "echo", terminal=True, first="echo: ready", **trust) as c:
        at = len(e.seen)
        serial = len(m.serial())
        with ssl._create_unverified_context().wrap_socket(socket.create_connection(("127.0.0.1", m.https_port), timeout=LIMIT)) as other:
            other.sendall(with_token(b'POST /v1/guests/mgmt/actions HTTP/1.1\r\nHost: x\r\nContent-Length: 19\r\n\r\n{"action": "reset"}', m.token))
            m.wait_serial("management address", serial)
        at = e.until(r"mgmt +running", at)
        before = len(c.seen)
        c.send(b"echo again\r")
        c.until(r"again\r\nagain\r\n", before)
        says(m, "pause", "echo", **trust)
        e.until(r"echo +paused", at)
        says(m, "resume", "echo", **trust)
        c.send(b"\x1d")
        assert c.ended() == 0 and c.seen.count("echo: ready") == 1
        ids = [int(n) for n in re.findall(r"^ +(\d+)  \d{4}-", e.seen, re.M)]
        assert ids == list(range(1, len(ids) + 1))


# ---- what goes on ----

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
        c.until(r"piped\npiped\n> ")  # as plain text
        assert "echo: ready" not in c.seen
        c.process.stdin.close()
        assert c.ended() == 0
    long = "".join(f"echo {i:04}\n" for i in range(60))  # more than a UART takes at once
    with persistently(m, "console", "echo", "--new", first="$") as c:
        c.send(long.encode())
        c.until(r"0059\n0059\n> ")
        assert re.findall(r"(\d{4})\n> ", c.seen) == [f"{i:04}" for i in range(60)]
        c.process.terminate()
        assert c.ended() == 0
    assert "no guest of this name" in refused(m, 1, "console", "nobody")
    with Other(body=b"hello\n") as s:
        status, out, err = bare("console", "a", url=s.url)
        assert status == 3 and out == "" and "does not say where its answer ends" in err
    with Other(body=b"hello\n", headers=[("Bulkhead-Next", "6")]) as s:
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
    assert re.search(r"^ +1  \d{4}-\d\d-\d\dT\S+Z  \S+ +starting", lines[0])
    with persistently(m, "events", "--follow", first=r"mgmt +running") as e, persistently(m, "events", "-f", "--json", first='"mgmt"') as j:
        at = len(e.seen)
        says(m, "pause", "hog")
        at = e.until(r"hog +paused", at)
        serial = len(m.serial())
        assert says(m, "reset", "mgmt") == ""  # its answer comes before its end
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
    with persistently(m, "log", "-f", "--json", first="management address") as r:
        assert {"seconds", "core", "text"} == json.loads(r.seen.splitlines()[0]).keys()
    with persistently(m, "log", "-f", first="management address") as r:
        at = len(r.seen)
        says(m, "nmi", "echo")
        r.until("t-admin from 10.0.2.2: POST /v1/guests/echo/actions nmi: 202", at)
        r.process.send_signal(signal.SIGINT)
        assert r.ended() == 0


# ---- top ----

def test_top_once(m):
    out = says(m, "top", "-n", "1", "-d", "1", "--sort", "name")
    assert re.match(r"up .*, by name\ncores  0 .*\n\nGUEST ", out)
    assert re.findall(r"^(\w+) +running", out, re.M) == ["echo", "hog", "idle", "mgmt"]
    # Over a longer time: the counters are not all read at one moment.
    rows = {g["name"]: g for g in json.loads(says(m, "top", "-n", "1", "-d", "5", "--json"))}
    assert 80 < rows["hog"]["cpu_percent"] <= 120 and rows["idle"]["cpu_percent"] < 20 and rows["hog"]["exits_per_second"] > 0
    assert says(m, "top", "-n2", "-d1").count("GUEST") == 2


def test_top_in_a_terminal(m):
    with persistently(m, "top", "-d", "1", "--sort", "name", terminal=True, first="by name") as t:
        at = t.until(r"by name[^\0]*\x1b\[J")
        assert re.findall(r"^(?:\x1b\[\w)*(\w+) +running", t.seen, re.M)[:4] == ["echo", "hog", "idle", "mgmt"]
        t.send(b"c")
        at = t.until(r"by cpu[^\0]*?GUEST [^\n]*\n(\x1b\[K)?hog +running[^\0]*?\x1b\[J", at)
        t.send(b"m")
        at = t.until(r"by memory[^\0]*?GUEST [^\n]*\n(\x1b\[K)?mgmt [^\0]*\x1b\[J", at)
        at = t.until(r"by memory[^\0]*\x1b\[J", at)  # and on
        says(m, "pause", "hog")
        t.until(r"hog +paused", at)
        says(m, "resume", "hog")
        t.send(b"q")
        assert t.ended() == 0 and t.seen.endswith("\x1b[?25h\x1b[?1049l") and termios.tcgetattr(t.terminal) == t.before


def test_progress_in_a_terminal(m, tmp_path):
    (tmp_path / "pad").write_bytes(bytes(400000))
    with persistently(m, "deploy", ECHO, "--name", "seen", "--memory", "8M", "--core", "3", "--module", str(tmp_path / "pad"), terminal=True, first=r"seen: |already") as d:
        d.ended()
        assert re.search(r"\rseen-pad \[#+\] 100 %  390 KiB", d.seen), d.seen
    says(m, "delete", "--images", "seen")


# ---- guests that are run like programs ----

def test_run(m):
    """Like a program: what it printed, its exit status, and nothing left of it. Two at once share the image."""
    def names(what):
        return [x["name"] for x in json.loads(says(m, what, "--json"))[what]]

    before = names("guests"), names("images")
    with Running(m, "run", "--memory", "4M", "--core", "3", ECHO) as first:
        first.until("> ")
        first.send(b"echo one\n")
        first.until("one\r?\n(.*\n)*?.*one")
        name = re.search(r"^(echo-[a-z2-7]{8}) ", says(m, "guests"), re.M)[1]
        uploaded, = set(names("images")) - set(before[1])
        assert uploaded == "run-" + hashlib.sha256(pathlib.Path(ECHO).read_bytes()).hexdigest()[:32]
        status, out, err = run(m, "run", "--memory=4M", "--core=3", "--name", "second", ECHO, "--", "some words", stdin=b"echo two\nexit 0x1ab\n")
        assert (status, err) == (0xab, "") and "two\n" in out and "\r" not in out.replace("\r\n", "")
        assert sorted(names("guests")) == sorted([*before[0], name]) and uploaded in names("images")
        first.send(b"triple\n")
        assert first.ended() == 126 and "crashed: " in first.seen
    assert (names("guests"), names("images")) == before


def test_the_sdk(m, tmp_path):
    """Both samples are built with nothing but the tarball, and start here by either multiboot, and in plain QEMU."""
    with tarfile.open(f"{BUILD}/bulkhead-sdk.tar.gz") as t:
        t.extractall(tmp_path)
    sdk = tmp_path / "bulkhead-sdk"
    subprocess.run(["make", "-s", "-C", sdk], env={"PATH": os.environ["PATH"]}, check=True)
    for header in (sdk / "include" / "bulkhead").iterdir():  # each needs nothing else
        subprocess.run(["gcc", "-m32", "-std=c11", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-fsyntax-only", "-x", "c", "-include", header, "/dev/null"], check=True)
    for kind, version in (("multiboot1", 1), ("auto", 2)):
        status, out, err = run(m, "run", "--memory", "2M", "--core", "3", "--kind", kind, sdk / "hello.elf", "--", "some words exit=7")
        assert (status, err) == (7, "") and re.fullmatch(rf"hello from C, by multiboot{version}: some words exit=7\n1000 ns have passed\n", out), out
        assert run(m, "run", "--memory", "2M", "--core", "3", "--kind", kind, sdk / "hello_asm.elf") == (0, "hello from assembly\n", "")
    for sample, shown, code in (("hello", "hello from C, by multiboot1: .*some words exit=7\r\nthere is no KVM clock\r\n", 7), ("hello_asm", "hello from assembly\r\n", 0)):
        r = subprocess.run(["qemu-system-i386", "-kernel", sdk / f"{sample}.elf", "-append", "some words exit=7", "-display", "none", "-serial", "stdio", "-no-reboot",
                            "-device", "isa-debug-exit,iobase=0xf4,iosize=4"], stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT, check=False)
        assert r.returncode == 2 * code + 1 and re.search(shown, r.stdout.decode()), r


def test_a_run_that_is_interrupted(m):
    images = says(m, "images")
    with Running(m, "run", "--memory", "4M", "guests/echo.elf") as r:
        r.until("echo: ready")
        r.process.send_signal(signal.SIGTERM)
        assert r.ended() == 128 + signal.SIGTERM
    assert says(m, "images") == images and not re.search("^echo-", says(m, "guests"), re.M)
    assert "not enough memory" in refused(m, 125, "run", "--memory", "3G", "guests/echo.elf")
    assert "neither a file nor" in refused(m, 127, "run", "guests/nothing.elf")
