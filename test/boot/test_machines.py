"""Machines of today, which lack what a PC used to have, in QEMU without VMX: the kernel refuses them in the end, after it has found clocks, consoles and tables."""
import re
import struct
import time

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


def spcr(port):
    """What follows the header of a Serial Port Console Redirection Table that names a 16550 at an I/O port."""
    return struct.pack("<B3x BBBBQ 28x", 0, 1, 8, 0, 1, port)


def test_console_of_the_firmware(start_qemu, tmp_path):
    """ACPI's SPCR names the console: here COM2, beside COM1."""
    table = tmp_path / "spcr"
    table.write_bytes(spcr(0x2f8))
    log = boot(start_qemu, "-M", "q35", "-serial", f"file:{tmp_path}/com1.txt", "-acpitable", f"sig=SPCR,data={table}", port="isa-serial,iobase=0x2f8,irq=3")
    assert "serial console: port 0x2f8 (SPCR)\n" in log
    assert "Bulkhead 0." not in (tmp_path / "com1.txt").read_text()


def test_console_on_pci(start_qemu):
    """Without COM1, a serial card on PCI is the console."""
    log = boot(start_qemu, "-M", LEGACY_FREE, port="pci-serial")
    assert re.search(r"serial console: port 0x[0-9a-f]+ \(PCI\)\n", log)


def test_no_serial_console(start_qemu):
    """COM2, which neither a table nor PCI tells of, is not used. The screen shows that the kernel got on."""
    m = start_qemu(more=("-M", LEGACY_FREE), port="isa-serial,iobase=0x2f8,irq=3")
    for _ in range(600):
        if "Bulkhead cannot run on this machine" in m.screen_text():
            break
        time.sleep(0.1)
    assert "no serial console" in m.screen_text()
    assert "core 0" not in m.serial()  # GRUB calls the first port it finds COM1
