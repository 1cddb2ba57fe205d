"""How the page looks, and what it says to those who do not see it: every view in both colour schemes, wide and narrow. Contrast is computed from the actual styles; nothing may be wider than a phone's
screen."""
import pytest

from test_page import browser, page  # noqa: F401 (fixtures)

# Each view, and an element that exists once it has its answer.
VIEWS = {"": "[data-guest=hog]", "deploy": "[data-image]", "events": "[data-event]", "log": ".ring:not(:empty)", "layout": ".region", "capabilities": "details", "compare": ".compare td",
         "guest/hog/vmcs": ".tile", "guest/hog/diff": ".snapshots td", "guest/hog/check": ".verdict:not(:empty)", "guest/hog/exits": ".exit", "guest/hog/controls": "[data-bit]",
         "guest/hog/plots": ".axis.y span", "guest/echo/console": ".xterm-accessibility-tree", "guest/echo": ".cards td", "guest/nobody": ".nobody"}

# All visible text with less contrast to its background than `least`. Disabled controls are left out, as in WCAG 1.4.3; so is the terminal's canvas.
FAINT = """((least) => {
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true}), known = new Map();
    const colour = (text) => {
        if (!known.has(text)) {
            canvas.clearRect(0, 0, 1, 1);
            canvas.fillStyle = text;
            canvas.fillRect(0, 0, 1, 1);
            const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
            known.set(text, [r, g, b, a / 255]);
        }
        return known.get(text);
    };
    const over = ([r, g, b, a], under) => [r, g, b].map((c, i) => c * a + under[i] * (1 - a));
    const luminance = (rgb) => rgb.map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    // What is seen of `ink` on `node`: each ancestor's background, and its opacity over what was there before.
    const seen = (node, ink) => {
        let behind = [255, 255, 255], front = null;
        const chain = [];
        for (let n = node; n; n = n.parentElement)
            chain.unshift(getComputedStyle(n));
        const paint = (i, under) => {
            if (i === chain.length)
                return ink ? over(colour(ink), under) : under;
            const whole = paint(i + 1, over(colour(chain[i].backgroundColor), under)), opacity = Number(chain[i].opacity);
            return whole.map((c, k) => c * opacity + under[k] * (1 - opacity));
        };
        return paint(0, behind);
    };
    const found = [];
    const judge = (node, ink, text) => {
        const [a, b] = [luminance(seen(node, ink)), luminance(seen(node, null))], ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < least)
            found.push(`${ratio.toFixed(2)} ${node.tagName}.${node.className} "${text.trim().slice(0, 40)}"`);
    };
    for (const node of document.querySelectorAll("body *")) {
        if (!node.checkVisibility({visibilityProperty: true}) || node.closest("svg, .xterm, .skip, [aria-disabled=true], :disabled, script"))
            continue;
        if (node.placeholder && !node.value)
            judge(node, getComputedStyle(node, "::placeholder").color, node.placeholder);
        const text = [...node.childNodes].filter((c) => c.nodeType === 3).map((c) => c.data).join("");
        if (text.trim() || node.value)
            judge(node, getComputedStyle(node).color, text || node.value);
    }
    return [...new Set(found)];
})(arguments[0])"""


# What axe would find, of the kinds that are easily made wrong: "make clients-page" runs all its rules. Things without a name, names that do not contain what is
# shown, empty headings, ids that are there twice, and landmarks.
NAMELESS = """(() => {
    const found = [], text = (n) => n.textContent.trim(), ids = [...document.querySelectorAll("[id]")].map((n) => n.id);
    for (const n of document.querySelectorAll("button, a, input, select, textarea, summary, dialog, [role=img], [role=application], [role=log]")) {
        if (!n.checkVisibility() || n.closest(".xterm"))
            continue;
        const label = n.getAttribute("aria-label") ?? document.getElementById(n.getAttribute("aria-labelledby"))?.textContent, shown = text(n);
        const own = n.matches("input, select, textarea") ? [...n.labels].map(text).join(" ") : n.matches("[role], dialog") ? "" : shown;
        if (!(label || own || n.title))
            found.push(`no name: ${n.outerHTML.slice(0, 80)}`);
        if (label && n.matches("button, a") && /[a-z]/i.test(shown) && !label.includes(shown))
            found.push(`"${label}" is not what is shown: "${shown}"`);
    }
    for (const n of document.querySelectorAll("th, h1, h2, h3, h4, caption, legend"))
        if (!text(n) && n.checkVisibility())
            found.push(`empty: ${n.outerHTML.slice(0, 80)}`);
    for (const [what, n, selector] of [["language", 1, "html[lang=en]"], ["main", 1, "main"], ["h1", 1, "h1"], ["title", 1, "title:not(:empty)"]])
        if (document.querySelectorAll(selector).length !== n)
            found.push(`not one ${what}`);
    return [...found, ...ids.filter((id, i) => ids.indexOf(id) !== i).map((id) => `twice: ${id}`)];
})()"""


@pytest.fixture(scope="module")
def m(start):
    return start(cpus=2)


@pytest.mark.parametrize("view", VIEWS)
def test_view(page, view):  # noqa: F811
    try:
        page.size(1200, 850)
        page.open(view)
        page.one(VIEWS[view])
        for node in page.all("details"):
            page.js("void (arguments[0].open = true)", node)
        assert page.js(NAMELESS) == []
        seen = set()
        for width in (1200, 360):
            page.size(width, 780)
            assert page.js("document.documentElement.scrollWidth") <= width
            for scheme in ("light", "dark"):
                page.media(scheme)
                assert page.js(FAINT, 4.5) == [], (width, scheme)
                seen.add(page.js("getComputedStyle(document.body).backgroundColor"))
        assert len(seen) == 2
        if view == "":
            page.wait(lambda: "..." not in page.text(".guests"), "rates, of two answers")
            page.screenshot("narrow")
    finally:
        page.usual()
