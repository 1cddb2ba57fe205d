// One guest: its tabs, and what it does: exits, controls, console.
import {api, bar, count, duration, el, field, percent, reasonColour, Refusal, setText, step, svg, table,
        vcpuPath} from "./lib.js";
import {ringPane} from "./host.js";
import {checkView, diffView, mapView} from "./vmcs.js";

const TABS = {vmcs: ["VMCS", mapView], diff: ["Differences", diffView], check: ["Entry check", checkView],
              exits: ["Exits", exitsView], controls: ["Controls", controlsView],
              console: ["Console", consoleView]};

// ---- exits ----

function barChart(exits) {
    const entries = Object.entries(exits).sort((a, b) => b[1] - a[1]);
    const most = entries[0]?.[1] ?? 1, total = entries.reduce((sum, [, n]) => sum + n, 0);

    return entries.map(([reason, n]) => el("tr", {"data-reason": reason, "data-count": String(n)},
        el("th", {scope: "row"}, reason), el("td", {class: "wide"}, bar(n / most)),
        el("td", {class: "number"}, count(n)), el("td", {class: "number"}, percent(n / total))));
}

const COLUMN = 6, HALF = 70, DECADES = 7; // of the timeline: pixels, pixels, powers of ten of ticks

// Logarithmic: a handler of 200 ticks and a guest that ran for a slice are both to be seen.
const height = (ticks) => ticks > 0 ? Math.max(2, HALF * Math.log10(ticks + 1) / DECADES) : 0;

function column(exits, i) {
    const e = exits[i], before = exits[i - 1];
    const inGuest = before && before.root_ticks !== null ? e.tsc - before.tsc - before.root_ticks : 0;
    const up = Math.min(HALF, height(inGuest)), down = Math.min(HALF, height(e.root_ticks ?? 0));

    return {e, inGuest, node: svg("g", {class: "exit"},
        svg("rect", {class: "hit", x: i * COLUMN, y: 0, width: COLUMN, height: 2 * HALF}),
        svg("rect", {class: "in-guest", x: i * COLUMN, y: HALF - up, width: COLUMN - 1, height: up}),
        svg("rect", {x: i * COLUMN, y: HALF, width: COLUMN - 1, height: down, fill: reasonColour(e.number)}))};
}

function describe({e, inGuest}) {
    const detail = ["guest_physical", "msr", "leaf", "function"].find((name) => name in e);

    return `${e.sequence}: ${e.reason} at RIP ${e.rip}, qualification ${e.qualification}` +
        `${detail ? `, ${detail.replace("_", "-")} ${e[detail]}` : ""}; ${duration(inGuest)} in the guest before, ` +
        `${duration(e.root_ticks)} in the handler${e.outcome === "halt" ? " or waiting" : ""}; outcome ${e.outcome}`;
}

function timeline(readout, tip) {
    const chart = svg("svg", {class: "timeline", tabindex: "0", role: "application",
                              "aria-label": "Timeline of the last exits; arrow keys go from exit to exit"});
    let columns = [], at = 0;

    function select(i) {
        columns[at]?.node.classList.remove("selected");
        at = i;
        columns[at]?.node.classList.add("selected");
        setText(readout, columns[at] ? describe(columns[at]) : "no exits yet");
    }
    chart.addEventListener("pointermove", (e) => {
        const i = columns.findIndex((c) => c.node === e.target.closest(".exit"));

        if (i < 0)
            return;
        select(i);
        setText(tip, describe(columns[i]));
        tip.hidden = false;
        tip.style.left = `${Math.min(e.clientX + 12, innerWidth - 270)}px`;
        tip.style.top = `${e.clientY + 16}px`;
    });
    chart.addEventListener("pointerleave", () => {
        tip.hidden = true;
    });
    chart.addEventListener("keydown", (e) => {
        const to = step(e.key, at, columns.length);

        if (to === null)
            return;
        e.preventDefault();
        select(to);
    });
    return {chart, show(exits) {
        columns = exits.map((_, i) => column(exits, i));
        at = columns.length - 1;
        chart.setAttribute("viewBox", `0 0 ${Math.max(1, columns.length) * COLUMN} ${2 * HALF}`);
        chart.replaceChildren(...columns.map((c) => c.node));
        select(at);
    }};
}

const reasonLegend = (exits) => [...new Map(exits.map((e) => [e.reason, e.number]))].map(([reason, number]) => {
    const key = el("span", {class: "key"}, reason);

    key.style.borderColor = reasonColour(number);
    return key;
});

function exitsView(guest) {
    const bars = el("tbody"), tops = el("div", {class: "tops"});
    const still = el("input", {type: "checkbox"}), legend = el("p", {class: "legend"});
    const readout = el("output", {class: "readout"}), tip = el("div", {class: "tip", role: "tooltip", hidden: true});
    const line = timeline(readout, tip);

    return {
        node: el("div", null, el("p", {class: "tools"}, field("hold still", still)),
            el("table", {class: "bars"}, el("caption", null, "Exits since the guest's start, by reason"), bars),
            el("h3", null, "The last exits"), el("p", null, "Above: the guest. Below: the handler. " +
               "Heights are logarithmic, each line is ten times the one before."),
            legend, el("div", {class: "scroll"}, line.chart), readout, tip, tops),
        async poll() {
            if (still.checked && bars.children.length)
                return;
            const answer = await api(`v1/guests/${encodeURIComponent(guest)}`);

            bars.replaceChildren(...barChart(answer.vcpus[0].exits));
            const {exits, top} = await api(`${vcpuPath(guest)}/exits`);

            // Who looks at one exit does not have it taken away.
            if (!tip.hidden || document.activeElement === line.chart)
                return;
            line.show(exits);
            legend.replaceChildren(...reasonLegend(exits));
            tops.replaceChildren(...Object.entries(top).filter(([, list]) => list.length).map(([name, list]) =>
                table(`Most frequent ${name} of these`, [name.slice(0, -1), "exits"], list.map((entry) =>
                    [entry[name.slice(0, -1)], String(entry.exits)]))));
        },
    };
}

