"""config-check, the host tool, on images that are not what they seem."""
import gzip
import json
import os
import subprocess

import pytest

BUILD = os.environ.get("BULKHEAD_BUILD", "build")
# Its size is given as a page, but it holds fewer bytes.
SHORT = "/sys/devices/system/cpu/online"


def check(tmp_path, **guest):
    config = tmp_path / "guests.json"
    config.write_text(json.dumps({"guests": [{"name": "g", "memory": "16M", **guest}]}))
    return subprocess.run([f"{BUILD}/config-check", "--search", BUILD, str(config)], capture_output=True, text=True, timeout=600)


def test_good_image(tmp_path):
    r = check(tmp_path, image="guests/echo.elf")
    assert r.returncode == 0, r.stderr


@pytest.mark.parametrize("memory, says", [("4M", ""), ("3M", "guests.json:1:66: guests[0].memory: must be 2M to 256G")])
def test_iso_of_a_wrong_configuration(tmp_path, memory, says):
    """It is packed, as the appliance uses the rest of it, and its errors are named."""
    config, iso = tmp_path / "guests.json", tmp_path / "out.iso"
    config.write_text(json.dumps({"guests": [{"name": "g", "image": "guests/echo.elf", "memory": memory}]}))
    r = subprocess.run(["/usr/bin/python3", "test/tools/mkiso.py", "--build", BUILD, "--config", str(config), "--out", str(iso)], capture_output=True, text=True, timeout=600)
    assert r.returncode == 0 and iso.exists() and says in r.stderr and bool(says) == bool(r.stderr), r.stderr


@pytest.mark.skipif(not os.path.exists(SHORT), reason="no such file on this system")
def test_file_that_ends_early_is_refused(tmp_path):
    os.symlink(SHORT, tmp_path / "short")
    r = check(tmp_path, image="guests/echo.elf", modules=[{"file": "short"}])
    assert r.returncode == 1
    assert 'module "short": no such file' in r.stderr


def test_compressed_kernels(tmp_path):
    with open(f"{BUILD}/guests/echo.elf", "rb") as f:
        echo = f.read()
    packed = gzip.compress(echo)
    (tmp_path / "echo.gz").write_bytes(packed)
    (tmp_path / "cut.gz").write_bytes(packed[:-100])
    (tmp_path / "large.gz").write_bytes(gzip.compress(bytes(3 << 20)))
    r = check(tmp_path, image="echo.gz")
    assert r.returncode == 0 and "multiboot2" in r.stdout, r.stderr
    for name, memory, why in ("cut.gz", "16M", "cannot be unpacked"), ("large.gz", "2M", "more bytes than the guest has memory"):
        r = check(tmp_path, image=name, memory=memory)
        assert r.returncode == 1 and f'image "{name}": ' in r.stderr and why in r.stderr, r.stderr
    r = check(tmp_path, image="echo.gz", kind="flat")
    assert r.returncode == 0 and "flat" in r.stdout, r.stderr


def test_certificate_that_is_not_there(tmp_path):
    config = tmp_path / "guests.json"
    config.write_text(json.dumps({"guests": [], "management": {"certificate": "c.pem", "key": "k.pem"}}))
    (tmp_path / "c.pem").write_text("any")
    r = subprocess.run([f"{BUILD}/config-check", str(config)], capture_output=True, text=True, timeout=600)
    assert r.returncode == 1 and 'management.key: "k.pem": no such file' in r.stderr and "c.pem" not in r.stderr, r.stderr
