// One guest: its tabs, and its exits, controls and console.
import {api, bar, count, duration, el, field, palette, percent, Refusal, setText, step, svg, table,
        vcpuPath} from "./lib.js";
import {ringPane} from "./host.js";
import {act, ACTIONS, isPossible, reason, roleOf} from "./actions.js";
import {plotsView} from "./plots.js";
import {refusal, restrict} from "./session.js";
import {terminalView} from "./terminal.js";
import {checkView, diffView, mapView} from "./vmcs.js";

const TABS = {vmcs: ["VMCS", mapView], diff: ["Differences", diffView], check: ["Entry check", checkView],
              exits: ["Exits", exitsView], controls: ["Controls", controlsView],
              plots: ["Plots", plotsView], terminal: ["Terminal", terminalView], console: ["Console", consoleView]};

// ---- exits ----

function barChart(exits, colour) {
    const entries = Object.entries(exits).sort((a, b) => b[1] - a[1]);
    const most = entries[0]?.[1] ?? 1, total = entries.reduce((sum, [, n]) => sum + n, 0);

    return entries.map(([reason, n]) => el("tr", {"data-reason": reason, "data-count": String(n)},
        el("th", {scope: "row"}, reason), el("td", {class: "wide"}, bar(n / most, colour(reason))),
        el("td", {class: "number"}, count(n)), el("td", {class: "number"}, percent(n / total))));
}

// With the ticks that the guest ran before each exit.
const withGuestTime = (exits) => exits.map((e, i) => {
    const gone = exits[i - 1]?.root_ticks ?? null;

    return {...e, inGuest: gone === null ? null : e.tsc - exits[i - 1].tsc - gone};
});

function describe(e) {
    const detail = ["guest_physical", "msr", "leaf", "function"].find((name) => name in e);

    return `${e.sequence}: ${e.reason} at RIP ${e.rip}, qualification ${e.qualification}` +
        `${detail ? `, ${detail.replace("_", "-")} ${e[detail]}` : ""}; ` +
        `${e.inGuest === null ? "" : `${duration(e.inGuest)} in the guest before, `}` +
        `${duration(e.root_ticks)} in the handler${e.outcome === "halt" ? " and waiting" : ""}; outcome ${e.outcome}`;
}

function summary(exits) {
    const sum = (list, name) => list.reduce((n, e) => n + (e[name] ?? 0), 0);
    const guest = sum(exits, "inGuest"), waiting = sum(exits.filter((e) => e.outcome === "halt"), "root_ticks");
    const handler = sum(exits, "root_ticks") - waiting, all = guest + waiting + handler || 1;

    return `${exits.length} exits in ${duration(all)}: ${percent(guest / all)} of it in the guest, ` +
           `${percent(handler / all)} in the handler, ${percent(waiting / all)} waiting in HLT.`;
}

const COLUMN = 6, HALF = 80; // pixels

// Logarithmic from 10 ticks on, so that a handler of 200 ticks and a slice of 40 000 are both visible.
const decades = (ticks) => ticks > 10 ? Math.log10(ticks) - 1 : 0.05;

function column(e, i, scale, colour) {
    const up = e.inGuest === null ? 0 : decades(e.inGuest) * scale;
    const down = e.root_ticks === null ? 0 : decades(e.root_ticks) * scale;

    return svg("g", {class: "exit", "data-sequence": String(e.sequence)},
        svg("rect", {class: "hit", x: i * COLUMN, y: 0, width: COLUMN, height: 2 * HALF}),
        svg("rect", {class: "in-guest", x: i * COLUMN, y: HALF - up, width: COLUMN - 1, height: up}),
        svg("rect", {x: i * COLUMN, y: HALF, width: COLUMN - 1, height: down, fill: colour(e.reason)}));
}

function gridLines(most, scale, width) {
    const lines = [];

    for (let d = 1; d <= most; d++)
        for (const y of [HALF - d * scale, HALF + d * scale])
            lines.push(svg("line", {class: "grid", x1: 0, x2: width, y1: y, y2: y}));
    return lines;
}

