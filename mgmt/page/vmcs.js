// The VMCS or VMCB of a guest: the map of its fields.
import {api, breakable, duration, el, field, GROUPS, setText, state, step, table, vcpuPath} from "./lib.js";

const TITLES = {guest: "Guest state", host: "Host state", control: "Controls",
                "read-only": "Read-only data"};
const CHANGES = {setup: "set up once", run: "changes as the guest runs", entry: "set for a VM entry",
                 exit: "written by a VM exit"};
const SHARED = new Set(["GUEST", "HOST"]); // a section's title already says it

// ---- the inspector: everything about one field ----

const provenance = (b) => b.forced === null || b.forced === undefined
    ? (b.wanted === undefined ? "" : b.wanted ? "wanted" : "not wanted")
    : [b.wanted ? "wanted" : "not wanted", `, forced to ${b.forced} by `, breakable(b.forced_by)].flat();

function bitTable(f) {
    const origin = f.bits.some((b) => "wanted" in b);
    const heads = ["bits", "part", "value", "sense"];

    return table("Decoded", origin ? [...heads, "why"] : heads, f.bits.map((b) => {
        const cells = [b.bits, breakable(b.name), b.value, b.meaning];

        return origin ? [...cells, provenance(b)] : cells;
    }));
}

const rangeList = (title, ranges) => [el("h4", null, title), el("ul", null, ranges.map((r) => el("li",
    null, r.first === r.last ? r.first : `${r.first} to ${r.last}`,
    r.names.length ? `: ${r.names.join(", ")}` : "")))];

function bitmapLists(f, bitmaps) {
    if (!bitmaps)
        return [];
    if (/^IO(_BITMAP|PM_)/.test(f.name))
        return rangeList("Ports that exit", bitmaps.ports_that_exit);
    if (/^MSR(_BITMAP|PM_)/.test(f.name))
        return [rangeList("MSRs read without an exit", bitmaps.msr_reads_without_exit),
                rangeList("MSRs written without an exit", bitmaps.msr_writes_without_exit)];
    return [];
}

function inspect(panel, f, bitmaps, pinned) {
    const facts = [`${state.key} ${f[state.key]}`, `${f.width} bits`, CHANGES[f.volatility] ?? f.volatility];

    panel.replaceChildren(...[
        el("h3", null, breakable(f.name), pinned ? " (kept)" : ""),
        el("p", null, el("code", {class: "value"}, f.value ?? "absent"), ` ${facts.join(", ")}`),
        f.value === null ? el("p", null, `Absent: ${f.reason}.`) : null,
        f.belongs_to !== f.group
            ? el("p", {class: "misfit-reason"}, `Misfit: ${state.said}${f.group}${state.saidEnd}, ` +
                 `belongs to ${f.belongs_to}${f.oddity ? `: ${f.oddity}` : ""}.`)
            : f.oddity ? el("p", {class: "oddity"}, f.oddity) : null,
        f.bits?.length ? bitTable(f) : null,
        ...bitmapLists(f, bitmaps).flat(),
    ].filter((n) => n));
}

// ---- the map ----

// What colour and sign say, for those who do not see them.
const misfitText = (f) => (f.belongs_to === f.group ? "" : `, misfit: ${state.said}${f.group}${state.saidEnd}, ${f.oddity ?? ""}`);

function shortName(f) {
    const [first, ...rest] = f.name.split("_");

    return SHARED.has(first) ? rest.join("_") : f.name;
}

const shortValue = (v) => v === null ? "absent" : v.replace(/^0x0+(?=.)/, "0x");

function makeTile(f) {
    const classes = ["tile", f.group, f.belongs_to === f.group ? "" : "misfit", f.value === null ? "absent" : ""];
    const value = el("span", {class: "value"}, shortValue(f.value));
    const node = el("button", {type: "button", class: classes.filter(Boolean).join(" "), tabindex: "-1",
                               "data-name": f.name, title: f.name},
                    el("span", {class: "name"}, breakable(shortName(f))), value, f.belongs_to === f.group ? null : el("span", {class: "unseen"}, misfitText(f)));

    return {node, value, f};
}

