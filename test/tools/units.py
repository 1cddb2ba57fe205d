"""One convention for sizes in whatever a user reads: B, KiB, MiB, GiB, which are powers of 1024. Prints each KB, MB or GB; exit status 1 if there is one."""
import glob
import re
import sys

WRONG = re.compile(r"(?<![A-Za-z0-9_])[kKMGT]B(?![A-Za-z0-9_])")
STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
# Files that are read as they are; of others what is in their strings.
TEXTS = r"README\.md|mgmt/.*\.md|iso/.*\.(md|json)|test/.*\.md|mgmt/page/.*|mgmt/openapi\.json|mgmt/grafana\.json|mgmt/.*\.yml|mgmt/bhctl/bhctl\.(1|bash)"
PROGRAMS = r"(hv|arch|net|mgmt)/.*\.(c|h|def)|test/tools/.*\.(c|py)|test/bench/.*\.py"


def main():
    wrong = found = 0
    for path in ["README.md", *(p for top in ("arch", "hv", "iso", "mgmt", "net", "test") for p in sorted(glob.glob(top + "/**/*.*", recursive=True)))]:
        texts, programs = re.fullmatch(TEXTS, path), re.fullmatch(PROGRAMS, path)
        if not (texts or programs) or path == "test/tools/units.py":
            continue
        with open(path, encoding="utf-8") as f:
            lines = f.read().split("\n")
        for n, line in enumerate(lines, 1):
            for part in [line] if texts else STRING.findall(line):
                found += len(re.findall(r"\b[KMGT]iB\b", part))
                for match in WRONG.finditer(part):
                    print(f"{path}:{n}: {match[0]} is a power of 1000 or of 1024: {match[0][0].upper()}iB is always one of 1024")
                    wrong += 1
    assert found > 100, found
    print("units: ok" if not wrong else f"units: {wrong} of {wrong + found} sizes differ from the convention")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
