"""Building and packing, without a machine: the configuration on its way into the ISO, third-party source, `make run` twice, paths."""
import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest

import machine
import mkiso
import run
import third_party

LIMIT = 120


# ---- the port that `make run` forwards ----

@pytest.mark.parametrize("text", [
    "{}", '{"guests": []}', '\n{\n  "guests": [ ]\n}\n', '{"management": {}}', '{\n"management" :\n{"hostname": "a"}}',
    '{"guests": [{"cmdline": "\\"management\\": {"}], "management": {"http": "plain"}}', '{"guests": [{"management": {}}], "management": {}}'])
def test_https_port(text):
    """The port is added; everything else is unchanged, on the same lines."""
    config = json.loads(text)
    changed = mkiso.with_https_port(text, 8443)
    assert json.loads(changed) == {**config, "management": {**config.get("management", {}), "https_port": 8443}}
    assert changed.count("\n") == text.count("\n")


@pytest.mark.parametrize("text", ['{"management": {"https_port": 443}}', "[]", "{", '{"management": 1}', "", "\udcff"])
def test_https_port_as_it_is(text):
    assert mkiso.with_https_port(text, 8443) == text


# ---- third-party source, from a mirror in a directory ----

def add(where, name, content):
    path = os.path.join(where, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(content)
    return f"{hashlib.sha256(content).hexdigest()} {len(content)} {name.rpartition('/')[2]}"


class Mirror:
    """An archive with one binary and one source package, whose versions come and go."""

    def __init__(self, directory):
        self.directory, self.packages, self.sources = str(directory), [], []
        self.etc = os.path.join(self.directory, "etc")
        os.makedirs(os.path.join(self.etc, "sources.list.d"))
        with open(os.path.join(self.etc, "sources.list.d", "debian.sources"), "w", encoding="utf-8") as f:
            f.write(f"# ours\nTypes: deb\nURIs: file:{self.directory}/archive\nSuites: sid\nComponents: main contrib\nTrusted: yes\n\n"
                    "Types: deb\nURIs: file:/nowhere\nSuites: nodistro\nComponents: main\n")
        self.archive = os.path.join(self.directory, "archive")
        self.pins = os.path.join(self.directory, "pins")

    def add_binary(self, version):
        tree = os.path.join(self.directory, "tree")
        os.makedirs(os.path.join(tree, "DEBIAN"), exist_ok=True)
        with open(os.path.join(tree, "DEBIAN", "control"), "w", encoding="utf-8") as f:
            f.write(f"Package: node-part\nVersion: {version}\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: part\n")
        add(tree, "usr/share/deep/part.js", f"version {version}\n".encode())
        deb = os.path.join(self.directory, "part.deb")
        subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, deb], check=True, capture_output=True, timeout=LIMIT)
        with open(deb, "rb") as f:
            checksum, size, _ = add(self.archive, f"pool/node-part_{version}_all.deb", f.read()).split()
        self.packages.append(f"Package: node-part\nVersion: {version}\nArchitecture: all\nFilename: pool/node-part_{version}_all.deb\nSize: {size}\nSHA256: {checksum}\n")
        return f"part 1 files:part.js sid node-part={version} {checksum}\n"

    def add_source(self, version):
        """A package with a patch of Debian's."""
        work = os.path.join(self.directory, f"source-{version}")
        add(work, "upstream/code.c", b"upstream\n")
        orig = "code_1.orig.tar.gz"
        subprocess.run(["tar", "-czf", orig, "upstream"], cwd=work, check=True, timeout=LIMIT)
        add(work, "upstream/debian/control", b"Source: code\nMaintainer: A <a@example.org>\n\nPackage: code\nArchitecture: all\nDescription: code\n")
        add(work, "upstream/debian/changelog", f"code (1-{version}) sid; urgency=low\n\n  * It.\n\n -- A <a@example.org>  Thu, 01 Jan 2026 00:00:00 +0000\n".encode())
        add(work, "upstream/debian/source/format", b"3.0 (quilt)\n")
        add(work, "upstream/debian/patches/series", b"fix\n")
        add(work, "upstream/debian/patches/fix", f"--- a/code.c\n+++ b/code.c\n@@ -1 +1 @@\n-upstream\n+patched {version}\n".encode())
        subprocess.run(["dpkg-source", "-b", "upstream"], cwd=work, check=True, capture_output=True, timeout=LIMIT)
        lines, checksum = [], None
        for name in sorted(n for n in os.listdir(work) if n.startswith("code_")):
            with open(os.path.join(work, name), "rb") as f:
                lines.append(" " + add(self.archive, f"pool/{name}", f.read()))
            if name.endswith(".dsc"):
                checksum = lines[-1].split()[0]
        self.sources.append(f"Package: code\nBinary: code\nVersion: 1-{version}\nArchitecture: all\nFormat: 3.0 (quilt)\nDirectory: pool\nChecksums-Sha256:\n" + "\n".join(lines) + "\n")
        return f"code 1 source sid code=1-{version} {checksum}\n"

    def fetch(self, *lines, **more):
        """The output of fetch.sh with these pins."""
        indices = []
        for name, entries in (("main/binary-amd64/Packages", self.packages), ("main/source/Sources", self.sources)):
            checksum, size, _ = add(os.path.join(self.archive, "dists/sid"), name, "\n".join(entries).encode()).split()
            indices.append(f" {checksum} {size} {name}\n")
        add(self.archive, "dists/sid/Release", ("Suite: sid\nCodename: sid\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nValid-Until: Fri, 02 Jan 2026 00:00:00 UTC\n"
                                                "Architectures: amd64 all\nComponents: main\nSHA256:\n" + "".join(indices)).encode())
        with open(self.pins, "w", encoding="utf-8") as f:
            f.write("# what will do\n" + "".join(lines))
        pairs = [f"{name}={self.directory}/got/{name}" for name in dict.fromkeys(line.split()[0] for line in lines)]
        r = subprocess.run(["test/tools/fetch.sh", "get", *pairs], capture_output=True, text=True, timeout=LIMIT, check=False,
                           env={**os.environ, "PINS": self.pins, "APT_DIRECTORY": self.etc, "LC_ALL": "C", **more})
        return r.returncode, r.stdout, r.stderr

    def got(self, name):
        with open(os.path.join(self.directory, "got", name), encoding="utf-8") as f:
            return f.read()


