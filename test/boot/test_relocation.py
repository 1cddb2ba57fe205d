"""Firmware may keep the memory that the kernel is linked for. Then GRUB loads it elsewhere."""
import os
import re
import struct
import subprocess

from appliance import BUILD

LINKED, ELSEWHERE = 0x200000, 0x2345000
RELOCATABLE = struct.pack("<HHI", 10, 0, 24)  # the header's tag


def want_elsewhere(tree):
    """Raises the lowest address that the kernel asks for: GRUB keeps the memory that it has for itself, and so cannot be told that some of it is missing."""
    path = os.path.join(tree, "boot", "bulkhead.elf")
    with open(path, "rb") as f:
        data = f.read()
    old, new = (RELOCATABLE + struct.pack("<I", at) for at in (LINKED, ELSEWHERE))
    assert data.count(old) == 1
    with open(path, "wb") as f:
        f.write(data.replace(old, new))


def test_boots_elsewhere(start_on_both):
    """With all its cores, guests and management."""
    m = start_on_both({"guests": [{"name": "echo", "image": "guests/echo.elf", "memory": "4M"}]}, cpus=2, edit=want_elsewhere)
    assert int(m.wait_serial(r"the boot loader put the kernel at 0x([0-9a-f]+)\n")[1], 16) >= ELSEWHERE
    m.wait_serial(r"\[echo\] > ")
    assert m.guest("echo")["state"] == "running"


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def link(directory, at):
    """The kernel without its table of places, linked to another address: what is in memory, and where the word is that says so."""
    with open("arch/x86/kernel.lds", encoding="utf-8") as f:
        text = f.read()
    assert text.count(f". = {LINKED:#x};") == 1
    script, elf = os.path.join(directory, f"{at:x}.lds"), os.path.join(directory, f"{at:x}.elf")
    with open(script, "w", encoding="utf-8") as f:
        f.write(text.replace(f". = {LINKED:#x};", f". = {at:#x};"))
    with open(os.path.join(BUILD, "gen", "KERNEL_O.list"), encoding="utf-8") as f:
        run("ld", "-n", "-nostdlib", "-z", "noexecstack", "--no-warn-rwx-segments", "-S", "-T", script, *f.read().split(), "-o", elf)
    run("objcopy", "-O", "binary", elf, elf + ".bin")
    with open(elf + ".bin", "rb") as f:
        return bytearray(f.read()), int(re.search(r"([0-9a-f]+) R kernel_linked\n", run("nm", elf))[1], 16) - at


def test_all_places_are_known(tmp_path):
    """Relocated by its table, the kernel is the same, byte for byte, as if linked where it goes."""
    table = str(tmp_path / "table")
    run("objcopy", "-O", "binary", "-j", ".relocations", os.path.join(BUILD, "bulkhead.elf"), table)
    (moved, word), (there, _) = link(tmp_path, LINKED), link(tmp_path, ELSEWHERE)
    with open(table, "rb") as f:
        places = [place for place, in struct.iter_unpack("<I", f.read())]
    assert len(places) == len(set(places)) > 1000
    for place in places:
        value, = struct.unpack_from("<I", moved, place - LINKED)
        struct.pack_into("<I", moved, place - LINKED, value + ELSEWHERE - LINKED)
    for image, at in (moved, LINKED), (there, ELSEWHERE):
        assert struct.unpack_from("<Q", image, word)[0] == at
        struct.pack_into("<Q", image, word, 0)
    assert moved == there
