"""The machine is reset on request, and after a panic if so configured. With more than one CPU Bochs's BIOS hangs at its keyboard test after any reset: hence
one CPU."""
import json
import os
import re
import subprocess

from appliance import BUILD
from bhctl import bare
from test_relocation import want_elsewhere

BANNER = r"core 0: Bulkhead "


def wait_second_boot(m):
    """The serial output from then on."""
    first = m.wait_serial(BANNER)
    return m.wait_serial(BANNER, first.end()).start()


def test_by_request(start):
    """The answer still arrives, and the log says who asked for the reset."""
    m = start({"guests": [{"name": "hog", "image": "guests/hog.elf", "memory": "2M"}]}, cpus=1)
    m.wait_state("hog", "running")
    assert m.request("POST", "/v1/host/actions", '{"action": "reset"}')[0] == 400
    status, out, err = bare("reboot", "-y", "--json", "--url", f"http://127.0.0.1:{m.port}", "--token", m.token)
    assert status == 0 and json.loads(out) == {"action": "reboot", "status": "accepted"}, err
    at = wait_second_boot(m)
    before = m.serial()[:at]
    assert "the machine is reset by request\n" in before and re.search(r"mgmt: .*POST /v1/host/actions.*reboot.*: 202\n", before)
    assert "Bulkhead stopped" not in before
    m.wait_serial(r"guest hog: started", at)
    m.wait_serial(r"management address", at)
    m.known_token = re.search(r"admin token of this boot: ([a-z2-7]{32})\n", m.serial()[at:])[1]
    assert {c["vmx_root"] for c in m.get("/v1/host")["cores"]} == {True}
    assert m.get("/v1/config")["panic_reboot_s"] == 30


def broken_kernel(directory, function):
    """The kernel with an undefined instruction at the start of a function; and where in the file that is."""
    path = os.path.join(BUILD, "bulkhead.elf")
    table = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
    address = int(re.search(rf"^([0-9a-f]+) . {function}$", table, re.M)[1], 16)
    headers = subprocess.run(["readelf", "-lW", path], capture_output=True, text=True, check=True).stdout
    for offset, start, size in re.findall(r"LOAD +0x([0-9a-f]+) 0x([0-9a-f]+) 0x[0-9a-f]+ 0x([0-9a-f]+)", headers):
        if 0 <= address - int(start, 16) < int(size, 16):
            with open(path, "rb") as f:
                kernel = bytearray(f.read())
            at = int(offset, 16) + address - int(start, 16)
            kernel[at:at + 2] = b"\x0f\x0b"
            with open(directory / "broken.elf", "wb") as f:
                f.write(kernel)
            return str(directory / "broken.elf"), address
    raise AssertionError(f"{function} is not in the file")


def test_after_a_panic(start, tmp_path):
    """And how to find the place in the kernel's file, if GRUB could not load it where it is linked."""
    kernel, address = broken_kernel(tmp_path, "exit_hypercall")
    m = start({"guests": [], "panic_reboot_s": 1}, cpus=1, wait=False, kernel=kernel, edit=want_elsewhere)
    at = wait_second_boot(m)
    before = m.serial()[:at]
    rip, above = re.search(r"\*\*\* Bulkhead stopped: #UD.*\n.*rip (\w+)\nthe kernel is 0x(\w+) bytes above where its file has it\n", before).groups()
    assert int(rip, 16) - int(above, 16) == address
    assert "*** All cores are halted. The machine resets in 1 s.\n" in before
    m.stop()
