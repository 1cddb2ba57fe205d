"""A guest that tries to get out hurts only itself. Broken configurations and images lose only themselves."""
import pytest

ADDRESSES = [0x400000, 0xb8000000, 0xd0000000, 0xfee00000, 0xffffff000]


def isolation(name, cmdline):
    return {"name": name, "image": "guests/isolation.elf", "memory": "4M", "cmdline": cmdline, "core": 1}


@pytest.fixture(scope="module")
def m(start):
    guests = [isolation(f"{op}-{i}", f"{op} 0x{a:x}") for i, a in enumerate(ADDRESSES[:4]) for op in ("read", "write")]
    guests += [isolation("ports", "ports"), isolation("msrs", "msrs"),
               {"name": "flat", "image": "guests/flat.bin", "memory": "2M", "core": 1},
               {"name": "hog", "image": "guests/hog.elf", "memory": "2M", "core": 0}]
    return start({"guests": guests}, cpus=2)


@pytest.mark.parametrize("op", ["read", "write"])
@pytest.mark.parametrize("i", range(4))
def test_outside_of_its_memory(m, op, i):
    guest = m.wait_state(f"{op}-{i}", "crashed")
    assert f"0x{ADDRESSES[i]:x}" in guest["why"]
    assert "ESCAPED" not in m.request("GET", f"/v1/guests/{op}-{i}/console")[2]


def test_every_port(m):
    assert m.wait_state("ports", "stopped")["exit_code"] == 0
    assert "ports done" in m.request("GET", "/v1/guests/ports/console")[2]


def test_every_msr(m):
    assert m.wait_state("msrs", "stopped")["exit_code"] == 0
    assert "msrs done" in m.request("GET", "/v1/guests/msrs/console")[2]


def test_flat_binary(m):
    assert m.wait_state("flat", "stopped")["exit_code"] == 7
    assert "real mode at 0x7c00" in m.request("GET", "/v1/guests/flat/console")[2]


def test_others_run_on(m):
    before = m.guest("hog")["vcpus"][0]["run_ticks"]
    m.wait_for("/v1/guests/hog", lambda g: g["vcpus"][0]["run_ticks"] > before, "hog stands still")
    assert all(c["vmx_root"] for c in m.get("/v1/host")["cores"])


def test_broken_images_and_fields(start):
    with open("build/guests/hog.elf", "rb") as f:
        hog = f.read()
    wrapping = bytearray(hog)
    at = int.from_bytes(hog[32:40], "little")
    wrapping[at + 24:at + 32] = (2**64 - 0x1000).to_bytes(8, "little")  # the first segment's physical address
    m = start("""{"guests": [
  {"name": "good", "image": "guests/hog.elf", "memory": "2M"},
  {"name": "bad-field", "image": "guests/hog.elf", "memory": "1K"},
  {"name": "truncated", "image": "truncated.elf", "memory": "2M"},
  {"name": "wrapping", "image": "wrapping.elf", "memory": "2M"},
  {"name": "missing", "image": "missing.elf", "memory": "2M"},
  {"name": "huge", "image": "guests/hog.elf", "memory": "1G"}]}""", files={"truncated.elf": hog[:5000], "wrapping.elf": bytes(wrapping)})
    assert m.wait_serial(r"guests\.json:3:\d+: guests\[1\]\.memory: must be")
    assert m.wait_state("good", "running")
    assert "ends after the image" in m.wait_state("truncated", "failed")["why"]
    assert "is not usable memory" in m.wait_state("wrapping", "failed")["why"]
    assert "not among the boot modules" in m.wait_state("missing", "failed")["why"]
    assert "not enough memory" in m.wait_state("huge", "failed")["why"]
    assert "bad-field" not in [g["name"] for g in m.get("/v1/guests")["guests"]]


def test_no_json_at_all(start):
    m = start('{"guests": [}')
    assert m.wait_serial(r"guests\.json:1:13: ")
    assert [g["name"] for g in m.get("/v1/guests")["guests"]] == ["mgmt"]
