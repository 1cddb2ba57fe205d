"""Interrupts and exceptions arrive in guests as on a real CPU: on a core shared with management, next to a busy neighbour, and alone with every exit
enabled. The same for local APICs and the IOAPIC."""
import pytest


@pytest.fixture(scope="module", params=["corei7_skylake_x", "corei7_icelake_u"])
def m(start, request):
    machine = start({"guests": [
        {"name": "shared", "image": "guests/events.elf", "memory": "2M", "core": 0},
        {"name": "beside", "image": "guests/events.elf", "memory": "2M", "core": 1, "slice_us": 100},
        {"name": "hog", "image": "guests/hog.elf", "memory": "2M", "core": 1, "slice_us": 100},
        {"name": "alone", "image": "guests/events.elf", "memory": "2M", "core": 2, "exit_profile": "most"},
        {"name": "tasks", "image": "guests/tasks.elf", "memory": "8M", "core": 2},
        {"name": "apic-shared", "image": "guests/apic.elf", "memory": "2M", "core": 0},
        {"name": "apic-beside", "image": "guests/apic.elf", "memory": "2M", "core": 1, "slice_us": 100},
        {"name": "apic-most", "image": "guests/apic.elf", "memory": "2M", "core": 2, "exit_profile": "most"},
    ], "management": {"core": 0}}, cpus=3, model=request.param)
    yield machine
    machine.stop()


@pytest.mark.parametrize("name", ["shared", "beside", "alone"])
def test_events(m, name):
    guest = m.wait_for(f"/v1/guests/{name}", lambda g: g["state"] != "running", f"{name} hangs")
    text = m.request("GET", f"/v1/guests/{name}/console")[2]
    assert guest["state"] == "stopped" and guest["exit_code"] == 0 and "WRONG" not in text, (guest["why"], text)
    assert "debug exceptions done" in text and ", 0 wrong" in text
    assert m.guest("hog")["state"] == "running"


def test_hardware_task_switches(m):
    """And PAE, in 32-bit protected mode."""
    guest = m.wait_for("/v1/guests/tasks", lambda g: g["state"] != "running", "tasks hangs")
    text = m.request("GET", "/v1/guests/tasks/console")[2]
    assert guest["state"] == "stopped" and guest["exit_code"] == 0 and "tasks: all right" in text, (guest["why"], text)
    assert guest["vcpus"][0]["exits"]["TASK_SWITCH"] > 50


@pytest.mark.parametrize("name", ["apic-shared", "apic-beside", "apic-most"])
def test_apic(m, name):
    guest = m.wait_for(f"/v1/guests/{name}", lambda g: g["state"] != "running", f"{name} hangs")
    text = m.request("GET", f"/v1/guests/{name}/console")[2]
    assert guest["state"] == "stopped" and guest["exit_code"] == 0 and "WRONG" not in text, (guest["why"], text)
    assert "x2APIC done" in text and ", 0 wrong" in text
