"""What a build must report about its third-party source: for each name, one of the lines of mgmt/third_party.pins."""
import re


def pins():
    """name -> the acceptable versions, as {"version", "package"}, newest first."""
    found = {}
    with open("mgmt/third_party.pins", encoding="utf-8") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                name, version, _, _, package, checksum = line.split()
                assert re.fullmatch(r"[0-9a-f]{64}", checksum), line
                found.setdefault(name, []).append({"version": version, "package": package.replace("=", " ")})
    return found


# How a tool's --version must end.
TEXT = "third-party source of this build:\n" + "".join(
    "(" + "|".join(re.escape(f"  {name} {v['version']} ({v['package']})\n") for v in versions) + ")" for name, versions in pins().items())
