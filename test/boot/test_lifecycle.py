"""Pause, resume, NMI; actions that a state does not allow are refused; a guest that keeps dying is given up."""
import json
import os
import re

import pytest

import appliance

# echo, which gets NMIs, has a core to itself. In Bochs 2.7 VM entry blocks NMIs if the VMCS says so (SDM 3C "Loading Non-Register State"), but does not
# unblock them if the previous guest on the core left them blocked: a guest without IRET would never get its NMI.
CONFIG = {"management": {"core": 1}, "guests": [
    {"name": "hog", "image": "guests/hog.elf", "memory": "2M", "core": 0},
    {"name": "still", "image": "guests/control.elf", "memory": "2M", "core": 0, "weight": 200},
    {"name": "going", "image": "guests/control.elf", "memory": "2M", "core": 1, "weight": 200, "paused_clock": "runs"},
    {"name": "echo", "image": "guests/echo.elf", "memory": "4M", "core": 2},
    {"name": "moth", "image": "moth.bin", "kind": "flat", "memory": "2M", "core": 1, "restart": "always"},
    {"name": "absent", "image": "absent.elf", "memory": "2M", "core": 1},
    {"name": "mortal", "image": "guests/echo.elf", "memory": "4M", "core": 0, "restart": "on-failure", "restart_limit": 2},
    {"name": "watched", "image": "guests/echo.elf", "memory": "4M", "core": 0, "restart": "on-failure", "watchdog_ms": 250},
]}


@pytest.fixture(scope="module", params=["corei7_skylake_x", "corei7_icelake_u"])
def m(start, request):
    return start(CONFIG, cpus=3, model=request.param, files={"moth.bin": b"\xf4"})  # HLT, with interrupts off: it ends at once


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
    """While it is paused others get its time. With stopped clocks it does not notice; with running clocks it counts the periods it missed."""
    report(m, guest, len(m.serial()))
    assert act(m, guest, "pause") == (202, {"guest": guest, "status": "accepted"})
    paused = m.wait_state(guest, "paused")
    advance(m, "hog", 2000000)
    at = len(m.serial())
    assert m.guest(guest)["vcpus"][0]["run_ticks"] == paused["vcpus"][0]["run_ticks"]
    first, second = (m.get(f"/v1/guests/{guest}/vcpus/0/vmcs") for _ in range(2))
    assert [f for f in first["fields"] if f["group"] == "guest"] == [f for f in second["fields"] if f["group"] == "guest"]
    assert act(m, guest, "resume")[0] == 202
    m.wait_state(guest, "running")
    missed, at = report(m, guest, at)
    total = missed
    while missed:
        missed, at = report(m, guest, at)
        total += missed
    assert total == 0 if keeps else total > 50
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
    """NMIs in HLT, in the middle of work, one after another, and with interrupts off."""
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
    # Without a handler, an NMI ends the guest.
    assert act(m, "hog", "nmi")[0] == 202
    assert "100" in m.wait_state("hog", "stopped")["why"] or m.guest("hog")["exit_code"] == 102
    act(m, "hog", "start")
    m.wait_state("hog", "running")
    act(m, "echo", "reset")
    m.wait_for("/v1/guests/echo", lambda g: g["state"] == "running", "echo is not back")


def test_watchdog(m):
    """Fed 100 times a second the guest lives, even next to a hog and through a pause longer than the watchdog's time-out; then it is no longer fed."""
    guest = m.guest("watched")
    assert (guest["state"], guest["restarts"], guest["configuration"]["watchdog_ms"]) == ("running", 0, 250)
    assert act(m, "watched", "pause")[0] == 202
    m.wait_state("watched", "paused")
    until = m.get("/v1/host")["uptime_ms"] + 500
    m.wait_for("/v1/host", lambda h: h["uptime_ms"] > until, "time stands still")
    assert act(m, "watched", "resume")[0] == 202
    m.wait_state("watched", "running")
    until = m.get("/v1/host")["uptime_ms"] + 500
    m.wait_for("/v1/host", lambda h: h["uptime_ms"] > until, "time stands still")
    assert m.guest("watched")["restarts"] == 0
    at = len(m.serial())
    m.type("watched", "starve\r")
    m.wait_serial(r"guest watched: crashed: watchdog: nothing written to port 0xf8 for 250 ms\n", at)
    m.wait_for("/v1/guests/watched", lambda g: g["state"] == "running" and g["restarts"] == 1, "it is not started again")


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
    guest = m.wait_state("hog", "stopped")
    assert (guest["why"], guest["ended_by"]) == ("stopped by request", "request")
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
        assert status == 409 and "the management guest takes no stop" in answer["error"]["message"]
    assert act(m, "hog", "fly")[0] == 400 and act(m, "nobody", "pause")[0] == 404


def held_back(m, lives):
    """Waits until moth has had this many short lives in a row and the next is being held back."""
    return m.wait_for("/v1/guests/moth", lambda g: g["state"] == "restarting" and g["short_lives"] >= lives, "moth is not held back")


