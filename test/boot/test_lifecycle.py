"""Paused, resumed, given an NMI; what cannot be done in a state is refused; who dies again and again is given up."""
import json
import re

import pytest

CONFIG = {"guests": [
    {"name": "hog", "image": "guests/hog.elf", "memory": "2M", "core": 0},
    {"name": "still", "image": "guests/control.elf", "memory": "2M", "core": 0, "weight": 200},
    {"name": "going", "image": "guests/control.elf", "memory": "2M", "core": 1, "weight": 200, "paused_clock": "runs"},
    {"name": "echo", "image": "guests/echo.elf", "memory": "4M", "core": 1},
    {"name": "mortal", "image": "guests/echo.elf", "memory": "4M", "core": 0, "restart": "on-failure", "restart_limit": 2},
]}


@pytest.fixture(scope="module", params=["corei7_skylake_x", "corei7_icelake_u"])
def m(start, request):
    return start(CONFIG, cpus=2, model=request.param)


def act(m, guest, action):
    status, _, body = m.request("POST", f"/v1/guests/{guest}/actions", json.dumps({"action": action}))
    return status, json.loads(body)


def report(m, guest, after):
    """The next report of a control loop: (periods missed, where it ends)."""
    match = m.wait_serial(rf"\[{guest}\] control: second \d+, periods \d+, missed (\d+),", after=after)
    return int(match.group(1)), match.end()


def advance(m, name, ticks):
    before = m.guest(name)["vcpus"][0]["run_ticks"]
    m.wait_for(f"/v1/guests/{name}", lambda g: g["vcpus"][0]["run_ticks"] > before + ticks, f"{name} stands still")


def spins(dump, where):
    """Interrupts are off, and it was at the same place four times."""
    where.append(tuple(int(f["value"], 16) for f in sorted(dump["fields"], key=lambda f: f["name"])))
    return len(where) > 3 and len(set(where[-4:])) == 1 and not where[-1][0] & 0x200


@pytest.mark.parametrize("guest, keeps", [("still", True), ("going", False)])
def test_pause(m, guest, keeps):
    """While it is paused others have its time. With its clocks stopped it does not notice; with clocks that run it misses what it missed."""
    _, at = report(m, guest, len(m.serial()))
    assert act(m, guest, "pause") == (202, {"guest": guest, "status": "accepted"})
    paused = m.wait_state(guest, "paused")
    advance(m, "hog", 2000000)
    assert m.guest(guest)["vcpus"][0]["run_ticks"] == paused["vcpus"][0]["run_ticks"]
    first, second = (m.get(f"/v1/guests/{guest}/vcpus/0/vmcs") for _ in range(2))
    assert [f for f in first["fields"] if f["group"] == "guest"] == [f for f in second["fields"] if f["group"] == "guest"]
    assert act(m, guest, "resume")[0] == 202
    m.wait_state(guest, "running")
    missed, at = report(m, guest, at)
    assert missed == 0 if keeps else missed > 50
    assert report(m, guest, at)[0] == 0
    offset = next(f for f in m.get(f"/v1/guests/{guest}/vcpus/0/vmcs")["fields"] if f["name"] == "TSC_OFFSET")["value"]
    assert (int(offset, 16) != 0) == keeps


def test_input_waits(m):
    act(m, "echo", "pause")
    m.wait_state("echo", "paused")
    mark = m.get("/v1/guests/echo/console?format=json")["next"]
    m.type("echo", "echo hello there\r")
    advance(m, "hog", 200000)
    assert m.get("/v1/guests/echo/console?format=json")["next"] == mark
    act(m, "echo", "resume")
    m.wait_for("/v1/guests/echo/console?format=json", lambda c: c["text"].count("hello there") == 2, "echo lost what was typed")


def test_nmi(m):
    """Taken in HLT, in the middle of work, one after the other, and with interrupts off."""
    for n in range(1, 4):
        at = len(m.serial())
        assert act(m, "echo", "nmi")[0] == 202
        m.wait_serial(rf"\[echo\] NMI {n}, interrupts o(n|ff)\n", at)  # echo waits with interrupts on, and looks for input with interrupts off
    m.type("echo", "spin\r")
    where = []
    m.wait_for("/v1/guests/echo/vcpus/0/vmcs?fields=GUEST_RFLAGS,GUEST_RIP", lambda d: spins(d, where), "echo does not spin")
    at = len(m.serial())
    for n in range(4, 7):
        assert act(m, "echo", "nmi")[0] == 202
        m.wait_serial(rf"\[echo\] NMI {n}, interrupts off", at)
    # Nobody waits for it: without a handler it is the guest's end.
    assert act(m, "hog", "nmi")[0] == 202
    assert "100" in m.wait_state("hog", "stopped")["why"] or m.guest("hog")["exit_code"] == 102
    act(m, "hog", "start")
    m.wait_state("hog", "running")
    act(m, "echo", "reset")
    m.wait_for("/v1/guests/echo", lambda g: g["state"] == "running", "echo is not back")


def test_wrong_state(m):
    for action in ("resume", "start"):
        status, answer = act(m, "hog", action)
        assert status == 409 and "the guest is running" in answer["error"]["message"]
    act(m, "hog", "pause")
    m.wait_state("hog", "paused")
    for action in ("pause", "start", "nmi"):
        status, answer = act(m, "hog", action)
        assert status == 409 and "the guest is paused" in answer["error"]["message"]
    assert act(m, "hog", "stop")[0] == 202
    assert m.wait_state("hog", "stopped")["why"] == "stopped by request"
    for action in ("pause", "resume", "stop", "nmi"):
        status, answer = act(m, "hog", action)
        assert status == 409 and "the guest is stopped" in answer["error"]["message"]
    assert act(m, "hog", "start")[0] == 202
    m.wait_state("hog", "running")
    act(m, "hog", "pause")
    m.wait_state("hog", "paused")
    assert act(m, "hog", "reset")[0] == 202
    m.wait_state("hog", "running")
    for action in ("stop", "pause"):
        status, answer = act(m, "mgmt", action)
        assert status == 409 and "management guest cannot be" in answer["error"]["message"]
    assert act(m, "hog", "fly")[0] == 400 and act(m, "nobody", "pause")[0] == 404


def test_given_up(m):
    """Two restarts after short lives, and no third."""
    for n in range(3):
        m.wait_serial(r"\[mortal\] > ", [x.end() for x in re.finditer(r"guest mortal: started", m.serial())][n] if n else 0)
        m.type("mortal", "triple\r")
        m.wait_serial(r"(?s)(guest mortal: crashed.*){%d}" % (n + 1))
        if n < 2:
            m.wait_serial(r"(?s)(guest mortal: started.*){%d}" % (n + 2))
    m.wait_serial(r"guest mortal: not started again: it ended 3 times within 10 seconds of its start")
    guest = m.guest("mortal")
    assert guest["state"] == "crashed" and guest["restarts"] == 2 and guest["configuration"]["restart_limit"] == 2
    assert act(m, "mortal", "start")[0] == 202
    m.wait_state("mortal", "running")
