"""Machines of today, which lack what a PC used to have, in QEMU without VMX: the kernel refuses them in the end, after it has found clocks, consoles and tables."""
import re

import pytest

ICOUNT = ["-icount", "shift=0,sleep=off", "-rtc", "clock=vm"]  # the TSC counts 1 GHz of the machine's own time
LEGACY_FREE = "q35,pit=off,pic=off,hpet=off,i8042=off"


def boot(start_qemu, *more, **kw):
    """The log, up to the refusal. What was found is in it."""
    m = start_qemu(more=more, **kw)
    m.wait_serial(r"Bulkhead cannot run on this machine")
    m.wait_serial(r"halted")
    assert "PANIC" not in m.serial()
    return m.serial()


def tsc_khz(log):
    """What measured it, and what was taken."""
    text, taken = re.search(r"TSC in kHz by (.*); using the (.*?)'s", log).groups()
    return {name: int(khz) for name, khz in re.findall(r"([A-Z][\w ]*?) (\d+)(?:, |$)", text)}, taken


@pytest.mark.parametrize("machine,names", [("q35", ["PIT", "PM timer", "HPET"]), ("q35,pit=off", ["PM timer", "HPET"]), (LEGACY_FREE, ["PM timer"])])
def test_clocks(start_qemu, machine, names):
    """Each clock that a machine has measures the same; those that it lacks, whatever its tables say, hold nothing up."""
    log = boot(start_qemu, "-M", machine, *ICOUNT)
    khz, taken = tsc_khz(log)
    assert list(khz) == names and taken in names
    assert all(abs(n - 1000000) < 1000 for n in khz.values()), khz
    assert ("which nothing confirms" in log) == (len(names) == 1)


def test_only_the_rtc(start_qemu):
    """A second of the RTC is measured if nothing better counts. (Without -icount, so the figure is the host's affair.)"""
    khz, taken = tsc_khz(boot(start_qemu, "-M", "pc,acpi=off,pit=off,hpet=off"))
    assert list(khz) == [taken] == ["RTC"] and khz["RTC"] > 1000
