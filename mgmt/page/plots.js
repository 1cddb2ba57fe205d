// Plots over time: exits, share of the core, and how late timers and slice ends are; the last hour, which the appliance keeps, or the last minutes, live.
import {api, apiText, count, el, setText, svg} from "./lib.js";
import {rates} from "./rates.js";

const LIVE = 120, WIDTH = 600, HEIGHT = 120, HISTORY_EVERY = 5; // samples; units of the picture; polls

// The least of 1, 2 or 5 times a power of ten that is not below `n`.
function nice(n) {
    const power = 10 ** Math.floor(Math.log10(n));

    return [1, 2, 5, 10].map((k) => k * power).find((k) => k >= n * (1 - 1e-9));
}

// The curve through `points`, of which `slots` fill the width, the last at its end. Points that are null leave a gap.
function curve(points, slots, most) {
    const step = WIDTH / (slots - 1), start = slots - points.length;
    let pen = "M";

    return points.map((p, n) => {
        if (p === null) {
            pen = "M";
            return "";
        }
        const at = `${pen}${((start + n) * step).toFixed(1)} ${(HEIGHT - p / most * HEIGHT).toFixed(1)}`;

        pen = "L";
        return points[n - 1] === undefined || points[n - 1] === null ? `${at}h.01` : at; // a point alone is seen too
    }).join("");
}

// One plot, with both axes. value: number -> text; names: of its curves.
function plot(title, value, names) {
    const lines = names.map((name, i) => svg("path", {class: `line line-${i}`}));
    const now = el("output", {class: "now"}), ys = el("div", {class: "axis y", "aria-hidden": "true"}), xs = el("div", {class: "axis x", "aria-hidden": "true"});
    const grid = [1, 2, 3].map((i) => svg("line", {class: "grid", x1: WIDTH * i / 4, x2: WIDTH * i / 4, y1: 0, y2: HEIGHT}));
    const chart = svg("svg", {class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img"},
        grid, svg("line", {class: "grid", x1: 0, x2: WIDTH, y1: HEIGHT / 2, y2: HEIGHT / 2}), lines);
    const words = (points) => names.map((name, i) => `${names.length > 1 ? `${name} ` : ""}${points[i] === null ? "-" : value(points[i])}`).join(", ");

    return {
        node: el("figure", {"data-plot": title}, el("figcaption", null, title, ": ", now), el("div", {class: "axes"}, ys, chart, xs),
            names.length > 1 ? el("p", {class: "legend"}, names.map((name, i) => el("span", {class: `key line-${i}`}, name))) : null),
        // series: a list of points for each curve; times: the texts below.
        show(series, slots, times) {
            const most = nice(Math.max(0, ...series.flat().filter((p) => p !== null)) || 1), text = words(series.map((s) => s.at(-1) ?? null));

            lines.forEach((line, i) => line.setAttribute("d", curve(series[i], slots, most)));
            ys.replaceChildren(...[most, most / 2, 0].map((y) => el("span", null, value(y))));
            xs.replaceChildren(...times.map((t) => el("span", null, t)));
            setText(now, text);
            chart.setAttribute("aria-label", `${title}, now: ${text}; at most ${value(most)} from ${times[0]} on`);
        },
    };
}

// {sum, count, buckets: [[upper bound, cumulative count]]} of one histogram of Prometheus' text, in seconds.
export function readHistogram(text, name, label) {
    const found = {sum: 0, count: 0, buckets: []};

    for (const line of text.split("\n")) {
        if (!line.startsWith(`bulkhead_${name}_`) || !line.includes(label))
            continue;
        const number = Number(line.slice(line.lastIndexOf(" ") + 1)), bound = /le="([^"]+)"/.exec(line)?.[1];

        if (bound)
            found.buckets.push([bound === "+Inf" ? Infinity : Number(bound), number]);
        else if (line.startsWith(`bulkhead_${name}_sum`))
            found.sum = number;
        else
            found.count = number;
    }
    return found;
}

// Between two histograms: the mean, and the bound of the highest bucket that grew; null: no new values.
export function between(old, now) {
    const n = old ? now.count - old.count : 0;

    if (n <= 0)
        return [null, null];
    const counts = (h) => h.buckets.map(([, c], i) => c - (h.buckets[i - 1]?.[1] ?? 0));
    const before = counts(old), worst = counts(now).findLastIndex((c, i) => c > (before[i] ?? 0));
    const bound = now.buckets[worst]?.[0] ?? 0;

    return [(now.sum - old.sum) / n, Number.isFinite(bound) ? bound : now.buckets.at(-2)[0]];
}

