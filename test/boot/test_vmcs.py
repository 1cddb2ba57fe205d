"""The VMCS instrument over HTTP: dumps and their contents, kept snapshots, differences, the flight recorder."""
import json

import pytest

import machine

VMCS = "/v1/guests/hog/vcpus/0/vmcs"


@pytest.fixture(scope="module")
def m(start):
    return start(cpus=2)


def fields(dump):
    return {f["name"]: f for f in dump["fields"]}


def test_decoded_controls(m):
    pin = fields(m.get(VMCS + "?decode=1&fields=PIN_BASED_CONTROLS"))["PIN_BASED_CONTROLS"]
    bits = {b["name"]: b for b in pin["bits"] if b["name"] != "RESERVED"}
    timer = bits["ACTIVATE_VMX_PREEMPTION_TIMER"]
    assert timer["value"] == "0x1" and timer["wanted"] is True and "exits at 0" in timer["meaning"]
    # The sum of the parts is the value.
    assert sum(int(b["value"], 16) << int(b["bits"].split(":")[-1]) for b in pin["bits"]) == int(pin["value"], 16)
    # Bochs 2.7 has no posted interrupts. 3.0 has them: there the bit is neither wanted nor forced.
    posted = bits["PROCESS_POSTED_INTERRUPTS"]
    forced = (0, "IA32_VMX_TRUE_PINBASED_CTLS") if machine.bochs_version() < (3, 0) else (None, None)
    assert posted["value"] == "0x0" and posted["wanted"] is False and (posted["forced"], posted.get("forced_by")) == forced
    primary = fields(m.get(VMCS + "?decode=1&fields=PRIMARY_PROCESSOR_CONTROLS"))["PRIMARY_PROCESSOR_CONTROLS"]
    tertiary = next(b for b in primary["bits"] if b["name"] == "ACTIVATE_TERTIARY_CONTROLS")  # in no version
    assert tertiary["wanted"] is False and (tertiary["forced"], tertiary["forced_by"]) == (0, "IA32_VMX_TRUE_PROCBASED_CTLS")


def test_choice_of_fields(m):
    everything = fields(m.get(VMCS))
    assert len(everything) >= 190
    some = fields(m.get(VMCS + "?fields=GUEST_RIP,0x4002"))
    assert list(some) == ["PRIMARY_PROCESSOR_CONTROLS", "GUEST_RIP"]
    groups = {g: fields(m.get(f"{VMCS}?group={g}")) for g in ("control", "read-only", "guest", "host")}
    assert sum(map(len, groups.values())) == len(everything)
    # Groups follow a field's meaning: these are encoded in other groups.
    assert "VMCS_LINK_POINTER" in groups["control"] and "TSC_OFFSET" in groups["guest"]
    odd = fields(m.get(VMCS + "?oddities=1"))
    assert 10 < len(odd) < 60 and all(f["oddity"] for f in odd.values())
    # Bits whose 0 is an exit, among others whose 1 is.
    for name, bits in (("PIN_BASED", "bit 7,"), ("PRIMARY_PROCESSOR", "bits 25 and 28,"), ("SECONDARY_PROCESSOR", "bits 8, 14 and 18,"), ("TERTIARY_PROCESSOR", "bit 4,")):
        assert odd[name + "_CONTROLS"]["oddity"].startswith(bits) and "opposite sense" in odd[name + "_CONTROLS"]["oddity"]


@pytest.mark.parametrize("query, name", [("fields=GUEST_RAX", "fields"), ("fields=0x9999", "fields"), ("group=all", "group"), ("decode=yes", "decode"),
                                         ("oddities=2", "oddities"), ("format=xml", "format")])
def test_malformed(m, query, name):
    status, _, body = m.request("GET", f"{VMCS}?{query}")
    assert status == 400 and json.loads(body)["error"]["message"].startswith(name + ":")


def test_text(m):
    status, headers, body = m.request("GET", VMCS + "?format=text")
    assert status == 200 and headers["Content-Type"].startswith("text/plain")
    assert max(map(len, body.splitlines())) <= 100
    for section in ("control", "read-only", "guest", "host"):
        assert f"\n== {section} ==\n" in body
    assert "HLT exits" in body and "[not wanted, 0 by IA32_VMX_TRUE_PROCBASED_CTLS]" in body


def test_bitmaps(m):
    bitmaps = m.get(VMCS + "?decode=1")["bitmaps"]
    # Every port exits to the root; the names are a PC's.
    assert [(r["first"], r["last"]) for r in bitmaps["ports_that_exit"]] == [("0x0", "0xffff")]
    assert any("PIC" in n for n in bitmaps["ports_that_exit"][0]["names"])
    direct = [(int(r["first"], 16), int(r["last"], 16)) for r in bitmaps["msr_writes_without_exit"]]
    assert any(first <= 0xC0000100 <= last for first, last in direct)  # IA32_FS_BASE
    assert not any(first <= 0x1B <= last for first, last in direct)  # IA32_APIC_BASE


