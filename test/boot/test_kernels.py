"""Kernels of others, unmodified and with nothing taken from them by parameters, in one machine: two Linuxes that talk to each other."""
import contextlib
import hashlib
import os
import re
import subprocess
import time

import pytest

import appliance
import kernels

MODULES = ("virtio_pci", "virtio_net", "virtio_blk", "isofs")
# name, suite, address, cores of its vCPUs
LINUXES = (("deb12", "bookworm", "10.9.0.1", [0, 1, 2, 3]), ("deb13", "trixie", "10.9.0.2", [1]))
CORES = {name: cores for name, *_, cores in LINUXES}
NEXT = dict(zip((name for name, *_ in LINUXES), LINUXES[1:] + LINUXES[:1]))
DISK_FILE = bytes(i * i % 251 for i in range(300000))


def iso9660(directory):
    """A disk with one file."""
    os.makedirs(directory / "disk")
    (directory / "disk" / "numbers").write_bytes(DISK_FILE)
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", directory / "disk.iso", directory / "disk"], check=True, stderr=subprocess.DEVNULL)
    return (directory / "disk.iso").read_bytes()


@pytest.fixture(scope="module")
def m(start_on_both, tmp_path_factory):
    guests, files = [], {"disk.iso": iso9660(tmp_path_factory.mktemp("iso"))}
    for name, suite, address, cores in LINUXES:
        files[f"{name}/vmlinuz"], files[f"{name}/initramfs"] = kernels.linux(suite, "linux-image-cloud-amd64", MODULES)
        guests.append({"name": name, "image": f"{name}/vmlinuz", "cmdline": "console=ttyS0", "memory": "160M", "vcpus": len(cores), "cores": cores,
                       "modules": [{"file": f"{name}/initramfs"}], "net": {"network": "lab", "uplink": False, "addresses": [address]}, "disks": [{"file": "disk.iso"}]})
    m = start_on_both({"guests": guests}, cpus=5, memory=768, files=files)
    for name, *_, cores in LINUXES:
        m.wait_serial(rf"\[{name}\] linux: ready, \S+, {len(cores)} CPU", limit=1800)
        m.wait_for(f"/v1/guests/{name}/console?format=json", lambda c: re.search(r"(?m)^[/~] # ", c["text"]), "no prompt")  # the kernel may have said more behind it
        if start_on_both.emulator == "qemu":
            # Its time is this computer's: the kernel may complain of a delay, in the middle of an answer.
            run(m, name, "dmesg -n 1; echo calm $?", "calm 0")
    return m


def run(m, name, command, pattern, limit=appliance.LIMIT):
    """Types a command and waits for its answer; the match. On the serial line a slow guest's lines may come in pieces: this is its console."""
    with contextlib.closing(m.http_connection()) as keep:
        at, text, end = m.request("GET", f"/v1/guests/{name}/console", keep=keep)[1]["Bulkhead-Next"], "", time.monotonic() + limit
        m.type(name, command + "\n")
        while not (match := re.search(rf"(?m)^{pattern}", text)):
            assert time.monotonic() < end, f"{pattern!r} did not appear:\n{text[-3000:]}"
            status, headers, body = m.request("GET", f"/v1/guests/{name}/console?from={at}", keep=keep)
            assert status == 200, body
            at, text = headers["Bulkhead-Next"], text + body.replace("\r", "")
            time.sleep(0.1)
    return match


def test_clock(m):
    for name, *_ in LINUXES:
        run(m, name, "echo clock $(cat /sys/devices/system/clocksource/*/current_clocksource)", "clock (tsc|kvm-clock)\n")


def test_no_complaint(m):
    """The kernels find what they take for granted: MSRs that all CPUs of the vendor have, CPUID that agrees with XCR0."""
    for name in NEXT:
        run(m, name, "echo complaints $(dmesg | grep -c -e 'unchecked MSR' -e 'XSAVE consistency' -e 'P0 frequency')", "complaints 0")


