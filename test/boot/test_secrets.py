"""Secrets are really zeroed: the compiler may drop a memset() of memory that is not read again. Inspects the objects of the ISO; nothing is booted."""
import os
import re
import subprocess

import pytest

from appliance import BUILD


def code(path, function):
    """A function's instructions and relocations."""
    text = subprocess.run(["objdump", "-dr", "--no-show-raw-insn", os.path.join(BUILD, path)], capture_output=True, text=True, check=True).stdout
    found = re.search(rf"^[0-9a-f]+ <{function}[.\w]*>:\n(.*?)(?:\n\n|\Z)", text, re.M | re.S)
    return found[1] if found else text  # it was inlined into its caller


@pytest.mark.parametrize("path, function, times", [("kernel/hv/main.o", "make_token", 2), ("kernel/hv/log.o", "log_secret", 1)])
def test_wiped(path, function, times):
    assert len(re.findall(r"R_X86_64_\w+\s+memzero_explicit\b", code(path, function))) >= times


@pytest.mark.parametrize("path", ["kernel/hv/lib.o", "mgmt/hv/lib.o"])
def test_wipes(path):
    """By string stores, or by calling a function that stores."""
    assert re.search(r"rep stos|R_X86_64_\w+\s+memset\b", code(path, "memzero_explicit"))
