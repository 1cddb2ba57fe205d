"""vmcsdump, the host command, on files typed here, on hostile ones, and on answers of the appliance, which it must decode as the appliance does."""
import json
import os
import re
import subprocess

import pytest

import third_party

BUILD = os.environ.get("BULKHEAD_BUILD", "build")
ONE = {"guests": [{"name": "echo", "image": "guests/echo.elf", "memory": "4M"}]}
VMCS = "/v1/guests/echo/vcpus/0/vmcs"
LAYOUT = {"revision": "0x2b", "fields": [{"encoding": "0x681e", "offset": 16, "size": 8, "stored": "verbatim"},
                                         {"encoding": "0x4816", "offset": 8, "size": 4, "stored": "transformed"}]}


def run(*args, stdin=b""):
    r = subprocess.run([f"{BUILD}/vmcsdump", *map(str, args)], input=stdin, capture_output=True, timeout=600)
    return r.returncode, r.stdout.decode(), r.stderr.decode()


def vmcs(*pairs, **more):
    return {"fields": [{"encoding": e, "value": v} for e, v in pairs], **more}


@pytest.fixture
def save(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else (content if isinstance(content, str) else json.dumps(content)).encode())
        return path

    return write


# ---- a VMCB ----

def test_a_page_of_vmcb(save):
    page = bytearray(4096)
    page[0x578:0x580] = (0xfff0).to_bytes(8, "little")
    page[0x00c:0x010] = (1 << 24).to_bytes(4, "little")
    page[0x4cb] = 3
    path = save("page", bytes(page))
    status, out, err = run("vmcb", path, "--fields", "RIP,0x00c,CPL")
    assert (status, err) == (0, "") and re.findall(r"^0x\w+  (\w+) +\w+ +(0x\w+)$", out, re.M) == [
        ("INTERCEPT_MISC1", "0x01000000"), ("CPL", "0x03"), ("RIP", "0x000000000000fff0")], out
    assert len(re.findall(r"^0x\w{3}  ", run("vmcb", path, "--no-decode")[1], re.M)) > 150
    assert run("vmcb", path, "--fields", "GUEST_RIP")[0] == 2 and run("vmcb", save("half", b"x" * 2048))[0] == 2


def test_saved_vmcbs(save):
    def file(name, *pairs):
        return save(name, {"fields": [{"offset": o, "value": v} for o, v in pairs]})

    good = file("good", ("0x010", "0x1"), ("0x058", "0x1"), ("0x4d0", "0x1000"), ("0x558", "0x10"))
    bad = file("bad", ("0x010", "0x1"), ("0x058", "0x0"), ("0x4d0", "0x1000"), ("0x558", "0x10"))
    assert run("check", good)[0] == 0
    status, out, _ = run("check", bad)
    assert status == 1 and "control.asid.zero" in out
    assert run("check", bad, good)[0] == 2  # capabilities are of VT-x
    status, out, _ = run("diff", good, bad)
    assert status == 1 and re.search(r"^0x058  GUEST_ASID +0x00000001 -> 0x00000000$", out, re.M)
    assert "SVME" in run("dump", good)[1] and run("dump", good, "--fields", "GUEST_RIP")[0] == 2
    maps = {"ports_that_exit": [{"first": "0x60", "last": "0x60"}], "msr_reads_without_exit": [], "msr_writes_without_exit": [{"first": "0xc0010015", "last": "0xc0010016"}]}
    out = run("dump", save("maps", {"fields": [{"offset": "0x048", "value": "0x1000"}], "bitmaps": maps}))[1]
    assert "msr_writes_without_exit:\n    0xc0010015 to 0xc0010016" in out and "ports_that_exit:\n    0x60\n" in out, out
    status, _, err = run("diff", good, save("vmcs", vmcs(("0x681e", "0x0"))))
    assert status == 2 and "is a VMCB" in err


# ---- usage ----

def test_help_and_version():
    status, out, err = run("--help")
    assert status == 0 and err == "" and max(map(len, out.splitlines())) <= 100
    assert all(f"vmcsdump {c} " in out for c in ("dump", "diff", "raw", "vmcb", "check", "field", "exit", "msr"))
    assert run("dump", "--help")[0] == 0
    assert re.fullmatch(r"vmcsdump \d+\.\d+\.\d+ \([0-9a-f]{16}\)\n" + third_party.TEXT, run("--version")[1])


