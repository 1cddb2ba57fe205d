"""Every way to die ends one guest and no other."""
import re
import shutil
import struct
import subprocess

import pytest

from bhctl import ECHO, refused, says

CONFIG = {"guests": [
    {"name": "hog", "image": "guests/hog.elf", "memory": "2M", "core": 0},
    {"name": "echo", "image": "guests/echo.elf", "memory": "4M", "core": 0, "strict_memory": True, "memory_dump": True},
]}

DEATHS = [
    ("triple", "crashed", "triple fault"),
    ("bad", "crashed", "guest-physical address 0xc0000000"),
    ("bad 0xd0000000", "crashed", "guest-physical address 0xd0000000"),
    ("halt", "stopped", "halted with interrupts off"),
    ("exit 5", "stopped", "code 5"),
    ("reset", "stopped", "port 0xcf9"),
]


@pytest.fixture(scope="module", params=["corei7_skylake_x", "corei7_icelake_u"])
def m(start, request):
    return start(CONFIG, cpus=1, model=request.param)


def hog_advances(m):
    before = m.guest("hog")["vcpus"][0]["run_ticks"]
    m.wait_for("/v1/guests/hog", lambda g: g["vcpus"][0]["run_ticks"] > before, "hog stands still")


@pytest.mark.parametrize("command,state,why", DEATHS, ids=[d[0] for d in DEATHS])
def test_ends(m, command, state, why):
    if m.guest("echo")["state"] != "running":
        m.request("POST", "/v1/guests/echo/actions", '{"action": "start"}')
        m.wait_state("echo", "running")
    mark = m.get("/v1/guests/echo/console?format=json")["next"]
    m.wait_for(f"/v1/guests/echo/console?format=json&from={max(0, mark - 40)}", lambda c: "> " in c["text"], "no prompt")
    m.type("echo", command + "\r")
    guest = m.wait_state("echo", state)
    assert why in guest["why"]
    assert m.get("/v1/guests/echo/vcpus/0/vmcs")["sequence"] >= 1  # its last state stays readable
    hog_advances(m)


def segments(core):
    """(type, offset, address, size) of an ELF64's segments."""
    at, count = struct.unpack_from("<Q", core, 32)[0], struct.unpack_from("<H", core, 56)[0]
    for i in range(count):
        kind, _, offset, address, _, size = struct.unpack_from("<IIQQQQ", core, at + 56 * i)
        yield kind, offset, address, size


def test_dump(m, tmp_path):
    """The memory of a guest that has ended, if it allows that, as gdb opens it."""
    core = tmp_path / "core"
    if m.guest("echo")["state"] == "running":
        assert "pause or stop it" in refused(m, 1, "dump", "echo", core)
    else:
        m.request("POST", "/v1/guests/echo/actions", '{"action": "start"}')
        m.wait_state("echo", "running")
    assert "memory_dump" in refused(m, 1, "dump", "hog", core) and not core.exists()
    m.wait_for("/v1/guests/echo/console?format=json", lambda c: "> " in c["text"][-10:], "no prompt")
    m.type("echo", "triple\r")
    m.wait_state("echo", "crashed")
    registers = m.get("/v1/guests/echo/vcpus/0/vmcs")["registers"]
    assert "4 MiB of memory, registers of 1 vCPU;" in says(m, "dump", "echo", core)
    data = core.read_bytes()
    assert data[:7] == b"\x7fELF\x02\x01\x01" and core.stat().st_mode & 0o777 == 0o600
    rip = int(registers["RIP"], 16)
    assert [data[offset + rip - address:][:2] for kind, offset, address, size in segments(data) if kind == 1 and address <= rip < address + size] == [b"\x0f\x0b"]  # UD2
    note = next(offset for kind, offset, _, _ in segments(data) if kind == 4)
    names = ("R15", "R14", "R13", "R12", "RBP", "RBX", "R11", "R10", "R9", "R8", "RAX", "RCX", "RDX", "RSI", "RDI", "", "RIP", "", "RFLAGS", "RSP")
    for name, value in zip(names, struct.unpack_from("<20Q", data, note + 20 + 112)):
        assert name == "" or value == int(registers[name], 16), name
    # The image's own bytes are there too.
    with open(ECHO, "rb") as f:
        image = f.read()
    _, offset, address, _ = next(s for s in segments(image) if s[0] == 1)
    assert data[(1 << 20) + address:][:256] == image[offset:][:256]
    log = m.request("GET", "/v1/log")[2]
    assert len(re.findall(r"from 10\.0\.2\.\d+: GET /v1/guests/echo/memory: 200", log)) == 1, log  # for 32 requests
    if shutil.which("gdb"):
        out = subprocess.run(["gdb", "-nx", "-batch", "-ex", "x/i $pc", "-ex", "info threads", ECHO, core], capture_output=True, text=True, check=True).stdout
        assert re.search(rf"=> {rip:#x}:\s+ud2", out) and "LWP 1" in out, out


@pytest.mark.parametrize("command", ["ud", "spin"])
def test_hangs(m, command):
    if m.guest("echo")["state"] != "running":
        m.request("POST", "/v1/guests/echo/actions", '{"action": "start"}')
        m.wait_state("echo", "running")
    m.wait_for("/v1/guests/echo/console?format=json", lambda c: "> " in c["text"][-10:], "no prompt")
    m.type("echo", command + "\r")
    hog_advances(m)
    assert m.guest("echo")["state"] == "running"
    if command == "spin":
        # Interrupts are off: that is reported, until an action of others makes it move on.
        stuck = m.wait_for("/v1/guests/echo", lambda g: g["stuck"], "it is not stuck")
        assert stuck["state"] == "running" and re.fullmatch(r"spins at RIP 0x[0-9a-f]+, with interrupts off", stuck["stuck"])
        assert m.get("/v1/events?follow=0")["events"][-1]["why"] == stuck["stuck"]
        assert "guest hog: spins" not in m.serial()  # it too has interrupts off and runs a small loop, but it computes
        assert '\nbulkhead_guest_stuck{guest="echo"} 1\n' in m.request("GET", "/metrics")[2]
    m.request("POST", "/v1/guests/echo/actions", '{"action": "stop"}')
    assert m.wait_state("echo", "stopped")["stuck"] == ""
    hog_advances(m)