@pytest.fixture
def mirror(tmp_path):
    return Mirror(tmp_path)


def test_first_that_is_left(mirror):
    """The newest pinned version that the archive still has is fetched, and not again until the pins change."""
    gone = "part 1 files:part.js sid node-part=0.9-1 " + "0" * 64 + "\n"
    old = mirror.add_binary("1-1")
    assert mirror.fetch(gone, old)[0] == 0
    assert mirror.got("part/part.js") == "version 1-1\n"
    assert mirror.fetch(gone, old) == (0, "", "")
    new = mirror.add_binary("1-2")
    assert mirror.fetch(new, gone, old)[0] == 0
    assert mirror.got("part/part.js") == "version 1-2\n"
    mirror.packages.clear()
    status, _, err = mirror.fetch(gone, new, old)
    assert status == 0 and mirror.got("part/part.js") == "version 1-2\n" and "it stays part 1" in err


def test_patches_of_debian(mirror):
    """Patches are applied, and an update that changes only patches is fetched."""
    first = mirror.add_source("1")
    assert mirror.fetch(first)[0] == 0 and mirror.got("code/code.c") == "patched 1\n"
    second = mirror.add_source("2")
    assert mirror.fetch(second, first)[0] == 0 and mirror.got("code/code.c") == "patched 2\n"


def test_not_the_pinned_one(mirror):
    line = mirror.add_binary("1-1").rpartition(" ")[0] + " " + "1" * 64 + "\n"
    status, _, err = mirror.fetch(line)
    assert status == 1 and "no file has the pinned checksum" in err and not os.path.exists(os.path.join(mirror.directory, "got", "part"))


def test_none_left(mirror):
    """The message says which file to change, which versions are available, and how to do without."""
    pinned = mirror.add_binary("1-1"), mirror.add_source("1")
    mirror.packages.clear()
    mirror.sources.clear()
    mirror.add_binary("1-7")
    mirror.add_source("9")
    status, _, err = mirror.fetch(*pinned)
    assert status == 1
    for words in ("node-part 1-1 of sid", "code 1-1 of sid", "PART_DIR=DIRECTORY", "CODE_DIR=DIRECTORY", "part.js", "dpkg-source -x", mirror.pins,
                  "the archive has 1-7 now", "the archive has 1-9 now"):
        assert words in err, err


def test_no_mirror(mirror):
    os.remove(os.path.join(mirror.etc, "sources.list.d", "debian.sources"))
    status, _, err = mirror.fetch(mirror.add_binary("1-1"))
    assert status == 1 and "no Debian mirror is configured on this machine" in err and "PART_DIR=" in err


def test_offline(mirror):
    """Each missing directory is named, with the option to give instead."""
    with open("mgmt/third_party.pins", encoding="utf-8") as f:
        lines = [line for line in f if not line.startswith("#")]
    status, _, err = mirror.fetch(*lines)
    assert status == 1
    for name, versions in third_party.pins().items():
        assert f"make {name.upper()}_DIR=DIRECTORY" in err
        assert all(f"package {v['package']} of " in err for v in versions), err


