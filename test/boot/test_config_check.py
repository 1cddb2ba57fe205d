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
