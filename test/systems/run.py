"""make systems: boots what others make, as they ship it, in a guest each, and says what became of it. Each try is an appliance of its own, in QEMU with AMD-V or in
Bochs with VT-x: the images are uploaded and the guest is made over the API. Reads systems.toml. With --update the manual's table is brought up to date with the
results."""
import argparse
import contextlib
import glob
import json
import os
import re
import subprocess
import sys
import time
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "tools"), os.path.join(HERE, "..", "boot")]

from appliance import Appliance  # noqa: E402

BEGIN, END = "<!-- make systems UPDATE=1 -->\n", "<!-- end -->\n"
HEAD = ["| system | version | vCPUs | machine | result |", "| --- | --- | --- | --- | --- |"]
KINDS = ("qemu", "bochs")
OWN_KEYS = {"id", "title", "suite", "package", "image", "project", "commit", "variant", "modules", "vcpus", "words", "typed", "limit", "cpu", "bochs"}
ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|[()][0-9A-B]|[78=>DEHM])")
MIB = 2**20
TICKS_PER_MS = 20000  # of Bochs
HUNG = 3600  # seconds of real time after which a try is given up: in QEMU, whose clock is this computer's, that is the only limit


class Unavailable(Exception):
    """A system that cannot be tried here, and why."""


# ---- what is tried ----

def one_file(directory, pattern):
    found = glob.glob(os.path.join(directory, pattern))
    if len(found) != 1:
        raise Unavailable(f"{os.path.join(directory, pattern)}: {len(found)} files, not one")
    return found[0]


class Files:
    """Where a system's files come from: Debian's packages, our own initramfs, and images that were built by hand."""

    def __init__(self, directory, images):
        self.directory, self.images = directory, images

    def package(self, suite, name):
        subprocess.run(["sh", os.path.join(HERE, "packages.sh"), self.directory, suite, name], check=True)
        return os.path.join(self.directory, suite, name)

    def initramfs(self):
        path = os.path.join(self.directory, "initramfs")
        script = os.path.join(HERE, "initramfs.sh")
        if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(script):
            subprocess.run(["sh", script, path, one_file(self.package("bookworm", "busybox-static"), "bin/busybox")], check=True)
        return path

    def image(self, system):
        if "package" in system:
            return one_file(self.package(system["suite"], system["package"]), system["image"])
        return self.built(system, system["image"])

    def built(self, system, name):
        path = os.path.join(self.images, name) if self.images else None
        if not path or not os.path.exists(path):
            raise Unavailable(f"no {name} in SYSTEMS_IMAGES: build {system['variant']} from {system['project']}, commit {system['commit']}")
        return path

    def module(self, system, text):
        """(file, arguments)."""
        where, _, args = text.partition(" ")
        package, colon, pattern = where.rpartition(":")
        if package == "own":
            return self.initramfs(), args
        if "project" in system:
            return self.built(system, pattern), args
        return one_file(self.package(system["suite"], package if colon else system["package"]), pattern), args

    def version(self, system):
        if "package" not in system:
            return system["commit"][:12]
        with open(os.path.join(self.directory, system["suite"], system["package"] + ".version"), encoding="utf-8") as f:
            return f.read().split()[1]


def title(system):
    return system["title"] + (f", {system['variant']}" if "variant" in system else "")


def machine_name(kind, system):
    if kind == "bochs":
        return "Bochs, VT-x"
    return "QEMU, AMD-V" + (f", `-cpu {system['cpu']}`" if "cpu" in system else "")


def memory_bytes(text):
    return int(text[:-1]) * {"M": MIB, "G": 1024 * MIB}[text[-1]]


# ---- one try ----

class Console:
    """What a guest has printed so far, without escape sequences."""

    def __init__(self, machine, name, keep):
        self.machine, self.path, self.keep, self.next, self.raw = machine, f"/v1/guests/{name}/console", keep, 0, ""

    def read(self):
        status, headers, body = self.machine.request("GET", f"{self.path}?from={self.next}", keep=self.keep)
        assert status == 200, body
        self.next = int(headers["Bulkhead-Next"])
        self.raw += body
        return ESCAPES.sub("", self.raw).replace("\r", "")


def upload(path):
    """(body, headers) of a request. In pieces: the time limit of a connection counts for each."""
    with open(path, "rb") as f:
        data = f.read()
    return [data[i:i + 65536] for i in range(0, len(data), 65536)], {"Content-Length": str(len(data))}


