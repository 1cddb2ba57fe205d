"""xterm.js as an ES module: bundle.py xterm.js OUT.js. The script is UMD: it is called like a CommonJS module, and its exports.Terminal is the default export.

The page's policy (CSP) allows styles only from files. Where the script makes style elements and style attributes, constructed style sheets and the
CSSOM replace them, which the policy allows. Each place must be found as often as in the version that the build pins."""
import re
import sys

MAP = re.compile(r"^//# sourceMappingURL=.*$", re.M)
PLACES = (
    # the renderer's rules for its dimensions and for the theme
    (re.compile(r'document\.createElement\("style"\)'), "sheet()", 2),
    # a cell's own colours
    (re.compile(r'(\w+)\.setAttribute\("style",`\$\{\1\.getAttribute\("style"\)\|\|""\}\$\{(\w+)\};`\)'), r"\1.style.cssText+=`${\2};`", 1),
)
SHEET = """function sheet() {
    const rules = new CSSStyleSheet(), place = document.createElement("template");

    document.adoptedStyleSheets = [...document.adoptedStyleSheets, rules];
    Object.defineProperty(place, "textContent", {set: (text) => rules.replaceSync(text)});
    place.remove = () => {
        document.adoptedStyleSheets = document.adoptedStyleSheets.filter((s) => s !== rules);
        Element.prototype.remove.call(place);
    };
    return place;
}
"""


def main():
    script, out = sys.argv[1:]
    with open(script, encoding="utf-8") as f:
        text = MAP.sub("", f.read())
    for pattern, instead, times in PLACES:
        text, found = pattern.subn(instead, text)
        if found != times:
            sys.exit(f"bundle: {script}: {pattern.pattern} is there {found} times, not {times}: the page's policy would refuse styles of this version")
    with open(out, "w", encoding="utf-8") as f:
        f.write(SHEET + "const module = {exports: {}};\n(function (module, exports) {\n" + text.strip() + "\n})(module, module.exports);\n"
                "export default module.exports.Terminal;\n")


if __name__ == "__main__":
    main()
