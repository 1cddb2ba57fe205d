"""Holds the objects of the root to a rule, which it prints: circles.py LIST, a file with the names of all of them. Exit status 1 if it is broken.
An object needs another if it has an undefined symbol (nm) that the other defines."""
import collections
import os
import re
import subprocess
import sys

RULE = """No two sources of the root need each other over others in between: no circles of more than two files.
Calls through a contract ({contracts}) do not count, nor do log, panic, lib and fmt, which all may use."""

# Code on one side of one of these headers does not know the other side.
CONTRACTS = ("hv/arch.h", "hv/virt.h", "hv/exit.h", "hv/net.h", "hv/pc/device.h", "hv/pc/irqchip.h", "arch/x86/guest/vcpu_state.h", "net/nic.h")
FOR_ALL = ("hv/log.h", "hv/panic.h", "hv/lib.h", "hv/fmt.h")

# Permitted circles: their sources, and why.
LISTED = ()


def declared(header):
    """The functions and variables that a header declares."""
    with open(header, encoding="utf-8") as f:
        text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", f.read(), flags=re.S)
    return set(re.findall(r"\b([a-z_]\w*)\s*\(", text)) | set(re.findall(r"\bextern\b[^;(]*?\b(\w+)\s*(?:\[[^;]*)?;", text))


def source(name):
    """build/kernel/hv/main.o: hv/main.c; build/kernel/arch/x86/cpu/isr.asm.o: arch/x86/cpu/isr.asm"""
    name = name.partition("/kernel/")[2].removesuffix(".o")
    return name if name.endswith(".asm") else name + ".c"


def needs(objects):
    """source -> source -> the symbols that the first needs from the second."""
    free = set().union(*(declared(h) for h in CONTRACTS + FOR_ALL if os.path.exists(h)))
    home, wanted = {}, collections.defaultdict(set)
    for line in subprocess.run(["nm", "-A", "-g", *objects], capture_output=True, text=True, check=True).stdout.splitlines():
        name, _, rest = line.partition(":")
        *_, kind, symbol = rest.split()
        if kind == "U":
            wanted[source(name)].add(symbol)
        else:
            home[symbol] = source(name)
    found = {source(o): collections.defaultdict(set) for o in objects}
    for name, symbols in wanted.items():
        for symbol in symbols - free:
            if home.get(symbol, name) != name:
                found[name][home[symbol]].add(symbol)
    return found


def reachable(graph, start):
    found, rest = set(), [start]
    while rest:
        new = set(graph[rest.pop()]) - found
        found |= new
        rest += new
    return found


def circles(graph):
    """Sorted lists of sources that can reach each other, the largest first."""
    reach = {name: reachable(graph, name) for name in graph}
    found = {tuple(sorted(other for other in reach[name] if name in reach[other])) for name in graph}
    return sorted((c for c in found if len(c) > 1), key=lambda c: (-len(c), c))


def main():
    try:
        with open(sys.argv[1], encoding="utf-8") as f:
            objects = f.read().split()
        stale = [o for o in objects if os.stat(o).st_mtime < os.stat(source(o)).st_mtime]
    except FileNotFoundError:
        stale = True
    if stale:
        print("circles: not looked at: the root has to be built first")
        return 0
    graph = needs(objects)
    found = circles(graph)
    bad = 0
    for circle in found:
        if len(circle) == 2 or any(set(circle) <= set(names) for names, _ in LISTED):
            continue
        bad += 1
        print(f"a circle of {len(circle)}:")
        for name in circle:
            for other in circle:
                if graph[name][other]:
                    print(f"    {name} needs {other}: {', '.join(sorted(graph[name][other]))}")
    print(RULE.format(contracts=", ".join(c for c in CONTRACTS if os.path.exists(c))))
    for names, why in LISTED:
        print(f"    but for {', '.join(names)}: {why}")
    print(f"circles: {f'{bad} too many' if bad else 'ok'}; of {len(objects)} files these many are in one: {', '.join(str(len(c)) for c in found) or 'none'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