class Try:
    def __init__(self, system, vcpus, files, directory, machine):
        if machine == "qemu" and "bochs" in system:
            raise Unavailable(f"MACHINE=bochs only: {system['bochs']}")
        self.system, self.vcpus, self.directory, self.machine = system, vcpus, directory, machine
        self.words = re.compile(system["words"].replace("{vcpus}", str(vcpus)))
        image = files.image(system)
        self.uploads = [("image", image)]
        self.guest = {"name": "guest", "image": "image", "core": 0, **{k: v for k, v in system.items() if k not in OWN_KEYS}}
        if vcpus > 1:
            self.guest.update(vcpus=vcpus, cores=list(range(vcpus)))
        for i, text in enumerate(system.get("modules", [])):
            path, args = files.module(system, text)
            self.uploads.append((f"module{i}", path))
            self.guest.setdefault("modules", []).append({"file": f"module{i}", **({"args": args} if args else {})})

    def memory(self):
        """MiB of the machine: the guest's, its images twice (packed and unpacked), and what the appliance needs."""
        size = sum(os.path.getsize(path) for _, path in self.uploads)
        return (memory_bytes(self.guest["memory"]) + 3 * size) // MIB + 96

    def run(self):
        """(result, whether it runs)."""
        os.makedirs(self.directory, exist_ok=True)
        config = {"guests": [], "management": {"core": self.vcpus, "budget_us": 9000}}
        m = Appliance(self.directory, config, cpus=self.vcpus + 1, memory=self.memory(), emulator=self.machine, model=self.system.get("cpu") if self.machine == "qemu" else None)
        try:
            for name, path in self.uploads:
                status, _, body = m.request("PUT", f"/v1/images/{name}", *upload(path))
                if status != 201:
                    return f"not uploaded: {json.loads(body)['error']['message']}", False
            status, _, body = m.request("POST", "/v1/guests", json.dumps(self.guest))
            if status != 201:
                return f"refused: {json.loads(body)['error']['message']}", False
            with contextlib.closing(m.http_connection()) as keep:
                return self.watch(m, keep)
        except AssertionError as e:
            return f"the appliance failed: {str(e).splitlines()[0][:100]}", False
        finally:
            m.stop()

    def watch(self, m, keep):
        console, typed, start, begun = Console(m, "guest", keep), list(self.system.get("typed", [])), self.now(m, keep), time.monotonic()
        while True:
            # The state first: what it printed before its end is read after it.
            guest, now = m.get("/v1/guests/guest", keep), self.now(m, keep)
            text = console.read()
            self.write("console.txt", text)
            if typed and re.search(typed[0][0], text):
                m.type("guest", typed.pop(0)[1])
            found = not typed and self.words.search(text)
            late = (self.machine == "bochs" and now - start > 1000 * self.system["limit"]) or time.monotonic() > begun + HUNG
            if found or late or guest["state"] not in ("running", "starting"):
                self.report(m, keep, guest)
                if found:
                    return "runs" + (f", {(now - start) * TICKS_PER_MS / 1e6:.0f} million ticks" if self.machine == "bochs" else ""), True
                return f"{guest['state']}: {guest['why']}" if not late else f"no words in {(now - start) // 1000} s {guest['stuck']}".strip(), False
            time.sleep(0.3)

    @staticmethod
    def now(m, keep):
        return m.get("/v1/host", keep)["uptime_ms"]

    def write(self, name, text):
        with open(os.path.join(self.directory, name), "w", encoding="utf-8") as f:
            f.write(text)

    def report(self, m, keep, guest):
        """For whoever looks into a failure."""
        self.write("guest.json", json.dumps(guest, indent=1))
        for i in range(len(guest["vcpus"])):
            for what in ("exits", "vmcs" if self.machine == "bochs" else "vmcb"):
                self.write(f"{what}{i}.txt", m.request("GET", f"/v1/guests/guest/vcpus/{i}/{what}?format=text", keep=keep)[2])


# ---- all of them ----

def table_rows(text):
    """The rows of the manual's table, by system, number of vCPUs and machine."""
    rows = {}
    for line in text.splitlines()[2:]:
        cells = [c.strip() for c in line.strip("|").split("|")]
        if len(cells) == len(HEAD[0].strip("|").split("|")):
            rows[cells[0], cells[2], cells[3]] = line
    return rows


def update(path, systems, results):
    """Replaces the rows of what was tried; the others stay, in the order of systems.toml."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    before, rest = text.split(BEGIN)
    old, after = rest.split(END, 1)
    rows = {**table_rows(old), **results}
    keys = [(title(s), str(n), machine_name(kind, s)) for s in systems for n in s["vcpus"] for kind in KINDS if kind == "bochs" or "bochs" not in s]
    lines = HEAD + [rows[k] for k in keys if k in rows]
    with open(path, "w", encoding="utf-8") as f:
        f.write(before + BEGIN + "\n".join(lines) + "\n" + END + after)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--images", default=os.environ.get("SYSTEMS_IMAGES"), help="a directory with images that were built by hand")
    parser.add_argument("--only", default="", help="ids of systems.toml, with commas; an id may be followed by :N, a number of vCPUs")
    parser.add_argument("--machine", choices=("auto", *KINDS), default="auto", help="auto: qemu")
    parser.add_argument("--update", metavar="MANUAL")
    options = parser.parse_args()
    kind = "qemu" if options.machine == "auto" else options.machine
    with open(os.path.join(HERE, "systems.toml"), "rb") as f:
        systems = tomllib.load(f)["system"]
    only = [o for o in options.only.split(",") if o]
    unknown = {o.partition(":")[0] for o in only} - {s["id"] for s in systems}
    if unknown:
        sys.exit(f"systems.toml has no system {', '.join(sorted(unknown))}")
    files = Files(os.path.join(options.build, "systems", "packages"), options.images)
    results, failed = {}, 0
    for system in systems:
        for vcpus in system["vcpus"]:
            if only and not {system["id"], f"{system['id']}:{vcpus}"} & set(only):
                continue
            try:
                attempt = Try(system, vcpus, files, os.path.abspath(os.path.join(options.build, "systems", f"{system['id']}-{vcpus}-{kind}")), kind)
            except Unavailable as e:
                print(f"{system['id']}: left out: {e}", flush=True)
                break
            result, runs = attempt.run()
            failed += not runs
            row = f"| {title(system)} | {files.version(system)} | {vcpus} | {machine_name(kind, system)} | {result} |"
            results[title(system), str(vcpus), machine_name(kind, system)] = row
            print(row, flush=True)
            if options.update:
                update(options.update, systems, results)
    print(f"{len(results) - failed} run, {failed} do not; consoles and last exits are in {os.path.join(options.build, 'systems')}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
