"""What a build must say of the third-party source in it: one of the lines of mgmt/third_party.pins for each name."""
import re


def pins():
    """name -> the versions that will do, as {"version", "package"}, the newest first."""
    found = {}
    with open("mgmt/third_party.pins", encoding="utf-8") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                name, version, _, _, package, checksum = line.split()
                assert re.fullmatch(r"[0-9a-f]{64}", checksum), line
                found.setdefault(name, []).append({"version": version, "package": package.replace("=", " ")})
    return found


# As a tool's --version ends.
TEXT = "third-party source of this build:\n" + "".join(
    "(" + "|".join(re.escape(f"  {name} {v['version']} ({v['package']})\n") for v in versions) + ")" for name, versions in pins().items())