// ---- controls ----

const WORDS = "0x4000,0x4002,0x401e,0x400c,0x4012";

function controlsView(guest) {
    const path = `${vcpuPath(guest)}/vmcs`;
    const result = el("p", {class: "result", role: "status"}), words = el("div", {class: "words"});
    let known = "";

    async function patch(body, what) {
        try {
            await api(path, {method: "PATCH", body: JSON.stringify(body)});
            setText(result, `Done: ${what}.`);
            result.classList.remove("error");
        } catch (e) {
            setText(result, e.message);
            result.classList.add("error");
        }
        known = "";
        await poll();
    }

    function toggle(word, b) {
        const on = b.value === "0x1", forced = b.forced !== null && b.forced !== undefined;
        const box = el("input", {type: "checkbox", checked: on, disabled: forced, "data-bit": b.name, onchange: () =>
            patch({fields: {[word]: {[b.name]: box.checked}}}, `${b.name} is ${box.checked ? "on" : "off"}`)});
        const note = forced ? `forced to ${b.forced} by ${b.forced_by}`
                            : b.wanted !== on ? "changed since the start" : "";

        return el("li", null, field(b.name, box), el("small", null, [b.meaning, note].filter(Boolean).join("; ")));
    }

    async function poll() {
        const dump = await api(`${path}?decode=1&fields=${WORDS}`);
        const now = JSON.stringify(dump.fields);
        const focused = document.activeElement?.dataset.bit;

        if (now === known)
            return;
        known = now;
        words.replaceChildren(...dump.fields.map((f) => el("fieldset", null, el("legend", null, `${f.name} ${f.value}`),
            el("ul", null, (f.bits ?? []).filter((b) => b.name !== "RESERVED" && !b.bits.includes(":"))
                .map((b) => toggle(f.name, b))))));
        if (focused)
            words.querySelector(`[data-bit="${CSS.escape(focused)}"]`)?.focus();
    }

    return {
        node: el("div", null, el("p", {class: "tools"}, "Exits: ", ["least", "default", "most"].map((profile) =>
            el("button", {type: "button", "data-profile": profile, onclick: () => patch({profile}, `profile ${profile}`)},
               profile))), result, words),
        poll,
    };
}

// ---- console ----

function consoleView(guest) {
    const path = `v1/guests/${encodeURIComponent(guest)}/console`;
    const {pane, poll} = ringPane(path, `Console of ${guest}`);
    const input = el("input", {type: "text", autocomplete: "off", spellcheck: "false", "aria-label": "A line for the guest"});
    const error = el("p", {class: "error", role: "alert", hidden: true});

    // The guest's UART takes as much as it has room for.
    async function send(text) {
        let bytes = new TextEncoder().encode(text);

        while (bytes.length) {
            const {accepted} = await api(path, {method: "POST", body: bytes});

            if (accepted === 0)
                throw new Refusal("the guest does not read its console");
            bytes = bytes.slice(accepted);
        }
    }

    const form = el("form", {class: "tools", onsubmit: async (e) => {
        e.preventDefault();
        try {
            const text = input.value;

            input.value = "";
            await send(`${text}\r`);
            error.hidden = true;
            await poll();
        } catch (problem) {
            setText(error, problem.message);
            error.hidden = false;
        }
    }}, input, el("button", {type: "submit"}, "Send"));

    return {node: el("div", null, pane, form, error), poll};
}

// ---- the guest ----

function actions(guest, error) {
    const act = (action) => el("button", {type: "button", onclick: async () => {
        if (action !== "start" && !confirm(`${action} ${guest}?`))
            return;
        try {
            await api(`v1/guests/${encodeURIComponent(guest)}/actions`, {method: "POST", body: JSON.stringify({action})});
            error.hidden = true;
        } catch (e) {
            setText(error, e.message);
            error.hidden = false;
        }
    }}, action);

    return el("span", {class: "actions"}, ["start", "reset", "stop"].map(act));
}

export function guestView(guest, tab) {
    const [title, make] = TABS[tab] ?? TABS.vmcs;
    const inner = make(guest), error = el("p", {class: "error", role: "alert", hidden: true});
    const base = `#/guest/${encodeURIComponent(guest)}`;

    return {
        title: `${guest}, ${title}`,
        node: el("section", {"aria-label": `${guest}, ${title}`},
            el("div", {class: "guest-head"}, el("h2", null, guest), actions(guest, error)), error,
            el("nav", {class: "tabs", "aria-label": `Views of ${guest}`}, Object.entries(TABS).map(([name, [text]]) =>
                el("a", {href: `${base}/${name}`, "aria-current": TABS[name][1] === make ? "page" : null}, text))),
            inner.node),
        poll: inner.poll,
    };
}
