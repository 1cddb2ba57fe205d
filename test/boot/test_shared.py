"""Memory between guests on different cores: data, doorbells, lives; and one that rings and moves its memory without end."""
import json
import re

import pytest

PEERS = ["caller", "other"]


def guest(name, core, cmdline):
    return {"name": name, "image": "guests/shared.elf", "memory": "4M", "core": core, "cmdline": cmdline}


CALLER, OTHER = guest("caller", 1, "call"), guest("other", 2, "answer")
CONTROL = {"name": "control", "image": "guests/control.elf", "memory": "2M", "core": 2, "guaranteed_us": 300, "period_us": 1000}


@pytest.fixture(scope="module")
def m(start):
    return start({"guests": [CALLER, OTHER, CONTROL], "shared": [{"name": "calls", "size": "4M", "peers": PEERS}]}, cpus=4)


def calls(m, count):
    """The caller has called `count` times; returns what it said."""
    text = m.wait_for("/v1/guests/caller/console?format=json", lambda c: len(re.findall(r"\d wrong", c["text"])) == count, "it does not call")["text"]
    assert "WRONG" not in text and "0 wrong" in text, text
    caller = m.wait_state("caller", "stopped")
    assert caller["why"] == "the guest exited with code 0", caller["why"]
    assert "WRONG" not in m.get("/v1/guests/other/console?format=json")["text"]
    return text


def act(m, name, action):
    status, _, body = m.request("POST", f"/v1/guests/{name}/actions", json.dumps({"action": action}))
    assert status // 100 == 2, body


def test_they_call_and_answer(m):
    text = calls(m, 1)
    assert "shared: start 1: 400 rounds" in text, text
    print(text)
    region = {"name": "calls", "size": 4 << 20, "peers": PEERS}
    assert m.guest("caller")["shared"] == [{**region, "id": 0}] and m.guest("other")["shared"] == [{**region, "id": 1}]
    assert m.get("/v1/config")["shared"] == [region]
    assert m.get("/v1/host")["memory"]["regions"] == 4 << 20


def test_a_new_life_finds_the_memory_as_it_was(m):
    act(m, "caller", "start")
    assert "shared: start 2: 400 rounds" in calls(m, 2)
    act(m, "other", "reset")
    m.wait_for("/v1/guests/other/console?format=json", lambda c: "shared: answers, start 2" in c["text"], "it did not start again")
    act(m, "caller", "start")
    assert "shared: start 3: 400 rounds" in calls(m, 3)



def test_deleted_and_deployed_again(m):
    """The last one's deletion scrubs it."""
    assert m.request("DELETE", "/v1/guests/caller")[0] == 204
    assert m.get("/v1/host")["memory"]["regions"] == 4 << 20
    assert "shared" not in m.get("/v1/config") or m.get("/v1/config")["shared"] == []
    status, _, body = m.request("POST", "/v1/guests", json.dumps(CALLER))
    assert status == 201 and json.loads(body)["shared"][0]["id"] == 0, body
    assert "shared: start 4: 400 rounds" in calls(m, 1)
    for name in PEERS:
        assert m.request("DELETE", f"/v1/guests/{name}")[0] == 204
    assert m.get("/v1/host")["memory"]["regions"] == 0
    for config in (OTHER, CALLER):
        assert m.request("POST", "/v1/guests", json.dumps(config))[0] == 201
    assert "shared: start 1: 400 rounds" in calls(m, 1)


def test_one_that_storms(m):
    """It has the caller's place, and rings the other without end: the control loop on the other's core misses nothing."""
    assert m.request("DELETE", "/v1/guests/caller")[0] == 204
    before = m.guest("other")["vcpus"][0]["interrupts"]
    assert m.request("POST", "/v1/guests", json.dumps({**CALLER, "cmdline": "storm"}))[0] == 201
    m.wait_for("/v1/guests/other", lambda g: g["vcpus"][0]["interrupts"] > before + 300, "it does not hear the storm")
    at = len(m.serial())
    for _ in range(2):
        at = m.wait_serial(r"control: second \d+, periods 1000, missed \d+,", after=at).end()
    assert set(re.findall(r"control: second \d+, periods 1000, missed (\d+),", m.serial())) == {"0"}
    late = [k["slice_late_max_ticks"] for k in m.get("/v1/host")["cores"]]
    print("slices end late by at most", late)
    assert max(late) < 2000, late
    assert m.guest("other")["state"] == "running"


def test_not_a_peer(m):
    status, _, body = m.request("POST", "/v1/guests", json.dumps(guest("spy", 3, "call")))
    assert status == 201 and json.loads(body)["shared"] == [], body
    m.wait_for("/v1/guests/spy/console?format=json", lambda c: "shared: no device" in c["text"], "it found something")
