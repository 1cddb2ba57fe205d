"""Machines for the boot tests. No wait is a fixed delay: each waits for something to appear, with a limit that only ends a hung run."""
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import time

import machine
import openapi
import mkiso

BUILD = os.environ.get("BULKHEAD_BUILD", "build")
LIMIT = 600  # seconds of real time after which a run counts as hung
PROMPT = re.compile(r"[/~] # (\x1b\[6n)?\Z")  # the Linux guest's shell: BusyBox 1.37 shows / as ~ if that is HOME, and asks the terminal for the cursor position


class Machine:
    def __init__(self, directory, command):
        self.directory = str(directory)
        self.serial_path = os.path.join(self.directory, "serial.txt")
        with open(os.path.join(self.directory, "emulator.txt"), "wb") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, cwd=self.directory)

    def serial(self):
        with open(self.serial_path, "rb") as f:
            return f.read().decode("utf-8", "replace").replace("\r", "")

    def wait_serial(self, pattern, after=0, limit=LIMIT):
        """Waits for `pattern` in the serial output from offset `after` on; returns the match."""
        end = time.monotonic() + limit
        while True:
            match = re.compile(pattern).search(self.serial(), after)
            if match:
                return match
            assert self.process.poll() is None, f"the emulator ended before {pattern!r}:\n{self.serial()[-3000:]}\n{self.bochs_log()}"
            assert time.monotonic() < end, f"{pattern!r} did not appear:\n{self.serial()[-3000:]}\n{self.bochs_log()}"
            time.sleep(0.02)

    def bochs_log(self):
        path = os.path.join(self.directory, "bochs.log")
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8", errors="replace") as f:
            return "".join(line for line in f.readlines()[-30:] if not line.startswith("00000000000"))

    def monitor(self, command):
        """What QEMU's monitor answers to a command: QEMU with -monitor unix:monitor,server,nowait."""
        while not os.path.exists(os.path.join(self.directory, "monitor")):
            time.sleep(0.01)  # QEMU is starting
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(os.path.join(self.directory, "monitor"))
            answers = s.makefile("rwb", buffering=0)
            answers.write(command.encode() + b"\n")
            # The prompt returns when the command is done: one before it, one after.
            seen = b""
            while seen.count(b"(qemu)") < 2:
                seen += answers.read(1)
        return seen.decode(errors="replace")

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def memory(m):
    """What deleted guests and images must give back. A guest's number keeps its shared pages and what the root knows of it once it has had them."""
    now = m.get("/v1/host")["memory"]
    return {"free": now["free"] + now["shared"] + now["host"], **{k: now[k] for k in ("guests", "tables", "images")}}


