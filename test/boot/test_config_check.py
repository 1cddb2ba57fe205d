"""config-check, the host tool: what it says about images that are not what they seem."""
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
    return subprocess.run([f"{BUILD}/config-check", "--search", BUILD, str(config)], capture_output=True, text=True, timeout=60)


def test_good_image(tmp_path):
    r = check(tmp_path, image="guests/echo.elf")
    assert r.returncode == 0, r.stderr


@pytest.mark.skipif(not os.path.exists(SHORT), reason="no such file on this system")
def test_file_that_ends_early_is_refused(tmp_path):
    os.symlink(SHORT, tmp_path / "short")
    r = check(tmp_path, image="guests/echo.elf", modules=[{"file": "short"}])
    assert r.returncode == 1
    assert 'module "short": no such file' in r.stderr


def test_certificate_that_is_not_there(tmp_path):
    config = tmp_path / "guests.json"
    config.write_text(json.dumps({"guests": [], "management": {"certificate": "c.pem", "key": "k.pem"}}))
    (tmp_path / "c.pem").write_text("any")
    r = subprocess.run([f"{BUILD}/config-check", str(config)], capture_output=True, text=True, timeout=60)
    assert r.returncode == 1 and 'management.key: "k.pem": no such file' in r.stderr and "c.pem" not in r.stderr, r.stderr
