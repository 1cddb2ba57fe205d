"""A machine without VMX gets a clear message, not a fault. The same ISO starts by BIOS and by UEFI."""
import pytest


@pytest.mark.parametrize("uefi", [False, True], ids=["bios", "uefi"])
def test_no_vmx(start_qemu, uefi):
    m = start_qemu(uefi=uefi, cpus=2)
    m.wait_serial(r"Bulkhead 0\.\d")
    m.wait_serial(r"warning: CPU 0: no VMX")
    m.wait_serial(r"Bulkhead cannot run on this machine")
    m.wait_serial(r"halted")
    assert "PANIC" not in m.serial()
