"""Makes the hybrid ISO (BIOS and UEFI, CD and USB stick): kernel, management guest (as the flat image that the root takes), configuration, and every image and
module that it names.

Paths in a configuration are relative to its file; what is not there is looked for in the build directory (the sample guests, the prepared Linux).
The same input gives the same bytes."""
import argparse
import gzip
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

MODULES = "multiboot2 serial normal boot iso9660 part_msdos part_gpt fat configfile test echo relocator mmap acpi all_video"
EPOCH = 1700000000  # SOURCE_DATE_EPOCH
STAMP = "2023111422131500"  # the same in the format of ISO 9660
GRUB_ENVIRONMENT = {**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH), "TZ": "UTC", "LC_ALL": "C"}


def fail(text):
    sys.exit(f"mkiso: {text}")


def read_config(config_path):
    """Leaves errors for the appliance (and config-check) to report."""
    try:
        with open(config_path, encoding="utf-8") as f:
            config = json.load(f)
    except OSError as e:
        fail(f"{config_path}: {e.strerror}")
    except (ValueError, UnicodeDecodeError) as e:
        print(f"mkiso: warning: {config_path}: {e}; packed as it is, without images", file=sys.stderr)
        return {}
    return config if isinstance(config, dict) else {}


def attached(guest):
    """Its modules and disks."""
    lists = [guest.get(field) for field in ("modules", "disks")]
    return [m for entries in lists if isinstance(entries, list) for m in entries if isinstance(m, dict)]


def named_files(config):
    """The files that a configuration names, in order, without duplicates."""
    names = []
    management = config.get("management")
    for field in ("certificate", "key") if isinstance(management, dict) else ():
        names += [management[field]] if isinstance(management.get(field), str) and management[field] else []
    guests = config.get("guests")
    for guest in guests if isinstance(guests, list) else []:
        if not isinstance(guest, dict):
            continue
        entries = [guest.get("image")] + [m.get("file") for m in attached(guest)]
        names += [n for n in entries if isinstance(n, str) and n]
    return list(dict.fromkeys(names))


def with_https_port(text, port):
    """Adds management.https_port to the configuration, unless it has one. Lines stay where they are, since the appliance's errors name them. A malformed
    configuration is not changed."""
    try:
        config = json.loads(text)
    except ValueError:
        return text
    if not isinstance(config, dict) or not isinstance(config.get("management", {}), dict) or "https_port" in config.get("management", {}):
        return text
    field = f'"https_port": {port}'
    if "management" in config:
        wanted = {**config, "management": {**config["management"], "https_port": port}}
        places = [(m.end(), field + (", " if config["management"] else "")) for m in re.finditer(r'"management"\s*:\s*\{', text)]
    else:
        wanted = {**config, "management": {"https_port": port}}
        places = [(text.index("{") + 1, '"management": {' + field + "}" + (", " if config else ""))]
    for at, more in places:
        changed = text[:at] + more + text[at:]
        try:
            if json.loads(changed) == wanted:
                return changed
        except ValueError:
            pass
    return text


MEMORY = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def memory_of(guest):
    """In bytes; leaves errors for the appliance to report."""
    memory = guest.get("memory", "16M")
    try:
        return memory if isinstance(memory, int) else int(memory[:-1]) * MEMORY[memory[-1]]
    except (ValueError, KeyError, IndexError, TypeError):
        return 16 << 20


def images_of(config):
    """Images of guests: name -> memory in bytes of the largest guest that uses it. And the names of modules and disks."""
    images, modules = {}, set()
    guests = config.get("guests")
    for guest in guests if isinstance(guests, list) else []:
        if isinstance(guest, dict) and isinstance(guest.get("image"), str) and guest.get("kind") != "flat":
            images[guest["image"]] = max(images.get(guest["image"], 0), memory_of(guest))
        if isinstance(guest, dict):
            modules.update(m["file"] for m in attached(guest) if isinstance(m.get("file"), str))
    return images, modules