def test_network(m):
    for name, _, address, _ in LINUXES:
        run(m, name, f"ifconfig eth0 {address} netmask 255.255.255.0 up && echo set $?", "set 0")
    for name, (_, _, other, _) in NEXT.items():
        run(m, name, f"ping -c 3 {other}", "3 packets transmitted, 3 packets received")


def test_offloads(m):
    """The drivers take what the cards offer: checksums, TCP segmentation, mergeable buffers, the control queue."""
    for name in NEXT:
        features = run(m, name, "cat /sys/class/net/eth0/device/features", "([01]{64})").group(1)
        assert [features[n] for n in (0, 1, 2, 7, 8, 11, 12, 15, 17, 18, 29)] == ["1"] * 11, features


def test_modes(m):
    """The driver's commands, by which it says what it wants to receive, are carried out."""
    for name in NEXT:
        for mode in ("promisc", "allmulti"):
            run(m, name, f"ifconfig eth0 {mode} && ifconfig eth0 -{mode} && echo refused $(dmesg | grep -c 'virtio_net.*Failed')", "refused 0")


def test_download(m):
    """Each gets the file that the next one serves: a megabyte or two by TCP, complete, most of it in segments longer than a frame."""
    for name in NEXT:
        run(m, name, "httpd -h /bin && echo serves $?", "serves 0")
    for name, (_, suite, other, _) in NEXT.items():
        with open(kernels.busybox(suite), "rb") as f:
            want = hashlib.sha256(f.read()).hexdigest()
        assert run(m, name, f"wget -q -O - http://{other}/busybox | sha256sum", r"([0-9a-f]{64}) ").group(1) == want


def test_queue_pairs(m):
    """A guest's card has a pair of queues for each vCPU, and the driver uses them all, with an interrupt for each: what a CPU sends by its own is answered there."""
    for name, (_, _, other, _) in NEXT.items():
        cpus = len(CORES[name])
        run(m, name, "echo pairs $(ls /sys/class/net/eth0/queues | wc -l)", f"pairs {2 * cpus}")
        network = m.guest(name)["network"]
        assert (network["queue_pairs"], network["queue_pairs_used"]) == (cpus, cpus)
        run(m, name, f"n=0; for i in $(seq 0 {cpus - 1}); do taskset $(printf %x $((1 << i))) wget -q -O /dev/null http://{other}/busybox && n=$((n + 1)); done; echo fetched $n", f"fetched {cpus}")
        used = run(m, name, "awk '/virtio.*-input[.]/ { n = 0; for (i = 2; i <= NF - 3; i++) n += $i; if (n) s = s \" \" $NF } END { print \"used\" s }' /proc/interrupts", r"used((?: virtio\d+-input\.\d)+)\n").group(1)
        assert re.findall(r"input\.(\d)", used) == [str(i) for i in range(cpus)], used


def test_all_vcpus(m):
    """Found by what is in the guests' memory, and used: programs run at once, each on a CPU of its own."""
    for name, *_, cores in LINUXES:
        assert len(cores) == 1 or re.search(rf"\[{name}\] .*Brought up 1 node, {len(cores)} CPUs", m.serial())
        said = run(m, name, f"for i in $(seq 0 {len(cores) - 1}); do taskset $(printf %x $((1 << i))) sh -c 'read a < /proc/self/stat; set -- $a; shift 38; echo ran on $1' & done; wait; echo all $((40 + 2))", "all 42").string
        assert all(f"ran on {i}\n" in said for i in range(len(cores))), said
        vcpus = m.guest(name)["vcpus"]
        assert [v["core"] for v in vcpus] == cores and all(v["interrupts"] > 0 and v["activity"] != "wait-for-SIPI" for v in vcpus), vcpus


def test_disk(m):
    for name, *_ in LINUXES:
        got = run(m, name, "mount -t iso9660 -o ro /dev/vda /mnt && sha256sum /mnt/numbers", r"([0-9a-f]{64}) ").group(1)
        assert got == hashlib.sha256(DISK_FILE).hexdigest()
