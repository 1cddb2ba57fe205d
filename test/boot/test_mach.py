"""GNU Mach, as Debian 13 ships it, starts a program of ours."""
import glob
import os
import subprocess

import appliance

PACKAGES = os.path.join(appliance.BUILD, "systems", "packages")


def content(path):
    with open(path, "rb") as f:
        return f.read()


def test_bootstrap_module(start):
    """The kernel's own words about its bootstrap module, and then the program's, which come through the kernel."""
    subprocess.run(["sh", "test/systems/packages.sh", PACKAGES, "trixie", "gnumach-image-1-amd64"], check=True)
    (kernel,) = glob.glob(os.path.join(PACKAGES, "trixie", "gnumach-image-1-amd64", "boot", "gnumach-*.gz"))
    m = start({"guests": [{"name": "mach", "image": "kernel", "cmdline": "console=com0", "memory": "64M", "modules": [{"file": "task", "args": "first $(task-create) $(task-resume)"}]}]},
              files={"kernel": content(kernel), "task": content(os.path.join(appliance.BUILD, "guests", "mach_task.elf"))})
    c = m.wait_for("/v1/guests/mach/console?format=json", lambda c: "mach_task: started\n" in c["text"].replace("\r", ""), "no words of the program")
    words = c["text"].replace("\r", "")
    assert "module 0: first $(task-create) $(task-resume)\n" in words and "task loaded: first\n" in words and "start first: mach_task: started\n" in words, words
    assert m.guest("mach")["state"] == "running"