def test_snapshots_and_diff(m):
    launch = m.get(VMCS + "/snapshots")["snapshots"][0]
    assert launch["cause"] == "launch" and launch["exit"] is None
    kept = []
    for _ in range(2):
        status, _, body = m.request("POST", VMCS + "/snapshots")
        assert status == 201
        kept.append(json.loads(body))
    first, second = (k["sequence"] for k in kept)
    assert launch["sequence"] < first < second and kept[0]["exit"]["reason"]
    again = m.get(f"{VMCS}/snapshots/{first}")
    assert again == kept[0]
    diff = {f["name"]: f for f in m.get(f"{VMCS}/diff?from={first}&to={second}")["fields"]}
    a, b = fields(kept[0]), fields(kept[1])
    assert set(diff) == {n for n in a if a[n]["value"] != b[n]["value"]}
    assert all(diff[n]["from"] == a[n]["value"] and diff[n]["to"] == b[n]["value"] for n in diff)
    # Since its launch the guest has run, but its set-up has not changed.
    assert "GUEST_RIP" in {f["name"] for f in m.get(f"{VMCS}/diff?from={launch['sequence']}&to={first}")["fields"]}
    assert m.get(f"{VMCS}/diff?from={launch['sequence']}&to={first}&volatile=0")["fields"] == []
    now = m.get(f"{VMCS}/diff?from={first}")
    assert now["to"] > second and now["ticks_between"] > 0 and "IDT_VECTORING_INFO" not in {f["name"] for f in m.get(f"{VMCS}/diff?from={first}&volatile=0")["fields"]}
    # The ring has eight places; the launch has one of its own.
    for _ in range(8):
        assert m.request("POST", VMCS + "/snapshots")[0] == 201
    left = [s["sequence"] for s in m.get(VMCS + "/snapshots")["snapshots"]]
    assert launch["sequence"] in left and first not in left
    assert m.request("GET", f"{VMCS}/snapshots/{first}")[0] == 404


def test_flight_recorder(m):
    exits = m.get("/v1/guests/control/vcpus/0/exits")
    numbers = [e["sequence"] for e in exits["exits"]]
    assert 250 <= len(numbers) <= 256 and numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert all(a["tsc"] < b["tsc"] for a, b in zip(exits["exits"], exits["exits"][1:]))
    assert {"HLT", "IO_INSTRUCTION"} <= {e["reason"] for e in exits["exits"]}
    # It prints reports and ends its interrupts, so its exits are for the UART and the PIC.
    assert "0x20" in {p["port"] for p in exits["top"]["ports"]}
    assert sum(p["exits"] for p in exits["top"]["ports"]) <= sum(e["reason"] == "IO_INSTRUCTION" for e in exits["exits"])
    assert all(0 < e["root_ticks"] < 10**6 for e in exits["exits"] if e["reason"] == "IO_INSTRUCTION")


def test_after_death(m):
    m.type("echo", "triple\r")
    m.wait_for("/v1/guests/echo", lambda g: g["restarts"] == 1, "echo did not start anew")
    snapshots = m.get("/v1/guests/echo/vcpus/0/vmcs/snapshots")["snapshots"]
    death = [s for s in snapshots if s["cause"] == "death"]
    assert len(death) == 1 and death[0]["exit"]["reason"] == "TRIPLE_FAULT" and death[0]["exit"]["outcome"] == "stop"
    dump = m.get(f"/v1/guests/echo/vcpus/0/vmcs/snapshots/{death[0]['sequence']}")
    assert fields(dump)["GUEST_RIP"]["value"] == "0x%016x" % int(death[0]["exit"]["rip"], 16)


def test_entry_check(m):
    """All rules of a VM entry hold for running guests: otherwise a rule is wrong."""
    for guest in ("hog", "control", "echo", "mgmt"):
        check = m.get(f"/v1/guests/{guest}/vcpus/0/vmcs/check")
        assert check["rules"] > 200 and check["enters"] is True and check["failures"] == [], (guest, check)


def test_capabilities(m):
    answer = m.get("/v1/vmx/capabilities?decode=1")
    assert [c["core"] for c in answer["cores"]] == [0, 1]
    assert all(c["vmx"] and c["differences_from_core_0"] == 0 and not any(x["differs"] for x in c["msrs"]) for c in answer["cores"])
    msrs = {x["name"]: x for x in answer["cores"][0]["msrs"]}
    basic = {b["name"]: int(b["value"], 16) for b in msrs["IA32_VMX_BASIC"]["bits"]}
    assert basic["REVISION"] == int(answer["vmcs_revision"], 16) and basic["REGION_SIZE"] <= 4096
    bits = {b["name"]: b["meaning"] for b in msrs["IA32_VMX_PROCBASED_CTLS2"]["bits"]}
    assert bits["UNRESTRICTED_GUEST"] == "may be 0 or 1"
    status, _, text = m.request("GET", "/v1/vmx/capabilities?format=text")
    assert status == 200 and "IA32_VMX_TRUE_PROCBASED_CTLS" in text and max(map(len, text.splitlines())) <= 100
    status, _, body = m.request("GET", "/v1/vmx/capabilities?decode=no")
    assert status == 400 and json.loads(body)["error"]["message"].startswith("decode:")