@pytest.mark.parametrize("args, message", [
    ((), "a command is missing"), (("frob",), 'no command "frob"'), (("dump",), "an argument is missing"), (("dump", "a", "b"), '"b" is one argument too many'),
    (("dump", "--frob", "a"), "no option --frob"), (("dump", "a", "--group"), "--group needs a value"), (("diff", "a", "b", "--volatile=1"), "--volatile takes no value"),
    (("dump", "a", "--group", "all"), '--group: "all" must be control'), (("dump", "a", "--fields=GUEST_RIP,GUEST_RAX"), '--fields: "GUEST_RAX"'),
    (("msr", "0x480", "1", "--group", "guest"), "no option --group"), (("diff", "-", "-"), "only one file"), (("check", "a", "b", "--core", "x"), '--core: "x"'),
    (("field", "0x9999", "1"), '"0x9999" is neither'), (("field", "RIP", "1"), "there is 0x681e GUEST_RIP"), (("field", "0x0", "0x10000"), "at most 16 bits"),
    (("field", "GUEST_RIP", "12z"), '"12z" is not a number'), (("field", "GUEST_RIP", "0x"), '"0x" is not'), (("field", "GUEST_RIP", "-1"), "no option -1"),
    (("field", "GUEST_RIP", "18446744073709551616"), "at most 64 bits"), (("field", "EXIT_QUALIFICATION", "1"), "--exit"), (("field", "", "1"), '"" is neither'),
    (("exit", "apic"), "44 APIC_ACCESS"), (("exit", "UNDEFINED"), '"UNDEFINED" is neither'), (("exit", "0x100000000"), "neither"), (("msr", "0x10", "1"), "not a capability MSR"),
    (("dump", "/nonexistent/file"), "No such file"), (("dump", "/"), "directory")])
def test_wrong_usage(args, message):
    status, out, err = run(*args)
    assert status == 2 and out == "" and message in err, err


# ---- single values ----

def test_field():
    status, out, err = run("field", "0x4002", "0xb5a06dfa")
    assert status == 0 and err == "" and out.startswith("0x4002  PRIMARY_PROCESSOR_CONTROLS ") and max(map(len, out.splitlines())) <= 100
    # The sum of the parts is the value, and every bit is described.
    parts = re.findall(r"^ +(?:\d+:)?(\d+)  \S+ +0x([0-9a-f]+)\n {13}\S", out, re.M)
    assert sum(int(v, 16) << int(low) for low, v in parts) == 0xB5A06DFA and "HLT exits" in out and "INVLPG does not exit" in out
    assert run("field", "primary_processor_controls", str(0xB5A06DFA))[1] == out
    assert "just a number" in run("field", "GUEST_RIP", "0x1000")[1]
    assert "UART COM1" in run("field", "EXIT_QUALIFICATION", "0x3f80008", "--exit", "30")[1]


def test_exit():
    status, out, _ = run("exit", "48", "0x182")
    assert status == 0 and "EPT_VIOLATION" in out and "the access was a data write" in out
    assert run("exit", "ept_violation", "0x182") == (0, out, "")
    assert "EXIT_QUALIFICATION" not in run("exit", "48")[1] and "VM entry failed" in run("exit", "0x80000021")[1]


def test_msr():
    status, out, _ = run("msr", "0x48d", "0x7f00000016")
    assert status == 0 and "NMI_EXITING" in out and "may be 0 or 1" in out
    assert run("msr", "IA32_VMX_TRUE_PINBASED_CTLS", "0x7f00000016")[1] == out


# ---- files ----

def test_dump(save):
    a = save("a", vmcs(("0x681e", "0x1234"), ("0x4002", "0xb5a06dfa"), ("0x2032", None), guest="g", exit=None, note={"x": [1, {"y": "z"}]}))
    status, out, err = run("dump", a)
    assert status == 0 and err == "" and out.startswith("guest: g\nexit: null\nnote:\n  x:\n    - 1\n")
    assert re.findall(r"^(0x\w{4})  \w+ +\w+ +(\w+)$", out, re.M) == [("0x2032", "absent"), ("0x4002", "0xb5a06dfa"), ("0x681e", "0x0000000000001234")]
    assert "HLT_EXITING" in out and "wanted" not in out  # nothing is said about unknown state
    assert run("dump", "-", stdin=a.read_bytes()) == (0, out, "")
    assert "HLT_EXITING" not in run("dump", a, "--no-decode")[1]
    for args in (("--fields", "GUEST_RIP"), ("--fields=0x681e",), ("--group", "guest")):
        assert re.findall("^0x....  (\\w+)", run("dump", a, *args)[1], re.M) == ["GUEST_RIP"]


