"""The page's modules as one module, so that a browser asks once and not two dozen times: page.py FIRST.js OUT.js. Each module becomes a function that returns
what it exports; modules that others import come first. Only what the page uses is understood: imports of names, and exports of declarations. Lines that hold
only a comment are left out."""
import os
import re
import sys

IMPORT = re.compile(r'^import (?:\{([^}]*)\} from )?"\./(\w+)\.js";\n', re.M)
EXPORT = re.compile(r"^export (?=(?:async )?(?:const|function|class) (\w+))", re.M)
COMMENT = re.compile(r"^\s*//.*\n", re.M)
OTHER = re.compile(r"^\s*(?:import|export)\b(?!\()", re.M)


def items(names):
    """The names of an import, each with its name here if that is another."""
    return [(n.split(" as ")[0], n.partition(" as ")[2]) for n in (" ".join(n.split()) for n in names.split(",")) if n]


def read(directory, name, done, under):
    """Appends the modules that `name` needs, and then itself, to `done`: name -> (text, exports)."""
    if name in done:
        return
    if name in under:
        sys.exit(f"page: {' imports '.join([*under, name])}: a circle")
    with open(os.path.join(directory, name + ".js"), encoding="utf-8") as f:
        text = f.read()
    for _, other in IMPORT.findall(text):
        read(directory, other, done, [*under, name])
    exports = EXPORT.findall(text)
    for names, other in IMPORT.findall(text):
        missing = [n for n, _ in items(names) if n not in done[other][1]]
        if missing:
            sys.exit(f"page: {name}.js: {other}.js exports no {', '.join(missing)}")
    text = IMPORT.sub(lambda m: "const {%s} = $%s;\n" % (", ".join(f"{n}: {mine}" if mine else n for n, mine in items(m[1])), m[2]) if m[1] else "", text)
    text = COMMENT.sub("", EXPORT.sub("", text))
    rest = OTHER.search(text)
    if rest:
        sys.exit(f"page: {name}.js: {text[rest.start():].strip().splitlines()[0]!r} is not understood")
    done[name] = text.strip(), exports


def main():
    first, out = sys.argv[1:]
    directory, name = os.path.dirname(first), os.path.basename(first).removesuffix(".js")
    done = {}
    read(directory, name, done, [])
    with open(out, "w", encoding="utf-8") as f:
        for module, (text, exports) in done.items():
            f.write("const $%s = (() => {\n%s\nreturn {%s};\n})();\n" % (module, text, ", ".join(exports)))
        f.write("export const {%s} = $%s;\n" % (", ".join(done[name][1]), name))


if __name__ == "__main__":
    main()
