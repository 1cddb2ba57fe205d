"""Neighbours that want more than their slices, and a management guest that was taken over: who has a guarantee keeps it, to the tick."""
import pytest

import hostile

LATE = 2000  # ticks after its end that any slice may be over: 100 us


@pytest.mark.parametrize("cpus", [1, 4])
def test_guarantees_hold(start, cpus):
    m = start(hostile.config(cpus), cpus=cpus, wait=False, mgmt="guests/usurper.elf")
    found = hostile.rounds(m)
    assert all(periods == hostile.PERIODS for periods, *_ in found.values()), found
    assert {name: missed for name, (_, missed, *_) in found.items()} == dict.fromkeys(hostile.ROUNDS, 0), found
    assert found["all"][3] <= LATE, found  # the worst of all rounds before it, and of the starts
    assert "PANIC" not in m.serial()