def test_provenance_of_some_bits(save):
    bits = [{"name": "HLT_EXITING", "wanted": False, "forced": 1}, {"name": "PAUSE_EXITING", "wanted": True, "forced": 0}, {"name": "MOV_DR_EXITING", "wanted": True, "forced": None}]
    a = save("a", {"fields": [{"encoding": "0x4002", "value": "0xb5a06dfa", "bits": bits}, {"encoding": "0x4000", "value": "0x1f"}]})
    out = run("dump", a)[1]
    said = dict(re.findall(r"^ +\d+  (\w+) +0x.  \[(.*)\]$", out, re.M))
    assert said == {"HLT_EXITING": "not wanted, 1 by IA32_VMX_TRUE_PROCBASED_CTLS", "PAUSE_EXITING": "wanted, 0 by IA32_VMX_TRUE_PROCBASED_CTLS", "MOV_DR_EXITING": "wanted"}


def test_diff(save):
    a = save("a", vmcs(("0x681e", "0x1000"), ("0x4002", "0x1"), ("0x2032", None), ("0x6800", "0x1"), sequence=3, tsc=100))
    b = save("b", vmcs(("0x681e", "0x1008"), ("0x4002", "0x3"), ("0x2032", "0x0"), ("0x6802", "0x1"), sequence=4, tsc=160))
    status, out, err = run("diff", a, b, "--volatile")
    assert status == 1 and out.startswith("from: 3\nto: 4\nticks_between: 60\n")
    assert re.findall(r"^(0x\w{4})  \S+ +(\S+) -> (\S+)$", out, re.M) == [("0x2032", "absent", "0x0000000000000000"), ("0x4002", "0x00000001", "0x00000003"),
                                                                          ("0x681e", "0x0000000000001000", "0x0000000000001008")]
    assert "GUEST_CR0 is in " in err and "GUEST_CR3 is in " in err
    status, out, _ = run("diff", a, b)
    assert status == 1 and re.findall("^0x....  (\\w+)", out, re.M) == ["TSC_MULTIPLIER"]
    assert run("diff", a, a, "--volatile")[0] == 0
    assert run("diff", a, "-", "--volatile", stdin=a.read_bytes())[0] == 0
    c = save("c", vmcs(("0x681e", "0x1000")))
    assert run("diff", a, c)[1].startswith(f"from: {a}\nto: {c}\n")


def test_raw(save):
    layout = save("layout", LAYOUT)
    region = bytearray(4096)
    region[:8], region[16:24] = b"\x2b\0\0\x80\x02\0\0\0", bytes.fromhex("efcdab8967452301")
    status, out, err = run("raw", save("page", bytes(region)), layout)
    assert status == 0 and err == "" and out.startswith("revision: 0x2b\nshadow: true\nvmx_abort: 0x2\nvmx_abort_meaning: ")
    assert re.search(r"^0x681e  GUEST_RIP +natural +0x0123456789abcdef$", out, re.M) and re.search(r"^0x4816  .* unreadable$", out, re.M)
    status, out, err = run("raw", save("short", bytes(region[:4095])), layout)
    assert (status, out) == (2, "") and "has 4095 bytes, not 4096" in err
    status, out, err = run("raw", save("other", bytes(4096)), layout)
    assert (status, out) == (2, "") and "has revision 0x0" in err and "revision 0x2b" in err


def test_check_without_capabilities(save):
    good = save("good", vmcs(("0x6820", "0x2")))
    assert run("check", good)[0] == 0
    status, out, _ = run("check", save("bad", vmcs(("0x6820", "0x28"))))
    assert status == 1 and "enters: false" in out and "guest.rflags" in out and "GUEST_RFLAGS" in out and "not given" in out