export function mapView(guest, vcpu) {
    const path = `${vcpuPath(guest, vcpu)}/${state.path}`;
    const search = el("input", {type: "search", placeholder: `name, ${state.key} or value`, "aria-label": "Search"});
    const odd = el("input", {type: "checkbox"}), still = el("input", {type: "checkbox"});
    const status = el("p", {class: "status"}, `asking for the ${state.name} ...`);
    const panel = el("aside", {class: "inspector", "aria-live": "polite", "aria-label": "Field"},
                     el("p", null, "Point at a field, or go to it with the keyboard: what it holds and " +
                        "means is shown here. Enter keeps it."));
    const sections = el("div", {class: "sections"}), registers = el("p", {class: "registers"});
    let tiles = [], bitmaps = null, current = null, pinned = null;

    const shown = () => tiles.filter((t) => !t.node.hidden);

    // The decoded parts are as old as the first answer: they are requested again when the value changes.
    async function show(tile) {
        current = tile;
        inspect(panel, tile.f, bitmaps, tile === pinned);
        if (tile.decoded === tile.f.value)
            return;
        const answer = await api(`${path}?decode=1&fields=${tile.f[state.key]}`).catch(() => null);

        if (!answer?.fields[0] || tile !== current)
            return;
        tile.f = answer.fields[0];
        tile.decoded = tile.f.value;
        inspect(panel, tile.f, bitmaps, tile === pinned);
    }

    const tileOf = (e) => tiles.find((t) => t.node === e.target.closest(".tile"));

    function select(tile) {
        tiles.forEach((t) => t.node.setAttribute("tabindex", t === tile ? "0" : "-1"));
    }

    function filter() {
        const words = search.value.trim().toLowerCase();

        for (const t of tiles)
            t.node.hidden = (odd.checked && t.f.group === t.f.belongs_to) ||
                !`${t.f.name} ${t.f[state.key]} ${t.f.value}`.toLowerCase().includes(words);
        sections.querySelectorAll("section").forEach((s) => {
            s.hidden = !s.querySelector(".tile:not([hidden])");
        });
        select(shown()[0]);
    }

    function first(dump) {
        tiles = dump.fields.map((f) => ({...makeTile(f), decoded: f.value}));
        bitmaps = dump.bitmaps;
        sections.replaceChildren(...["guest", "control", "host", "read-only"].map((g) => {
            const mine = tiles.filter((t) => t.f.belongs_to === g);

            return el("section", {"aria-label": TITLES[g]}, el("h3", null, `${TITLES[g]} (${mine.length})`),
                      el("div", {class: "tiles"}, mine.map((t) => t.node)));
        }));
        tiles = [...sections.querySelectorAll(".tile")].map((n) => tiles.find((t) => t.node === n));
        filter();
    }

    function update(dump) {
        const byName = new Map(dump.fields.map((f) => [f.name, f]));
        let changes = 0;

        for (const t of tiles) {
            const value = byName.get(t.f.name)?.value ?? null, changed = value !== t.f.value;

            t.node.classList.toggle("changed", changed);
            if (!changed)
                continue;
            changes++;
            t.f.value = value;
            setText(t.value, shortValue(value));
        }
        return changes;
    }

    sections.addEventListener("pointerover", (e) => {
        const t = tileOf(e);

        if (t && !pinned && t !== current)
            show(t);
    });
    sections.addEventListener("focusin", (e) => {
        const t = tileOf(e);

        select(t);
        panel.setAttribute("aria-live", "polite");
        if (!pinned)
            show(t);
    });
    sections.addEventListener("click", (e) => {
        const t = tileOf(e);

        if (!t)
            return;
        pinned?.node.classList.remove("pinned");
        pinned = pinned === t ? null : t;
        t.node.classList.toggle("pinned", t === pinned);
        show(t);
    });
    sections.addEventListener("keydown", (e) => {
        const visible = shown(), t = tileOf(e);
        const columns = t ? getComputedStyle(t.node.parentNode).gridTemplateColumns.split(" ").length : 1;
        const to = step(e.key, visible.indexOf(t), visible.length, columns);

        if (to === null)
            return;
        e.preventDefault();
        visible[to].node.focus();
    });
    search.addEventListener("input", filter);
    odd.addEventListener("change", filter);

    return {
        node: el("div", {class: "vmcs"}, el("div", {class: "map"},
            el("p", {class: "tools"}, search, field("only misfits", odd), field("hold still", still)),
            el("p", {class: "legend"}, `Sections by what a field is; colour by what ${state.by}: `,
               GROUPS.map((g) => el("span", {class: `key ${g}`}, g)), el("span", {class: "key misfit"}, "misfit"),
               el("span", {class: "key changed"}, "changed since the last look")),
            status, el("details", null, el("summary", null, "Registers"), registers), sections), panel),
        async poll() {
            if (still.checked && tiles.length)
                return;
            const dump = await api(tiles.length ? path : `${path}?decode=1`);
            const changes = tiles.length ? update(dump) : (first(dump), 0);
            const misfits = tiles.filter((t) => t.f.group !== t.f.belongs_to).length;

            setText(registers, Object.entries(dump.registers ?? {}).map(([name, value]) => `${name} ${value}`).join("  "));
            setText(status, `${tiles.length} fields, ${misfits} misfits; ${changes} changed since the last ` +
                            `look. Last exit: ${dump.exit?.reason ?? "none"}. Cost of looking: ` +
                            `${duration(dump.snapshot_ticks)}.`);
            if (current?.node.classList.contains("changed")) {
                panel.setAttribute("aria-live", "off"); // only fields that the user selects are read out
                await show(current);
            }
        },
    };
}
