"""`make run`: what it prints works as it stands, and Ctrl-C ends everything."""
import json
import os
import re
import signal
import subprocess
import sys

import pytest

import machine
import mkiso
from appliance import BUILD, LIMIT
from bhctl import BHCTL
from websocket_client import WebSocket


class Run:
    """The Makefile's command, except for the ports."""

    def __init__(self, directory, kind="bochs", firmware="bios"):
        self.directory, self.lines, self.token = str(directory), [], ""
        self.port, self.https_port = machine.free_port(), machine.free_port()
        with open("Makefile", encoding="utf-8") as f:
            text = f.read()
        assert re.search(r"^RUN := \$\(PYTHON\) test/tools/run\.py --build \$\(BUILD\) --iso", text, re.M)
        assert re.search(r"^run-locked:\n.*--check\n.* iso .* FORWARDED_PORT=\$\(HTTPS_PORT\)\n\t@\$\(RUN\)\n", text, re.M)
        iso = os.path.join(self.directory, "run.iso")
        mkiso.make(BUILD, "iso/guests.json", iso, https_port=self.https_port)
        self.process = subprocess.Popen([sys.executable, "test/tools/run.py", "--build", self.directory, "--iso", iso, "--cpus", "4", "--memory", "512",
                                         "--port", str(self.port), "--https-port", str(self.https_port),
                                         "--machine", kind, "--firmware", firmware], stdout=subprocess.PIPE, text=True, start_new_session=True)

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(LIMIT)

    def until(self, pattern):
        for line in self.process.stdout:
            self.lines.append(line)
            match = re.search(pattern, line)
            if match:
                return match
        raise AssertionError(f"it ended before {pattern!r}:\n{''.join(self.lines[-50:])}")

    def emulators(self):
        """Processes that have the directory in their command."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    command = f.read().decode("utf-8", "replace")
            except OSError:
                continue
            if self.directory in command and "run.py" not in command:
                found.append(int(pid))
        return found


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    r = Run(tmp_path_factory.mktemp("run"))
    yield r
    r.end()


def printed_curl(run):
    command = run.until(r">>> from this computer: (curl .*)\n")[1]
    answer = subprocess.run(["sh", "-c", f"{command} -sS -w '\n%{{http_code}}'"], capture_output=True, text=True, timeout=LIMIT, check=False)
    assert answer.returncode == 0, answer
    body, _, status = answer.stdout.rpartition("\n")
    assert status == "200" and {g["name"] for g in json.loads(body)["guests"]} == {"mgmt", "control", "hog", "echo"}
    return command


def test_printed_variables(run):
    """bhctl believes the appliance only with all three of them."""
    variables = run.until(r">>> for build/bhctl: (export .*)\n")[1]
    answer = subprocess.run(["sh", "-c", f"{variables}; exec {BHCTL} guests --json"], capture_output=True, text=True, timeout=LIMIT, check=False)
    assert answer.returncode == 0 and answer.stderr == "", answer
    assert {g["name"] for g in json.loads(answer.stdout)["guests"]} == {"mgmt", "control", "hog", "echo"}


def test_printed_curl(run):
    run.token = re.search(r"Bearer ([a-z2-7]{32})", printed_curl(run))[1]


def test_http_leads_to_https(run):
    """Through the forwarded ports, which the appliance does not see."""
    answer = subprocess.run(["curl", "-ksSL", "-o", "/dev/null", "-w", "%{url_effective} %{http_code}", f"http://127.0.0.1:{run.port}/"], capture_output=True, text=True, timeout=LIMIT, check=True)
    assert answer.stdout == f"https://127.0.0.1:{run.https_port}/ 200"


def test_terminal_as_in_the_manual(run):
    """A WebSocket over TLS, with the token among the subprotocols."""
    with open("mgmt/MANUAL.md", encoding="utf-8") as f:
        protocols, path = re.search(r'^websocat -k --protocol "(.*), bearer\.\$TOKEN" wss://127\.0\.0\.1:8443(\S+)', f.read(), re.M).groups()
    with WebSocket(run, path, protocols, tls=True) as w:
        assert w.accepted() and w.headers["sec-websocket-protocol"] == "bulkhead.console"
        w.type(b"echo over TLS\r")
        w.until(rb"\r\nover TLS\r\n")


def test_pinned_as_in_the_manual(run, tmp_path):
    """The certificate is fetched once and compared with the console's; after that no other is accepted."""
    with open("mgmt/MANUAL.md", encoding="utf-8") as f:
        commands = re.search(r"```\n(openssl s_client .*\n.*-fingerprint.*\n)(command curl .*\n)```", f.read())
    take, ask = (c.replace("127.0.0.1:8443", f"127.0.0.1:{run.https_port}") for c in commands.groups())
    environment = {**os.environ, "TOKEN": run.token}
    taken = subprocess.run(["sh", "-ec", take], capture_output=True, text=True, cwd=tmp_path, timeout=LIMIT, check=True)
    fingerprint = re.search(r"=([0-9A-F:]{95})\n", taken.stdout)[1]
    assert any(f"management certificate: sha256 {fingerprint} (self-signed)" in line for line in run.lines)
    answer = subprocess.run(["sh", "-ec", ask], capture_output=True, text=True, cwd=tmp_path, timeout=LIMIT, env=environment, check=True)
    assert "memory" in json.loads(answer.stdout)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "/dev/null", "-out", "bulkhead.pem", "-subj", "/CN=bulkhead.local"],
                   capture_output=True, cwd=tmp_path, timeout=LIMIT, check=True)
    answer = subprocess.run(["sh", "-ec", ask], capture_output=True, text=True, cwd=tmp_path, timeout=LIMIT, env=environment, check=False)
    assert answer.returncode == 60 and not answer.stdout, answer  # CURLE_PEER_FAILED_VERIFICATION


def test_ended_by_control_c(run):
    assert run.emulators()
    run.process.send_signal(signal.SIGINT)
    run.process.stdout.read()
    assert run.process.wait(LIMIT) == 0
    assert not run.emulators()


def test_qemu_with_uefi(tmp_path):
    run = Run(tmp_path, "qemu", "uefi")
    try:
        command = printed_curl(run)
        assert run.lines[0].startswith("qemu, UEFI, 4 cores, 512 MiB.") and any("in SVM host mode" in line for line in run.lines)
        # A reboot does not end it, and what it prints then has the new token.
        reboot = command.replace("/v1/guests", "/v1/host/actions") + """ -sSf -d '{"action": "reboot"}'"""
        subprocess.run(["sh", "-c", reboot], capture_output=True, timeout=LIMIT, check=True)
        assert printed_curl(run) != command
    finally:
        run.end()
    assert not run.emulators()
