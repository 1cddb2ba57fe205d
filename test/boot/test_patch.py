"""PATCH of control bits of running guests: what it changes, and what is refused for which reason."""
import json

import pytest

CONFIG = {"guests": [{"name": "control", "image": "guests/control.elf", "memory": "4M", "core": 1},
                     {"name": "echo", "image": "guests/echo.elf", "memory": "4M", "core": 0},
                     {"name": "bare", "image": "guests/control.elf", "memory": "4M", "core": 2, "exit_profile": "least"},
                     {"name": "all", "image": "guests/control.elf", "memory": "4M", "core": 0, "exit_profile": "most"}]}


@pytest.fixture(scope="module")
def m(start):
    return start(CONFIG, cpus=3)


def patch(m, guest, body):
    status, _, answer = m.request("PATCH", f"/v1/guests/{guest}/vcpus/0/vmcs", body if isinstance(body, str) else json.dumps(body))
    return status, json.loads(answer)


def exits(m, guest, reason):
    return m.guest(guest)["vcpus"][0]["exits"].get(reason, 0)


def bits(m, guest, field):
    dump = m.get(f"/v1/guests/{guest}/vcpus/0/vmcs?decode=1&fields={field}")
    return {b["name"]: b for b in dump["fields"][0]["bits"]}


def next_report(m, after=None):
    return m.wait_serial(r"\[control\] control: second \d+, periods \d+, missed (\d+),", after=len(m.serial()) if after is None else after)


def test_hlt_exiting(m):
    """Without HLT exiting there are no more HLT exits, and the guest lives on."""
    assert patch(m, "control", {"fields": {"primary_controls": {"hlt_exiting": False}}}) == (
        200, {"guest": "control", "changed": {"primary_controls": {"HLT_EXITING": False}}})
    before = exits(m, "control", "HLT")
    report = next_report(m, next_report(m).end())
    assert report.group(1) == "0"
    assert exits(m, "control", "HLT") == before > 0
    hlt = bits(m, "control", "PRIMARY_PROCESSOR_CONTROLS")["HLT_EXITING"]
    assert hlt["value"] == "0x0" and hlt["wanted"] is True and hlt["forced"] is None
    assert patch(m, "control", {"fields": {"PRIMARY_PROCESSOR_CONTROLS": {"HLT_EXITING": True}}})[0] == 200
    next_report(m)
    assert exits(m, "control", "HLT") > before


def test_profiles(m):
    assert patch(m, "echo", {"exit_profile": "most"})[0] == 200
    m.type("echo", "help\r")
    m.wait_for("/v1/guests/echo/console?format=json", lambda c: "triple" in c["text"].split("help")[-1], "echo does not answer with every exit on")
    assert bits(m, "echo", "PRIMARY_PROCESSOR_CONTROLS")["RDTSC_EXITING"]["value"] == "0x1"
    assert patch(m, "control", {"exit_profile": "most"})[0] == 200
    next_report(m, next_report(m).end())
    assert exits(m, "control", "RDTSC") > 500
    assert patch(m, "control", {"exit_profile": "least"})[0] == 200
    rdtsc, hlt = exits(m, "control", "RDTSC"), exits(m, "control", "HLT")
    next_report(m, next_report(m).end())
    assert (exits(m, "control", "RDTSC"), exits(m, "control", "HLT")) == (rdtsc, hlt)
    assert patch(m, "control", {"exit_profile": "default"})[0] == 200
    next_report(m)
    assert exits(m, "control", "HLT") > hlt and exits(m, "control", "RDTSC") == rdtsc
    check = m.get("/v1/guests/control/vcpus/0/vmcs/check")
    assert check["enters"] is True


def test_configured_profiles(m):
    m.wait_serial(r"\[bare\] control: second \d+,")
    m.wait_serial(r"\[all\] control: second \d+,")
    assert exits(m, "bare", "HLT") == 0 == exits(m, "bare", "RDTSC") and exits(m, "bare", "IO_INSTRUCTION") > 100
    assert exits(m, "all", "RDTSC") > 500 and exits(m, "all", "HLT") > 500
    assert [m.guest(g)["configuration"]["exit_profile"] for g in ("echo", "bare", "all")] == ["default", "least", "most"]
    assert bits(m, "bare", "PRIMARY_PROCESSOR_CONTROLS")["HLT_EXITING"]["wanted"] is False


@pytest.mark.parametrize("word, bit, value, reason", [
    ("pin_controls", "activate_vmx_preemption_timer", False, "slice"),
    ("pin_controls", "external_interrupt_exiting", False, "interrupts"),
    ("primary_controls", "use_io_bitmaps", False, "ports"),
    ("primary_controls", "use_msr_bitmaps", False, "bitmap"),
    ("primary_controls", "activate_secondary_controls", False, "EPT"),
    ("primary_controls", "use_tpr_shadow", True, "TPR"),
    ("secondary_controls", "enable_ept", False, "memory"),
    ("secondary_controls", "wbinvd_exiting", False, "caches"),
    ("secondary_controls", "vmcs_shadowing", True, "structure"),
    ("exit_controls", "host_address_space_size", False, "kept apart"),
    ("entry_controls", "ia_32e_mode_guest", False, "kept apart"),
])
def test_isolation_stays(m, word, bit, value, reason):
    before = m.get("/v1/guests/control/vcpus/0/vmcs?group=control&decode=0")["fields"]
    status, answer = patch(m, "control", {"fields": {word: {bit: value}, "primary_controls": {"pause_exiting": True}} if word != "primary_controls"
                                          else {word: {bit: value, "pause_exiting": True}}})
    assert status == 409 and reason in answer["error"]["message"], answer
    # All or nothing.
    after = m.get("/v1/guests/control/vcpus/0/vmcs?group=control&decode=0")["fields"]
    volatile = {"VMX_PREEMPTION_TIMER_VALUE", "VM_ENTRY_INTERRUPTION_INFO", "PRIMARY_PROCESSOR_CONTROLS"}
    assert [f for f in before if f["name"] not in volatile] == [f for f in after if f["name"] not in volatile]
    assert bits(m, "control", "PRIMARY_PROCESSOR_CONTROLS")["PAUSE_EXITING"]["value"] == "0x0"


@pytest.mark.parametrize("body, place", [
    ("", "1:1"), ("[]", "1:1"), ("{", "1:"), ('{"field": {}}', "1:3"), ('{"fields": 3}', "1:12"), ('{"fields": {"GUEST_RIP": {}}}', "1:14"),
    ('{"fields": {"primary_controls": 7}}', "1:33"), ('{"fields": {"primary_controls": {"fly": true}}}', "1:35"),
    ('{"fields":\n {"primary_controls": {"hlt_exiting": 1}}}', "2:39"), ('{"exit_profile": "some"}', "1:19"),
])
def test_malformed(m, body, place):
    status, answer = patch(m, "control", body)
    assert status == 400 and answer["error"]["message"].startswith(place), answer


def test_not_running(m):
    assert m.request("POST", "/v1/guests/echo/actions", '{"action": "stop"}')[0] == 202
    m.wait_state("echo", "stopped")
    assert patch(m, "echo", {"exit_profile": "most"})[0] == 409