@pytest.mark.parametrize("text, place, message", [
    ("", "1:1", ""), ("{", "1:2", "ends too early"), ("[]", "1:1", "must be an object"), ('{"fields": 1}', "1:12", "must be an array"), ("{}", "1:1", '"fields" is missing'),
    ('{"error": {"message": "no such\\u001b guest"}}', "1:1", "no such"), ('{"fields": [\n  7]}', "2:3", "must be an object"), ('{"fields": [{}]}', "1:13", '"encoding" is missing'),
    ('{"fields": [\n {"encoding": "0x9999", "value": "0x0"}]}', "2:2", "no field of the VMCS is 0x9999"),
    ('{"fields": [{"encoding": "0x681e"}]}', "1:13", '"value" is missing'), ('{"fields": [{"encoding": "0x681e", "value": 5}]}', "1:45", "must be a string like"),
    ('{"fields": [{"encoding": "0x0", "value": "0x10000"}]}', "1:43", "more than 16 bits"), ('{"fields": [{"encoding": "0x0", "value": "0xg"}]}', "1:43", "not a hexadecimal"),
    ('{"fields": [{"encoding": "0x681e", "name": "GUEST_RSP", "value": "0x1"}]}', "1:45", "is GUEST_RIP, not GUEST_RSP"),
    ('{"fields": [{"encoding": "0x0", "value": "0x1"},{"encoding": "0x0", "value": "0x1"}]}', "1:49", "given twice"),
    ('{"fields": [{"encoding": "0x4002", "value": "0x1", "bits": [{"name": "HLT_EXITING", "wanted": 1}]}]}', "1:95", "must be true or false"),
    ('{"fields": [{"encoding": "0x4002", "value": "0x1", "bits": [{"name": "HLT_EXITING", "wanted": true, "forced": 2}]}]}', "1:111", "must be null, 0 or 1"),
    ('{"fields": [], "bitmaps": {"ports_that_exit": [{"first": "0x0", "last": "0x10000"}]}}', "1:48", "no range"),
    ('{"fields": [], "bitmaps": {"ports_that_exit": [], "msr_reads_without_exit": [{"first": "0x0", "last": "0xffffffff"}]}}', "1:78", "no range"),
    ('{"fields": [{"encoding": "0x681e", "value": "0x1"}], "fields": []}', "1:55", "given twice")])
def test_malformed_vmcs(save, text, place, message):
    bad = save("bad", text)
    status, out, err = run("dump", bad)
    assert (status, out) == (2, "") and "curl" in err and "\x1b" not in err
    assert err.startswith(f"{bad}:{place}: ") and message in err.splitlines()[0], err


def test_too_much(save):
    """More values than are read, nesting deeper than in any dump, and an endless file."""
    for content in (b"[" * 200000, b'{"a":' * 200000, b'{"fields": [' + b"0," * 200000 + b"0]}"):
        status, out, err = run("dump", save("bad", content))
        assert (status, out) == (2, "") and ": too many values" in err
    deep = save("deep", b'{"fields": [], "x": ' + b"[" * 12 + b'"\\u001b"' + b"]" * 12 + b"}")
    status, out, err = run("dump", deep)
    assert status == 0 and err == "" and len(out) < 200 and "\x1b" not in out
    status, out, err = run("dump", "/dev/zero")
    assert (status, out) == (2, "") and "larger than" in err


@pytest.mark.parametrize("change, message", [
    ({"revision": "0x80000000"}, "more than 31 bits"), ({"revision": -1}, "revision"), ({"fields": [{"encoding": "0x0", "offset": 8, "size": 3, "stored": "verbatim"}]}, "size"),
    ({"fields": [{"encoding": "0x0", "offset": 8, "size": 4, "stored": "verbatim"}]}, "size"), ({"fields": [{"encoding": "0x0", "offset": 4095, "size": 2, "stored": "verbatim"}]}, "offset"),
    ({"fields": [{"encoding": "0x0", "offset": 7, "size": 2, "stored": "verbatim"}]}, "offset"), ({"fields": [{"encoding": "0x0", "offset": 8, "size": 2, "stored": "somehow"}]}, "stored"),
    ({"fields": [{"encoding": "0x0", "stored": "verbatim"}]}, '"offset" is missing')])
