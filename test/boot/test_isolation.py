"""A guest that tries to get out hurts only itself, on either vendor's processor. Broken configurations and images lose only themselves."""
import random
import re

import pytest

MB = 2**20
TB = 2**40
MEMORY = 4 * MB
# Addresses of interest: around each power of two; some 2 MB steps (all of them would take a day, since a guest dies at each); pages that exist for others.
POWERS = [2**n + d for n in range(22, 41) for d in (-4, 0) if MEMORY <= 2**n + d < TB]
STEPS = [2 * MB * n for n in random.Random(2).sample(range(MEMORY // (2 * MB), TB // (2 * MB)), 30)]
PAGES = {
    "control ABI: host": 0xd0000000, "control ABI: log": 0xd0010000, "control ABI: guest 0": 0xd0100000, "control ABI: vCPU 0": 0xd0120000, "control ABI: snapshots": 0xd0130000,
    "control ABI: consoles": 0xd0108000, "control ABI: last guest": 0xd0100000 + 15 * 0x120000, "local APIC": 0xfee00000, "local APIC EOI": 0xfee000b0,
    "IOAPIC": 0xfec00000, "IOAPIC data": 0xfec00010, "HPET": 0xfed00000, "network card": 0xf0000000, "PCI hole": 0xb8000000, "firmware": 0xfffffff0,
    "behind its memory": MEMORY, "end of RAM": 256 * MB - 4, "end of the physical addresses": TB - 4,
}
WAYS = ["read", "write", "locked", "execute", "ins", "outs", "walk", "gate", "stack"]


def isolation(name, cmdline, core=1):
    """One without devices that have registers in memory, except for trials of all ports."""
    devices = {} if name == "ports" else {"devices": ["uart", "pic", "pit", "rtc", "reset", "exit"]}
    return {"name": name, "image": "guests/isolation.elf", "memory": "4M", "cmdline": cmdline, "core": core, "strict_memory": True, **devices}


@pytest.fixture(scope="module")
def m(start_on_both):
    guests = [isolation("ports", "ports" if start_on_both.emulator == "bochs" else "some-ports")]
    guests += [isolation(name, name) for name in ("msrs", "virtualization", "calls", "ask")]
    guests += [isolation("canary", "canary", 0), {"name": "flat", "image": "guests/flat.bin", "kind": "flat", "memory": "2M", "core": 1},
               {"name": "strings", "image": "guests/strings.elf", "memory": "4M", "core": 1},
               {"name": "unclaimed", "image": "guests/unclaimed.elf", "memory": "4M", "core": 1},
               {"name": "hog", "image": "guests/hog.elf", "memory": "2M", "core": 0}]
    return start_on_both({"guests": guests}, cpus=2)


def some(m, addresses):
    """All of them in Bochs; in QEMU a few, since the backends differ in their tables and not in the addresses."""
    return addresses[::1 if m.emulator == "bochs" else 7]


def attempt(m, way, address):
    """One life of the guest that asks which address to try: how it ended, and its output."""
    at = 0
    if m.guest("ask")["state"] != "running":
        at = m.get("/v1/guests/ask/console?format=json")["next"]
        status, _, body = m.request("POST", "/v1/guests/ask/actions", '{"action": "start"}')
        assert status == 202, body
    console = f"/v1/guests/ask/console?format=json&from={at}"
    m.wait_for(console, lambda c: "where?\r\n" in c["text"], "it does not ask")
    m.type("ask", f"{way} 0x{address:x}\r")
    guest = m.wait_for("/v1/guests/ask", lambda g: g["state"] != "running", "it lives")
    return guest, m.get(console)["text"]


def page_of(way, address):
    """What the guest touches first."""
    return address + {"gate": 6 * 16, "stack": 0x800 - 8}.get(way, 0)


def assert_outside(m, way, address):
    guest, text = attempt(m, way, address)
    assert guest["state"] == "crashed" and "ESCAPED" not in text, (guest, text)
    verb = {"write": "wrote to", "stack": "wrote to", "ins": "wrote to", "outs": "read from", "execute": "executed"}.get(way, "(wrote to|read from)")
    assert re.match(rf"{verb} guest-physical address 0x{page_of(way, address):x}, outside of its memory", guest["why"]), (way, hex(address), guest["why"])


def test_string_io_faults(m):
    """INS and OUTS that fault within the guest's memory are its own affair: it gets the exception and lives."""
    assert m.wait_serial(r"\[strings\] strings: (\d+) trials, (\d+) wrong")[2] == "0", m.request("GET", "/v1/guests/strings/console")[2]
    assert m.guest("strings")["exit_code"] == 0


def test_unclaimed_memory(m):
    """Without strict_memory it reads all ones, by all instructions that the root emulates as by those that the CPU executes, and is counted."""
    assert m.wait_state("unclaimed", "stopped")["exit_code"] == 0, m.request("GET", "/v1/guests/unclaimed/console")[2]
    assert re.search(r"unclaimed: (\d+) forms, 0 wrong", m.request("GET", "/v1/guests/unclaimed/console")[2])
    count = m.guest("unclaimed")["vcpus"][0]["unclaimed_memory"]
    assert count["reads"] > 600 and count["writes"] > 450 and count["address"] == "0xd8000002", count
    metrics = m.request("GET", "/metrics")[2]
    for what in ("read", "write"):
        assert f'bulkhead_vcpu_unclaimed_memory_accesses_total{{guest="unclaimed",vcpu="0",what="{what}"}} {count[what + "s"]}\n' in metrics
    assert m.guest("ask")["vcpus"][0]["unclaimed_memory"]["address"] is None


@pytest.mark.parametrize("way", ["read", "write"])
def test_around_powers_of_two(m, way):
    for address in some(m, POWERS):
        assert_outside(m, way, address)


def test_steps_of_2_mb(m):
    for i, address in enumerate(some(m, STEPS)):
        assert_outside(m, ("read", "write", "execute")[i % 3], address)


@pytest.mark.parametrize("page", PAGES)
def test_pages_of_others(m, page):
    for way in ("read", "write"):
        assert_outside(m, way, PAGES[page])


@pytest.mark.parametrize("way", WAYS)
def test_every_way(m, way):
    for address in (0x40000000, 0xd0000000, 0xfee00000, 0x8000200000):
        assert_outside(m, way, address)


def test_inside_is_allowed(m):
    """So in the other tests the guest dies because of the address."""
    for way in ("read", "write", "locked", "ins", "outs"):
        guest, text = attempt(m, way, MEMORY - 4)
        assert guest["state"] == "stopped" and f"ESCAPED, {way} 0x{MEMORY - 4:x}" in text, (guest, text)


@pytest.mark.parametrize("port,value,why", [(0x64, 0xfe, "port 0x64"), (0xcf9, 0x06, "port 0xcf9"), (0xf4, 0x11, "code 17")])
def test_ports_that_end_a_guest(m, port, value, why):
    guest, _ = attempt(m, "out", port << 8 | value)
    assert guest["state"] == "stopped" and why in guest["why"]


def test_every_port(m):
    m.wait_serial(r"guest ports: (stopped|crashed)", limit=600)  # up to 500,000 exits
    assert m.wait_state("ports", "stopped")["exit_code"] == 0
    assert re.search(r"ports done, \d+ answered, 0 wrong", m.request("GET", "/v1/guests/ports/console")[2])


def test_every_msr(m):
    assert m.wait_state("msrs", "stopped")["exit_code"] == 0
    assert "msrs done" in m.request("GET", "/v1/guests/msrs/console")[2]


def test_no_virtualization_of_its_own(m):
    """The instructions of VT-x and AMD-V are undefined, and their MSRs do not exist, as on a CPU without: EFER.SVME, which VMRUN demands, does not show."""
    assert m.wait_state("virtualization", "stopped")["exit_code"] == 0
    text = m.request("GET", "/v1/guests/virtualization/console")[2]
    assert "virtualization done, 0 wrong" in text, text


def test_every_call_of_the_control_abi(m):
    assert m.wait_state("calls", "stopped")["exit_code"] == 0
    assert "calls done, 0 wrong" in m.request("GET", "/v1/guests/calls/console")[2]


def test_flat_binary(m):
    assert m.wait_state("flat", "stopped")["exit_code"] == 7
    lines = m.request("GET", "/v1/guests/flat/console")[2].split("\r\n")
    assert lines == ["flat: real mode at 0x7c00",
                     "027c 0202 027c 0", "0400 0000 0000 0", "0400 0000 0400 0",  # base memory, what is above 1 MB
                     "0000 0009 0001 0", "0009 0000 0002 0", "000f 0001 0002 0", "0010 0010 0001 0",  # the map
                     "flat: done", ""], lines


def test_others_run_on(m):
    before = m.guest("hog")["vcpus"][0]["run_ticks"]
    m.wait_for("/v1/guests/hog", lambda g: g["vcpus"][0]["run_ticks"] > before, "hog stands still")
    assert all(c["vmx_root"] for c in m.get("/v1/host")["cores"])
    assert m.guest("mgmt")["restarts"] == 0


def test_nobody_touched_the_canarys_memory(m):
    at = m.get("/v1/guests/canary/console?format=json")["next"]
    text = m.wait_for("/v1/guests/canary/console?format=json", lambda c: c["next"] > at and c["text"].endswith("\n"), "the canary is dead")["text"]
    assert "canary lives" in text and "not mine" not in text
    assert m.guest("canary")["state"] == "running"


def test_broken_images_and_fields(start):
    with open("build/guests/hog.elf", "rb") as f:
        hog = f.read()
    wrapping = bytearray(hog)
    at = int.from_bytes(hog[32:40], "little")
    wrapping[at + 24:at + 32] = (2**64 - 0x1000).to_bytes(8, "little")  # the first segment's physical address
    m = start("""{"guests": [
  {"name": "good", "image": "guests/hog.elf", "memory": "2M"},
  {"name": "bad-field", "image": "guests/hog.elf", "memory": "1K"},
  {"name": "truncated", "image": "truncated.elf", "memory": "2M"},
  {"name": "wrapping", "image": "wrapping.elf", "memory": "2M"},
  {"name": "missing", "image": "missing.elf", "memory": "2M"},
  {"name": "huge", "image": "guests/hog.elf", "memory": "1G"}]}""", files={"truncated.elf": hog[:5000], "wrapping.elf": bytes(wrapping)})
    assert m.wait_serial(r"guests\.json:3:\d+: guests\[1\]\.memory: must be")
    assert m.wait_state("good", "running")
    assert "ends after the image" in m.wait_state("truncated", "failed")["why"]
    assert "is not usable memory" in m.wait_state("wrapping", "failed")["why"]
    assert "not among the boot modules" in m.wait_state("missing", "failed")["why"]
    assert "not enough memory" in m.wait_state("huge", "failed")["why"]
    assert "bad-field" not in [g["name"] for g in m.get("/v1/guests")["guests"]]


def test_no_json_at_all(start):
    m = start('{"guests": [}')
    assert m.wait_serial(r"guests\.json:1:13: ")
    assert [g["name"] for g in m.get("/v1/guests")["guests"]] == ["mgmt"]
