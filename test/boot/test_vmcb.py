"""The VMCB instrument on a machine with SVM (QEMU): the same resources as the VMCS instrument's, over a real VMCB."""
import json
import re

import pytest

CONFIG = {"guests": [{"name": "control", "image": "guests/control.elf", "memory": "4M", "core": 1}, {"name": "hog", "image": "guests/hog.elf", "memory": "4M", "core": 0},
                     {"name": "all", "image": "guests/control.elf", "memory": "4M", "core": 1, "exit_profile": "most"}]}
VMCB = "/v1/guests/hog/vcpus/0/vmcb"


@pytest.fixture(scope="module")
def m(start):
    m = start(CONFIG, cpus=2, emulator="qemu")
    m.wait_serial(r"\[hog\] hog: prime")
    m.wait_serial(r"\[control\] control: second \d+,")
    return m


def fields(dump):
    return {f["name"]: f for f in dump["fields"]}


def patch(m, guest, body):
    status, _, answer = m.request("PATCH", f"/v1/guests/{guest}/vcpus/0/vmcb", json.dumps(body))
    return status, json.loads(answer)


def exits(m, guest, reason):
    return m.guest(guest)["vcpus"][0]["exits"].get(reason, 0)


def test_state_of_a_running_guest(m):
    """A 64-bit guest that computes: what its registers must hold."""
    now = fields(m.get(VMCB + "?decode=1"))
    value = {name: int(f["value"], 16) for name, f in now.items() if f["value"] is not None}
    assert value["EFER"] & 0x1500 == 0x1500 and value["CR0"] & 0x80000001 == 0x80000001 and value["CPL"] == 0 and value["CS_ATTRIB"] == 0xa9b
    assert 0x100000 <= value["RIP"] < 0x400000 and value["NESTED_CTL"] == 1 and value["N_CR3"] % 4096 == 0 and value["GUEST_ASID"] > 0
    assert value["CR3"] < 0x400000 and now["RIP"]["offset"] == "0x578"
    # QEMU has nested paging and nothing else.
    assert now["NRIP"]["value"] is None and "EDX bit 3" in now["NRIP"]["reason"] and now["N_CR3"]["value"] is not None
    hlt = next(b for b in now["INTERCEPT_MISC1"]["bits"] if b["name"] == "HLT")
    assert (hlt["value"], hlt["wanted"], hlt["forced"], hlt["changeable"]) == ("0x1", True, None, False)
    assert all(f["oddity"] for f in fields(m.get(VMCB + "?oddities=1")).values())
    text = m.request("GET", VMCB + "?format=text&group=read-only")[2]
    assert "== read-only ==" in text and "0x070  EXITCODE" in text and "0x578  RIP" not in text


def test_snapshots_and_differences(m):
    status, headers, body = m.request("POST", VMCB + "/snapshots")
    kept = json.loads(body)["sequence"]
    assert status == 201 and headers["Location"] == f"{VMCB}/snapshots/{kept}"
    assert [s["cause"] for s in m.get(VMCB + "/snapshots")["snapshots"]][0] == "launch"
    changed = fields(m.get(f"{VMCB}/diff?from=1&to={kept}"))
    assert {"RIP", "CR0", "EFER", "CS_ATTRIB"} <= set(changed) and changed["CR0"]["from"].endswith("31")
    assert "RIP" not in fields(m.get(f"{VMCB}/diff?from=1&to={kept}&volatile=0"))


def test_check(m):
    for guest in ("hog", "control", "mgmt"):
        check = m.get(f"/v1/guests/{guest}/vcpus/0/vmcb/check")
        assert check["enters"] is True and check["rules"] > 20, check


def test_permission_maps(m):
    """As on VT-x: every port exits, and of the MSRs all but the guest's own."""
    bitmaps = m.get(VMCB + "?decode=1")["bitmaps"]
    assert [(r["first"], r["last"]) for r in bitmaps["ports_that_exit"]] == [("0x0", "0xffff")]
    own = [("0x174", "0x176"), ("0xc0000081", "0xc0000084"), ("0xc0000100", "0xc0000103")]
    for name in ("msr_reads_without_exit", "msr_writes_without_exit"):
        assert [(r["first"], r["last"]) for r in bitmaps[name]] == own and all(r["names"] for r in bitmaps[name])
    text = m.request("GET", VMCB + "?decode=1&format=text&fields=MSRPM_BASE_PA")[2]
    assert re.search(r"0xc0000081 to 0xc0000084\n +IA32_STAR", text), text
    assert "bitmaps" not in m.get(VMCB + "?decode=1&fields=RIP")


def test_exits(m):
    recorded = m.get("/v1/guests/control/vcpus/0/exits?n=200")
    assert {"IOIO", "HLT"} & {e["reason"] for e in recorded["exits"]} and all("exitinfo1" in e for e in recorded["exits"])
    ports = [int(e["exitinfo1"], 16) >> 16 for e in recorded["exits"] if e["reason"] == "IOIO"]
    assert not ports or int(recorded["top"]["ports"][0]["port"], 16) in ports
    assert {e["reason"] for e in m.get("/v1/guests/control/vcpus/0/exits?reason=hlt")["exits"]} <= {"HLT"}


