"""Neighbours that want more than their slices, and a compromised management guest: a guest with a guarantee keeps it, to the tick."""
import re

import pytest

import hostile

LATE = 2000  # ticks by which a slice of the guest with the guarantee may overrun its end: 100 us
LATE_CORE = 2800  # the same for all slices of its core: what a long step exceeds the last 400 by, the way out, and a wait for another core's lock. 1772 was seen
WRONG = "PANIC|isolation audit failed|is not mine"


@pytest.mark.parametrize("cpus", [1, 4])
def test_guarantees_hold(start, cpus):
    m = start(hostile.config(cpus), cpus=cpus, wait=False, mgmt="guests/usurper.elf")
    found = hostile.rounds(m)
    assert all(periods == hostile.PERIODS for periods, *_ in found.values()), found
    assert {name: missed for name, (_, missed, *_) in found.items()} == dict.fromkeys(hostile.ROUNDS, 0), found
    assert max(own for _, _, own, _ in found.values()) <= LATE, found
    assert found["anything"][3] <= LATE_CORE, found  # the worst on its core, over all rounds and the starts before them; guests are also made and deleted in the last
    assert_unharmed(m)


def assert_unharmed(m, dead="guest mgmt: (crashed|stopped)"):
    """The usurper came to its end, and only to its own calls' ends. `dead` is what may not be said of it."""
    m.wait_serial(r"usurper: done", limit=hostile.LIMIT)
    calls, done, wrong, seen = map(int, re.search(r"usurper: calls made (\d+), done (\d+), wrong (\d+), seen (\d+)\n", m.serial()).groups())
    assert 30000 <= calls <= seen and 1000 < done < calls and wrong == 0, (calls, done, wrong, seen)
    assert "usurper: the last guest runs\n" in m.serial() and "isolation: canary lives" in m.serial()
    assert re.findall(f".*(?:{WRONG}|{dead}).*", m.serial()) == []
    assert len(re.findall(r"core 0: Bulkhead \d", m.serial())) == 1


def test_usurper_with_svm(start):
    """The same compromised management guest over the other backend; nothing can be said of lateness in QEMU, nor of a heartbeat: on a busy computer 2 s may not be enough for the
    next one, and the usurper is started again."""
    m = start(hostile.config(2), cpus=2, emulator="qemu", wait=False, mgmt="guests/usurper.elf")
    assert_unharmed(m, dead="guest mgmt: (stopped|crashed(?!: no heartbeat for ))")


def test_all_with_svm(start):
    """All neighbours at once, in QEMU, where nothing can be said of lateness: each goes on, and the one that ends is started again, beside a control loop, a
    guest that watches its memory, and the API."""
    m = start(hostile.config(2), cpus=2, emulator="qemu")
    ran = {name: m.guest(name)["vcpus"][0]["run_ticks"] for name in hostile.PESTS}
    for name, before in ran.items():
        m.wait_for(f"/v1/guests/{name}", lambda g, b=before: g["vcpus"][0]["run_ticks"] > b, f"{name} stands still")
    m.wait_for("/v1/guests/die", lambda g: g["restarts"] >= 3, "it is not started again")
    at = len(m.serial())
    for _ in range(3):
        at = m.wait_serial(r"\[control\] control: second \d+,", at).end()
    m.wait_serial(r"\[canary\] isolation: canary lives", at)
    assert all(m.guest(name)["state"] == "running" for name in hostile.PESTS if name != "die")
    assert not re.search(WRONG, m.serial())