def test_malformed_layout(save, change, message):
    bad = save("bad", {**LAYOUT, **change})
    status, out, err = run("raw", save("page", bytes(4096)), bad)
    assert (status, out) == (2, "") and err.startswith(f"{bad}:1:") and message in err and "/v1/vmx/layout" in err, err


def test_malformed_capabilities(save):
    good = save("good", vmcs(("0x6820", "0x2")))
    for change, message in (({}, '"cores" is missing'), ({"cores": []}, "no core 0"), ({"cores": [{"msrs": [{"msr": "0x10", "value": "0x1"}]}]}, "no capability MSR"),
                            ({"cores": [{"msrs": [], "physical_address_bits": 99}]}, "from 32 to 57")):
        bad = save("bad", change)
        status, out, err = run("check", good, bad)
        assert (status, out) == (2, "") and err.startswith(f"{bad}:1:") and message in err, err


# ---- answers of the appliance ----

def test_as_the_appliance_says(start, save):
    m = start(ONE, cpus=1)
    text = lambda path, **kw: m.request("POST" if kw else "GET", path + ("&" if "?" in path else "?") + "format=text", **kw)[2]  # noqa: E731
    launch = m.get(VMCS + "/snapshots")["snapshots"][0]["sequence"]
    kept = [json.loads(m.request("POST", VMCS + "/snapshots")[2])["sequence"] for _ in range(2)]
    saved = {n: save(f"{n}.json", m.request("GET", f"{VMCS}/snapshots/{n}?decode=1")[2]) for n in (launch, *kept)}
    for n, path in saved.items():
        assert run("dump", path) == (0, text(f"{VMCS}/snapshots/{n}"), "")
    last = kept[1]
    for options, query in ((["--no-decode"], "decode=0"), (["--group", "control"], "group=control"), (["--group=guest", "--no-decode"], "group=guest&decode=0"),
                           (["--oddities"], "oddities=1"), (["--fields", "GUEST_RIP,0x4002"], "fields=GUEST_RIP,0x4002")):
        assert run("dump", saved[last], *options) == (0, text(f"{VMCS}/snapshots/{last}?{query}"), ""), options
    # Differences, of everything and of the set-up.
    assert run("diff", saved[launch], saved[last], "--volatile") == (1, text(f"{VMCS}/diff?from={launch}&to={last}"), "")
    assert run("diff", saved[launch], saved[last]) == (0, text(f"{VMCS}/diff?from={launch}&to={last}&volatile=0"), "")
    # Capabilities: each MSR, and the checks of a VM entry.
    capabilities = save("capabilities", m.request("GET", "/v1/vmx/capabilities")[2])
    told = text("/v1/vmx/capabilities")
    for msr in json.loads(capabilities.read_text())["cores"][0]["msrs"]:
        status, out, _ = run("msr", msr["msr"], msr["value"])
        assert status == 0 and out.strip("\n") in told, out
    status, out, err = run("check", saved[last], capabilities)
    assert status == 0 and err == "" and "enters: true\n" in out, out
    assert run("check", saved[last])[0] == 0
    broken = json.loads(saved[last].read_text())
    next(f for f in broken["fields"] if f["name"] == "PIN_BASED_CONTROLS")["value"] = "0x00000000"
    status, out, _ = run("check", save("broken", broken), capabilities)
    assert status == 1 and "enters: false" in out and "PIN_BASED_CONTROLS" in out
    # A raw region.
    layout = save("layout", m.request("GET", "/v1/vmx/layout")[2])
    values = {f["name"]: f["value"] for f in json.loads(saved[last].read_text())["fields"]}
    region = bytearray(4096)
    region[:4] = int(json.loads(layout.read_text())["revision"], 16).to_bytes(4, "little")
    for f in json.loads(layout.read_text())["fields"]:
        if f["stored"] == "verbatim" and values[f["name"]]:
            region[f["offset"]:f["offset"] + f["size"]] = int(values[f["name"]], 16).to_bytes(f["size"], "little")
    page = save("page", bytes(region))
    assert run("raw", page, layout) == (0, text("/v1/vmx/decode", body=bytes(region)), "")
    assert run("raw", page, layout, "--group", "guest", "--no-decode") == (0, text("/v1/vmx/decode?group=guest&decode=0", body=bytes(region)), "")
