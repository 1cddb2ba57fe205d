"""make bench: what things cost, in Bochs at 20 MHz. Ticks are those of one CPU with sync=none, where a tick is an instruction: the same figures every time.
With --update the tables in the manual are replaced."""
import argparse
import os
import re
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "tools"), os.path.join(HERE, "..", "boot")]

import document  # noqa: E402
import hostile  # noqa: E402

AIMS = {"cpuid": 100, "vmcall": None, "rdmsr": None, "in-pic": 200, "out-unclaimed": 150, "mmio-read": 600, "timer-wake": 300, "timer-wake-mean": None, "timer-wake-worst": None,
        "self-ipi": 18, "apic-eoi": None, "apic-tpr": None, "apic-wake": 300, "apic-wake-mean": None, "apic-wake-worst": None}
BEGIN = "<!-- make bench UPDATE=1 -->\n"


def exits(directory, kernel):
    """The measurements of the guest `bench`."""
    from appliance import Appliance
    m = Appliance(directory, {"guests": [{"name": "bench", "image": "guests/bench.elf", "memory": "4M"}]}, cpus=1, wait=False, kernel=kernel)
    try:
        m.wait_serial(r"bench: done\n")
        return {name: int(re.search(rf"bench: {name} (\d+)", m.serial()).group(1)) for name in AIMS}
    finally:
        m.stop()


def said(directory, config, last, files=None):
    """The figures that guests have said when `last` is there."""
    from appliance import Appliance
    m = Appliance(directory, config, cpus=1, wait=False, files=files)
    try:
        m.wait_serial(rf"bench: {last} \d+\n")
        return {name: int(value) for name, value in re.findall(r"bench: (\S+) (\d+)\n", m.serial())}
    finally:
        m.stop()


def ipi(directory):
    """Median of 1,000: from RDTSC before the write of the ICR (x2APIC) to RDTSC first in the handler, of a vCPU that runs on another core."""
    from appliance import Appliance
    guest = {"name": "smp", "image": "guests/smp.elf", "memory": "4M", "vcpus": 2, "cores": [0, 1], "cmdline": "2"}
    m = Appliance(directory, {"guests": [guest]}, cpus=2, wait=False)
    try:
        return int(m.wait_serial(r"IPI to a running vCPU: median (\d+) ticks").group(1))
    finally:
        m.stop()


def card(directory):
    """Ticks for a short frame sent and received by the network card of Bochs, the switch included: by a kernel that only drives the card."""
    from appliance import Appliance
    m = Appliance(directory, {"guests": []}, cpus=1, wait=False, kernel="nic_trial.elf")
    try:
        return m.wait_serial(r"trial: (\d+) ticks a frame sent, (\d+) received\n").groups()
    finally:
        m.stop()


def device_rows():
    """Virtio, polled by guests of ours on one core."""
    with tempfile.TemporaryDirectory() as directory:
        disk = {"name": "disk", "image": "guests/disk.elf", "memory": "4M", "cmdline": "time", "disks": [{"file": "disk.img", "readonly": True}]}
        t = said(directory, {"guests": [disk]}, "disk-1m", {"disk.img": bytes(2 << 20)})
        yield "a read from a virtio disk, 4 KiB; 1 MiB", f"{t['disk-4k'] / 4096:.2f}; {t['disk-1m'] / 2**20:.2f} ticks a byte", ""
    with tempfile.TemporaryDirectory() as directory:
        cards = [{"name": role, "image": "guests/net.elf", "memory": "4M", "cmdline": role, "net": {}} for role in ("sink", "stream")]
        t = said(directory, {"guests": cards}, "net-batch")
        yield "frames of 1,514 bytes from guest to guest on one core, 16 at once and an answer", f"{t['net-batch'] / (16 * 1514):.2f} ticks a byte", "1.2"
    with tempfile.TemporaryDirectory() as directory:
        roles = (("whole", "10.9.0.3"), ("cut", "10.9.0.4"), ("send", "10.9.0.1"))
        cards = [{"name": role, "image": "guests/segments.elf", "memory": "4M", "cmdline": role, "net": {"addresses": [address]}} for role, address in roles]
        t = said(directory, {"guests": cards}, "net-segments")
        yield "TCP segments of 64 KiB from guest to guest, 4 at once and an answer", f"{t['net-segments'] / (4 * 65536):.2f} ticks a byte", "1.2"