def test_held_back(m):
    """Longer each time. Meanwhile, allowed actions work and others are refused."""
    guest = held_back(m, 7)
    assert "halted" in guest["why"] and guest["ended_by"] == "itself" and guest["next_start_tsc"] > guest["stopped_tsc"]
    for action in ("pause", "resume", "nmi"):
        status, answer = act(m, "moth", action)
        assert status == 409 and "the guest is restarting" in answer["error"]["message"]
    assert act(m, "moth", "stop")[0] == 202
    guest = m.wait_state("moth", "stopped")
    assert (guest["why"], guest["ended_by"], guest["next_start_tsc"]) == ("stopped by request", "request", None)
    # How long it was held back before each start, from the events.
    events = [e for e in m.get("/v1/events?follow=0")["events"] if e["guest"] == "moth"]
    waits = [b["uptime_ms"] - a["uptime_ms"] for a, b in zip(events, events[1:]) if (a["state"], b["state"]) == ("restarting", "starting")]
    assert len(waits) >= 5 and all(2 * a - 2 <= b <= 2 * a + 20 for a, b in zip(waits, waits[1:])), waits
    states = [e["state"] for e in events]
    assert all(after in {"starting": ("running", "stopped"), "running": ("stopped",), "stopped": ("starting", "restarting"), "restarting": ("starting", "stopped")}[before]
               for before, after in zip(states, states[1:])), states
    # A manual start resets the count, and starts at once even if the guest was being held back.
    assert act(m, "moth", "start")[0] == 202
    first = held_back(m, 6)["restarts"]
    assert act(m, "moth", "start")[0] == 202
    guest = m.wait_for("/v1/guests/moth", lambda g: g["restarts"] > first, "moth was not started")
    assert guest["short_lives"] < 6
    act(m, "moth", "stop")
    m.wait_state("moth", "stopped")


def test_image_that_is_not_there(m):
    """An image missing on the ISO: the guest fails, naming it. A later upload under that name is not the image that the configuration meant."""
    guest = m.guest("absent")
    assert guest["state"] == "failed" and guest["why"] == '"absent.elf" is not among the boot modules'
    with open(os.path.join(appliance.BUILD, "guests", "echo.elf"), "rb") as f:
        assert m.request("PUT", "/v1/images/absent.elf", f.read())[0] == 201
    for action in ("start", "reset"):
        status, answer = act(m, "absent", action)
        assert status == 409 and "delete it, and make it again" in answer["error"]["message"]
    for action in ("pause", "resume", "stop", "nmi"):
        status, answer = act(m, "absent", action)
        assert status == 409 and "the guest is failed" in answer["error"]["message"]
    assert m.get("/v1/images/absent.elf")["used_by"] == []
    assert m.request("DELETE", "/v1/images/absent.elf")[0] == 204
    assert m.request("DELETE", "/v1/guests/absent")[0] == 204


def test_exit_code_is_of_the_last_life(m):
    """A failure of an earlier life does not turn a clean end into a failure."""
    m.wait_serial(r"\[mortal\] > ")
    m.type("mortal", "exit 5\r")
    m.wait_for("/v1/guests/mortal", lambda g: g["restarts"] == 1 and g["state"] == "running", "it is not started again")
    assert m.guest("mortal")["exit_code"] == 0
    m.wait_serial(r"\[mortal\] > ", [x.end() for x in re.finditer(r"guest mortal: started", m.serial())][1])
    m.type("mortal", "reset\r")
    guest = m.wait_state("mortal", "stopped")
    assert guest["restarts"] == 1 and guest["exit_code"] == 0
    assert act(m, "mortal", "start")[0] == 202
    guest = m.wait_state("mortal", "running")
    assert guest["short_lives"] == 0


def test_given_up(m):
    """Two restarts after short lives, and no third."""
    restarts = m.guest("mortal")["restarts"]
    for n in range(3):
        starts = m.wait_serial(r"(?s)(guest mortal: started.*){%d}" % (n + 3))
        m.wait_serial(r"\[mortal\] > ", [x.end() for x in re.finditer(r"guest mortal: started", starts[0])][n + 2] + starts.start())
        m.type("mortal", "triple\r")
        m.wait_serial(r"(?s)(guest mortal: crashed.*){%d}" % (n + 1))
    guest = m.wait_for("/v1/guests/mortal", lambda g: g["why"].endswith("; not started again after 3 lives of less than 10 seconds"), "it is not given up")
    assert guest["state"] == "crashed" and guest["restarts"] == restarts + 2 and guest["configuration"]["restart_limit"] == 2
    assert (guest["short_lives"], guest["next_start_tsc"]) == (3, None)
    # A guest that waits for input may be seen in its timer's handler now and then, but is not stuck there.
    assert "guest watched: spins" not in m.serial()
    assert act(m, "mortal", "start")[0] == 202
    m.wait_state("mortal", "running")