function timeline(readout, tip, colour) {
    const chart = svg("svg", {class: "timeline", tabindex: "0", role: "application", preserveAspectRatio: "none",
                              "aria-label": "Timeline of the last exits; arrow keys go from exit to exit"});
    let exits = [], columns = [], at = 0;

    function select(i) {
        columns[at]?.classList.remove("selected");
        at = i;
        columns[at]?.classList.add("selected");
        setText(readout, columns[at] ? describe(exits[at]) : "no exits yet");
    }
    chart.addEventListener("pointermove", (e) => {
        const i = columns.indexOf(e.target.closest(".exit"));

        if (i < 0)
            return;
        select(i);
        setText(tip, describe(exits[i]));
        tip.hidden = false;
        tip.style.left = `${Math.max(0, Math.min(e.clientX + 12, innerWidth - 270))}px`;
        tip.style.top = `${e.clientY + 16}px`;
    });
    chart.addEventListener("pointerleave", () => {
        tip.hidden = true;
    });
    chart.addEventListener("focus", () => readout.setAttribute("aria-live", "polite"));
    chart.addEventListener("blur", () => readout.setAttribute("aria-live", "off"));
    chart.addEventListener("keydown", (e) => {
        const to = step(e.key, at, columns.length);

        if (to === null)
            return;
        e.preventDefault();
        select(to);
    });
    return {chart, show(list) {
        const most = Math.max(1, ...list.map((e) => Math.max(decades(e.inGuest ?? 0), decades(e.root_ticks ?? 0))));
        const scale = (HALF - 4) / most, width = Math.max(1, list.length) * COLUMN;

        exits = list;
        columns = list.map((e, i) => column(e, i, scale, colour));
        chart.setAttribute("viewBox", `0 0 ${width} ${2 * HALF}`);
        chart.replaceChildren(...gridLines(most, scale, width), ...columns);
        select(columns.length - 1);
    }};
}

function reasonLegend(exits, colour) {
    const key = (className, text, border) => {
        const node = el("span", {class: `key ${className}`}, text);

        if (border)
            node.style.borderColor = border;
        return node;
    };

    return [key("in-guest", "in the guest"), ...[...new Set(exits.map((e) => e.reason))].map((reason) =>
        key("", `handling ${reason}`, colour(reason)))];
}

const TOPS = {rips: ["RIPs", "rip"], ports: ["ports", "port"], msrs: ["MSRs", "msr"], pages: ["guest pages", "page"]};

const topTables = (top) => Object.entries(TOPS).filter(([name]) => top[name].length).map(([name, [title, what]]) =>
    table(`Top ${title}`, [what, "exits"], top[name].map((entry) => [entry[what], String(entry.exits)])));

const describeUnclaimed = ({reads, writes, address}) => (reads || writes
    ? `Where there is neither memory nor a device: ${reads} reads, ${writes} writes, the last at ${address}.` : "");

function exitsView(guest, vcpu) {
    const bars = el("tbody"), tops = el("div", {class: "tops"}), total = el("p"), legend = el("p", {class: "legend"});
    const still = el("input", {type: "checkbox"}), colour = palette();
    const readout = el("output", {class: "readout", "aria-live": "off"}), tip = el("div", {class: "tip", role: "tooltip", hidden: true});
    const line = timeline(readout, tip, colour), unclaimed = el("p", {class: "unclaimed"});

    return {
        node: el("div", null, el("p", {class: "tools"}, field("hold still", still)),
            el("div", {class: "scroll"}, el("table", {class: "bars"}, el("caption", null, "Exits since the guest's start, by reason"), bars)), unclaimed,
            el("h3", null, "The last exits"), total, el("p", {class: "note"}, "One column an exit: up, the time in the " +
               "guest before it; down, the time until the guest went on. Each line is ten times the one before; the first are 100 ticks."),
            legend, el("div", {class: "scroll"}, line.chart), readout, tip, tops),
        async poll(answer) {
            if (still.checked && bars.children.length)
                return;
            bars.replaceChildren(...barChart(answer.vcpus[vcpu].exits, colour));
            setText(unclaimed, describeUnclaimed(answer.vcpus[vcpu].unclaimed_memory));
            const {exits, top} = await api(`${vcpuPath(guest, vcpu)}/exits`);

            // Keeps the exit that the user looks at.
            if (!tip.hidden || document.activeElement === line.chart)
                return;
            const list = withGuestTime(exits);

            line.show(list);
            setText(total, summary(list));
            legend.replaceChildren(...reasonLegend(exits, colour));
            tops.replaceChildren(...topTables(top));
        },
    };
}

// ---- controls ----

const WORDS = "0x4000,0x4002,0x401e,0x400c,0x4012";