def test_management_calls_by_its_vendors_instruction(m):
    """But for one call in each of its lives: the one that asks for the version of the control ABI."""
    assert exits(m, "mgmt", "VMMCALL") > 4 * exits(m, "mgmt", "EXCP6") > 0


def test_changes(m):
    """RDTSC exits when it is told to, and the guest, which reads it all the time, lives on."""
    assert exits(m, "control", "RDTSC") == 0
    assert patch(m, "control", {"fields": {"intercept_misc1": {"rdtsc": True}}}) == (200, {"guest": "control", "changed": {"intercept_misc1": {"RDTSC": True}}})
    m.wait_for("/v1/guests/control", lambda g: g["vcpus"][0]["exits"].get("RDTSC", 0) > 100, "RDTSC does not exit")
    assert patch(m, "control", {"exit_profile": "most"})[0] == 200
    assert m.get("/v1/guests/control/vcpus/0/vmcb?fields=RIP")["exit_profile"] == "most"
    assert patch(m, "control", {"exit_profile": "default"})[0] == 200
    before = exits(m, "control", "RDTSC")
    m.wait_serial(r"\[control\] control: second \d+,", after=len(m.serial()))
    assert exits(m, "control", "RDTSC") == before and m.guest("control")["state"] == "running"


def test_configured_profile(m):
    """What setup writes for a profile is what PATCH would make of it."""
    m.wait_for("/v1/guests/all", lambda g: g["vcpus"][0]["exits"].get("RDTSC", 0) > 100, "RDTSC does not exit")
    dump = m.get("/v1/guests/all/vcpus/0/vmcb?decode=1&fields=INTERCEPT_MISC1,INTERCEPT_CR,INTERCEPT_DR")
    assert dump["exit_profile"] == "most" and m.get(VMCB + "?fields=RIP")["exit_profile"] == "default"
    changeable = [b for f in dump["fields"] for b in f["bits"] if b.get("changeable")]
    assert len(changeable) == 37 and all(b["value"] == "0x1" and b["wanted"] for b in changeable)


@pytest.mark.parametrize("word, bit, value, reason", [
    ("intercept_misc1", "IOIO_PROT", False, "ports"), ("intercept_misc1", "MSR_PROT", False, "MSRs"), ("intercept_misc1", "INTR", False, "interrupts"),
    ("intercept_misc1", "HLT", False, "HLT"), ("intercept_misc2", "VMRUN", False, "SVM"), ("intercept_misc2", "MWAIT", False, "sleep"),
    ("intercept_exceptions", "PF", True, "handle"), ("intercept_cr", "CR0_WRITE", False, "registers"),
])
def test_isolation_stays(m, word, bit, value, reason):
    """All or nothing, and the reason."""
    before = {n: f["value"] for n, f in fields(m.get(VMCB + "?fields=INTERCEPT_CR,INTERCEPT_EXCEPTIONS,INTERCEPT_MISC2,MSRPM_BASE_PA")).items()}
    status, answer = patch(m, "hog", {"fields": {word: {bit: value}, "intercept_dr": {"DR0_READ": True}}})
    assert status == 409 and reason in answer["error"]["message"], answer
    after = {n: f["value"] for n, f in fields(m.get(VMCB + "?fields=INTERCEPT_CR,INTERCEPT_EXCEPTIONS,INTERCEPT_MISC2,MSRPM_BASE_PA")).items()}
    assert before == after and fields(m.get(VMCB + "?fields=INTERCEPT_DR"))["INTERCEPT_DR"]["value"] == "0x00000000"


def test_the_other_vendor(m):
    for path in ("/v1/guests/hog/vcpus/0/vmcs", "/v1/guests/hog/vcpus/0/vmcs/check", "/v1/vmx/layout", "/v1/vmx/capabilities"):
        status, _, body = m.request("GET", path)
        assert status == 501 and re.search(r"this machine has AMD-V: .* use (\.\.\./vmcb|/v1/)", body), body
    host = m.get("/v1/host")
    assert (host["virtualization"], host["vmcs_revision"]) == ("AMD-V", None)
    faults = {f["name"]: f["status"] for f in host["cpu_faults"]}
    assert (faults["erratum 383"], faults["Zenbleed, DIV"], faults["Retbleed, SRSO"]) == ("not-affected", "mitigated", "open"), faults  # Zen 1
    core = m.get("/v1/svm/capabilities?decode=1")["cores"][0]
    assert core["svm"] and core["asids"] > 1 and next(b for b in core["bits"] if b["name"] == "NP")["present"]
    assert m.get("/v1/compare")["rows"]


def test_a_guest_that_ended(m):
    assert m.request("POST", "/v1/guests/hog/actions", '{"action": "stop"}')[0] == 202
    m.wait_state("hog", "stopped")
    dump = m.get(VMCB)  # at once: the end may be known before its snapshot is taken
    assert dump["cause"] == "death" and fields(dump)["RIP"]["value"] is not None
    assert patch(m, "hog", {"exit_profile": "most"})[0] == 409
