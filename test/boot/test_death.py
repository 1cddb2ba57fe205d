"""Every way to die ends one guest and no other."""
import re

import pytest

CONFIG = {"guests": [
    {"name": "hog", "image": "guests/hog.elf", "memory": "2M", "core": 0},
    {"name": "echo", "image": "guests/echo.elf", "memory": "4M", "core": 0, "strict_memory": True},
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
