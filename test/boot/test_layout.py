"""Where the CPU keeps each field of the VMCS, probed on three CPU models; and a raw region decoded with that."""
import json
import re

import pytest

ONE = {"guests": [{"name": "echo", "image": "guests/echo.elf", "memory": "4M"}]}


@pytest.fixture(scope="module", params=["corei7_skylake_x", "corei7_icelake_u", "tigerlake"])
def m(start, request):
    return start(ONE, cpus=1, model=request.param)


def test_layout(m):
    layout = m.get("/v1/vmx/layout")
    host = m.get("/v1/host")
    assert layout["revision"] == host["vmcs_revision"] and layout["cpu_signature"] == host["cpu_signature"]
    assert layout["inside_a_hypervisor"] is False
    fields = {f["name"]: f for f in layout["fields"]}
    assert len(fields) > 130
    # Known for Bochs: access rights are stored transformed, everything else verbatim.
    transformed = {n for n, f in fields.items() if f["stored"] == "transformed"}
    assert transformed == {f"GUEST_{s}_ACCESS_RIGHTS" for s in "ES CS SS DS FS GS LDTR TR".split()}
    assert all(f["stored"] == "verbatim" for n, f in fields.items() if n not in transformed), layout
    # No two fields share a byte, and none has one of the first eight.
    taken = [b for f in layout["fields"] for b in range(f["offset"], f["offset"] + f["size"])]
    assert len(taken) == len(set(taken)) and min(taken) >= 8 and max(taken) < 4096
    widths = {f["name"]: f["width"] for f in m.get("/v1/guests/echo/vcpus/0/vmcs")["fields"]}
    assert all(f["size"] == {"16": 2, "32": 4, "64": 8, "natural": 8}[widths[n]] for n, f in fields.items())
    # The guest that asked goes on, and the next probe finds the same.
    assert m.get("/v1/vmx/layout") == layout and m.get("/healthz")["status"] == "ok"


def test_map(m):
    status, _, text = m.request("GET", "/v1/vmx/layout?format=text")
    rows = re.findall(r"^0x[0-9a-f]{3}  ([#.CRGHcrgh]{64})$", text, re.M)
    assert status == 200 and len(rows) == 64 and rows[0].startswith("########") and max(map(len, text.splitlines())) <= 100
    assert set("".join(rows)) >= set("#.CGHg")


def test_raw_region(m):
    layout = m.get("/v1/vmx/layout")
    dump = {f["name"]: f["value"] for f in m.get("/v1/guests/echo/vcpus/0/vmcs")["fields"]}
    region = bytearray(4096)
    region[:4] = int(layout["revision"], 16).to_bytes(4, "little")
    for f in layout["fields"]:
        if f["stored"] == "verbatim" and dump[f["name"]]:
            region[f["offset"]:f["offset"] + f["size"]] = int(dump[f["name"]], 16).to_bytes(f["size"], "little")
    status, _, body = m.request("POST", "/v1/vmx/decode?decode=0", bytes(region))
    assert status == 200
    decoded = {f["name"]: f["value"] for f in json.loads(body)["fields"]}
    for f in layout["fields"]:
        assert decoded[f["name"]] == (dump[f["name"]] if f["stored"] == "verbatim" else None), f
    region[0] ^= 1
    status, _, body = m.request("POST", "/v1/vmx/decode", bytes(region))
    assert status == 409 and "revision" in json.loads(body)["error"]["message"]
    assert m.request("POST", "/v1/vmx/decode", b"short")[0] == 400
    assert m.request("GET", "/v1/vmx/decode")[0] == 405
