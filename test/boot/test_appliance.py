"""The sample configuration on four cores, as `make run` shows it."""
import contextlib
import json
import os
import re

import pytest

import third_party
from appliance import BUILD


@pytest.fixture(scope="module")
def m(start):
    return start(cpus=4)


def counters(guest):
    return guest["vcpus"][0]["run_ticks"], sum(guest["vcpus"][0]["exits"].values())


def test_all_cores_in_vmx_root(m):
    host = m.get("/v1/host")
    assert [c["vmx_root"] for c in host["cores"]] == [True] * 4
    assert [c["id"] for c in host["cores"]] == [0, 1, 2, 3]
    assert len({c["apic_id"] for c in host["cores"]}) == 4
    assert host["network"]["address"] == "10.0.2.15"
    assert host["version"] and host["build_id"]
    assert [p["name"] for p in host["third_party"]] == list(third_party.pins())
    assert all({"version": p["version"], "package": p["package"]} in third_party.pins()[p["name"]] for p in host["third_party"])


def test_clocks_and_cards(m):
    """Three clocks measure the TSC's frequency, which beats what CPUID tells. No device masters the bus until its driver enables it. (In Bochs only the IDE
    controller could before.)"""
    log = m.get("/v1/log")["text"]
    khz = [int(n) for n in re.search(r"TSC in kHz by PIT (\d+), PM timer (\d+), HPET (\d+); using the .*'s\n", log).groups()]
    assert all(19980 <= n <= 20020 for n in khz), khz
    assert re.search(r"told otherwise, in kHz: .*CPUID 0x16 3500000; measurements win\n", log)
    assert re.search(r"PCI: \d+ functions, bus mastering off on [1-9]", log), log
    host = m.get("/v1/host")
    tsc = host["tsc"]
    assert host["cores"][0]["tsc_hz"] == tsc["hz"] and tsc["hz"] // 1000 in khz and tsc["verdict"] == "agreed"
    assert [(s["name"], s["hz"] // 1000) for s in tsc["sources"] if s["measured"]] == list(zip(("PIT", "PM timer", "HPET"), khz))
    assert all(s["agrees"] == s["measured"] for s in tsc["sources"]) and ("CPUID 0x16", 3500000000) in [(s["name"], s["hz"]) for s in tsc["sources"]]
    assert [s["hz"] for s in tsc["sources"] if s["taken"]] == [tsc["hz"]]
    assert host["serial_console"] == "COM1"


def test_host_memory(m):
    memory = m.get("/v1/host")["memory"]
    own = memory["host"] + memory["shared"] + memory["tables"] + m.guest("mgmt")["configuration"]["memory"]
    assert own < 16 * 2**20, memory
    assert memory["total"] == sum(memory[k] for k in ("free", "host", "modules", "shared", "guests", "tables"))


def test_sizes(m):
    """What the appliance costs in disk space and memory."""
    assert os.path.getsize(os.path.join(BUILD, "bulkhead.iso")) < 8 * 2**20
    assert m.get("/v1/host")["memory"]["images"] == 0  # of which it has none
    assert m.guest("mgmt")["configuration"]["memory"] < 24 * 2**20


def test_guests_run(m):
    guests = {g["name"]: g for g in m.get("/v1/guests")["guests"]}
    assert set(guests) == {"mgmt", "control", "hog", "echo"}
    assert all(g["state"] == "running" for g in guests.values())
    assert [n for n, g in guests.items() if g["management"]] == ["mgmt"]
    assert guests["control"]["core"] == guests["hog"]["core"] == 1


def test_guests_speak(m):
    m.wait_serial(r"\[control\] control: second 2,")
    m.wait_serial(r"\[hog\] hog: prime number 5000 is 48611")
    m.wait_serial(r"\[echo\] echo: ready")


def test_control_keeps_its_period_beside_hog(m):
    last = None
    for second in range(3, 7):
        match = m.wait_serial(rf"control: second {second}, periods 1000, missed (\d+), late max (\d+)")
        assert match.group(1) == "0"
        last = int(match.group(2))
    assert last < 2000  # a tenth of a period: nothing else runs on this core
    assert m.guest("hog")["vcpus"][0]["run_ticks"] > 8 * m.guest("control")["vcpus"][0]["run_ticks"]


def test_vmcs_of_a_running_guest(m):
    before = m.guest("hog")["vcpus"][0]["run_ticks"]
    dump = m.get("/v1/guests/hog/vcpus/0/vmcs")
    fields = {f["name"]: f for f in dump["fields"]}
    assert dump["guest"] == "hog" and dump["vcpu"] == 0
    assert 0 < dump["snapshot_ticks"] < 12000
    assert len(fields) >= 190
    assert 0x100000 <= int(fields["GUEST_RIP"]["value"], 16) < 0x400000
    assert fields["GUEST_RIP"] == {"encoding": "0x681e", "name": "GUEST_RIP", "group": "guest", "width": "natural",
                                   "value": fields["GUEST_RIP"]["value"]}
    assert fields["VMCS_LINK_POINTER"]["value"] == "0xffffffffffffffff"
    assert int(fields["VPID"]["value"], 16) == 1 + 8 * 2  # a number for each vCPU that a guest may have; hog is guest 2
    absent = [f for f in dump["fields"] if f["value"] is None]
    assert absent and all(f["reason"] for f in absent)
    again = m.get("/v1/guests/hog/vcpus/0/vmcs")
    assert again["sequence"] == dump["sequence"] + 1 and again["tsc"] > dump["tsc"]
    assert m.guest("hog")["vcpus"][0]["run_ticks"] > before


def test_text_form(m):
    _, headers, body = m.request("GET", "/v1/guests/hog/vcpus/0/vmcs", headers={"Accept": "text/plain"})
    assert headers["Content-Type"].startswith("text/plain") and "0x681e  GUEST_RIP" in body
    assert m.request("GET", "/v1/guests?format=text")[2].count("state: running") == 4


def test_page_and_health(m):
    status, headers, body = m.request("GET", "/")
    assert status == 200 and headers["Content-Type"].startswith("text/html") and "page/app.js" in body
    assert m.get("/healthz") == {"status": "ok"}


def test_log(m):
    first = m.get("/v1/log")
    assert "in VMX root operation" in first["text"]
    rest = m.get(f"/v1/log?from={first['next']}")
    assert rest["from"] == first["next"]


def test_console(m):
    m.type("echo", "echo forty-two is %d\r" % 42)
    m.wait_for("/v1/guests/echo/console?format=json", lambda c: "\nforty-two is 42" in c["text"].replace("\r", ""), "echo did not answer")
    status, headers, body = m.request("GET", "/v1/guests/echo/console")
    assert status == 200 and headers["Content-Type"].startswith("text/plain") and int(headers["Bulkhead-Next"]) >= len(body)


@pytest.mark.parametrize("method,path,status", [
    ("GET", "/nowhere", 404), ("GET", "/v1/guests/nobody", 404), ("GET", "/v1/guests/hog/vcpus/1/vmcs", 404),
    ("GET", "/v1/guests/hog/vcpus/x/vmcs", 404), ("POST", "/v1/host", 405), ("DELETE", "/v1/guests", 405),
    ("GET", "/v1/log?from=x", 400), ("GET", "/v1/host?format=xml", 400), ("POST", "/v1/guests/mgmt/actions", 400),
    ("GET", "/" + "a" * 300, 414),
])
def test_refusals(m, method, path, status):
    got, headers, body = m.request(method, path)
    assert got == status
    assert json.loads(body)["error"]["status"] == status
    if status == 405:
        assert "GET" in headers["Allow"]


def test_oversized_and_garbage(m):
    for data, status in ((b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: " + b"b" * 5000 + b"\r\n\r\n", 431),
                         (b"POST /v1/guests/echo/console HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n", 413), (b"\x00\x01\x02 garbage\r\n\r\n", 501)):
        with m.connect() as c:
            c.send(data)
            assert c.answer()[0] == status
    assert m.get("/healthz") == {"status": "ok"}


def test_keep_alive_and_pipelining(m):
    with m.connect() as c:
        for _ in range(5):
            c.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert c.answer()[2] == b'{"status":"ok"}\n'
        c.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 3 + b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert [c.answer()[0] for _ in range(4)] == [200] * 4 and c.ended()


def test_sixteen_connections(m):
    with contextlib.ExitStack() as stack:
        for _ in range(15):
            c = stack.enter_context(m.connect())
            c.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert c.answer()[0] == 200
        assert m.get("/healthz") == {"status": "ok"}


def say(m, command):
    assert m.request("POST", "/v1/guests/echo/console", command + b"\r")[0] == 200


def test_what_guests_print_is_plain(m):
    """Cursor movements in all their forms, before text that looks like a line of the root."""
    for n, movement in enumerate((b"\r", b"\x1b[1G", b"\x1b[2K\x1b[G", b"\x9b1G", b"\xc2\x9b1G", b"\x1bM\r", b"\x85", b"\xc2\x85", b"\x08" * 9, b"\n")):
        say(m, b"raw " + (movement + b"[   9.000001] core 0: forged %d" % n).hex().encode())
        m.wait_serial(rf"forged {n}\n")
    with open(m.serial_path, "rb") as f:
        lines = [line.removesuffix(b"\r") for line in f.read().split(b"isolation audit passed")[1].split(b"\n")]  # after GRUB's output
    assert not [line for line in lines if re.search(rb"[^\t -~]", line)]
    forged = [line for line in lines if b"forged" in line]
    assert len(forged) == 10 and all(re.fullmatch(rb"\[echo\] .*\[   9\.000001\]_core 0: forged \d", line) for line in forged), forged


def test_flood_of_output(m):
    """The lines of the root and the other guests come on time; the flooding guest gets its share, and its lost output is reported."""
    at = len(m.serial())
    say(m, b"flood 4000")
    m.wait_serial(r"\[echo\] flood: line ", at)
    for _ in range(3):
        for action, done in (("pause", "paused"), ("resume", "resumed")):
            begun = len(m.serial())
            assert m.request("POST", "/v1/guests/hog/actions", json.dumps({"action": action}))[0] == 202
            m.wait_serial(f"core 1: guest hog: {done}\n", begun)
            assert "flood: line 4000 " not in m.serial()[at:]
    seconds = [m.wait_serial(r"\[control\] control: second \d+, periods 1000, missed 0,", at)]
    seconds.append(m.wait_serial(r"\[control\] control: second \d+, periods 1000, missed 0,", seconds[0].end()))
    told = m.wait_serial(r"core 0: guest echo: (\d+) bytes of its console are not on this line\n", at)
    assert int(told[1]) > 4096
    m.wait_serial(r"\[echo\] flood: line 4000 of 4000", at)


def test_management_guest_comes_back(m):
    before = counters(m.guest("hog"))
    offset = len(m.serial())
    with m.connect() as c:
        # Its answer comes first; a second request in the meantime changes nothing.
        for _ in range(2):
            c.send(b'POST /v1/guests/mgmt/actions HTTP/1.1\r\nHost: x\r\nContent-Length: 18\r\n\r\n{"action":"reset"}')
        assert [c.answer()[0] for _ in range(2)] == [202, 202]
        m.wait_serial(r"guest mgmt: started", offset)
    assert m.get("/healthz") == {"status": "ok"}
    assert m.guest("hog")["state"] == "running" and counters(m.guest("hog")) > before


def test_promised_twice(start):
    """More guaranteed time than a core has, because the machine has fewer cores than its configuration assumes: the last guest does not start, and shows the
    sum as the reason; the others run."""
    half = {"image": "guests/echo.elf", "memory": "4M", "core": 0, "period_us": 10000}
    m = start({"guests": [{**half, "name": "first", "guaranteed_us": 6000}, {**half, "name": "second", "core": 2, "guaranteed_us": 5000}, {**half, "name": "third"}]}, cpus=2)
    for name in ("first", "third"):
        m.wait_state(name, "running")
    second = m.guest("second")
    # The hypervisor may keep some of the rest for itself.
    assert second["state"] == "failed" and re.search(r"not enough core time: 5000 us of 10000 us \(50\.0 %\) asked, core 0 has (40|3\d)\.0 % left", second["why"]), second["why"]
    assert second["why"] in m.serial()
    # Free memory does not help it now, since the guest was not made: the answer says so, and what to do.
    m.request("DELETE", "/v1/guests/first")
    for action in ("start", "reset"):
        status, _, body = m.request("POST", "/v1/guests/second/actions", json.dumps({"action": action}))
        assert status == 409 and re.search(r"the guest is failed, and never got what it needs .*: delete it, and make it again", body), body
    entry = next(g for g in m.get("/v1/config")["guests"] if g["name"] == "second")
    assert m.request("DELETE", "/v1/guests/second")[0] == 204
    assert m.request("POST", "/v1/guests", json.dumps(entry))[0] == 201
    m.wait_state("second", "running")
    m.stop()


def test_screen(start):
    """The screen of the machine shows how to reach it, and the fingerprint to recognise it by."""
    m = start('{"guests": []}', cpus=1, wait=False)
    address = m.wait_serial(r"management address: (https://\S+)\n")[1]
    fingerprint = re.search(r"management certificate: sha256 (\S+)", m.serial())[1]
    assert m.get("/v1/whoami")["name"] == "console"
    # Lines are drawn in steps: all are there a second later, by the machine's clock.
    said = m.get("/v1/host")["uptime_ms"]
    m.wait_for("/v1/host", lambda host: host["uptime_ms"] - said > 1000, "a second has passed")
    shown = m.screen()
    text = "".join(row[4:] if row.startswith("    ") else row for row in shown)  # a continuation of the row before starts like this
    assert f"management address: {address}" in text and f"admin token of this boot: {m.token}" in text, "\n".join(shown)
    # It is longer than a row.
    assert f"management certificate: sha256 {fingerprint}" in text, "\n".join(shown)
