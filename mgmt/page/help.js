// Shortcuts: single keys, outside of text fields. "?" lists them.
import {el} from "./lib.js";

const OFF = "bulkhead-no-shortcuts";
const WAYS = {g: ["#/", "guests"], d: ["#/deploy", "new guest, images"], e: ["#/events", "events"], l: ["#/log", "log"],
              v: ["#/layout", "VMCS layout"], c: ["#/capabilities", "capabilities"], b: ["#/compare", "the VMCS beside the VMCB"]};
const OTHERS = {"[ ]": "the view before or behind, of a guest", t: "a guest's console", "F6": "out of its terminal",
                "arrows, Home, End": "in maps, time lines and tables of fields", "Enter": "keep the field that is shown", "?": "this list"};

const dialog = document.getElementById("help");
const off = el("input", {type: "checkbox", checked: localStorage.getItem(OFF) === "1",
                         onchange: () => localStorage.setItem(OFF, off.checked ? "1" : "0")});
const row = ([key, text]) => el("div", null, el("dt", null, el("kbd", null, key)), el("dd", null, text));

dialog.append(el("h2", {id: "help-title"}, "Keys"),
    el("dl", {class: "keys"}, Object.entries(WAYS).map(([key, [, text]]) => row([key, text])), Object.entries(OTHERS).map(row)),
    el("p", null, el("label", null, off, " no single-key shortcuts (but ?)")),
    el("button", {type: "button", onclick: () => dialog.close()}, "Close"));

const typedInto = (node) => node.closest?.("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable], dialog");

function tabs(by) {
    const links = [...document.querySelectorAll(".tabs a")];
    const at = links.findIndex((a) => a.getAttribute("aria-current") === "page");

    links[at + by]?.click();
}

document.getElementById("keys").addEventListener("click", () => dialog.showModal());
document.addEventListener("keydown", (e) => {
    if (e.defaultPrevented || e.ctrlKey || e.altKey || e.metaKey || typedInto(e.target))
        return;
    if (e.key === "?")
        dialog.showModal();
    else if (off.checked)
        return;
    else if (WAYS[e.key])
        location.hash = WAYS[e.key][0];
    else if (e.key === "[" || e.key === "]")
        tabs(e.key === "]" ? 1 : -1);
    else if (e.key === "t")
        document.querySelector('.tabs a[href*="/console"]')?.click();
    else
        return;
    e.preventDefault();
});
