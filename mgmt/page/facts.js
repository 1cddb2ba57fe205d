// Names and values: a description list in a titled card.
import {el} from "./lib.js";

// show([name, text, node], ...): entries without a text are left out; `node`, if any, stands before the text.
export function factCard(title, ...more) {
    const list = el("dl", {class: "facts"});
    let known = "";

    return {
        node: el("section", {class: "card", "aria-label": title}, el("h3", null, title), list, more),
        show(...pairs) {
            const there = pairs.filter(([, text]) => text !== null && text !== undefined && text !== ""), now = JSON.stringify(there.map(([name, text]) => [name, text]));

            if (now === known)
                return;
            known = now;
            list.replaceChildren(...there.map(([name, text, node]) => el("div", {"data-fact": name}, el("dt", null, name), el("dd", null, node, node ? " " : null, text))));
        },
    };
}