class Appliance(Machine):
    """The ISO with a configuration, in Bochs, or in QEMU with SVM (`board`, `nic`: its; `more` of its arguments). `model`: of the CPU. `config`: a dict, a string (written as it is), or None for the sample configuration. `files`: name -> bytes,
    written next to the configuration. `mgmt`, `kernel`: the management guest and the kernel, in the build directory.
    `host_memory`: how many of the machine's MB the emulator keeps in memory; the others are in a file."""

    def __init__(self, directory, config=None, cpus=1, model=None, memory=256, ips=20000000, files=None, wait=True, address="10.0.2.15", mgmt="mgmt.elf", kernel="bulkhead.elf", sync="none", ignore_bad_msrs=True, rom=machine.BIOS, edit=None, host_memory=None, emulator="bochs", board="q35", nic="e1000", more=()):
        directory = str(directory)
        self.emulator = emulator
        self.iso = os.path.join(directory, "test.iso")
        self.port = machine.free_port()
        self.known_token = None
        self.https_port = machine.free_port()
        if config is None:
            with open("iso/guests.json", encoding="utf-8") as f:
                config = json.load(f)
        self.https = isinstance(config, str)  # plain HTTP is off by default
        if isinstance(config, dict):
            # Most tests use plain HTTP; those about HTTPS say so.
            config = {**config, "management": {"http": "plain", **config.get("management", {})}}
        with open(os.path.join(directory, "guests.json"), "w", encoding="utf-8") as f:
            f.write(config if isinstance(config, str) else json.dumps(config))
        for name, data in (files or {}).items():
            os.makedirs(os.path.dirname(os.path.join(directory, name)), exist_ok=True)
            with open(os.path.join(directory, name), "wb") as f:
                f.write(data)
        mkiso.make(BUILD, os.path.join(directory, "guests.json"), self.iso, missing_ok=True, mgmt=mgmt, kernel=kernel, edit=edit)
        if emulator == "qemu":
            command = machine.qemu_command(directory, self.iso, cpus, memory, self.port, self.https_port, ("tcg", model or "EPYC"), board, nic, more)
        else:
            command = machine.bochs_command(directory, self.iso, cpus, memory, self.port, model or "corei7_skylake_x", ips, sync=sync, address=address, https_port=self.https_port, ignore_bad_msrs=ignore_bad_msrs, rom=rom, host_memory=host_memory)
        super().__init__(directory, command)
        if wait:
            self.wait_serial(rf"management address: https?://{re.escape(address)}/")

    @property
    def token(self):
        """The random token, once the console shows it; "" if there is none."""
        if self.known_token is None:
            shown = re.search(r"admin token of this boot: ([a-z2-7]{32})\n", self.serial())
            self.known_token = shown.group(1) if shown else None
        return self.known_token or ""

    def authorization(self):
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def screen(self):
        """Ends the machine; returns the last lines on its screen."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(LIMIT)
        with open(os.path.join(self.directory, "emulator.txt"), encoding="utf-8", errors="replace") as f:
            cells = re.findall(r"\t0x([0-9a-f]{4})\b", f.read())
        assert len(cells) == machine.SCREEN_COLUMNS * machine.SCREEN_ROWS, len(cells)
        text = "".join(chr(int(cell, 16) & 0xff) for cell in cells)
        return [text[i:i + machine.SCREEN_COLUMNS].rstrip() for i in range(0, len(text), machine.SCREEN_COLUMNS)]

    def connect(self):
        return Connection(self.port, self.token)

    def http_connection(self):
        if self.https:
            return http.client.HTTPSConnection("127.0.0.1", self.https_port, timeout=60, context=ssl._create_unverified_context())
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def request(self, method, path, body=None, headers=None, keep=None):
        """(status, headers, body as text), over a new connection, or over `keep`, which stays open."""
        end = time.monotonic() + LIMIT
        while True:
            connection = keep or self.http_connection()
            try:
                connection.request(method, path, body, {**self.authorization(), **(headers or {})})
                r = connection.getresponse()
                answer = r.status, r.headers, r.read().decode("utf-8", "replace")
                break
            except (OSError, http.client.HTTPException):
                # The emulator's network takes one new connection at a time, and the management guest may be restarting.
                connection.close()
                assert self.process.poll() is None and time.monotonic() < end, f"emulator: {self.process.poll()}\n{self.serial()[-3000:]}"
                time.sleep(0.05)
            finally:
                if not keep:
                    connection.close()
        openapi.check_answer(method, path, *answer)
        return answer

    def get(self, path, keep=None):
        status, _, body = self.request("GET", path, keep=keep)
        assert status == 200, (status, body)
        return json.loads(body)

    def wait_for(self, path, condition, what):
        """GETs until condition(answer) holds; returns the answer. Uses one connection: libslirp keeps each for a while, and Bochs exits at its thousandth."""
        end = time.monotonic() + LIMIT
        with contextlib.closing(self.http_connection()) as connection:
            while True:
                answer = self.get(path, connection)
                if condition(answer):
                    return answer
                assert time.monotonic() < end, f"{what}: {answer}\n{self.serial()[-2000:]}"

    def within(self, ms, attempt):
        """What attempt() returns. If it fails after more than `ms` of the machine's time, that says nothing, since a limit of the server has passed: on a busy
        computer the clients may be too slow for it. Then it is tried again."""
        for tries in range(5, 0, -1):
            begun = self.get("/v1/host")["uptime_ms"]
            try:
                return attempt()
            except (AssertionError, OSError, http.client.HTTPException):
                if tries == 1 or self.get("/v1/host")["uptime_ms"] - begun < ms:
                    raise

    def story(self):
        """What explains a failed test: the end of the serial output, and how crashed guests came to that."""
        told = [self.serial()[-2000:]]
        try:
            with contextlib.closing(self.http_connection()) as connection:
                def ask(path):
                    connection.request("GET", path, headers=self.authorization())
                    return connection.getresponse().read().decode("utf-8", "replace")

                for g in json.loads(ask("/v1/guests"))["guests"]:
                    if g["state"] == "crashed":
                        told += [json.dumps(g), ask(f"/v1/guests/{g['name']}/vcpus/0/exits?n=4")]
                        told += [line for which in ("vmcs", "vmcb") for line in re.findall(r"^0x.*$", ask(f"/v1/guests/{g['name']}/vcpus/0/{which}?format=text"), re.M) if not re.search(r" (0x0+|absent)$", line)]
        except (OSError, http.client.HTTPException, ValueError, KeyError) as e:
            told.append(f"no answer over HTTP: {e!r}")
        return "\n".join(told)

    def guest(self, name):
        return self.get(f"/v1/guests/{name}")

    def wait_state(self, name, state):
        return self.wait_for(f"/v1/guests/{name}", lambda g: g["state"] == state, f"{name} is not {state}")

    def type(self, name, text):
        data = text.encode()
        while data:
            status, _, body = self.request("POST", f"/v1/guests/{name}/console", data[:64])
            assert status == 200, body
            data = data[json.loads(body)["accepted"]:]


def with_token(data, token):
    """Sends the bytes, with the token added after each complete request line."""
    if not token:
        return data
    return re.sub(rb"(?m)^([A-Z]+ [^\r\n ]+ HTTP/1\.[01]\r\n)", rb"\1Authorization: Bearer " + token.encode() + rb"\r\n", data)


class Connection:
    """A client that sends exactly the given bytes, and reads one answer at a time."""

    def __init__(self, port, token=""):
        self.token = token
        self.requests = openapi.Requests()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=LIMIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.input.close()
        self.socket.close()

    def send(self, data):
        """Sends the bytes, with the token added after each complete request line."""
        data = with_token(data, self.token)
        self.requests.add(data)
        self.socket.sendall(data)

    def read_head(self):
        line = self.input.readline()
        assert re.fullmatch(rb"HTTP/1\.1 \d\d\d [A-Za-z -]+\r\n", line), line
        headers = {}
        while (field := self.input.readline()) != b"\r\n":
            name, colon, value = field.decode("ascii").partition(": ")
            assert colon and value.endswith("\r\n"), field
            headers[name.lower()] = value[:-2]
        return int(line.split()[1]), headers

    def head(self):
        """(status, headers with lower-case names) of an answer; its body, if any, stays unread."""
        status, headers = self.read_head()
        if status != 100:
            openapi.check_answer(*self.requests.first(), status, headers, None)
            self.requests.drop()
        return status, headers

    def answer(self):
        """(status, headers, body), checked against the API's description."""
        status, headers = self.read_head()
        body = self.input.read(int(headers.get("content-length", 0)))
        assert len(body) == int(headers.get("content-length", 0)) and ("content-length" in headers) == (status != 204)
        openapi.check_answer(*self.requests.first(), status, headers, body)
        self.requests.drop()
        return status, headers, body

    def ended(self):
        """Whether the other side closes now without sending anything more."""
        try:
            return self.input.read(1) == b""
        except ConnectionResetError:
            return True

    def reset(self):
        """Ends with RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.__exit__()


class Tcg(Machine):
    """QEMU without KVM, with these arguments. `wrapper`: a command that runs it."""

    def __init__(self, directory, *arguments, wrapper=()):
        serial = os.path.join(str(directory), "serial.txt")
        open(serial, "wb").close()
        super().__init__(directory, [*wrapper, "qemu-system-x86_64", "-accel", "tcg", "-m", "256", "-display", "none", "-serial", "file:" + serial, "-no-reboot", *arguments])


class Qemu(Machine):
    """The sample ISO in QEMU without VMX. `port`: the only serial port, as a device (default: COM1)."""

    def __init__(self, directory, uefi=False, cpus=1, more=(), port=None):
        iso = os.path.abspath(os.path.join(BUILD, "bulkhead.iso"))
        serial = os.path.join(str(directory), "serial.txt")
        open(serial, "wb").close()
        line = ["-serial", "file:" + serial] if port is None else ["-serial", "none", "-chardev", "file,id=line,path=" + serial, "-device", port + ",chardev=line"]
        command = ["qemu-system-x86_64", "-accel", "tcg", "-m", "256", "-smp", str(cpus), "-cdrom", iso, "-display", "none", *line, "-no-reboot", "-nic", "none", "-monitor", "unix:monitor,server,nowait"]
        super().__init__(directory, command + (["-bios", "/usr/share/ovmf/OVMF.fd"] if uefi else []) + list(more))

    def screen_text(self):
        """The characters in text mode."""
        cells = re.findall(r"0x([0-9a-f]{2})", "".join(re.findall(r"^[0-9a-f]{16}:(.*)", self.monitor("xp /4000xb 0xb8000"), re.M)))
        return "".join(chr(int(c, 16)) for c in cells[::2])

    def screen_rows(self):
        """The number of lit pixels in each row of the screen."""
        path = os.path.join(self.directory, "screen.ppm")
        self.monitor(f"screendump {path}")
        with open(path, "rb") as f:
            data = f.read().split(b"\n", 3)
        width, height = map(int, data[1].split())
        return [sum(max(data[3][i:i + 3]) > 100 for i in range(3 * width * y, 3 * width * (y + 1), 3)) for y in range(height)]