function controlsView(guest, vcpu) {
    const path = `${vcpuPath(guest, vcpu)}/vmcs`;
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
        known = ""; // makes the boxes show the bits again
        await poll().catch(() => {}); // the next poll reports why
    }

    function toggle(word, b) {
        const on = b.value === "0x1", forced = b.forced !== null && b.forced !== undefined;
        const box = el("input", {type: "checkbox", checked: on, disabled: forced || refusal("operate") !== null, title: refusal("operate"), "data-bit": b.name, onchange: () =>
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
        node: el("div", null, el("p", {class: "tools"}, "Exit profile: ", ["least", "default", "most"].map((profile) =>
            restrict(el("button", {type: "button", "data-profile": profile,
                onclick: () => patch({exit_profile: profile}, `exit profile ${profile}`)}, profile), "operate"))), result, words),
        poll,
    };
}

// ---- console ----

const BODY_MAX = 4096, TRIES = 20, AGAIN_MS = 250;

function consoleView(guest) {
    const path = `v1/guests/${encodeURIComponent(guest)}/console`;
    const {pane, poll, restarted} = ringPane(path, `Console of ${guest}`);
    const input = el("input", {type: "text", autocomplete: "off", spellcheck: "false", "aria-label": "A line for the guest"});
    const error = el("p", {class: "error", role: "alert", hidden: true});

    // The guest's UART only takes what it has room for, and the guest needs time to make room.
    async function send(text) {
        let bytes = new TextEncoder().encode(text), tries = 0;

        while (bytes.length) {
            const {accepted} = await api(path, {method: "POST", body: bytes.slice(0, BODY_MAX)});

            bytes = bytes.slice(accepted);
            tries = accepted > 0 ? 0 : tries + 1;
            if (tries > TRIES)
                throw new Refusal(`the guest does not read its console: ${bytes.length} bytes were not sent`);
            if (tries > 0)
                await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
        }
    }

    const form = el("form", {class: "tools", onsubmit: async (e) => {
        e.preventDefault();
        try {
            const text = input.value, why = refusal("operate");

            if (why)
                throw new Refusal(why);

            input.value = "";
            await send(`${text}\r`);
            error.hidden = true;
            await poll();
        } catch (problem) {
            setText(error, problem.message);
            error.hidden = false;
        }
    }}, input, restrict(el("button", {type: "submit"}, "Send"), "operate"));

    return {node: el("div", null, pane, form, error), poll, restarted};
}

// ---- the guest ----

function guestHead(guest) {
    const state = el("span", {class: "state"}), error = el("p", {class: "error", role: "alert", hidden: true});
    const buttons = Object.keys(ACTIONS).map((action) => restrict(el("button", {type: "button", "data-action": action,
        onclick: () => click(action)}, action), roleOf(action)));

    let leaving = false; // it is being deleted, which may take a while

    async function click(action) {
        try {
            leaving = action === "delete";
            if (await act(guest, action) && leaving && state.isConnected)
                location.hash = "#/";
            error.hidden = true;
        } catch (e) {
            setText(error, e.message);
            error.hidden = false;
        }
        leaving = false;
    }

    return {
        isLeaving: () => leaving,
        nodes: [el("div", {class: "guest-head"}, el("h2", null, guest, " ", state), el("span", {class: "actions"}, buttons)), error],
        show(answer) {
            const why = reason(answer);

            setText(state, answer.state + (why ? `: ${why}` : ""));
            state.className = `state ${answer.state}`;
            // Keeps a button in use where the keyboard focus is.
            for (const b of buttons) {
                if (answer.management)
                    restrict(b, roleOf(b.dataset.action, true));
                if (!b.dataset.refused)
                    b.setAttribute("aria-disabled", String(!isPossible(b.dataset.action, answer.state, answer.management)));
            }
        },
    };
}

// `number`: of the vCPU shown, as in the address; none: the first.
export function guestView(guest, tab, number) {
    const [title, make] = Object.hasOwn(TABS, tab) ? TABS[tab] : TABS.vmcs;
    const vcpu = /^\d+$/.test(number ?? "") ? Number(number) : 0;
    const inner = make(guest, vcpu), head = guestHead(guest);
    const base = `#/guest/${encodeURIComponent(guest)}`;
    const choice = el("nav", {class: "tabs", "aria-label": `vCPUs of ${guest}`, hidden: true});

    // With only one there is no choice.
    function showChoice(count) {
        if (choice.children.length === count)
            return;
        choice.hidden = count < 2;
        choice.replaceChildren(...Array.from({length: count}, (_, i) =>
            el("a", {href: `${base}/${tab ?? "vmcs"}/${i}`, "aria-current": i === vcpu ? "page" : null}, `vCPU ${i}`)));
    }

    return {
        title: `${guest}, ${title}`,
        node: el("section", {"aria-label": `${guest}, ${title}`}, head.nodes,
            el("nav", {class: "tabs", "aria-label": `Views of ${guest}`}, Object.entries(TABS).map(([name, [text]]) =>
                el("a", {href: `${base}/${name}${vcpu ? `/${vcpu}` : ""}`, "aria-current": TABS[name][1] === make ? "page" : null}, text))),
            choice, inner.node),
        async poll() {
            if (head.isLeaving())
                return;
            const answer = await api(`v1/guests/${encodeURIComponent(guest)}`);

            head.show(answer);
            showChoice(answer.vcpus.length);
            if (!answer.vcpus[vcpu])
                throw new Refusal(`${guest} has no vCPU ${vcpu}`);
            await inner.poll(answer);
        },
        restarted: () => inner.restarted?.(),
        close: () => inner.close?.(),
    };
}
