"""Neighbours that want more than their slices, and a management guest that was taken over: who has a guarantee keeps it, to the tick."""
import re

import pytest

import hostile

# Ticks after its end that a slice may be over: 2000 are 100 us, and the aim on one core, too. There 1882 to 2523 were seen, as the build goes.
LATE = {1: 3000, 4: 2000}


@pytest.mark.parametrize("cpus", LATE)
def test_guarantees_hold(start, cpus):
    m = start(hostile.config(cpus), cpus=cpus, wait=False, mgmt="guests/usurper.elf")
    found = hostile.rounds(m)
    assert all(periods == hostile.PERIODS for periods, *_ in found.values()), found
    assert {name: missed for name, (_, missed, *_) in found.items()} == dict.fromkeys(hostile.ROUNDS, 0), found
    assert max(own for _, _, own, _ in found.values()) <= LATE[cpus], found
    assert found["all"][3] <= LATE[cpus], found  # the worst on its core, of all rounds and of the starts before them
    m.wait_serial(r"usurper: done")
    calls, done, wrong, seen = map(int, re.search(r"usurper: calls made (\d+), done (\d+), wrong (\d+), seen (\d+)\n", m.serial()).groups())
    assert 30000 <= calls <= seen and 1000 < done < calls and wrong == 0, (calls, done, wrong, seen)
    assert "usurper: the last guest runs\n" in m.serial() and "isolation: canary lives" in m.serial()
    assert not re.search(r"PANIC|isolation audit failed|is not mine|guest mgmt: (crashed|stopped)", m.serial())
    assert len(re.findall(r"core 0: Bulkhead \d", m.serial())) == 1
