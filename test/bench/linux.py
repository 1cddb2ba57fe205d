"""make bench-linux: what Debian 12's cloud kernel pays for being a guest: the same script (test/bench/linux/start) bare and as a guest with one vCPU, in the same
model of Bochs, by TSC. Both kernels get the same flags and clock, or they would run other code: Bochs's CPUID is not that of a guest. MODELS=ryzen for one of them.
With --update the manual's table is replaced. Takes a quarter of an hour on a quiet machine; downloads 30 MB the first time."""
import argparse
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "tools"), os.path.join(HERE, "..", "boot")]

import document  # noqa: E402
import machine  # noqa: E402

BEGIN = "<!-- make bench-linux UPDATE=1 -->\n"
# The model of Bochs, and the most that the script may cost.
MODELS = {"skylake_x": ("corei7_skylake_x", "1.01"), "ryzen": ("ryzen", "1.05")}
IPS, MEMORY, LIMIT = 20000000, 160, 7200
# Bochs says that its TSC has 3.5 GHz; its MWAITX sleeps on when its time is over, and Linux on a ryzen would wait with it.
CMDLINE = f"console=ttyS0 quiet mem={MEMORY}M no-kvmclock clocksource=tsc tsc=reliable tsc_early_khz={IPS // 1000} noxsave clearcpuid=erms,rep_good,mwaitx " \
          "indirect_target_selection=off spectre_bhi=off"
GRUB_CFG = f"""set timeout=0
menuentry linux {{
    linux /boot/vmlinuz {CMDLINE}
    initrd /boot/initramfs
}}
"""
PARTS = ("forks", "sha256", "copies", "loop")
# They tell of virtualisation, and no code that the script runs depends on them.
ASIDE = {"hypervisor", "vmx", "svm"}


def with_script(build, initramfs, directory):
    """The initial file system with the script: Linux unpacks all archives that follow each other."""
    tree = os.path.join(directory, "script")
    os.makedirs(os.path.join(tree, "bin"))
    shutil.copy(os.path.join(HERE, "linux", "start"), tree)
    shutil.copy(os.path.join(build, "linux", "mark"), os.path.join(tree, "bin"))
    names = b"./start\n./bin\n./bin/mark\n"
    return initramfs + gzip.compress(subprocess.run(["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"], cwd=tree, input=names, check=True, stdout=subprocess.PIPE).stdout)


def bare(directory, model, kernel, initramfs):
    """What the serial line of Linux without Bulkhead shows."""
    from appliance import Machine
    boot = os.path.join(directory, "tree", "boot")
    os.makedirs(os.path.join(boot, "grub"))
    for name, data in (("vmlinuz", kernel), ("initramfs", initramfs), ("grub/grub.cfg", GRUB_CFG.encode())):
        with open(os.path.join(boot, name), "wb") as f:
            f.write(data)
    iso = os.path.join(directory, "bare.iso")
    subprocess.run(["grub-mkrescue", "--install-modules=linux normal boot iso9660 part_msdos configfile", "--fonts=", "--locales=", "--themes=", "-o", iso,
                    os.path.join(directory, "tree")], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return finish(Machine(directory, machine.bochs_command(directory, iso, memory=512, model=model, ips=IPS)))


def guest(directory, model, kernel, initramfs):
    from appliance import Appliance
    # A core of its own: the management guest is not what is measured.
    linux = {"name": "linux", "core": 1, "image": "vmlinuz", "cmdline": CMDLINE, "memory": f"{MEMORY}M", "modules": [{"file": "initramfs"}]}
    return finish(Appliance(directory, {"guests": [linux], "management": {"core": 0}}, cpus=2, memory=512, model=model, ips=IPS, wait=False, files={"vmlinuz": kernel, "initramfs": initramfs}))


def finish(m):
    try:
        m.wait_serial(r"bench: end", limit=LIMIT)
        return [line.rstrip() for line in re.findall(r"bench: (.*)", m.serial())]
    finally:
        m.stop()


def read(lines):
    """(ticks of each part, what must be equal)."""
    marks = [int(line.split()[1]) for name in ("begin", *PARTS) for line in lines if line.split()[0] == name]
    assert len(marks) == 1 + len(PARTS), lines
    facts = {}
    for line in lines:
        name, _, value = line.partition(" ")
        if name in ("flags", "bugs", "clock"):
            facts.setdefault(name, set()).add(value)
        elif name == "mitigation":
            name, _, value = value.partition(":")
            facts[name] = {value}
    facts["flags"] -= ASIDE
    facts["clock"] = {c.removesuffix("-early") for c in facts["clock"]}  # the same code, before it is known to be good
    return [b - a for a, b in zip(marks, marks[1:])], facts


def compare(build, model):
    """(ticks bare, ticks as a guest) of each part. Prints what the two kernels see differently: whether they run other code for it, the reader judges."""
    import kernels
    kernel, initramfs = kernels.linux("bookworm", "linux-image-cloud-amd64", ())
    results = []
    for run in (guest, bare):
        with tempfile.TemporaryDirectory() as d:
            results.append(read(run(d, model, kernel, with_script(build, initramfs, d))))
    (inside, seen), (outside, there) = results
    for name in sorted(set(seen) | set(there)):
        if seen.get(name) != there.get(name):
            a, b = seen.get(name, set()), there.get(name, set())
            print(f"bench-linux: {model}: {name}: only the guest has {sorted(a - b)}, only bare has {sorted(b - a)}", file=sys.stderr, flush=True)
    return list(zip(outside, inside))


def rows(build, models):
    for name in models:
        model, aim = MODELS[name]
        parts = compare(build, model)
        total = [sum(column) for column in zip(*parts)]
        print(f"{name}: {dict(zip(PARTS, parts))}", flush=True)
        yield (f"`{name}`", *(f"{inside / outside:.3f}" for outside, inside in (total, *parts)), f"{total[0] / 1e6:.0f}", aim)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", default="build")
    p.add_argument("--models", default=",".join(MODELS))
    p.add_argument("--update", metavar="FILE", help="put the table between its marks")
    a = p.parse_args()
    os.environ["BULKHEAD_BUILD"] = a.build
    text = document.table(("model", "all", *PARTS, "million ticks bare", "aim: at most"), rows(a.build, a.models.split(",")))
    print(text)
    if a.update:
        document.update(a.update, BEGIN, text)


if __name__ == "__main__":
    main()
