"""Guests with more memory than fits below the hole for memory-mapped devices."""
import re

MB = 1 << 20


def test_above_the_hole(start):
    """The machine has 3 GiB below 4 GiB, less what the host needs, and 128 MiB above: the guest's RAM is in several pieces of it. (Bochs loses what is between 3 and
    4 GiB, and takes a time at its start that grows with the square of a memory of which it keeps only a part: this is as small as can be.)"""
    m = start({"guests": [{"name": "large", "image": "guests/memory.elf", "kind": "pvh", "memory": "3082M"}]}, memory=4224, host_memory=2048)
    m.wait_serial(r"\[large\] memory: done\n", limit=600)
    assert re.findall(r"\[large\] memory: 0x(\w+)\+0x(\w+) type (\d)(.*)\n", m.serial())[-2:] == [
        ("100000", f"{(3 << 30) - MB:x}", "1", ", its last page works"), ("100000000", f"{10 * MB:x}", "1", ", its last page works")]
    assert m.wait_state("large", "stopped")["configuration"]["memory"] == 3082 * MB
    assert m.get("/v1/host")["memory"]["guests"] >= 3082 * MB
