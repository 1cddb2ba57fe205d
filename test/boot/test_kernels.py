"""Kernels of others, unmodified and with nothing taken from them by parameters, in one machine: two Linuxes that talk to each other, and one on a virtio console, whose virtio devices are memory-mapped."""
import hashlib
import os
import re
import subprocess

import pytest

import kernels

MODULES = ("virtio_pci", "virtio_net", "virtio_blk", "isofs")
# name, suite, address, core
# Its console is hvc0, whose driver is a module, as the one that finds the devices in ACPI's tables is.
HVC = {"name": "hvc", "image": "deb12/vmlinuz", "cmdline": "console=hvc0", "memory": "128M", "core": 1,
       "devices": ["uart", "pic", "pit", "rtc", "reset", "exit", "acpi", "pci", "hpet", "apic", "console"], "virtio": "mmio",
       "disks": [{"file": "disk.iso"}], "modules": [{"file": "hvc/initramfs"}]}
LINUXES = (("deb12", "bookworm", "10.9.0.1", 0), ("deb13", "trixie", "10.9.0.2", 1))
DISK_FILE = bytes(i * i % 251 for i in range(300000))


def iso9660(directory):
    """A disk with one file."""
    os.makedirs(directory / "disk")
    (directory / "disk" / "numbers").write_bytes(DISK_FILE)
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", directory / "disk.iso", directory / "disk"], check=True, stderr=subprocess.DEVNULL)
    return (directory / "disk.iso").read_bytes()


@pytest.fixture(scope="module")
def m(start, tmp_path_factory):
    guests, files = [], {"disk.iso": iso9660(tmp_path_factory.mktemp("iso"))}
    for name, suite, address, core in LINUXES:
        files[f"{name}/vmlinuz"], files[f"{name}/initramfs"] = kernels.linux(suite, "linux-image-cloud-amd64", MODULES)
        guests.append({"name": name, "image": f"{name}/vmlinuz", "cmdline": "console=ttyS0", "memory": "160M", "core": core, "modules": [{"file": f"{name}/initramfs"}],
                       "net": {"network": "lab", "uplink": False, "addresses": [address]}, "disks": [{"file": "disk.iso"}]})
    _, files["hvc/initramfs"] = kernels.linux("bookworm", "linux-image-cloud-amd64", ("virtio_mmio", "virtio_console", "virtio_blk", "isofs"))
    m = start({"guests": [*guests, HVC]}, cpus=2, memory=896, files=files)
    for name in [name for name, *_ in LINUXES] + ["hvc"]:
        m.wait_serial(rf"\[{name}\] linux: ready, ", limit=1200)
    return m


def run(m, name, command, pattern, limit=300):
    """Types a command and waits for its answer; the match."""
    at = len(m.serial())
    m.type(name, command + "\n")
    return m.wait_serial(rf"(?m)^\[{name}\] {pattern}", after=at, limit=limit)


def test_clock(m):
    for name, *_ in LINUXES:
        assert run(m, name, "cat /sys/devices/system/clocksource/*/current_clocksource; echo seen $?", r"(\S+)\n(?:.*\n)*?\[\w+\] seen 0").group(1) in ("tsc", "kvm-clock")


def test_network(m):
    for name, _, address, _ in LINUXES:
        run(m, name, f"ifconfig eth0 {address} netmask 255.255.255.0 up && echo set $?", "set 0")
    for (name, *_), (_, _, other, _) in zip(LINUXES, LINUXES[::-1]):
        run(m, name, f"ping -c 3 {other}", "3 packets transmitted, 3 packets received")


def test_download(m):
    """Each gets the file that the other serves: a megabyte or two by TCP, complete."""
    for name, *_ in LINUXES:
        run(m, name, "httpd -h /bin && echo serves $?", "serves 0")
    for (name, *_), (_, suite, other, _) in zip(LINUXES, LINUXES[::-1]):
        with open(kernels.busybox(suite), "rb") as f:
            want = hashlib.sha256(f.read()).hexdigest()
        assert run(m, name, f"wget -q -O - http://{other}/busybox | sha256sum", r"([0-9a-f]{64}) ").group(1) == want


def test_disk(m):
    for name in [name for name, *_ in LINUXES] + ["hvc"]:
        got = run(m, name, "mount -t iso9660 -o ro /dev/vda /mnt && sha256sum /mnt/numbers", r"([0-9a-f]{64}) ").group(1)
        assert got == hashlib.sha256(DISK_FILE).hexdigest()


def test_virtio_console(m):
    """What is typed reaches the shell there."""
    assert run(m, "hvc", "cat /sys/class/tty/console/active; echo seen $((40 + 2))", r"(.*)\n\[hvc\] seen 42").group(1) == "hvc0"
    run(m, "hvc", "seq -s , 1 400", ",".join(str(i) for i in range(1, 30)))
    run(m, "hvc", "ls /sys/bus/platform/drivers/virtio-mmio; echo seen $((40 + 3))", r"(?s:.*)LNRO0005:\d\d.*LNRO0005:\d\d(?s:.*)seen 43")


def test_messages(m):
    """Each queue of a PCI device has a message of its own (MSI-X), and the counts grow."""
    def counts():
        text = run(m, "deb12", "grep virtio /proc/interrupts; echo counted $((40 + 2))", r"(?s:.*?)counted 42").group(0)
        return {what: int(n) for n, what in re.findall(r"\d+:\s+(\d+)\s+PCI-MSI\S*\s+\S+\s+(virtio\S+)", text)}
    before = counts()
    run(m, "deb12", f"ping -c 3 {LINUXES[1][2]}", "3 packets transmitted, 3 packets received")
    after = counts()
    assert {"virtio0-config", "virtio0-input.0", "virtio0-output.0", "virtio1-req.0"} <= set(before) == set(after), before
    assert after["virtio0-input.0"] > before["virtio0-input.0"] > 0 and before["virtio1-req.0"] > 0, (before, after)
