// The VMCS beside the VMCB: which field of one holds what a field of the other holds.
import {api, breakable, el, setText} from "./lib.js";

const cell = (f, key) => el("td", {class: f ? f.belongs_to : "none"}, f ? [el("code", null, f[key]), " ", ...breakable(f.bit ? `${f.name}.${f.bit}` : f.name)] : "none");

const makeRow = (r) => ({
    words: [r.vmcs, r.vmcb].filter((f) => f).map((f) => `${f.name} ${f.bit ?? ""} ${f.encoding ?? f.offset}`).concat(r.note).join(" ").toLowerCase(),
    alike: r.vmcs && r.vmcb && !r.note,
    node: el("tr", {"data-topic": r.topic}, cell(r.vmcs, "encoding"), cell(r.vmcb, "offset"), el("td", null, r.note || "the same")),
});

export function compareView() {
    const search = el("input", {type: "search", placeholder: "name, encoding, offset or word", "aria-label": "Search"});
    const status = el("p", {class: "status", role: "status"}, "asking for the comparison ..."), place = el("div", {class: "scroll"});
    let rows = [], topics = [];

    function filter() {
        const words = search.value.trim().toLowerCase();

        for (const r of rows)
            r.node.hidden = !r.words.includes(words);
        for (const t of topics)
            t.hidden = !t.querySelector("tr[data-topic]:not([hidden])");
        setText(status, `${rows.filter((r) => !r.node.hidden).length} of ${rows.length} rows; ` +
            `${rows.filter((r) => r.alike).length} pairs hold the same.`);
    }

    function show(answer) {
        rows = answer.rows.map(makeRow);
        topics = [...new Set(answer.rows.map((r) => r.topic))].map((topic) => el("tbody", null,
            el("tr", null, el("th", {colspan: "3", scope: "rowgroup"}, topic)), rows.map((r) => r.node).filter((n) => n.dataset.topic === topic)));
        place.replaceChildren(el("table", {class: "compare"}, el("caption", null, "Intel's VMCS and AMD's VMCB, from the tables that dumps come from"),
            el("thead", null, el("tr", null, ["VMCS field", "VMCB field", "how they differ"].map((h) => el("th", {scope: "col"}, h)))), topics));
        filter();
    }
    search.addEventListener("input", filter);

    return {
        title: "VMCS and VMCB",
        node: el("section", null, el("h2", null, "The VMCS beside the VMCB"),
            el("p", null, "VT-x hides the layout of its control structure behind VMREAD and VMWRITE, and shows the host's state in it. SVM shows the layout: " +
               "the VMCB is memory, and every field is at a public offset; what it hides is the host's state, in a page of its own."),
            el("p", {class: "tools"}, search), status, place),
        async poll() {
            if (rows.length === 0)
                show(await api("v1/compare")); // it does not change
        },
    };
}