def pack(name, path, to, images, modules):
    """Unpacks a gzip-compressed kernel, since the appliance's root does not. Modules and disks stay as they are, as an initrd must."""
    shutil.copyfile(path, to)
    with open(path, "rb") as f:
        packed = name in images and f.read(2) == b"\x1f\x8b"
    if not packed:
        return
    if name in modules:
        fail(f"{name} is compressed by gzip, and both an image, which is unpacked, and a module or disk, which is not: give that a file of its own")
    most = images[name]
    try:
        with gzip.open(path) as f:
            data = f.read(most + 1)
    except (OSError, EOFError, zlib.error) as e:
        fail(f"{name} begins like a gzip file, but cannot be unpacked: {e}")
    if len(data) > most:
        fail(f"{name}: unpacked it has more than the {most} bytes of its guest's memory")
    with open(to, "wb") as f:
        f.write(data)


def locate(name, config_path, build):
    for base in (os.path.dirname(os.path.abspath(config_path)), build):
        path = os.path.join(base, name)
        if os.path.isfile(path):
            return path
    return None


def grub_string(s):
    return '"' + s.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'


WORD = (1 << 64) - 1


def checksum(data):
    """hv/flat.h: flat_checksum()."""
    total = 0
    for group in struct.iter_unpack("<8Q", data):
        total = ((total << 1 | total >> 63) + sum(group)) & WORD
    return total


def flatten(path, to):
    """Converts an ELF file to the root's format for the management guest (hv/flat.h)."""
    with open(path, "rb") as f:
        elf = f.read()
    if elf[:5] != b"\x7fELF\x02":
        fail(f"{path}: is no 64-bit ELF file")
    entry, offset = struct.unpack_from("<QQ", elf, 24)
    size, count = struct.unpack_from("<HH", elf, 54)
    segments = [s for s in (struct.unpack_from("<IIQQQQQQ", elf, offset + i * size) for i in range(count)) if s[0] == 1 and s[6]]
    if not segments:
        fail(f"{path}: has nothing to load")
    load = min(s[4] for s in segments) & ~4095
    data = bytearray(-(load - max(s[4] + s[5] for s in segments)))
    for _, _, at, _, address, in_file, _, _ in segments:
        data[address - load:address - load + in_file] = elf[at:at + in_file]
    data += bytes(-len(data) % 64)
    header = struct.pack("<8sQQQQQ", b"BULKFLAT", load, entry, len(data), max(len(data), max(s[4] + s[6] for s in segments) - load), checksum(data))
    with open(to, "wb") as f:
        f.write(header + data)


def command_line(build, config_path):
    """The options that the root needs before the management guest reads the configuration."""
    run = subprocess.run([os.path.join(build, "config-check"), "--command-line", config_path], capture_output=True, text=True, check=False)
    if run.returncode:
        fail(f"{config_path}: {run.stderr.strip()}")
    return run.stdout.strip()


def fix_volume_serial(iso):
    """The UEFI boot image inside the ISO is a FAT volume with a random serial number. Replaces it with a fixed one."""
    with open(iso, "r+b") as f:
        data = f.read()
        for at in range(0, len(data) - 512, 2048):
            if data[at + 54:at + 62] in (b"FAT12   ", b"FAT16   ") and data[at + 510:at + 512] == b"\x55\xaa":
                f.seek(at + 39)
                f.write(b"BULK")
                return
    fail("the UEFI boot image is not where it is expected")


def files_of(config, config_path, build, missing_ok):
    """What the configuration names: (name, path) of each file."""
    files = []
    for name in named_files(config):
        if name.startswith("linux/") and not locate(name, config_path, build):
            here = os.path.dirname(os.path.abspath(__file__))
            subprocess.run([os.path.join(here, "linux.sh"), os.path.join(build, "linux")], check=True)
        path = locate(name, config_path, build)
        if path:
            files.append((name, path))
        elif missing_ok:
            print(f"mkiso: warning: {name} is not there", file=sys.stderr)
        else:
            fail(f"{config_path}: {name}: no such file (looked beside the configuration and in {build}/)")
    return files


