"""Timer ticks of guests that do not always have their core: made up for, or merged (`timer_ticks`). And S5 stops a guest."""
import re

import pytest

# A fifth of the core by a budget, and a share of it beside busy guests; each with its ticks made up for and merged. A guest that sleeps between ticks gets its core for each:
# on another core, because it ends the others' turns each millisecond, and they miss few ticks.
LESS = {"budget_us": 2000, "period_us": 10000}
CASES = {"fifth": (0, "busy", LESS), "half": (1, "busy", {}), "sleeper": (2, "asleep", {})}
POLICIES = ["catch-up", "merge"]


@pytest.fixture(scope="module")
def m(start):
    guests = [{"name": f"{case}-{policy}", "image": "guests/ticks.elf", "memory": "2M", "core": core, "cmdline": how, "timer_ticks": policy, **more}
              for case, (core, how, more) in CASES.items() for policy in POLICIES]
    # First, so that they are there before the others count.
    hogs = [{"name": f"hog-{core}", "image": "guests/hog.elf", "memory": "2M", "core": core} for core in (1, 2)]
    return start({"guests": hogs + guests}, cpus=4)


@pytest.mark.parametrize("case", CASES)
def test_ticks(m, case):
    counted = {}
    for policy in POLICIES:
        found = m.wait_serial(rf"\[{case}-{policy}\] ticks: \w+, (\d+) of (\d+)", limit=600)
        counted[policy], wanted = int(found[1]), int(found[2])
    # At either end some ticks of a turn are owed.
    assert wanted - 20 <= counted["catch-up"] <= wanted + 20, counted
    if case == "sleeper":
        assert max(counted.values()) - min(counted.values()) <= 2, counted
    else:
        assert counted["merge"] < wanted * 0.8, counted


def test_s5_stops_a_guest(m):
    guest = m.wait_state("fifth-merge", "stopped")
    assert guest["why"] == "the guest powered itself off (ACPI S5, port 0x604)" and guest["exit_code"] == 0
