// A vCPU's exits: how many of each reason, and the last ones in time.
import {api, bar, count, duration, el, field, palette, percent, setText, step, svg, table, vcpuPath} from "./lib.js";

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

    return `${e.sequence}: ${e.reason} at RIP ${e.rip}, ${"exitinfo1" in e ? `EXITINFO1 ${e.exitinfo1}` : `qualification ${e.qualification}`}` +
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

export function exitsView(guest, vcpu) {
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