SOURCES = """deb http://one.example/debian bookworm main contrib
deb-src [signed-by=/k.gpg arch=amd64] http://two.example/debian trixie-updates main
deb http://two.example/security bookworm-security main
deb http://two.example/elsewhere bookworm contrib
deb http://other.example/tools stable-tools main
"""


def test_sources_of_the_machine(mirror, tmp_path):
    """Hosts, keys and options of one-line entries, for the wanted suite. The mirror above covers stanzas."""
    add(mirror.etc, "sources.list", SOURCES.encode())
    script = f'. test/tools/apt.sh; private_apt {tmp_path}/state deb-src:trixie deb:own; cat {tmp_path}/state/parts/derived.list'
    r = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, timeout=LIMIT, check=True, env={**os.environ, "APT_DIRECTORY": mirror.etc})
    assert sorted(r.stdout.splitlines()) == sorted([
        "deb-src http://one.example/debian trixie main", "deb-src [signed-by=/k.gpg arch=amd64] http://two.example/debian trixie-updates main",
        "deb-src http://two.example/security trixie-security main", "deb http://one.example/debian bookworm main",
        "deb [signed-by=/k.gpg arch=amd64] http://two.example/debian trixie-updates main", "deb http://two.example/security bookworm-security main"])


def test_directory_of_their_own(tmp_path):
    r = subprocess.run(["test/tools/fetch.sh", "given", f"lwip={tmp_path}"], capture_output=True, text=True, timeout=LIMIT, check=False)
    assert r.returncode == 1 and r.stderr == f"LWIP_DIR={tmp_path}: there is no src/include/lwip/init.h in it\n"


# ---- `make` where it cannot work ----

def make(*args, cwd="."):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    return subprocess.run(["make", *args], capture_output=True, text=True, timeout=LIMIT, check=False, cwd=cwd, env=environment)


def test_path_with_a_blank(tmp_path):
    place = tmp_path / "a place"
    place.mkdir()
    shutil.copy("Makefile", place)
    r = make("run", cwd=place)
    assert r.returncode == 2 and f"The path of this directory has a blank, which make cannot cope with: {place}." in r.stderr, r
    r = make("iso", "OUT=a b.iso")
    assert r.returncode == 2 and "OUT=a b.iso has a blank" in r.stderr, r


