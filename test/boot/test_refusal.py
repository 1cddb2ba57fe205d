"""A machine without VMX and without nested paging (QEMU's default CPU) gets a clear message, not a fault. The same ISO boots by BIOS and by UEFI."""
import pytest


@pytest.mark.parametrize("uefi", [False, True], ids=["bios", "uefi"])
def test_refused(start_qemu, uefi):
    m = start_qemu(uefi=uefi, cpus=2)
    m.wait_serial(r"Bulkhead 0\.\d")
    m.wait_serial(r"warning: CPU 0: no nested paging .*")
    m.wait_serial(r"-cpu EPYC")
    m.wait_serial(r"Bulkhead cannot run on this machine")
    m.wait_serial(r"halted")
    assert "PANIC" not in m.serial()
    # The same on the screen: text mode with a BIOS, GRUB's framebuffer with UEFI. The log fills some lines from the top; the rest is blank.
    for _ in range(50):  # the emulator draws it when it likes
        rows = m.screen_rows()
        lines = [sum(rows[y:y + 16]) for y in range(0, len(rows) - 15, 16)]
        text = [n for n in lines if n > 20]  # not the cursor
        filled = 7 <= len(text) <= 22 and min(lines[:len(text)]) > 20
        if filled:
            break
    assert len(lines) >= 25 and filled, lines
    assert max(text) < 16 * 800 // 2, lines
