"""make bench-boots: which exits one boot of Debian's cloud kernels causes, from the kernel's entry to its shell, by reason and by device: one vCPU, and no
parameter but where the console is. A hypervisor of its own counts (test/bench/count.c). With --update the manual's table is replaced."""
import argparse
import os
import re
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "tools"), os.path.join(HERE, "..", "boot")]

import document  # noqa: E402

BEGIN = "<!-- make bench-boots UPDATE=1 -->\n"
SUITES = (("Debian 12", "bookworm"), ("Debian 13", "trixie"))
# What the same kernels did in QEMU 7.2 and 10.0 (TCG, q35), counted there; None: it was not looked at. PCI: without absent buses.
QEMU = {"text memory": (60000, 60000), "port 0x61": (4300, 17300), "absent PCI buses": (16256, 16256), "TPR": None, "UART": (47000, 48000), "PCI": (1144, 1344),
        "local APIC": (2200, 2700), "IOAPIC": (809, 814), "HPET": (830, 700), "PIT": (100, 100), "PM timer": (100, 100), "RTC": (100, 100), "8259": (100, 100),
        "i8042": (100, 100), "port 0x80": (200, 200)}
AIMS = {"text memory": "0", "port 0x61": "0", "absent PCI buses": "0", "TPR": "0", "PCI": "QEMU's", "IOAPIC": "QEMU's", "HPET": "100, with PIT and PM timer"}


def reasons():
    with open("arch/x86/inspect/exit_reasons.def", encoding="utf-8") as f:
        return {number: name for number, name in re.findall(r"VMX_EXIT\((\d+), (\w+)\)", f.read())}


def boot(suite):
    """({device: accesses}, {reason: exits})."""
    import kernels
    from appliance import Appliance
    files = {}
    files["linux/vmlinuz"], files["linux/initramfs"] = kernels.linux(suite, "linux-image-cloud-amd64", ())
    # A core of its own: otherwise how often the timer takes it away depends on what management does.
    guest = {"name": "linux", "core": 0, "image": "linux/vmlinuz", "cmdline": "console=ttyS0", "memory": "160M", "modules": [{"file": "linux/initramfs"}]}
    with tempfile.TemporaryDirectory() as directory:
        m = Appliance(directory, {"guests": [guest], "management": {"core": 1}}, cpus=2, wait=False, files=files, kernel="counted.elf")
        try:
            m.wait_serial(r"counted: all", limit=1800)
            text = m.serial()
        finally:
            m.stop()
    devices, exits, names = {}, {}, reasons()
    for count, device in re.findall(r"counted: (\d+) device (.+?)\r?\n", text):
        devices[device] = devices.get(device, 0) + int(count)
    for count, number in re.findall(r"counted: (\d+) reason (\d+)", text):
        exits[names[number]] = int(count)
    devices["PCI"] = devices.get("PCI", 0) - 2 * devices.get("absent PCI buses", 0)
    return devices, exits


def rows(results):
    names = list(QEMU) + sorted({name for devices, _ in results for name in devices} - set(QEMU))
    for name in names:
        qemu = QEMU.get(name)
        cells = [cell for i, (devices, _) in enumerate(results) for cell in (str(devices.get(name, 0)), str(qemu[i]) if qemu else "")]
        yield (f"accesses: {name}", *cells, AIMS.get(name, ""))
    for name in sorted({name for _, exits in results for name in exits}, key=lambda n: -results[0][1].get(n, 0)):
        yield (f"exits: {name}", *(cell for _, exits in results for cell in (str(exits.get(name, 0)), "")), "")
    yield ("all exits", *(cell for _, exits in results for cell in (str(sum(exits.values())), "")), "")


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", default="build")
    p.add_argument("--update", metavar="FILE", help="put the table between its marks")
    a = p.parse_args()
    os.environ["BULKHEAD_BUILD"] = a.build
    head = ("what", *(cell for name, _ in SUITES for cell in (name, "in QEMU")), "aim: at most")
    text = document.table(head, rows([boot(suite) for _, suite in SUITES]))
    print(text)
    if a.update:
        document.update(a.update, BEGIN, text)


if __name__ == "__main__":
    main()
