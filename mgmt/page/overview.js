// The guests and the machine at a glance.
import {act, isPossible, reason, roleOf} from "./actions.js";
import {api, bar, count, el, mebibytes, percent, setText} from "./lib.js";
import {rates} from "./rates.js";
import {factCard} from "./facts.js";
import {restrict} from "./session.js";

const SHORT = ["start", "pause", "resume", "stop"]; // the others are in the guest's own view

// `guest` is now's answer, with the machine's uptime; `old` is the one before.
function guestRow(guest, host, old, click) {
    const {share, exits} = rates(guest, old, guest.cores.length), {memory} = guest;
    const href = `#/guest/${encodeURIComponent(guest.name)}`, why = reason(guest);

    return el("tr", {"data-guest": guest.name},
        el("th", {scope: "row"}, el("a", {href}, guest.name), guest.management ? " (management)" : ""),
        el("td", null, el("span", {class: `state ${guest.state}`}, guest.state),
           guest.halted && guest.state === "running" ? " waiting" : "", why ? `: ${why}` : ""),
        el("td", {class: "minor"}, guest.cores.join(", ")),
        el("td", null, bar(share ?? 0), " ", share === null ? "..." : percent(share)),
        el("td", {class: "number minor"}, exits === null ? "..." : count(exits)),
        el("td", {class: "number minor"}, count(guest.entries)),
        el("td", {class: "number minor"}, String(guest.restarts)),
        el("td", {class: "minor"}, bar(memory / host.memory.total), " ", mebibytes(memory)),
        el("td", {class: "actions"}, guest.management ? null : SHORT.filter((action) => isPossible(action, guest.state)).map((action) =>
            restrict(el("button", {type: "button", "data-do": action, "aria-label": `${action} ${guest.name}`, onclick: () => click(guest.name, action)},
                action), roleOf(action)))));
}

// The sources that agree, and measurements that contradict them.
function saidBy(tsc) {
    const sources = tsc.sources.filter((s) => s.agrees), against = tsc.sources.filter((s) => s.measured && !s.agrees);

    return sources.map((s) => s.name).join(", ") + against.map((s) => `; ${s.name}: ${count(s.hz / 1000)} kHz`).join("");
}

const some = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;

function threadsOf({topology: t}) {
    const running = t.threads - t.unused_threads.length;

    return `${running === t.threads ? `all ${t.threads}` : `${running} of ${t.threads}`} run guests (smt ${t.smt}); ` +
        [some(t.packages, "package"), some(t.physical_cores, "physical core"), some(t.nodes, "node")].join(", ");
}

const placeOf = (c) => `package ${c.package}, physical core ${c.physical_core}, thread ${c.thread}, node ${c.node}, APIC id ${c.apic_id}`;

function cardText(c) {
    const who = `${c.name} at ${c.pci}, ${c.mac}, driver ${c.driver}`;

    return c.roles.length ? `${who}, for ${c.roles.join(" and ")}, interrupts: ${c.interrupt}, link ${c.link_up ? `up, ${c.mbits} Mbit/s` : "down"}` : `${who}, not used`;
}

export function overviewView() {
    const machine = factCard("Machine"), cores = el("ul", {class: "cores", "aria-label": "Cores"});
    const coreCard = el("section", {class: "card", "aria-label": "Cores"}, el("h3", null, "Cores"), cores);
    const fresh = restrict(el("a", {href: "#/deploy", class: "button main"}, "New guest"), "admin");
    const body = el("tbody");
    const head = (text, kind) => el("th", {scope: "col", class: kind}, text);
    const heads = [head("guest"), head("state"), head("core", "minor"), head("run share"), head("exits/s", "number minor"), head("exits", "number minor"),
                   head("restarts", "number minor"), head("memory", "minor"), head("actions")];
    const old = new Map();
    const error = el("p", {class: "error", role: "alert", hidden: true});
    const reset = restrict(el("button", {type: "button", "data-do": "reboot", onclick: reboot}, "Reset the machine"), "admin");
    const done = el("span", {class: "status", role: "status"});
    let host = null;

    async function reboot() {
        if (!confirm("Reset the machine? To all guests, and to images that were uploaded, it is a power cut."))
            return;
        try {
            await api("v1/host/actions", {method: "POST", body: JSON.stringify({action: "reboot"}), type: "application/json"});
            setText(done, "The machine is being reset.");
            error.hidden = true;
        } catch (e) {
            setText(error, e.message);
            error.hidden = false;
        }
    }

    async function click(guest, action) {
        try {
            await act(guest, action);
            error.hidden = true;
        } catch (e) {
            setText(error, e.message);
            error.hidden = false;
        }
    }

    return {
        title: "Guests",
        node: el("section", null, el("div", {class: "guest-head"}, el("h2", null, "Guests"), fresh), error,
                 el("div", {class: "scroll"}, el("table", {class: "guests", "aria-label": "Guests"}, el("thead", null, el("tr", null, heads)), body)),
                 el("div", {class: "cards"}, coreCard, machine.node), el("p", {class: "actions"}, reset, " ", done)),
        host(answer) {
            host = answer;
            const {total: all, free, guests} = host.memory;

            machine.show(["Processor", host.cpu], ["TSC", `${count(host.tsc.hz / 1000)} kHz by ${saidBy(host.tsc)}`], ["Threads", threadsOf(host)], ["Serial console", host.serial_console],
                         ["Memory", `${mebibytes(all - free)} of ${mebibytes(all)} in use`, bar((all - free) / all)],
                         ["For guests", mebibytes(guests)], ["Network", `${host.network.nic}, ${host.network.address}`], ...(host.network.cards ?? []).map((c) => ["Network card", cardText(c)]));
            cores.replaceChildren(...host.cores.map((c) => el("li", {title: placeOf(c)}, el("span", null, `core ${c.id}`), bar(c.load),
                el("span", null, `${percent(c.load)}, ${c.vcpus} ${c.vcpus === 1 ? "vCPU" : "vCPUs"}`))));
        },
        async poll() {
            const rows = [];

            for (const guest of (await api("v1/guests")).guests) {
                const now = {...guest, uptime_ms: host.uptime_ms};

                rows.push(guestRow(now, host, old.get(guest.name), click));
                old.set(guest.name, now);
            }
            // Keeps the keyboard focus in the table.
            const at = document.activeElement, focused = at?.closest("tr")?.dataset.guest, button = at?.dataset.do;
            body.replaceChildren(...rows);
            if (focused) {
                const again = rows.find((r) => r.dataset.guest === focused);

                (again?.querySelector(`[data-do="${button}"]`) ?? again?.querySelector(button ? "button, a" : "a"))?.focus();
            }
        },
    };
}
