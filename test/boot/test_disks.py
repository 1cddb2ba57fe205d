"""Disks: what the file has, what a guest has written, and what is left of it afterwards. Random numbers; messages as interrupts (MSI-X)."""
import json
import re

import pytest

SECTOR = 512
# Ends within a sector; a second disk begins with other text.
FIRST = b"what the file has\0".ljust(3 * SECTOR + 100, b"\x07")
SECOND = b"another\0".ljust(2 * SECTOR, b"\x09")


def disk(name, cmdline, *disks):
    return {"name": name, "image": "guests/disk.elf", "memory": "4M", "cmdline": cmdline, "disks": list(disks)}


def transports(name, kind):
    return {"name": name, "image": "guests/transports.elf", "memory": "4M", "cmdline": name, "virtio": kind, "devices": ["uart", "pic", "exit", "console"],
            "disks": [{"file": "first.img"}]}


@pytest.fixture(scope="module")
def m(start):
    guests = [disk("writer", "write mine", {"file": "first.img"}, {"file": "second.img", "readonly": True}, {"file": "second.img", "size_mb": 1}),
              {**disk("reader", "read", {"file": "first.img", "readonly": True}), "devices": ["uart", "exit", "rng"]},
              {"name": "virtio", "image": "guests/virtio.elf", "memory": "4M", "devices": ["uart", "exit", "apic", "console"]},
              transports("legacy", "transitional"), transports("mmio", "mmio")]
    return start({"guests": guests}, files={"first.img": FIRST, "second.img": SECOND})


def lines(m, name, disks):
    text = m.wait_for(f"/v1/guests/{name}/console?format=json", lambda c: f"disk: done, {disks} disks" in c["text"], "it is not done")["text"]
    return [line for line in text.replace("\r", "").split("disk: done")[-2].splitlines() if line]


def test_contents(m):
    assert lines(m, "reader", 1) == ['disk 0: 4 sectors, status 0, "what the file has"', "disk 0: last sector: status 0, byte 0; past it: status 1",
                                     "disk: 200 random bytes, all sorts, then 0"]
    assert lines(m, "writer", 3) == [
        'disk 0: 4 sectors, status 0, "what the file has"', "disk 0: last sector: status 0, byte 0; past it: status 1",
        'disk 0: wrote: status 0 and 0, "mine"',
        'disk 1: 2 sectors, status 0, "another"', "disk 1: last sector: status 0, byte 9; past it: status 1",
        'disk 1: wrote: status 1 and 0, "another"',
        'disk 2: 2048 sectors, status 0, "another"', "disk 2: last sector: status 0, byte 0; past it: status 1",
        'disk 2: wrote: status 0 and 0, "mine"']


def test_a_second_life_finds_what_was_written(m):
    lines(m, "writer", 3)
    m.type("writer", "x")
    m.wait_state("writer", "stopped")
    status, _, body = m.request("POST", "/v1/guests/writer/actions", json.dumps({"action": "start"}))
    assert status // 100 == 2, body
    text = m.wait_for("/v1/guests/writer/console?format=json", lambda c: c["text"].count("disk: done") == 2, "it is not done again")["text"]
    assert re.findall(r'disk (\d): \d+ sectors, status 0, "(.*)"', text) == [("0", "what the file has"), ("1", "another"), ("2", "another"), ("0", "mine"), ("1", "another"), ("2", "mine")]


def test_a_new_guest_finds_the_file(m):
    entry = m.guest("writer")["configuration"]
    assert entry["disks"] == [{"file": "first.img", "readonly": False, "size_mb": 0}, {"file": "second.img", "readonly": True, "size_mb": 0},
                              {"file": "second.img", "readonly": False, "size_mb": 1}]
    assert m.request("DELETE", "/v1/guests/writer")[0] == 204
    status, _, body = m.request("POST", "/v1/guests", json.dumps(disk("writer", "write mine", {"file": "first.img"}, {"file": "second.img", "readonly": True}, {"file": "second.img", "size_mb": 1})))
    assert status == 201, body
    assert lines(m, "writer", 3)[0] == 'disk 0: 4 sectors, status 0, "what the file has"'


def test_no_such_file(m):
    status, _, body = m.request("POST", "/v1/guests", '{"name": "none", "image": "guests/disk.elf", "disks": [{"file": "first.img"}]}')
    assert status == 409 and "is a module or disk of another guest" in body and "/disks/0/file" in body, body
    status, _, body = m.request("POST", "/v1/guests", '{"name": "none", "image": "guests/disk.elf", "disks": [{"file": "nothing"}]}')
    assert status == 400 and 'no image \\"nothing\\" exists' in body and "/disks/0/file" in body, body


def test_messages(m):
    """A virtio console's, in a local APIC. What goes out there is part of the guest's console."""
    guest = m.wait_for("/v1/guests/virtio", lambda g: g["state"] != "running", "it hangs")
    text = m.request("GET", "/v1/guests/virtio/console")[2]
    assert guest["state"] == "stopped" and guest["exit_code"] == 0 and "WRONG" not in text and ", 0 wrong" in text, (guest["why"], text)
    assert "virtio: a line on the virtio console\n.....\nvirtio: by its line\nvirtio: by messages again\n" in text.replace("\r", ""), text


@pytest.mark.parametrize("name", ["legacy", "mmio"])
def test_transports(m, name):
    """The same devices by the registers of old drivers, and memory-mapped."""
    guest = m.wait_for(f"/v1/guests/{name}", lambda g: g["state"] != "running", "it hangs")
    text = m.request("GET", f"/v1/guests/{name}/console")[2].replace("\r", "")
    assert guest["state"] == "stopped" and guest["exit_code"] == 0, (guest["why"], text)
    assert text == ('transports: 4 sectors, status 0, 513 bytes, "what the file has"\ntransports: this is the virtio console\n'
                    "transports: 2 interrupts\n"), text
