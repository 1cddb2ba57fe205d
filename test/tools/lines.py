"""Counts the lines of code, neither blank nor comment, that an ELF file's objects are compiled from: lines.py DEPENDENCIES... (.d files, as compilers write
them). Headers and .def files are included, wherever they are; generated files and the system's are not."""
import collections
import os
import re
import sys

# Keeps strings and characters; removes comments of C or, in assembly, of NASM, but keeps their line ends.
C_PARTS = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*|/\*.*?\*/', re.S)
ASM_PARTS = re.compile(r'"[^"\n]*"|\'[^\'\n]*\'|;[^\n]*')


def code_lines(name, text):
    parts = ASM_PARTS if name.endswith((".asm", ".inc")) else C_PARTS
    return sum(1 for line in parts.sub(lambda m: "\n" * m[0].count("\n") if m[0][0] in "/;" else m[0], text).split("\n") if line.strip())


def sources(dependencies):
    """The files of this tree that the rules in these files name."""
    names = set()
    for path in dependencies:
        with open(path, encoding="utf-8") as f:
            for rule in f.read().replace("\\\n", " ").split("\n"):
                names.update(os.path.normpath(n) for n in rule.partition(":")[2].split())
    return sorted(n for n in names if n.startswith(("arch/", "hv/", "net/", "mgmt/", "test/")))


def main():
    folders = collections.defaultdict(lambda: [0, 0])
    for name in sources(sys.argv[1:]):
        with open(name, encoding="utf-8") as f:
            lines = code_lines(name, f.read())
        for folder in (os.path.dirname(name) + "/", "in all"):
            folders[folder][0] += lines
            folders[folder][1] += 1
    total = folders.pop("in all")
    for folder, (lines, files) in sorted(folders.items()) + [("in all", total)]:
        print(f"{folder:<18} {lines:>6} lines of code in {files} files")


if __name__ == "__main__":
    main()
