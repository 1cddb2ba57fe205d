"""The entry checks against machines: each way to break a VM entry is tried, and the checks must name what the CPU refuses. arch/x86/inspect/entry_check.md
lists what it accepts although the checks name it."""
import re

import pytest

import entry_trials
import machine

MODELS = ["corei7_skylake_x", "corei7_icelake_u", "tigerlake"]
NEW = machine.bochs_version() >= (3, 0)
OUTCOME = {"control": "VM-instruction error 7", "host": "VM-instruction error 8", "guest": "exit reason 0x80000021"}
REFUSED_LATE = "control.entry.smm"  # as guest state
LINE = re.compile(r"entry trial (\S+): ([^;\n]+)(?:; checks: (\d+) failed(?:: ([^\n]*))?)?")


def documented():
    """From entry_check.md: the rules that this Bochs never enforces, and those that it enforces in part."""
    with open("arch/x86/inspect/entry_check.md", encoding="utf-8") as f:
        never, part, three = re.search(r"Never enforced:(.*?)Out of reach.*?Enforced in part(.*?)Stricter.*?Never enforced besides:(.*?)\n#", f.read(), re.S).groups()
    if NEW:
        never += three
    return [set(re.findall(r"^\| `([a-z0-9_.]+)` \|", t, re.M)) for t in (never, part)]


def is_promised(mutation):
    """Whether this Bochs must refuse it."""
    return mutation.get("bochs_3", mutation["bochs"]) if NEW else mutation["bochs"]


@pytest.fixture(scope="module", params=MODELS)
def results(start, request):
    """(model, {trial: (outcome, how many checks failed, the first of them)})"""
    m = start({"guests": [{"name": "hog", "image": "guests/hog.elf", "memory": "2M"}]}, model=request.param, wait=False, kernel="trials.elf")
    end = m.wait_serial("entry trials: done").end()
    text = m.serial()[:end]
    m.wait_serial(r"management address:")
    assert {g["name"]: g["state"] for g in m.get("/v1/guests")["guests"]} == {"mgmt": "running", "hog": "running"}  # no harm was done
    return request.param, {name: (outcome, int(n or 0), rules.split(", ") if rules else []) for name, outcome, n, rules in LINE.findall(text)}


def test_refused_and_named(results):
    _, seen = results
    trials = list(entry_trials.trials())
    assert set(seen) == {name for name, *_ in trials} and len(trials) > 340
    never, part = documented()
    for name, rule, mutation, _ in trials:
        outcome, count, rules = seen[name]
        if rule is None:
            assert (outcome, count) == ("entered", 0), name
        elif outcome.startswith("not tried"):
            assert outcome == "not tried: no such field" and re.search("control|tigerlake", mutation.get("note", "")), (name, outcome)
        elif outcome == "entered":
            # Accepted although a check fails: only as documented. Without a failing check, this CPU has the feature.
            assert not is_promised(mutation) or count == 0 or rule in part, (name, outcome, rules)
            assert count == 0 or rules == [rule] and rule in never | part, (name, rules)
        else:
            # Refused: the checks name the reason, and the CPU stopped where they see the first failure.
            assert count > 0 and (outcome.startswith(OUTCOME[rules[0].split(".")[0]]) or rule == REFUSED_LATE), (name, outcome, rules)
            assert rule in rules, (name, rules)
            assert rule not in never or len(rules) > 1 or rule == REFUSED_LATE, (name, "is refused")


REFUSED = set()


def test_every_rule_is_broken_somewhere(results):
    """Every refusal promised by the column `bochs` is seen on at least one model."""
    model, seen = results
    REFUSED.update(name for name, (outcome, _, _) in seen.items() if outcome.startswith(("VM-", "exit reason")))
    if model == MODELS[-1]:
        promised = {name for name, rule, mutation, _ in entry_trials.trials() if rule and is_promised(mutation)}
        assert promised - REFUSED == set()


VMRUN_LINE = re.compile(r"VMRUN trial (\S+): (entered|refused, [^;\n]+); check: (\S+)")
# What they take although the check names it (entry_check.md).
VMRUN_TAKEN = {"qemu": {"control.asid.count", "control.n_cr3.reserved", "save.g_pat"}, "ryzen": {"control.iopm.address", "control.msrpm.address", "save.cr3.reserved"}}
# Nothing is broken: neither has CET, and ryzen has more ASIDs.
VMRUN_FITS = {"none", "control.asid.count", "save.cr4.cet", "save.s_cet.reserved"}


@pytest.mark.parametrize("where", ["qemu", "ryzen"])
def test_vmrun(start, where):
    """What VMRUN refuses the check names, and again behind it: the guest's state is as it was entered, though both emulators save the host's there."""
    m = start({"guests": []}, wait=False, kernel="trials.elf", **({"emulator": "qemu"} if where == "qemu" else {"model": where}))
    end = m.wait_serial("entry trials: done").end()
    seen = VMRUN_LINE.findall(m.serial()[:end])
    assert seen[0] == ("none", "entered", "none") and len(seen) > 25, m.serial()[:end]
    for rule, outcome, named in seen:
        if outcome == "entered":
            assert rule in VMRUN_FITS if named == "none" else named == rule and rule in VMRUN_TAKEN[where], (rule, named)
        else:
            assert named == rule and outcome == f"refused, kept, the same, then {rule}", (rule, outcome, named)
    m.wait_serial("management address:")  # no harm was done
