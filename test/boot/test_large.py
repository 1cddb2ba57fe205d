"""A large upload that is a whole Linux, which boots, works and is deleted again. Any vendor will do: QEMU takes the least time."""
import contextlib
import hashlib
import http.client
import json
import os
import random
import re
import subprocess

import appliance

CONFIG = {"guests": [{"name": "hog", "image": "guests/hog.elf", "memory": "2M", "core": 0}], "management": {"core": 1}}


def cpio_file(name, data):
    """An archive of one file, in cpio's "newc" format: the kernel unpacks it after the initramfs in front of it."""
    def entry(path, mode, content):
        fields = [1, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path) + 1, 0]
        head = b"070701" + b"".join(b"%08x" % f for f in fields) + path + b"\0"
        return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)
    return entry(name, 0o100644, data) + entry(b"TRAILER!!!", 0, b"")


def forty_megabytes():
    """Debian's kernel, an initramfs with a large file in it, and what that is."""
    subprocess.run(["test/tools/linux.sh", os.path.join(appliance.BUILD, "linux")], check=True)
    with open(os.path.join(appliance.BUILD, "linux", "vmlinuz"), "rb") as f:
        kernel = f.read()
    with open(os.path.join(appliance.BUILD, "linux", "initramfs"), "rb") as f:
        initramfs = f.read()
    initramfs += bytes(-len(initramfs) % 4)
    megabytes = (40 << 20) - len(kernel) - len(initramfs) >> 20
    payload = random.Random(1).randbytes(1 << 20) * megabytes + b"the end of it\n"
    initramfs += cpio_file(b"payload", payload)
    assert len(kernel) + len(initramfs) > 39 << 20
    return kernel, initramfs, payload


def test_linux_of_forty_megabytes(start):
    """The shell finds the end of the file, and deletion gives all memory back."""
    kernel, initramfs, payload = forty_megabytes()
    m = start(CONFIG, cpus=2, memory=512, emulator="qemu")
    m.wait_state("hog", "running")
    before = appliance.memory(m)
    for name, data in (("vmlinuz", kernel), ("initramfs", initramfs)):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", m.port, timeout=600)) as connection:
            connection.request("PUT", f"/v1/images/{name}", data, m.authorization())
            answer = connection.getresponse()
            assert answer.status == 201 and json.loads(answer.read())["sha256"] == hashlib.sha256(data).hexdigest()
    with open("iso/linux.json", encoding="utf-8") as f:
        cmdline = json.load(f)["guests"][0]["cmdline"]
    linux = {"name": "linux", "image": "vmlinuz", "memory": "160M", "core": 1, "cmdline": cmdline, "modules": [{"file": "initramfs"}]}
    status, _, body = m.request("POST", "/v1/guests", json.dumps(linux))
    assert status == 201, body
    m.wait_serial(r"\[linux\] linux: ready, 6\.\d", limit=600)
    m.wait_for("/v1/guests/linux/console?format=json", lambda c: appliance.PROMPT.search(c["text"]), "no prompt")
    m.type("linux", f"ls -l /payload; dd if=/payload bs=1M skip={len(payload) >> 20} 2>/dev/null\n")
    m.wait_for("/v1/guests/linux/console?format=json", lambda c: re.search(rf" {len(payload)} [^\r]*/payload\r\nthe end of it\r\n", c["text"]), "the shell does not find it")
    for path in ("/v1/guests/linux", "/v1/images/vmlinuz", "/v1/images/initramfs"):
        assert m.request("DELETE", path)[0] == 204
    assert appliance.memory(m) == before and m.guest("hog")["state"] == "running"
