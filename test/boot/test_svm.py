"""AMD-V in Bochs: exits, control registers, interrupts and string I/O on a CPU that reports the next RIP, and on one that does not. Most other tests of SVM run in QEMU."""
import pytest


@pytest.mark.parametrize("model", ["ryzen", "phenom_8650_toliman"])
def test_guests_of_ours(start, model):
    # Without RDRAND the API is closed: the guests' words are on the serial line.
    m = start({"guests": [
        {"name": "apic", "image": "guests/apic.elf", "memory": "2M", "core": 1},
        {"name": "most", "image": "guests/apic.elf", "memory": "2M", "core": 1, "exit_profile": "most"},
        {"name": "cr", "image": "guests/cr.elf", "memory": "4M", "core": 0},
        {"name": "strings", "image": "guests/strings.elf", "memory": "4M", "core": 0},
        {"name": "tasks", "image": "guests/tasks.elf", "memory": "8M", "core": 1},
        {"name": "virtualization", "image": "guests/isolation.elf", "memory": "4M", "core": 0, "cmdline": "virtualization"},
    ], "management": {"core": 0}}, cpus=2, model=model, wait=False)
    m.wait_serial(r"core 0: in SVM host mode")
    m.wait_serial(r"core 1: in SVM host mode")
    for name, last in (("virtualization", r"isolation: virtualization done, (\d+) wrong"), ("apic", r"apic: \d+ right, (\d+) wrong"), ("most", r"apic: \d+ right, (\d+) wrong"), ("cr", r"cr: \d+ right, (\d+) wrong"), ("strings", r"strings: \d+ trials, (\d+) wrong")):
        assert m.wait_serial(rf"\[{name}\] {last}", limit=600)[1] == "0", m.serial()[-2000:]
    assert m.wait_serial(r"\[tasks\] tasks: (all right|some are wrong)", limit=600)[1] == "all right", m.serial()[-2000:]
    assert "PANIC" not in m.serial() and "crashed" not in m.serial()
