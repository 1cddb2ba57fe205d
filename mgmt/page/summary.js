// A guest at a glance: what it is, how it is run, what it does now.
import {GUEST} from "./fields.js";
import {api, bar, count, duration, el, labelOf, mebibytes, percent, table, uptime, vcpuPath} from "./lib.js";
import {factCard} from "./facts.js";
import {rates, total} from "./rates.js";

const EXITS = 6, EXITS_EVERY = 3; // how many are shown, and how often they are asked for, in polls
const MAIN = ["kind", "cmdline", "memory", "core", "vcpus", "cores", "restart", "weight", "slice_us", "exit_profile", "devices"]; // shown by name below

const microseconds = (us) => (us >= 1000 && us % 1000 === 0 ? `${count(us / 1000)} ms` : `${count(us)} µs`);
const words = (text) => String(text).replaceAll("-", " ");
const files = (list, more) => list.map((f) => f.file + more(f)).join(", ");

function valueOf({name, kind}, value) {
    if (kind === "switch")
        return value ? "yes" : "no";
    return name.endsWith("_us") ? microseconds(value) : name.endsWith("_ms") ? microseconds(value * 1000) : words(value);
}

// The settings that are not as usual, and that have no line of their own.
const unusual = (c) => GUEST.filter((f) => !MAIN.includes(f.name) && f.name in c && c[f.name] !== f.preset).map((f) => [labelOf(f.name, false), valueOf(f, c[f.name])]);

const what = (c) => [
    ["Image", `${c.image}${c.kind ? ` (${c.kind})` : ""}`],
    ["Command line", c.cmdline || "none"],
    ["Modules", files(c.modules ?? [], (m) => (m.args ? ` ${m.args}` : ""))],
    ["Disks", files(c.disks ?? [], (d) => (d.readonly ? " (read-only)" : ""))],
    ["Memory", mebibytes(c.memory)],
    ["vCPUs", c.vcpus ? `${c.vcpus}${c.cores?.length ? `, on ${c.cores.length > 1 ? "cores" : "core"} ${c.cores.join(", ")}` : ""}` : null],
    ["Devices", (c.devices ?? []).join(", ")]];

const policy = (c) => [
    ["Restart", words(c.restart ?? "")], ["Weight", String(c.weight ?? "")],
    ["Slice", c.slice_us ? microseconds(c.slice_us) : null], ["Exit profile", c.exit_profile], ...unusual(c)];

const yes = (list) => (list?.length ? list.join(", ") : null);

function card({net}, network) {
    const refused = Object.entries(network?.refused ?? {}).map(([why, n]) => `${count(n)} ${why.replaceAll("_", " ")}`);

    return !network ? [["Card", "none"]] : [
        ["Address", network.mac], ["Network", net?.network], ["Uplink", net?.uplink === false ? "none" : null], ["IP addresses", yes(net?.addresses)], ["Allowed", yes(net?.allow)],
        ["Sent", `${count(network.sent)} frames`], ["Received", `${count(network.received)} frames`],
        ["Queues", network.queue_pairs > 1 ? `${network.queue_pairs_used} of ${network.queue_pairs} pairs used` : null],
        ["Dropped", network.dropped ? `${count(network.dropped)} frames` : null], ["Refused", refused.join(", ")]];
}

// Of all vCPUs, the most frequent first.
function reasonsOf(vcpus) {
    const sums = new Map();

    for (const [reason, n] of vcpus.flatMap((v) => Object.entries(v.exits)))
        sums.set(reason, (sums.get(reason) ?? 0) + n);
    return [...sums].sort((a, b) => b[1] - a[1]);
}

function reasonRows(vcpus) {
    const all = reasonsOf(vcpus), sum = all.reduce((n, [, k]) => n + k, 0) || 1, rest = all.slice(EXITS - 1);
    const rows = all.length <= EXITS ? all : [...all.slice(0, EXITS - 1), [`${rest.length} others`, rest.reduce((n, [, k]) => n + k, 0)]];

    return rows.map(([reason, n]) => el("tr", {"data-sum": reason}, el("th", {scope: "row"}, reason),
        el("td", {class: "wide"}, bar(n / sum)), el("td", {class: "number"}, count(n)), el("td", {class: "number"}, percent(n / sum))));
}

const lastTable = (exits) => table("The last", ["reason", "RIP", "until it went on", "outcome"], exits.map((e) => [e.reason, e.rip, duration(e.root_ticks), e.outcome]));

export function summaryView(guest, vcpu) {
    const now = factCard("Now"), is = factCard("What it is"), plan = factCard("How it is run"), net = factCard("Network");
    const bars = el("tbody"), last = el("div", {class: "scroll"});
    const exits = el("section", {class: "card wide", "aria-label": "Exits"}, el("h3", null, "Exits"), el("div", {class: "halves"},
        el("div", {class: "scroll"}, el("table", {class: "bars"}, el("caption", null, "Since the guest was made, by reason"), bars)), last));
    let old = null, round = 0, known = "";

    function showNow(answer) {
        const cores = answer.vcpus.length, runs = typeof answer.uptime_ms === "number", sums = {...total(answer), uptime_ms: answer.uptime_ms};
        const {share, exits: n} = rates(sums, runs ? old : null, cores), dots = runs ? "..." : null;

        old = runs ? sums : null;
        now.show(["Up", runs ? uptime(answer.uptime_ms) : "not running"],
                 [cores > 1 ? `Of ${cores} cores` : "Of its core", share === null ? dots : percent(share / cores), share === null ? null : bar(share / cores)],
                 ["Exits a second", n === null ? dots : count(n)], ["Exits", count(sums.entries)],
                 ["Restarts", String(answer.restarts)], ["Exit code", answer.exit_code ? String(answer.exit_code) : null],
                 ["Output lost", answer.serial_bytes_lost ? `${count(answer.serial_bytes_lost)} bytes, on the host's serial line` : null]);
    }
    async function showExits(answer) {
        const text = JSON.stringify(answer.vcpus.map((v) => v.exits));

        if (text !== known)
            bars.replaceChildren(...reasonRows(answer.vcpus));
        known = text;
        if (round++ % EXITS_EVERY || !answer.vcpus[vcpu].entries)
            return;
        const recorded = (await api(`${vcpuPath(guest, vcpu)}/exits?n=${EXITS}`)).exits;

        last.replaceChildren(lastTable(recorded.slice(-EXITS).reverse()));
    }

    return {
        node: el("div", {class: "cards"}, now.node, is.node, plan.node, net.node, exits),
        async poll(answer) {
            showNow(answer);
            is.show(...what(answer.configuration));
            plan.show(...policy(answer.configuration));
            net.show(...card(answer.configuration, answer.network));
            await showExits(answer);
        },
    };
}