def test_run_twice(tmp_path):
    """The second is refused at once, whatever the first is doing."""
    holder = subprocess.Popen(["flock", str(tmp_path / "run.lock"), sys.executable, "-c", "import sys; print(1, flush=True); sys.stdin.read()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdout.readline()
    r = make("run", f"BUILD={tmp_path}")
    holder.communicate()
    assert r.returncode == 2 and f"another `make run` uses {tmp_path}/" in r.stdout and "make run BUILD=build/second" in r.stdout, r
    assert not (tmp_path / "run.iso").exists()


# ---- the machine that `make run` takes ----

@pytest.mark.parametrize("parameters, found", [
    ({"kvm_intel/nested": "Y", "kvm_intel/ept": "Y"}, True), ({"kvm_amd/nested": "1", "kvm_amd/npt": "Y"}, True), ({"kvm_amd/nested": "1", "kvm_amd/npt": "N"}, False),
    ({"kvm_intel/nested": "N", "kvm_intel/ept": "Y"}, False), ({"kvm_intel/nested": "Y", "kvm_amd/npt": "1"}, False), ({}, False)])
def test_nested_kvm(tmp_path, monkeypatch, parameters, found):
    """KVM is taken if its guests have VT-x or SVM, both with nested paging."""
    monkeypatch.setattr(shutil, "which", lambda name: name)
    for name, value in parameters.items():
        path = tmp_path / os.path.dirname(name) / "parameters" / os.path.basename(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value + "\n")
    (tmp_path / "kvm").touch()
    assert machine.nested_kvm(tmp_path, tmp_path / "kvm") == found
    assert not machine.nested_kvm(tmp_path, tmp_path / "nothing")


@pytest.mark.parametrize("kind", ["bochs", "qemu"])
def test_uefi_without_ovmf(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(machine, "OVMF", str(tmp_path / "OVMF.fd"))
    arguments = ["run.py", "--iso", "none", "--check", "--machine", kind, "--port", str(machine.free_port()), "--https-port", str(machine.free_port()), "--firmware"]
    monkeypatch.setattr(sys, "argv", [*arguments, "bios"])
    run.main()
    monkeypatch.setattr(sys, "argv", [*arguments, "uefi"])
    with pytest.raises(SystemExit, match=f"^run: FIRMWARE=uefi needs {tmp_path}/OVMF.fd, which Debian's package ovmf has$"):
        run.main()


# ---- incremental builds ----

class Tree:
    """A copy of the built tree."""

    def __init__(self, directory, build):
        self.directory = str(directory)
        here = {"build", "third_party", ".git", os.path.normpath(build).split(os.sep)[0]}
        shutil.copytree(".", self.directory, dirs_exist_ok=True, ignore=lambda at, names: [n for n in names if n == "__pycache__" or (at == "." and n in here)])
        with open(f"{build}/gen/THIRD_PAIRS.list", encoding="utf-8") as f:
            self.third_party = [f"{name.upper()}_DIR={os.path.abspath(where)}" for name, where in (pair.split("=") for pair in f.read().split())]
        for name in ("gen", "include", "kernel", "bulkhead.elf"):
            (shutil.copytree if os.path.isdir(f"{build}/{name}") else shutil.copy2)(f"{build}/{name}", self.path("build", name))

    def path(self, *names):
        path = os.path.join(self.directory, *names)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def write(self, name, text, mode="w"):
        with open(self.path(name), mode, encoding="utf-8") as f:
            f.write(text)

    def make(self, goal="build/bulkhead.elf"):
        """The files that were made, without the build's prefix."""
        r = make(goal, "BUILD=build", *self.third_party, cwd=self.directory)
        assert r.returncode == 0, r
        return {line.split()[-1].removeprefix("build/") for line in r.stdout.splitlines() if line.split()[0] in ("CC", "LD", "NASM")}

    def has(self, symbol):
        return f" {symbol}\n" in subprocess.run(["nm", self.path("build/bulkhead.elf")], capture_output=True, text=True, timeout=LIMIT, check=True).stdout

    def users(self, header):
        """The objects that depend on it."""
        return {os.path.relpath(os.path.join(at, name), self.path("build")).removesuffix(".d") + ".o" for at, _, names in os.walk(self.path("build/kernel"))
                for name in names if name.endswith(".d") and header in open(os.path.join(at, name), encoding="utf-8").read().split()}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    tree = Tree(tmp_path_factory.mktemp("rebuilt"), os.environ.get("BULKHEAD_BUILD", "build"))
    tree.make()
    return tree


# These contain the build id, which depends on all sources.
EACH_TIME = {"kernel/hv/main.o", "bulkhead.elf"}


def test_nothing_is_built_again(tree):
    assert tree.make() == set()
    tree.write("net/README.md", "More.\n", "a")
    assert tree.make() == set()


def test_a_header_changes(tree):
    users = tree.users("net/mac.h")
    assert 2 <= len(users) <= 12
    tree.write("net/mac.h", "/* More. */\n", "a")
    assert tree.make() == users | EACH_TIME
    assert tree.make() == set()


def test_a_source_comes_and_goes(tree):
    """Also under another name and with an old time stamp, as a checkout may produce."""
    tree.write("net/extra.c", "int extra(void);\nint extra(void)\n{\n    return 1;\n}\n")
    os.utime(tree.path("net/extra.c"), (1, 1))
    assert tree.make() == {"kernel/net/extra.o"} | EACH_TIME and tree.has("extra")
    os.rename(tree.path("net/extra.c"), tree.path("net/other.c"))
    assert tree.make() == {"kernel/net/other.o"} | EACH_TIME and tree.has("extra")
    os.remove(tree.path("net/other.c"))
    assert tree.make() == EACH_TIME and not tree.has("extra")


def test_a_generated_file_is_lost(tree):
    """A generated file is deleted: it is made again with the same content, so nothing else is built."""
    for name in ("version.h", "third_party.h"):
        os.remove(tree.path("build/gen", name))
    tree.make()
    assert os.path.exists(tree.path("build/gen/version.h")) and os.path.exists(tree.path("build/gen/third_party.h"))
    assert tree.make() == set()


def test_sources_of_a_test_change(tree):
    """A program is linked with the sources that its comment names."""
    program, goal = "test/unit/test_these.c", "build/unit/gcc/test_these"
    tree.write(program, "/* SOURCES: hv/plain.c */\nint main(void)\n{\n    return 0;\n}\n")
    tree.make(goal)
    assert not os.path.exists(tree.path("build/unit/gcc/hv/date.o"))
    tree.write(program, "/* SOURCES: hv/plain.c\n * hv/date.c */\nint main(void)\n{\n    return 0;\n}\n")
    tree.make(goal)
    linked = os.stat(tree.path(goal)).st_mtime_ns
    assert os.path.exists(tree.path("build/unit/gcc/hv/date.o"))
    tree.make(goal)
    assert os.stat(tree.path(goal)).st_mtime_ns == linked
    os.remove(tree.path(program))
    tree.make("build/unit/gcc/test_plain")
    assert "test_these" not in open(tree.path("build/gen/sources.mk"), encoding="utf-8").read()
