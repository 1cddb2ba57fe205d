"""make bench-peers: what KVM costs on the machine that `make bench` measures us on: the same guests, the same Bochs. Debian's kernel boots from an ISO of
its own with KVM's modules, and test/bench/peers/kvm.c runs build/guests/bench.elf on all its CPUs, then build/guests/smp.elf on two. Takes three to five minutes of processor time;
downloads 30 MB the first time."""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SYSTEMS = os.path.join(HERE, "..", "systems")
sys.path[:0] = [os.path.join(HERE, "..", "tools")]

import machine  # noqa: E402

KERNEL, BUSYBOX, MODULES = "linux-image-cloud-amd64", "busybox-static", ("irqbypass", "kvm", "kvm-intel")
# CPUID 0x15 of Bochs says 3.5 GHz, whatever its TSC counts: Linux is told.
GRUB_CFG = """set timeout=0
menuentry kvm {{
    linux /boot/vmlinuz console=ttyS0 quiet tsc_early_khz={khz}
    initrd /boot/initramfs
}}
"""
START = """#!/bin/sh
echo "peers: $(uname -r), $(nproc) CPUs"
kvm /bin/bench.elf "$(nproc)" && { [ "$(nproc)" -lt 2 ] || kvm /bin/smp.elf 2 "2 measure"; }
echo "peers: end $?"
"""
IPS = 20000000
LIMIT = 900  # seconds of processor time, whatever else the machine does


def archive(tree, out):
    """Linux unpacks all archives that follow each other."""
    names = subprocess.run(["find", "."], cwd=tree, check=True, stdout=subprocess.PIPE).stdout
    packed = subprocess.run(["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"], cwd=tree, input=names, check=True, stdout=subprocess.PIPE).stdout
    with open(out, "ab") as f:
        f.write(packed)


def make_initramfs(build, packages, out):
    kernel = os.path.join(packages, "own", KERNEL)
    # Uncompressed, so that the second archive can follow.
    subprocess.run(["sh", os.path.join(SYSTEMS, "initramfs.sh"), out + ".gz", os.path.join(packages, "own", BUSYBOX, "bin", "busybox"), kernel, *MODULES], check=True)
    subprocess.run(["gzip", "-df", out + ".gz"], check=True)
    with tempfile.TemporaryDirectory() as tree:
        os.mkdir(os.path.join(tree, "bin"))
        for name in ("peers/kvm", "guests/bench.elf", "guests/smp.elf"):
            subprocess.run(["cp", os.path.join(build, name), os.path.join(tree, "bin")], check=True)
        with open(os.path.join(tree, "start"), "w", encoding="ascii", opener=lambda path, flags: os.open(path, flags, 0o755)) as f:
            f.write(START)
        archive(tree, out)


def make_iso(build, directory):
    packages = os.path.join(build, "systems")
    subprocess.run(["sh", os.path.join(SYSTEMS, "packages.sh"), packages, "own", KERNEL, BUSYBOX], check=True)
    boot = os.path.join(directory, "tree", "boot")
    os.makedirs(os.path.join(boot, "grub"))
    kernel = os.path.join(packages, "own", KERNEL, "boot")
    (name,) = [n for n in os.listdir(kernel) if n.startswith("vmlinuz-")]
    subprocess.run(["cp", os.path.join(kernel, name), os.path.join(boot, "vmlinuz")], check=True)
    make_initramfs(build, packages, os.path.join(boot, "initramfs"))
    with open(os.path.join(boot, "grub", "grub.cfg"), "w", encoding="ascii") as f:
        f.write(GRUB_CFG.format(khz=IPS // 1000))
    iso = os.path.join(directory, "peers.iso")
    subprocess.run(["grub-mkrescue", "--install-modules=linux normal boot iso9660 part_msdos configfile", "--fonts=", "--locales=", "--themes=", "-o", iso,
                    os.path.join(directory, "tree")], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return iso


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(iso, directory, cpus):
    """What the serial line shows, to the end of the guest."""
    command = machine.bochs_command(directory, iso, cpus=cpus, memory=512, ips=IPS)
    emulator = subprocess.Popen(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while emulator.poll() is None and processor_seconds(emulator.pid) < LIMIT:
            time.sleep(1)
            with open(os.path.join(directory, "serial.txt"), encoding="utf-8", errors="replace") as f:
                text = f.read()
            if re.search(r"^peers: end \d+", text, re.M):
                return text
    finally:
        emulator.kill()
        emulator.wait()
    sys.exit("bench-peers: the guest did not come to its end:\n" + text[-2000:])


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", default="build")
    p.add_argument("--cpus", type=int, default=2)
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as d:
        text = run(make_iso(a.build, d), d, a.cpus)
    for line in re.findall(r"^(?:peers|bench|smp): .*", text, re.M):
        print(line.rstrip())
    if not re.search(r"^peers: end 0", text, re.M):
        sys.exit("bench-peers: the guest failed")


if __name__ == "__main__":
    main()
