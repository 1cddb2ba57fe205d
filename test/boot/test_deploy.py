"""Images are uploaded, guests are made from them and deleted, while others keep running; nothing is left behind."""
import base64
import hashlib
import json
import os
import re
import socket
import ssl
import subprocess

import pytest

import appliance
from appliance import memory

CONFIG = {"guests": [
    {"name": "control", "image": "guests/control.elf", "memory": "2M", "core": 0, "weight": 200},
    {"name": "keeper", "image": "guests/echo.elf", "memory": "4M", "core": 0, "modules": [{"file": "keepers.key"}]},
], "management": {"core": 1, "budget_us": 9000}}
CYCLES = 80  # by curl and by bhctl each; with the page's, more than 200


def image(name):
    with open(os.path.join(appliance.BUILD, "guests", name), "rb") as f:
        return f.read()


ECHO = image("echo.elf")


@pytest.fixture(scope="module")
def m(start):
    return start(CONFIG, cpus=2, memory=512, files={"keepers.key": b"what the keeper alone knows"})


@pytest.fixture(autouse=True)
def nothing_is_left(m):
    """Each test releases what it used, and the other guests keep running."""
    m.wait_state("keeper", "running")
    before = memory(m), m.guest("keeper")
    at = len(m.serial())
    yield
    after = m.guest("keeper")
    assert [n for n in re.findall(r"\[control\] control: second \d+, periods 1000, missed (\d+),", m.serial()[at:]) if n != "0"] == []
    assert (after["state"], after["started_tsc"]) == ("running", before[1]["started_tsc"])
    assert m.guest("mgmt")["state"] == "running"
    assert memory(m) == before[0]
    assert [g["name"] for g in m.get("/v1/guests")["guests"]] == ["mgmt", "control", "keeper"]
    assert not [i for i in m.get("/v1/images")["images"] if i["source"] == "upload"]


def put(m, name, data, status=201, **headers):
    answer = m.request("PUT", f"/v1/images/{name}", data, headers)
    assert answer[0] == status, answer
    return json.loads(answer[2])


def deploy(m, status=201, **guest):
    answer = m.request("POST", "/v1/guests", json.dumps(guest))
    assert answer[0] == status, answer
    if status == 201:
        assert answer[1]["Location"] == f"/v1/guests/{guest['name']}"
    return json.loads(answer[2])


def delete(m, path, status=204):
    answer = m.request("DELETE", path)
    assert answer[0] == status, answer
    return answer[2]


def error(answer):
    return answer["error"]["message"], answer["error"].get("pointer")


