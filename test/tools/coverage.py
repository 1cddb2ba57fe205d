"""How many lines of folders the unit tests reach: coverage.py OBJECTS FOLDER... OBJECTS: a directory of objects that gcc --coverage made and that have been
run. Lines are gcov's, of .c and .h; a line is reached if it is in any object."""
import collections
import json
import os
import subprocess
import sys


def reports(notes):
    """gcov's report of each object; a few at a time, since a command line has a limit."""
    for at in range(0, len(notes), 50):
        out = subprocess.run(["gcov", "--json-format", "--stdout", *notes[at:at + 50]], capture_output=True, text=True, check=True).stdout
        yield from (json.loads(line) for line in out.splitlines() if line)


def main():
    objects, folders = sys.argv[1], tuple(sys.argv[2:])
    notes = [os.path.join(at, name) for at, _, names in os.walk(objects) for name in names if name.endswith(".gcno")]
    lines = collections.defaultdict(lambda: collections.defaultdict(int))  # file -> line -> execution count
    for report in reports(notes):
        for file in report["files"]:
            name = os.path.normpath(file["file"])
            if name.startswith(folders) and os.path.exists(name):
                for line in file["lines"]:
                    lines[name][line["line_number"]] += line["count"]
    sums = collections.defaultdict(lambda: [0, 0])
    for name, counts in sorted(lines.items()):
        reached = sum(1 for n in counts.values() if n)
        for of in (name, os.path.dirname(name) + "/", "in all"):
            sums[of][0] += reached
            sums[of][1] += len(counts)
    total = sums.pop("in all")
    # A folder, then its files.
    for of, (reached, there) in sorted(sums.items(), key=lambda s: (os.path.dirname(s[0]), s[0])) + [("in all", total)]:
        indent = "" if of.endswith("/") or of == "in all" else "  "
        print(f"{indent + of:<36} {100 * reached / there:>5.1f} % of {there:>5} lines")


if __name__ == "__main__":
    main()
