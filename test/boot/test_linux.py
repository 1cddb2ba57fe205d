"""Debian's unmodified cloud kernel reaches a shell that answers, and does not disturb its neighbour on the same core."""
import json
import re

import appliance

DEVICE = "/sys/bus/pci/devices/0000:00:18.0"  # what linux and its neighbour share


def test_linux_shell(start):
    with open("iso/linux.json", encoding="utf-8") as f:
        config = json.load(f)
    config["guests"].append({"name": "neighbour", "image": "guests/shared.elf", "memory": "4M", "core": 0, "cmdline": "plain"})
    m = start({**config, "shared": [{"name": "notes", "size": "2M", "peers": ["linux", "neighbour"]}]}, cpus=2)
    m.wait_serial(r"\[linux\] linux: ready, 6\.\d", limit=1800)
    m.wait_for("/v1/guests/linux/console?format=json", lambda c: appliance.PROMPT.search(c["text"]), "no prompt")
    m.type("linux", "echo sum is $((40 + 2)); cat /proc/uptime; uname -m\n")
    m.wait_for("/v1/guests/linux/console?format=json", lambda c: "sum is 42" in c["text"] and "x86_64" in c["text"].split("sum is 42")[-1],
               "the shell did not answer")
    guest = m.guest("linux")
    assert guest["state"] == "running" and guest["configuration"]["kind"] == "linux"
    # No period is lost while Linux is loaded and boots on the same core.
    text = m.serial()
    boot = text[:text.index("linux: ready")]
    # It has a clock and the TSC's frequency at once, without the PIT.
    assert "kvm-clock: Using msrs 4b564d01 and 4b564d00" in boot and re.search(r"tsc: Detected (19\.99|20\.00)\d MHz processor", boot)
    assert "calibration" not in boot
    # And what its firmware's tables say: its interrupt controllers, its PCI bus, its timers.
    for line in ("DMI: Bulkhead Guest", r"IOAPIC\[0\]: apic_id 1, version \d+, address 0xfec00000, GSI 0-23", "ACPI: Using IOAPIC for interrupt routing", "hpet0: 3 comparators",
                 r"ACPI: PCI Root Bridge \[PCI0\]", r"(MMCONFIG at|ECAM) \[mem 0xe0000000-0xe00fffff\] reserved"):
        assert re.search(line, boot), line
    reports = re.findall(r"control: second \d+, periods 1000, missed (\d+), .*histogram", boot)
    assert len(reports) > 20 and set(reports) == {"0"}, " ".join(reports)
    # Nor next to a busy shell and the management guest, all three on that core. And no process loses state to another.
    at = len(m.serial())
    m.type("linux", "i=0; while [ $i -lt 40 ]; do busybox | busybox wc -l; i=$((i+1)); done; echo done $i\n")
    for _ in range(3):
        m.get("/v1/guests/linux/vcpus/0/vmcs")
        at = m.wait_serial(r"control: second \d+, periods 1000, missed (\d+),", after=at).end()
    m.wait_serial(r"\[linux\] done 40")
    assert "segfault" not in m.serial() and len(re.findall(r"^\[linux\] +47$", m.serial(), re.M)) == 40, m.serial()[-3000:]
    missed = re.findall(r"control: second \d+, periods 1000, missed (\d+),", m.serial()[text.index("linux: ready"):])
    assert len(missed) >= 3 and set(missed) == {"0"}, " ".join(missed)
    # It maps the memory that it shares with a neighbour through sysfs: busybox's devmem maps what is called /dev/mem.
    at = len(m.serial())
    m.type("linux", f"cat {DEVICE}/vendor {DEVICE}/device {DEVICE}/resource; rm /dev/mem; ln -s {DEVICE}/resource2 /dev/mem; devmem 4096 32; devmem 8192 32 0xc0ffee; echo mapped $((40 + 2))\n")
    m.wait_serial(r"\[linux\] mapped 42")
    said = m.serial()[at:]
    assert "0x1af4" in said and "0x1110" in said and "0x00000000c0000000 0x00000000c01fffff 0x000000000014220c" in said, said
    assert f"0x{int.from_bytes(b'writ', 'little'):08X}" in said, said
    assert m.wait_state("neighbour", "stopped")["exit_code"] == 0
    assert "shared: found 0xc0ffee" in m.get("/v1/guests/neighbour/console?format=json")["text"]
    m.type("linux", "poweroff -f\n")
    guest = m.wait_state("linux", "stopped")
    assert guest["why"] == "the guest powered itself off (ACPI S5, port 0x604)" and guest["exit_code"] == 0