def test_upload_use_delete(m):
    digest = hashlib.sha256(ECHO)
    assert put(m, "echo", ECHO, **{"Repr-Digest": f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"}) == {
        "name": "echo", "size": len(ECHO), "packed_size": None, "sha256": digest.hexdigest(), "source": "upload", "used_by": []}
    made = deploy(m, name="second", image="echo", memory="4M", core=1)
    assert made["state"] in ("starting", "running") and made["configuration"]["memory"] == 4 << 20
    m.wait_serial(r"\[second\] echo: ready")
    m.type("second", "hello\r")
    assert m.wait_serial(r"\[second\] .*hello")
    assert m.get("/v1/images/echo")["used_by"] == ["second"]
    # It is a guest like any other.
    assert m.get("/v1/guests/second/vcpus/0/vmcs")["fields"]
    m.request("POST", "/v1/guests/second/actions", '{"action": "reset"}')
    m.wait_for("/v1/guests/second", lambda g: g["state"] == "running" and g["started_tsc"] > made["started_tsc"], "it does not come back")
    # Neither the image nor its name can be taken away while it is in use.
    assert error(json.loads(delete(m, "/v1/images/echo", 409))) == ("the image is in use: second", None)
    assert error(put(m, "echo", ECHO, 409)) == ('the image "echo" is in use: second', None)
    delete(m, "/v1/guests/second")
    assert m.request("GET", "/v1/guests/second")[0] == 404
    # Another image can take the name.
    assert put(m, "echo", b"\xf4" * 512, 200)["size"] == 512
    delete(m, "/v1/images/echo")
    delete(m, "/v1/images/echo", 404)


def test_from_the_iso(m):
    """The ISO's images need no upload."""
    deploy(m, name="again", image="guests/echo.elf", memory="4M", core=1)
    m.wait_state("again", "running")
    delete(m, "/v1/guests/again")


MODULES = [("guests/echo.elf", "blob"), ("echo", "guests/control.elf"), ("echo", "blob"), ("guests/echo.elf", "guests/control.elf")]


@pytest.mark.parametrize("kernel, module", MODULES)
def test_modules_of_both_kinds(m, kernel, module):
    """Image and module may each be the ISO's or uploaded; a module's contents are not checked."""
    put(m, "blob", b"what a guest is given " * 1000)
    put(m, "echo", ECHO)
    made = deploy(m, name="both", image=kernel, memory="4M", core=1, modules=[{"file": module, "args": "x"}])
    assert made["configuration"]["image"] == kernel
    m.wait_state("both", "running")
    users = {i["name"]: i["used_by"] for i in m.get("/v1/images")["images"] if i["name"] in (kernel, module)}
    assert users[kernel].count("both") == users[module].count("both") == 1
    if module == "blob":
        assert error(json.loads(delete(m, "/v1/images/blob", 409))) == ("the image is in use: both", None)
    delete(m, "/v1/guests/both")
    for name in ("blob", "echo"):
        delete(m, f"/v1/images/{name}")


def test_events(m):
    first = m.get("/v1/events?follow=0")["events"][-1]["id"]
    deploy(m, name="told", image="guests/echo.elf", memory="4M", core=1)
    m.wait_state("told", "running")
    delete(m, "/v1/guests/told")
    events = [e for e in m.get("/v1/events?follow=0")["events"] if e["id"] > first]
    assert [(e["guest"], e["state"]) for e in events] == [("told", s) for s in ("starting", "running", "deleted")]
    assert {(e["by"], e["role"], e["from"]) for e in events} == {("console", "admin", "10.0.2.2")}


def test_memory_is_scrubbed(m):
    """Neither the next guest nor management can read a deleted guest's memory, even if it becomes an image."""
    secret = b"a secret that nobody else is to see "
    put(m, "flat", secret * 1000)
    deploy(m, name="first", image="flat", kind="flat", memory="4M", core=1)
    m.wait_for("/v1/guests/first", lambda g: g["state"] != "starting", "it does not start")
    assert m.get("/v1/guests/first/vcpus/0/vmcs/snapshots")["snapshots"]
    delete(m, "/v1/guests/first")
    delete(m, "/v1/images/flat")
    deploy(m, name="first", image="guests/echo.elf", memory="4M", core=1)
    m.wait_state("first", "running")
    assert m.request("GET", "/v1/guests/first/console?from=0")[2].count("secret") == 0
    assert len(m.get("/v1/guests/first/vcpus/0/vmcs/snapshots")["snapshots"]) == 1  # its launch
    delete(m, "/v1/guests/first")


BAD = [
    ({}, "/name", "is missing"),
    ({"name": "Big"}, "/name", "must consist"),
    ({"name": "a", "image": "nothing"}, "/image", 'no image "nothing" exists'),
    ({"name": "a", "image": "guests/echo.elf", "memory": "3M"}, "/memory", "multiple of 2 MiB"),
    ({"name": "a", "image": "guests/echo.elf", "weight": 0}, "/weight", "from 1 to 1000"),
    ({"name": "a", "image": "guests/echo.elf", "modules": [{"file": "x"}]}, "/modules/0/file", 'no image "x"'),
    ({"name": "a", "image": "guests/echo.elf", "colour": "red"}, "/colour", "no such field"),
    ({"name": "a", "image": "guests/echo.elf", "budget_us": 100, "period_us": 1000, "guaranteed_us": 200}, "/guaranteed_us", "exceeds budget_us"),
]


@pytest.mark.parametrize("guest, pointer, why", BAD, ids=[b[1] + " " + str(len(b[0])) for b in BAD])
def test_wrong_field(m, guest, pointer, why):
    message, at = error(deploy(m, 400, **guest))
    assert at == pointer and why in message


def test_what_belongs_to_others(m):
    """Another guest's module and the appliance's own files are neither listed nor given to others."""
    assert {i["name"] for i in m.get("/v1/images")["images"]} == {"guests/control.elf", "guests/echo.elf"}
    for field, pointer in (({"image": "guests/echo.elf", "modules": [{"file": "keepers.key"}]}, "/modules/0/file"), ({"image": "keepers.key"}, "/image")):
        assert error(deploy(m, 409, name="thief", **field)) == ('"keepers.key" is a module or disk of another guest: upload a copy under another name', pointer)
    for name in ("guests.json", "mgmt.elf", "bulkhead:configuration", "bulkhead:management"):
        assert error(deploy(m, 400, name="thief", image=name))[1] == "/image"
        assert error(deploy(m, 400, name="thief", image="guests/echo.elf", modules=[{"file": name}]))[1] == "/modules/0/file"


def test_broken_image(m):
    put(m, "broken", ECHO[:400])
    message, pointer = error(deploy(m, 400, name="a", image="broken"))
    assert pointer == "/image" and "ELF" in message
    put(m, "no-kind", b"\x7fELF" + bytes(100), 201)
    assert error(deploy(m, 400, name="a", image="no-kind"))[1] == "/image"
    for name in ("broken", "no-kind"):
        delete(m, f"/v1/images/{name}")


def test_what_is_short(m):
    host = m.get("/v1/host")["memory"]
    message, pointer = error(deploy(m, 409, name="a", image="guests/echo.elf", memory="3G"))
    assert pointer == "/memory" and f"3072 MiB asked, largest free piece {host['largest_free'] >> 20} MiB of {host['free'] >> 20} MiB free" in message
    assert [g["name"] for g in m.get("/v1/guests")["guests"]] == ["mgmt", "control", "keeper"]
    message, pointer = error(deploy(m, 409, name="a", image="guests/echo.elf", core=2))
    assert pointer == "/core" and message == "no core 2 exists: guests run on 2 cores, numbered from 0"
    assert error(deploy(m, 409, name="keeper", image="guests/echo.elf"))[1] == "/name"
    deploy(m, name="half", image="guests/echo.elf", memory="2M", core=1, guaranteed_us=5000)
    message, pointer = error(deploy(m, 409, name="more", image="guests/echo.elf", memory="2M", core=1, guaranteed_us=6000))
    assert pointer == "/guaranteed_us"
    assert message == "not enough core time: 6000 us of 10000 us (60.0 %) asked, core 1 has 45.0 % left of the 95 % that can be guaranteed"
    # All the time that is left; once released, it can be had again.
    for name in ("more", "again"):
        deploy(m, name=name, image="guests/echo.elf", memory="2M", core=1, guaranteed_us=4500)
        delete(m, f"/v1/guests/{name}")
    delete(m, "/v1/guests/half")
    # There are numbers for 14 guests.
    names = [f"g{i}" for i in range(12)]
    for name in names:
        deploy(m, name=name, image="guests/echo.elf", memory="2M", core=1)
    assert "there are 14 guests" in error(deploy(m, 409, name="one-more", image="guests/echo.elf", memory="2M"))[0]
    for name in names:
        delete(m, f"/v1/guests/{name}")


def test_management_stays(m):
    assert "management guest" in error(json.loads(delete(m, "/v1/guests/mgmt", 409)))[0]


def test_uploads_that_fail(m):
    wrong = base64.b64encode(hashlib.sha256(b"").digest()).decode()
    assert "Repr-Digest" in error(put(m, "a", ECHO, 400, **{"Repr-Digest": f"sha-256=:{wrong}:"}))[0]
    assert "Repr-Digest" in error(put(m, "a", ECHO, 400, **{"Repr-Digest": "sha-256=:AAAA:"}))[0]
    for name in (".hidden", "a" * 64, "a%20b"):
        assert "name" in error(put(m, name, ECHO, 400))[0]
    assert put(m, "a", b"", 400)
    with m.connect() as c:
        c.send(b"PUT /v1/images/a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (1 << 40))
        assert c.answer()[0] == 413
    with m.connect() as c:
        c.send(b"PUT /v1/images/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert c.answer()[0] == 411
    with m.connect() as c:
        c.send(b"PUT /v1/images/a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (100 << 20))
        m.wait_for("/v1/host", lambda h: h["memory"]["images"] == 100 << 20, "no memory was taken")
        assert "not enough memory: 122880 KiB" not in m.request("PUT", "/v1/images/b", b"x" * 100)[2]
        delete(m, "/v1/images/b")
    # The abandoned upload leaves nothing.
    m.wait_for("/v1/host", lambda h: h["memory"]["images"] == 0, "its memory was not given back")


def test_no_memory_for_an_image(m):
    free = m.get("/v1/host")["memory"]["largest_free"]
    deploy(m, name="large", image="guests/echo.elf", memory=(free - (64 << 20)) >> 21 << 21, core=1)
    with m.connect() as c:
        c.send(b"PUT /v1/images/a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (120 << 20))
        status, _, body = c.answer()
        assert status == 409 and "not enough memory: 120 MiB asked, largest free piece" in body.decode()
    delete(m, "/v1/guests/large")


def back_after(m, at):
    """Resets the management guest; returns how long it was away by its own clock."""
    with m.connect() as c:
        c.send(b'POST /v1/guests/mgmt/actions HTTP/1.1\r\nHost: x\r\nContent-Length: 19\r\n\r\n{"action": "reset"}')
        died = float(m.wait_serial(r"\[ *([\d.]+)\] core 1: guest mgmt: stopped", after=at).group(1))
        return float(m.wait_serial(r"\[ *([\d.]+)\] core 1: management address", after=at).group(1)) - died


def test_killed_in_the_middle_of_an_upload(m):
    """The management guest is back in less than a second, the half image is gone, and other guests have not noticed."""
    with m.connect() as c:
        c.send(b"PUT /v1/images/a HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n" + bytes(100000))
        m.wait_for("/v1/host", lambda h: h["memory"]["images"] == 4 << 20, "no memory was taken")
        assert back_after(m, len(m.serial())) < 1
    m.wait_for("/v1/host", lambda h: h["memory"]["images"] == 0, "its memory was not given back")
    put(m, "a", ECHO)
    delete(m, "/v1/images/a")


def test_killed_in_the_middle_of_a_handshake(m):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    with socket.create_connection(("127.0.0.1", m.https_port), timeout=appliance.LIMIT) as s:
        s.sendall(outgoing.read())
        assert s.recv(1) == b"\x16"  # it has begun to answer
        assert back_after(m, len(m.serial())) < 1
    with socket.create_connection(("127.0.0.1", m.https_port), timeout=appliance.LIMIT) as s, context.wrap_socket(s) as tls:
        assert tls.version() == "TLSv1.3"


LATE = {"name": "late", "image": "guests/echo.elf", "memory": 4 << 20, "core": 1, "weight": 7, "slice_us": 900, "budget_us": 4000, "period_us": 9000,
        "guaranteed_us": 1000, "restart": "always", "restart_limit": 3, "watchdog_ms": 3600000, "paused_clock": "runs", "exit_profile": "least", "kind": "auto",
        "devices": ["uart", "pic", "pit"], "vcpus": 3, "cores": [1, 0, 1], "cmdline": "a \"b\"", "modules": [{"file": "guests/control.elf", "args": "c d"}]}


def test_configuration(m, start, tmp_path):
    """The configuration from GET /v1/config makes the same guests again: a machine started with it returns the same."""
    deploy(m, **LATE)
    text = m.request("GET", "/v1/config")[2]
    late = next(g for g in json.loads(text)["guests"] if g["name"] == "late")
    assert {k: late[k] for k in LATE} == LATE  # the other fields have their defaults
    delete(m, "/v1/guests/late")
    (tmp_path / "keepers.key").write_bytes(b"k")
    path = tmp_path / "guests.json"
    path.write_text(text)
    checked = subprocess.run([os.path.join(appliance.BUILD, "config-check"), "--search", appliance.BUILD, path], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert json.loads(text)["management"]["core"] == 1 and json.loads(text)["management"]["address"] == "dhcp"
    again = start(json.loads(text), cpus=2)
    again.wait_state("late", "running")
    assert json.loads(again.request("GET", "/v1/config")[2]) == json.loads(text)
    again.stop()


def test_several_vcpus(m):
    """Cores as listed, or one each; vCPUs that the guest's kernel has not started use no time, but have a VMCS like any other."""
    body = {"name": "many", "image": "guests/echo.elf", "memory": "2M"}
    for more, status, pointer, said in (({"vcpus": 3, "cores": [0, 1]}, 400, "/vcpus", "cores names 2 cores"), ({"vcpus": 2, "core": 0}, 400, "/vcpus", "core names 1 core"),
                                        ({"vcpus": 9}, 400, "/vcpus", "from 1 to 8"), ({"cores": [0, 128]}, 400, "/cores", "from 0 to 127"),
                                        ({"vcpus": 3}, 409, "/vcpus", "the machine has 2 cores for 3 vCPUs"), ({"vcpus": 2, "cores": [0, 5]}, 409, "/cores", "no core 5 exists")):
        got, _, text = m.request("POST", "/v1/guests", json.dumps(body | more))
        assert got == status and said in text and pointer in text, text
    deploy(m, **body, vcpus=2)
    assert m.wait_state("many", "running")
    assert sorted(v["core"] for v in m.guest("many")["vcpus"]) == [0, 1]
    delete(m, "/v1/guests/many")
    deploy(m, **body, vcpus=8, cores=[1, 0, 1, 1, 0, 0, 1, 0])
    m.wait_state("many", "running")
    vcpus = m.guest("many")["vcpus"]
    assert [v["core"] for v in vcpus] == [1, 0, 1, 1, 0, 0, 1, 0]
    assert [v["activity"] for v in vcpus[1:]] == ["wait-for-SIPI"] * 7 and all(v["entries"] == 0 for v in vcpus[1:])
    assert '"value"' in m.request("GET", "/v1/guests/many/vcpus/7/vmcs")[2] and m.request("GET", "/v1/guests/many/vcpus/8/vmcs")[0] == 404
    for action, state in (("pause", "paused"), ("resume", "running"), ("reset", "running"), ("stop", "stopped")):
        assert m.request("POST", "/v1/guests/many/actions", json.dumps({"action": action}))[0] == 202
        m.wait_state("many", state)
    delete(m, "/v1/guests/many")


def bring_to(m, state):
    """A guest in that state, or passing through it."""
    image, more = "guests/echo.elf", {}
    if state in ("failed", "restarting"):
        put(m, "moth", b"\xf4")  # HLT, with interrupts off
        image, more = "moth", {"kind": "flat", "restart": "always"}
    deploy(m, name="any", image=image, memory="2M", core=1, guaranteed_us=9500, **more)
    if state != "restarting":
        m.wait_state("any", "running")
    if state in ("paused", "stopped"):
        assert m.request("POST", "/v1/guests/any/actions", json.dumps({"action": state.replace("paused", "pause").replace("stopped", "stop")}))[0] == 202
    if state == "crashed":
        m.wait_for("/v1/guests/any/console?format=json", lambda c: c["text"].endswith("> "), "no prompt")
        m.type("any", "triple\r")
    m.wait_state("any", state)


def test_deleted_while_it_starts(m):
    """Clearing large memory takes a while, but no client need be in time for it: both requests come at once."""
    body = json.dumps({"name": "any", "image": "guests/echo.elf", "memory": "64M", "core": 1, "guaranteed_us": 9500}) + "\r\n"
    for _ in range(2):
        with m.connect() as c:
            c.send(f"POST /v1/guests HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}DELETE /v1/guests/any HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            status, _, made = c.answer()
            assert status == 201 and json.loads(made)["state"] == "starting", made
            assert c.answer()[0] == 204
        assert m.request("GET", "/v1/guests/any")[0] == 404


@pytest.mark.parametrize("state", ["running", "paused", "stopped", "crashed", "restarting"])
def test_deleted_in_any_state(m, state):
    """All of its memory and core time is released: the next guest can have all of it again."""
    for _ in range(2):
        bring_to(m, state)
        delete(m, "/v1/guests/any")
        assert m.request("GET", "/v1/guests/any")[0] == 404
        if state == "restarting":
            delete(m, "/v1/images/moth")


def test_processor_identifiers(m):
    """Each guest has its own VPID; the next guest with the same number gets the same one, flushed before its first entry."""
    def vpid(name):
        m.wait_state(name, "running")
        return int(m.get(f"/v1/guests/{name}/vcpus/0/vmcs?fields=VPID")["fields"][0]["value"], 16)
    deploy(m, name="one", image="guests/echo.elf", memory="2M", core=1)
    deploy(m, name="two", image="guests/echo.elf", memory="2M", core=1)
    first = {name: vpid(name) for name in ("mgmt", "control", "keeper", "one", "two")}
    assert len(set(first.values())) == 5 and 0 not in first.values()
    delete(m, "/v1/guests/one")
    deploy(m, name="three", image="guests/echo.elf", memory="2M", core=1)
    assert vpid("three") == first["one"]
    for name in ("two", "three"):
        delete(m, f"/v1/guests/{name}")


def by_curl(m, path):
    """(deploy, delete), as a user does it."""
    url = f"http://127.0.0.1:{m.port}"

    def curl(*args):
        subprocess.run(["curl", "-sS", "--fail-with-body", "--retry", "20", "--retry-connrefused", "--retry-delay", "0", "-H", f"Authorization: Bearer {m.token}", *args],
                       capture_output=True, text=True, check=True)

    def come():
        curl("-T", path, f"{url}/v1/images/echo")
        curl("-d", '{"name": "brief", "image": "echo", "memory": "2M", "core": 1}', f"{url}/v1/guests")

    def go():
        curl("-X", "DELETE", f"{url}/v1/guests/brief")
        curl("-X", "DELETE", f"{url}/v1/images/echo")
    return come, go


def by_bhctl(m, path):
    environment = {**os.environ, "BULKHEAD_URL": f"http://127.0.0.1:{m.port}", "BULKHEAD_TOKEN": m.token}

    def bhctl(*args):
        subprocess.run([os.path.join(appliance.BUILD, "bhctl"), *args], capture_output=True, text=True, check=True, env=environment)
    return lambda: bhctl("deploy", path, "--name", "brief", "--memory", "2M", "--core", "1"), lambda: bhctl("delete", "--images", "brief")


@pytest.mark.parametrize("how", [by_curl, by_bhctl])
def test_again_and_again(m, how):
    """Deployed, used, deleted, again and again; test_page_live.py does it by the page."""
    come, go = how(m, os.path.join(appliance.BUILD, "guests", "echo.elf"))
    first = memory(m)
    for i in range(CYCLES):
        at = len(m.serial())
        come()
        at = m.wait_serial(r"\[brief\] echo: ready", after=at).end()  # what comes before it has set its UART up may be lost, as on any PC
        m.type("brief", f"cycle{i}\r")
        m.wait_serial(rf"\[brief\] .*cycle{i}", after=at)
        go()
    assert memory(m) == first