def write_tree(tree, build, config_path, cmdline=None, missing_ok=False, mgmt="mgmt.elf", kernel="bulkhead.elf", https_port=None, edit=None):
    """The files that GRUB loads, and its configuration, in `tree`/boot. `edit`: called with the tree once it is whole. `cmdline`: the kernel's, instead of the
    one from the configuration."""
    config = read_config(config_path)
    images, modules = images_of(config)
    files = files_of(config, config_path, build, missing_ok)
    boot = os.path.join(tree, "boot")
    os.makedirs(os.path.join(boot, "grub"))
    os.makedirs(os.path.join(boot, "m"))
    subprocess.run(["strip", "--strip-all", "-o", os.path.join(boot, "bulkhead.elf"), os.path.join(build, kernel)], check=True)
    flatten(os.path.join(build, mgmt), os.path.join(boot, "mgmt.img"))
    shutil.copyfile(config_path, os.path.join(boot, "guests.json"))
    if https_port:
        with open(os.path.join(boot, "guests.json"), "r+", encoding="utf-8", newline="", errors="surrogateescape") as f:
            text = with_https_port(f.read(), https_port)
            f.seek(0)
            f.write(text)
    with open(os.path.join(os.path.dirname(__file__), "../../iso/grub.cfg"), encoding="utf-8") as f:
        cfg = f.read()
    lines = ["    module2 $top/boot/mgmt.img bulkhead:management", "    module2 $top/boot/guests.json bulkhead:configuration"]
    for i, (name, path) in enumerate(files):
        pack(name, path, os.path.join(boot, "m", str(i)), images, modules)
        lines.append(f"    module2 $top/boot/m/{i} {grub_string(name)}")
    with open(os.path.join(boot, "grub", "grub.cfg"), "w", encoding="utf-8") as f:
        f.write(cfg.replace("@CMDLINE@", command_line(build, config_path) if cmdline is None else cmdline).replace("    @MODULES@", "\n".join(lines)))
    if edit:
        edit(tree)
    for root, dirs, names in os.walk(tree):
        for n in dirs + names:
            os.chmod(os.path.join(root, n), 0o755 if n in dirs else 0o644)
            os.utime(os.path.join(root, n), (EPOCH, EPOCH))


def make(build, config_path, out, **how):
    """`how`: see write_tree()."""
    with tempfile.TemporaryDirectory(dir=build) as tree:
        write_tree(tree, build, config_path, **how)
        part = out + ".part"
        os.makedirs(os.path.dirname(os.path.abspath(out)), exist_ok=True)
        r = subprocess.run(
            ["grub-mkrescue", f"--install-modules={MODULES}", "--fonts=", "--locales=", "--themes=", "-o", part, tree,
             "--", "-volid", "BULKHEAD", "-volume_date", "uuid", STAMP, "-volume_date", "all_file_dates", STAMP, "-padding", "0"],
            umask=0o022, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=GRUB_ENVIRONMENT)
        if r.returncode or not os.path.exists(part):
            fail("grub-mkrescue failed:\n" + r.stdout)
        fix_volume_serial(part)
        os.replace(part, out)


def tell_errors(build, config_path):
    """What the appliance will say of the configuration at its boot, said now. It is packed all the same: the appliance starts what it can."""
    run = subprocess.run([os.path.join(build, "config-check"), "--search", build, config_path], capture_output=True, text=True, check=False)
    if run.returncode:
        sys.stderr.write(run.stderr)
        print("mkiso: packed with these errors: the appliance starts without what they concern", file=sys.stderr)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", default="build", help="where bulkhead.elf and mgmt.elf are")
    p.add_argument("--config", required=True, help="guests.json")
    p.add_argument("--out", required=True, help="the ISO to write")
    p.add_argument("--kernel", default="bulkhead.elf", help="another kernel of the build directory: trials.elf")
    p.add_argument("--https-port", type=int, help="where HTTP sends clients, unless the configuration says it: a port that is forwarded to 443")
    a = p.parse_args()
    make(a.build, a.config, a.out, kernel=a.kernel, https_port=a.https_port)
    tell_errors(a.build, a.config)
    print(f"{a.out}: {os.path.getsize(a.out) / 1048576:.1f} MiB")


if __name__ == "__main__":
    main()
