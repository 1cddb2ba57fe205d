"""Neighbours that want more than their slices, and a compromised management guest: a guest with a guarantee keeps it, to the tick."""
import re

import pytest

import hostile

LATE = 2000  # ticks by which a slice of the guest with the guarantee may overrun its end: 100 us
LATE_CORE = 2400  # the same for all slices of its core: 1837 was seen mostly, 2114 once, which is not traced yet
LATE_MAKING = 3200  # while guests are also made and deleted all the time: 2064 to 2280 were seen, and 2930 once since memory has nodes, which is not traced yet


@pytest.mark.parametrize("cpus", [1, 4])
def test_guarantees_hold(start, cpus):
    m = start(hostile.config(cpus), cpus=cpus, wait=False, mgmt="guests/usurper.elf")
    found = hostile.rounds(m)
    assert all(periods == hostile.PERIODS for periods, *_ in found.values()), found
    assert {name: missed for name, (_, missed, *_) in found.items()} == dict.fromkeys(hostile.ROUNDS, 0), found
    assert max(own for _, _, own, _ in found.values()) <= LATE, found
    assert found["all"][3] <= LATE_CORE, found  # the worst on its core, over all rounds so far and the starts before them
    assert found["anything"][3] <= LATE_MAKING, found
    m.wait_serial(r"usurper: done")
    calls, done, wrong, seen = map(int, re.search(r"usurper: calls made (\d+), done (\d+), wrong (\d+), seen (\d+)\n", m.serial()).groups())
    assert 30000 <= calls <= seen and 1000 < done < calls and wrong == 0, (calls, done, wrong, seen)
    assert "usurper: the last guest runs\n" in m.serial() and "isolation: canary lives" in m.serial()
    assert not re.search(r"PANIC|isolation audit failed|is not mine|guest mgmt: (crashed|stopped)", m.serial())
    assert len(re.findall(r"core 0: Bulkhead \d", m.serial())) == 1
