// Plots over time: exits per second, and how late time slices and timers are.
import {api, apiText, clock, count, el, setText, svg} from "./lib.js";

const SAMPLES = 120, WIDTH = 600, HEIGHT = 120;

// value: number -> text. Points that are null leave a gap.
function plot(title, value, names) {
    const lines = names.map((name, i) => svg("path", {class: `line line-${i}`}));
    const now = el("output", {class: "now"});
    const chart = svg("svg", {class: "plot", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img"},
        svg("line", {class: "grid", x1: 0, x2: WIDTH, y1: HEIGHT / 2, y2: HEIGHT / 2}), lines);
    const scale = el("span", {class: "scale"});
    const series = names.map(() => []);

    return {
        node: el("figure", {"data-plot": title}, el("figcaption", null, title, ": ", now), chart, scale,
            el("p", {class: "legend"}, names.length > 1 ? names.map((name, i) => el("span", {class: `key line-${i}`}, name)) : null)),
        add(points) {
            points.forEach((p, i) => {
                series[i].push(p);
                series[i].splice(0, series[i].length - SAMPLES);
            });
            const most = Math.max(0, ...series.flat().filter((p) => p !== null)) || 1;

            lines.forEach((line, i) => {
                const step = WIDTH / (SAMPLES - 1), start = SAMPLES - series[i].length;
                let pen = "M";

                line.setAttribute("d", series[i].map((p, n) => {
                    if (p === null) {
                        pen = "M";
                        return "";
                    }
                    const at = `${pen}${((start + n) * step).toFixed(1)} ${(HEIGHT - 2 - p / most * (HEIGHT - 8)).toFixed(1)}`;

                    pen = "L";
                    return at;
                }).join(""));
            });
            const text = names.map((name, i) => `${names.length > 1 ? `${name} ` : ""}${points[i] === null ? "-" : value(points[i])}`).join(", ");

            setText(now, text);
            setText(scale, `top ${value(most)}, ${SAMPLES} samples of about a second`);
            chart.setAttribute("aria-label", `${title}: ${text}`);
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
const lateness = (s) => (s < 1e-3 ? `${(s * 1e6).toFixed(1)} µs` : `${(s * 1e3).toFixed(1)} ms`);

export function plotsView(guest, vcpu) {
    const exits = plot("Exits a second", perSecond, ["exits"]);
    const run = plot("Share of its core", (x) => `${(x * 100).toFixed(1)} %`, ["share"]);
    const timer = plot("Lateness of its timers", lateness, ["mean", "at most"]);
    const slice = plot("Lateness of slice ends on its core", lateness, ["mean", "at most"]);
    let old = null;

    return {
        node: el("div", {class: "plots"}, [exits, run, timer, slice].map((p) => p.node)),
        async poll(answer) {
            const {entries, run_ticks, core} = answer.vcpus[vcpu], host = await api("v1/host"), text = await apiText("metrics");
            const wake = readHistogram(text, "vcpu_timer_wake_lateness_seconds", `guest="${guest}",vcpu="${vcpu}"`);
            const end = readHistogram(text, "slice_end_lateness_seconds", `core="${core}"`);
            const now = {entries, run_ticks, wake, end, ms: host.uptime_ms};
            const seconds = old ? (now.ms - old.ms) / 1000 : 0;

            if (seconds > 0 && entries >= old.entries) {
                exits.add([(entries - old.entries) / seconds]);
                run.add([Math.min(1, (run_ticks - old.run_ticks) / (seconds * (clock.hz || 1)))]);
                timer.add(between(old.wake, wake));
                slice.add(between(old.end, end));
            }
            old = now;
        },
    };
}
