"""One ES module of CommonJS modules, without a bundler: bundle.py ENTRY.js OUT.js. Each becomes a function; nothing is evaluated from text, as the page's
policy wants it. The default export is the entry's module.exports."""
import os
import re
import sys

REQUIRE = re.compile(r"\brequire\(\"(\.[^\"]+)\"\)")
MAP = re.compile(r"^//# sourceMappingURL=.*$", re.M)


def collect(path, root, found):
    """found: name -> text with requires by name, in the order of their names later."""
    name = os.path.relpath(path, root)
    if name in found:
        return
    with open(path, encoding="utf-8") as f:
        text = MAP.sub("", f.read())
    found[name] = None

    def rename(match):
        other = os.path.normpath(os.path.join(os.path.dirname(path), match[1]))
        other = other if os.path.isfile(other) else other + ".js"
        collect(other, root, found)
        return f'require("{os.path.relpath(other, root)}")'

    found[name] = REQUIRE.sub(rename, text)


def main():
    entry, out = sys.argv[1:]
    root = os.path.dirname(entry)
    found = {}
    collect(entry, root, found)
    with open(out, "w", encoding="utf-8") as f:
        f.write("const modules = {\n")
        for name in sorted(found):
            f.write(f'"{name}": function (require, module, exports) {{\n{found[name].strip()}\n}},\n')
        f.write("};\nconst made = {};\nfunction require(name) {\n    if (!made[name]) {\n        made[name] = {exports: {}};\n"
                "        modules[name].call(undefined, require, made[name], made[name].exports);\n    }\n    return made[name].exports;\n}\n"
                f'export default require("{os.path.basename(entry)}");\n')


if __name__ == "__main__":
    main()
