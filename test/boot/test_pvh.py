"""PVH: our own guest, and Debian's unmodified kernel, unpacked from its bzImage."""
import json
import lzma
import os
import re
import struct
import subprocess

import appliance


def test_sample(start_on_both):
    guest = {"name": "pvh", "image": "guests/memory.elf", "kind": "pvh", "memory": "8M", "cmdline": "two words", "modules": [{"file": "note"}]}
    m = start_on_both({"guests": [guest, {**guest, "name": "multiboot", "kind": "auto"}]}, files={"note": b"a module"})
    m.wait_serial(r'\[pvh\] memory: "two words", module of 8 bytes: a module\n')
    m.wait_serial(r"\[pvh\] memory: done\n")
    assert re.findall(r"\[pvh\] memory: 0x(\w+)\+0x(\w+) type (\d)(.*)\n", m.serial()) == [
        ("0", "9f000", "1", ", its last page works"), ("9f000", "1000", "2", ""), ("f0000", "10000", "2", ""), ("100000", "700000", "1", ", its last page works")]
    assert m.wait_state("pvh", "stopped")["configuration"]["kind"] == "pvh"
    # The same file has a multiboot2 header, which goes first.
    assert m.wait_state("multiboot", "stopped")["configuration"]["kind"] == "multiboot2"
    assert "[multiboot] memory: not started by PVH" in m.serial()


def lz4_block(data):
    """LZ4 "Block Format Description"."""
    out, at = bytearray(), 0

    def length(first):
        nonlocal at
        n = first
        while first == 15:
            n += data[at]
            at += 1
            if data[at - 1] != 255:
                break
        return n
    while at < len(data):
        token = data[at]
        at += 1
        n = length(token >> 4)
        out += data[at:at + n]
        at += n
        if at == len(data):
            break
        distance = data[at] | data[at + 1] << 8
        at += 2
        n = length(token & 15) + 4
        piece = out[-distance:][:n]
        out += (piece * (n // len(piece) + 1))[:n] if len(piece) < n else piece
    return out


def unpack(bzimage):
    """The ELF inside. Linux "The Linux/x86 Boot Protocol", payload_offset; the last four bytes are the unpacked size."""
    at = 512 * (bzimage[0x1f1] + 1)
    offset, length = struct.unpack_from("<II", bzimage, 0x248)
    payload = bzimage[at + offset:at + offset + length]
    if payload.startswith(b"\xfd7zXZ"):
        return lzma.LZMADecompressor().decompress(payload)
    if payload.startswith(b"\x28\xb5\x2f\xfd"):  # Debian 13; Python has it from 3.14 on
        return subprocess.run(["zstd", "-dc"], input=payload[:-4], stdout=subprocess.PIPE, check=True).stdout
    assert payload.startswith(b"\x02\x21\x4c\x18"), payload[:8]  # LZ4's legacy frame
    out, at = bytearray(), 4
    while at < len(payload) - 4:
        size, = struct.unpack_from("<I", payload, at)
        out += lz4_block(payload[at + 4:at + 4 + size])
        at += 4 + size
    assert struct.unpack("<I", payload[-4:])[0] == len(out)
    return bytes(out)


def test_debian(start):
    subprocess.run(["test/tools/linux.sh", os.path.join(appliance.BUILD, "linux")], check=True)
    with open("iso/linux.json", encoding="utf-8") as f:
        guest = json.load(f)["guests"][0]
    with open(f"{appliance.BUILD}/linux/vmlinuz", "rb") as f:
        vmlinux = unpack(f.read())
    m = start({"guests": [{**guest, "image": "vmlinux"}]}, cpus=2, files={"vmlinux": vmlinux}, emulator="qemu")
    # It has its command line (the console), its memory map and its initrd. test_linux.py goes on to a shell.
    m.wait_serial(r"\[linux\] .*Freeing initrd memory: \d+K", limit=600)
    assert m.guest("linux")["configuration"]["kind"] == "pvh"
