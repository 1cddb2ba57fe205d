"""Guests with several vCPUs: INIT and SIPI, interrupts between vCPUs, TLB shootdown, HLT with interrupts off."""
import re

GUEST = {"image": "guests/smp.elf", "memory": "4M", "vcpus": 4}
CONFIG = {"guests": [
    {"name": "four", "cores": [0, 1, 2, 3], "cmdline": "4", **GUEST},
    {"name": "two", "cores": [0, 1, 0, 1], "cmdline": "4 xapic", **GUEST},
]}


def test_guest_of_ours(start_on_both):
    """Both at once: one core for each vCPU, by x2APIC; and two for each core, by xAPIC."""
    m = start_on_both(CONFIG, cpus=4)
    for name, apic in (("four", "x2APIC"), ("two", "xAPIC")):
        m.wait_serial(rf"guest {name}: (stopped|crashed): .*", limit=1800)
        guest = m.wait_state(name, "stopped")
        text = m.get(f"/v1/guests/{name}/console?format=json")["text"]
        assert f"smp: 4 vCPUs, {apic}" in text and "smp: 0 wrong" in text, text
        assert guest["why"] == "the guest exited with code 0" and all(v["entries"] for v in guest["vcpus"])
    # Vectors 2 and up go to the caller's console: the figures are shown with -s.
    print(re.findall(r"IPI to a running vCPU.*", m.serial()))