def machine_rows(build):
    """(what, figure, aim)."""
    from appliance import Appliance
    with tempfile.TemporaryDirectory() as d:
        t = exits(d, "bulkhead.elf")
    with tempfile.TemporaryDirectory() as d:
        bare = exits(d, "unrecorded/bulkhead.elf")
    cost = [t[name] - bare[name] for name in ("cpuid", "vmcall", "rdmsr", "in-pic", "out-unclaimed")]
    yield "CPUID, from guest to guest", f"{t['cpuid']} ticks", f"{AIMS['cpuid']}"
    yield "VMCALL; intercepted RDMSR", f"{t['vmcall']}; {t['rdmsr']} ticks", ""
    yield "IN from the PIC; OUT to an unclaimed port", f"{t['in-pic']}; {t['out-unclaimed']} ticks", f"{AIMS['in-pic']}; {AIMS['out-unclaimed']}"
    yield "read of an emulated memory-mapped register (IOAPIC)", f"{t['mmio-read']} ticks", f"{AIMS['mmio-read']}"
    yield "of an exit: flight recorder and exit counters", f"{min(cost)} to {max(cost)} ticks", "40"
    yield ("from the end of a timer to the handler of a guest in HLT; mean and worst while the management guest makes its certificate on the same core",
           f"{t['timer-wake']}; {t['timer-wake-mean']}; {t['timer-wake-worst']} ticks", f"{AIMS['timer-wake']}")
    yield "self-IPI to its handler; EOI of an edge interrupt and TPR, in memory", f"{t['self-ipi']}; {t['apic-eoi']}; {t['apic-tpr']} ticks", f"{AIMS['self-ipi']}"
    yield ("the same with the local APIC's timer; mean; worst", f"{t['apic-wake']}; {t['apic-wake-mean']}; {t['apic-wake-worst']} ticks", f"{AIMS['apic-wake']}")
    yield from device_rows()
    with tempfile.TemporaryDirectory() as d:
        sent, received = card(d)
        yield "a frame of 60 bytes to the wire; from it (e1000, the switch included)", f"{sent}; {received} ticks", ""
    with tempfile.TemporaryDirectory() as d:
        yield "IPI from one core to a vCPU that runs on another, by exits; median (two CPUs; KVM on the same machine: 6765)", f"{ipi(d)} ticks", "3382"
    with tempfile.TemporaryDirectory() as d:
        m = Appliance(d, {"guests": [{"name": "hog", "image": "guests/hog.elf", "memory": "4M"}]}, cpus=1)
        try:
            yield "VMCS snapshot", f"{m.get('/v1/guests/hog/vcpus/0/vmcs')['snapshot_ticks']} ticks", "12000"
            h = m.get("/v1/host")
            yield "from the kernel's entry to management's first instruction", f"{h['boot_to_first_entry_ticks'] / 1e6:.1f} million ticks", ""
            yield "to the first instruction of the first guest", f"{h['boot_to_first_guest_ticks'] / 1e6:.1f} million ticks", ""
        finally:
            m.stop()
    with tempfile.TemporaryDirectory() as d:
        m = Appliance(d, cpus=4)
        try:
            memory = m.get("/v1/host")["memory"]
            own = memory["host"] + memory["shared"] + memory["tables"] + m.guest("mgmt")["configuration"]["memory"]
            yield "memory that the host keeps with four cores, the management guest included", f"{own / 2**20:.1f} MiB", "16"
        finally:
            m.stop()
    yield "the ISO", f"{os.path.getsize(os.path.join(build, 'bulkhead.iso')) / 2**20:.1f} MiB", "8"


def hostile_row(name, figures):
    before = hostile.BEFORE[name]
    return (f"beside `{name}`" if name in hostile.PESTS else {"requests": "while a management guest that was taken over plagues all", "all": "beside all of them", "anything": "while it makes calls at random"}[name],
            *("; ".join(str(n) for n in f) if f else "" for f in (before[0], figures[1].get(name), before[1], figures[4].get(name))))


def hostile_rows():
    """How many of 10,000 periods a control loop with a guarantee misses, and the worst slice end of its neighbour, before and now."""
    figures = {}
    for cpus in (1, 4):
        with tempfile.TemporaryDirectory() as d:
            from appliance import Appliance
            m = Appliance(d, hostile.config(cpus), cpus=cpus, wait=False, mgmt="guests/usurper.elf")
            try:
                figures[cpus] = {name: (missed, own) for name, (_, missed, own, _) in hostile.rounds(m).items()}
            finally:
                m.stop()
    for name in hostile.ROUNDS:
        yield hostile_row(name, figures)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", default="build")
    p.add_argument("--update", metavar="FILE", help="put the tables between its marks")
    a = p.parse_args()
    os.environ["BULKHEAD_BUILD"] = a.build
    import service
    text = document.table(("what", "figure", "aim: at most"), machine_rows(a.build))
    print(text, flush=True)
    late = document.table(("`control` (300 of 1000 us): of 10,000 periods missed; worst slice end, ticks", "one core, without bounds", "one core", "four cores, without bounds",
                  "four cores"), hostile_rows())
    print(late, flush=True)
    more = document.table(("what", "one core", "four cores"), service.rows())
    print(more)
    if a.update:
        document.update(a.update, BEGIN, f"{text}\n{late}\n{more}")


if __name__ == "__main__":
    main()
