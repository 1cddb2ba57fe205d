"""UEFI leaves the lowest memory free, and GRUB loads its first file there: a module at address 0 must work like any other."""
import os
import re
import struct

import machine

LETTER = bytes((i * 7 + i // 251) & 0xff for i in range(9001))  # over page 0 and two more


def fnv(data):
    h = 0x811c9dc5
    for b in data:
        h = (h ^ b) * 0x01000193 & 0xffffffff
    return h


def first_at_zero(tree):
    """Makes the letter the first module, with nothing of the kernel before it. GRUB would load sections without an address first, here the table of section
    names: that one gets an address."""
    path = os.path.join(tree, "boot", "grub", "grub.cfg")
    with open(path, encoding="utf-8") as f:
        lines = f.read().splitlines(keepends=True)
    letter = next(i for i, line in enumerate(lines) if "letter.bin" in line)
    lines.insert(next(i for i, line in enumerate(lines) if "module2" in line), lines.pop(letter))
    with open(path, "w", encoding="utf-8") as f:
        f.writelines(lines)
    with open(os.path.join(tree, "boot", "bulkhead.elf"), "r+b") as f:
        head = f.read(64)
        is_64 = head[4] == 2
        (table,) = struct.unpack_from("<Q", head, 40) if is_64 else struct.unpack_from("<I", head, 32)
        size, count, _ = struct.unpack_from("<HHH", head, 58 if is_64 else 46)
        for n in range(count):
            f.seek(table + n * size)
            kind = struct.unpack_from("<I", f.read(size), 4)[0]
            at = table + n * size + (16 if is_64 else 12)
            f.seek(at)
            if kind == 3 and f.read(8 if is_64 else 4).strip(b"\0") == b"":  # SHT_STRTAB
                f.seek(at)
                f.write(struct.pack("<I", 1))


def test_module_at_address_0(start):
    """The module is moved before the kernel takes page 0, and a guest finds all of it."""
    m = start({"guests": [{"name": "reader", "image": "guests/echo.elf", "memory": "4M", "cmdline": "module", "modules": [{"file": "letter.bin"}]}]},
              cpus=1, files={"letter.bin": LETTER}, rom=machine.OVMF, edit=first_at_zero, wait=False)
    m.wait_serial(r"module letter\.bin: moved from address 0x0\n")
    read = m.wait_serial(r"\[reader\] module: (\d+) bytes, ([0-9a-f]+), hash 0x([0-9a-f]{8})\n")
    assert (int(read[1]), bytes.fromhex(read[2]), int(read[3], 16)) == (len(LETTER), LETTER[:16], fnv(LETTER))
    assert not re.search("PANIC|warning: module", m.serial())
