"""Converts test/entry_rules.json to a file of entry trials for test/kernel/trials.c: entry_trials.py > trials.txt. test/kernel/trial_file.h has its format.

Trials that are impossible on a machine, or could harm it, are left out; skipped() says why."""
import json
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
# Fields that belong to the machine: the guest's tables and bitmaps, and what the CPU needs to return.
OWN = {"VPID", "EPT_POINTER", "IO_BITMAP_A", "IO_BITMAP_B", "MSR_BITMAP", "TSC_MULTIPLIER"}
ALL = (1 << 64) - 1


def encodings():
    with open(os.path.join(ROOT, "arch/x86/inspect/fields.def"), encoding="utf-8") as f:
        return {name: int(number, 16) for number, name in re.findall(r"VMCS_FIELD\w*\((0x[0-9a-f]+), *(\w+)", f.read())}


def rules():
    with open(os.path.join(ROOT, "test/entry_rules.json"), encoding="utf-8") as f:
        return json.load(f)


def skipped(rule, mutation):
    """Why a trial is left out, or None."""
    if mutation.get("caps") or mutation.get("cpu"):
        return "would be another CPU"
    if rule.startswith("host.") and not mutation["bochs"]:
        return "a CPU that took it would come back with a broken host"
    if "panics" in mutation.get("note", ""):
        return "Bochs panics"
    return None


def field(numbers, spec):
    clear, bits = (ALL, int(spec["value"], 0)) if "value" in spec else (int(spec.get("clear", "0"), 0), int(spec.get("set", "0"), 0))
    return f"{numbers[spec['field']]:x}:{clear:x}:{bits:x}"


def trials():
    """(name, rule, mutation, line) of each trial; the baselines come first, with rule None."""
    numbers, data = encodings(), rules()
    base = {name: " ".join(field(numbers, {"field": f, "value": v}) for f, v in fields.items() if f not in OWN and not f.startswith("HOST_"))
            for name, fields in data["baselines"].items()}
    for name, fields in base.items():
        yield f"baseline.{name}", None, {"bochs": False}, f"baseline.{name} {fields}"
    for rule, mutations in data["rules"].items():
        for n, mutation in enumerate(mutations):
            if not skipped(rule, mutation):
                name = f"{rule}#{n}"
                yield name, rule, mutation, f"{name} {base[mutation['baseline']]} | " + " ".join(field(numbers, c) for c in mutation["changes"])


def text():
    return "".join(line + "\n" for _, _, _, line in trials())


if __name__ == "__main__":
    sys.stdout.write(text())
