"""The management section of guests.json: errors are reported with their place, and never make the machine unreachable."""
import gzip
import json
import os
import subprocess

import pytest

from appliance import BUILD

MANAGEMENT = [
    # member, the field that is named, the message
    ('"address": "10.0.2.77"', "address", "must be"),
    ('"address": "10.0.2.256/24"', "address", "must be"),
    ('"address": "10.0.2.77/33"', "address", "must be"),
    ('"address": "10.0.2.77/0"', "address", "must be"),
    ('"address": "10.0.2.77/24/"', "address", "must be"),
    ('"address": "10.0..77/24"', "address", "must be"),
    ('"address": "0x0a.0.2.77/24"', "address", "must be"),
    ('"address": " 10.0.2.77/24"', "address", "must be"),
    ('"address": "fe80::1/64"', "address", "must be"),
    ('"address": "DHCP"', "address", "must be"),
    ('"address": ""', "address", "must be"),
    ('"address": 10', "address", "must be"),
    ('"address": null', "address", "must be"),
    ('"address": ["10.0.2.77/24"]', "address", "must be"),
    ('"address": "1' + "0" * 200 + '"', "address", "must be"),
    ('"address": "0.0.0.0/24"', "address", "no host"),
    ('"address": "127.0.0.1/8"', "address", "no host"),
    ('"address": "255.255.255.255/24"', "address", "no host"),
    ('"gateway": "10.0.2.2/24"', "gateway", "must be"),
    ('"gateway": "gateway"', "gateway", "must be"),
    ('"core": 128', "core", "must be"),
    ('"memory": "3M"', "memory", "must be"),
    ('"memory": "18446744073709551616"', "memory", "must be"),
    ('"budget_us": 0', "budget_us", "must be"),
    ('"period_us": "10ms"', "period_us", "must be"),
    ('"requests_us": 51', "requests_us", "must be"),
    ('"netmask": "255.255.255.0"', "netmask", "there is no such field"),
]


def place(line):
    """The column of the value, or of the name if that is wrong; for a string, of its first character."""
    name, value = line.split(": ", 1)
    at = 2 if name.strip() == '"netmask"' else len(name) + 3
    return at + (value.startswith('"') and at > 2)


@pytest.mark.parametrize("member,field,text", MANAGEMENT, ids=[m[0][:40] for m in MANAGEMENT])
def test_refused_by_config_check(tmp_path, member, field, text):
    path = tmp_path / "guests.json"
    path.write_text('{"guests": [], "management": {\n' + member + "\n}}\n")
    run = subprocess.run([os.path.join(BUILD, "config-check"), str(path)], capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert f"{path}:2:{place(member)}: management.{field}: {text}" in run.stderr, run.stderr


def test_broken_management_section(start):
    """All errors are named in one run, the section counts as absent, and the guests start."""
    # A name may occur only once, so one value of each.
    lines = ['{"guests": [{"name": "hog", "image": "guests/hog.elf", "memory": "2M"}],', '"management": {']
    broken = list({m[1] + m[2]: m for m in MANAGEMENT if m[2] != "no host"}.values())
    assert len(broken) >= 6
    m = start("\n".join(lines + [",\n".join(member for member, _, _ in broken), "}}"]))
    for number, (member, field, text) in enumerate(broken, 3):
        m.wait_serial(rf"guests\.json:{number}:{place(member)}: management\.{field}: {text}")
    assert m.get("/v1/host")["network"]["address"] == "10.0.2.15"
    assert {g["name"]: g["state"] for g in m.get("/v1/guests")["guests"]} == {"mgmt": "running", "hog": "running"}


NAMES = ["with a blank.elf", "it's", 'say "x" $y.elf', "back\\slash\\x41", "mgmt.elf", "sub/guests.json", "é.elf"]


def test_names_of_files(start):
    """GRUB quotes what it passes on; files may have the names of ours on the ISO; and a kernel may be compressed, here and over the network."""
    with open(os.path.join(BUILD, "guests/echo.elf"), "rb") as f:
        echo = f.read()
    guests = [{"name": f"g{i}", "image": name, "memory": "2M"} for i, name in enumerate(NAMES + ["echo.gz"])]
    m = start({"guests": guests}, files={name: echo for name in NAMES} | {"echo.gz": gzip.compress(echo)})
    for guest in guests:
        m.wait_state(guest["name"], "running")
    packed = gzip.compress(echo)
    assert m.request("PUT", "/v1/images/kernel.gz", packed)[0] == 201
    status, _, text = m.request("POST", "/v1/guests", json.dumps({"name": "packed", "image": "kernel.gz", "memory": "2M"}))
    assert status == 201, text
    m.wait_state("packed", "running")
    image = m.get("/v1/images/kernel.gz")
    assert (image["size"], image["packed_size"]) == (len(echo), len(packed))