const perSecond = (n) => `${count(n)}/s`;
const share = (x) => `${(x * 100).toFixed(x > 0 && x < 0.1 ? 1 : 0)} %`;
const lateness = (s) => (s < 1e-3 ? `${(s * 1e6).toFixed(s > 0 && s < 1e-5 ? 1 : 0)} µs` : `${(s * 1e3).toFixed(1)} ms`);
const scaled = (list, by) => list.map((n) => (n === null ? null : n / by));

const SPANS = [4, 20, 60]; // minutes; the shortest that has all samples is shown
const timesOf = (minutes) => [`${minutes} min ago`, ...[3, 2, 1].map((i) => String(minutes * i / 4)), "now"], MINUTES = ["2 min ago", "90 s", "60 s", "30 s", "now"];

// The last hour's curves, as four lists of them.
const curvesOf = (h) => [[h.exits_per_second], [scaled(h.run_permille, 1000)], [scaled(h.timer_late_mean_ns, 1e9), scaled(h.timer_late_most_ns, 1e9)],
                         [scaled(h.slice_late_mean_ns, 1e9), scaled(h.slice_late_most_ns, 1e9)]];

// What the page sees itself, about once a second.
function live(guest, vcpu) {
    const curves = [[[]], [[]], [[], []], [[], []]];
    let old = null;

    function add(all) {
        all.forEach((points, i) => points.forEach((p, k) => {
            curves[i][k].push(p);
            curves[i][k].splice(0, curves[i][k].length - LIVE);
        }));
    }
    return {
        curves,
        async look(answer) {
            const {entries, run_ticks, core} = answer.vcpus[vcpu], host = await api("v1/host"), text = await apiText("metrics");
            const wake = readHistogram(text, "vcpu_timer_wake_lateness_seconds", `guest="${guest}",vcpu="${vcpu}"`);
            const end = readHistogram(text, "slice_end_lateness_seconds", `core="${core}"`);
            const now = {entries, run_ticks, wake, end, uptime_ms: host.uptime_ms}, used = rates(now, old, 1);

            if (used.exits !== null)
                add([[used.exits], [used.share], between(old.wake, wake), between(old.end, end)]);
            old = now;
        },
    };
}

export function plotsView(guest, vcpu) {
    const plots = [plot("Exits a second", perSecond, ["exits"]), plot("Share of a core", share, ["share"]), plot("Lateness of its timers", lateness, ["mean", "at most"]),
                   plot("Lateness of slice ends on its core", lateness, ["mean", "at most"])];
    const ranges = {hour: "the last hour", live: "the last two minutes"}, seen = live(guest, vcpu), status = el("span", {class: "note", role: "status"});
    const buttons = Object.entries(ranges).map(([range, text]) => el("button", {type: "button", "data-range": range, onclick: () => choose(range)}, text));
    let range = "hour", round = 0;

    const show = (all, slots, times) => plots.forEach((p, i) => p.show(all[i], slots, times));

    function choose(which) {
        range = which;
        round = 0;
        for (const b of buttons)
            b.setAttribute("aria-pressed", String(b.dataset.range === range));
        setText(status, range === "hour" ? "All vCPUs; a sample every 15 seconds, kept by the appliance." : `vCPU ${vcpu}; about a sample a second, since this view was opened.`);
    }
    choose("hour");

    return {
        node: el("div", null, el("p", {class: "tools", role: "group", "aria-label": "Time shown"}, buttons, status), el("div", {class: "plots"}, plots.map((p) => p.node))),
        async poll(answer) {
            if (range === "live") {
                await seen.look(answer);
                show(seen.curves, LIVE, MINUTES);
            } else if (round++ % HISTORY_EVERY === 0) {
                const h = await api(`v1/guests/${encodeURIComponent(guest)}/history`);

                const minutes = SPANS.find((m) => m * 60000 >= h.exits_per_second.length * h.interval_ms) ?? SPANS.at(-1);

                show(curvesOf(h), minutes * 60000 / h.interval_ms, timesOf(minutes));
            }
        },
    };
}
