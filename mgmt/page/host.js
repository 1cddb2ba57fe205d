// The views of the whole machine: guests, log, layout of the VMCS region, capabilities.
import {api, bar, clock, count, el, encodedGroup, GROUPS, megabytes, percent, setText, step, svg,
        table} from "./lib.js";
import {act, isPossible, reason, roleOf} from "./actions.js";
import {restrict} from "./session.js";

// ---- overview ----

const SHORT = ["start", "pause", "resume", "stop"]; // the others are in the guest's own view

// All vCPUs of a guest together.
const total = ({vcpus}) => ({
    entries: vcpus.reduce((sum, v) => sum + v.entries, 0), run_ticks: vcpus.reduce((sum, v) => sum + v.run_ticks, 0),
    halted: vcpus.every((v) => v.halted), cores: [...new Set(vcpus.map((v) => v.core))].join(", "),
});

// Exits per second and share of a core between two answers.
function rates(now, host, old) {
    const seconds = old ? (host.uptime_ms - old.uptime_ms) / 1000 : 0;

    if (seconds <= 0 || now.entries < old.entries)
        return {share: null, exits: null};
    return {share: (now.run_ticks - old.run_ticks) / (seconds * clock.hz),
            exits: (now.entries - old.entries) / seconds};
}

function guestRow(guest, now, host, old, click) {
    const {share, exits} = rates(now, host, old);
    const href = `#/guest/${encodeURIComponent(guest.name)}/vmcs`, why = reason(guest);

    return el("tr", {"data-guest": guest.name},
        el("th", {scope: "row"}, el("a", {href}, guest.name), guest.management ? " (management)" : ""),
        el("td", null, el("span", {class: `state ${guest.state}`}, guest.state),
           now.halted && guest.state === "running" ? " waiting" : "", why ? `: ${why}` : ""),
        el("td", {class: "minor"}, now.cores),
        el("td", null, bar(share ?? 0), " ", share === null ? "..." : percent(share)),
        el("td", {class: "number minor"}, exits === null ? "..." : count(exits)),
        el("td", {class: "number minor"}, count(now.entries)),
        el("td", {class: "number minor"}, String(guest.restarts)),
        el("td", {class: "number minor"}, megabytes(guest.configuration.memory)),
        el("td", {class: "actions"}, guest.management ? null : SHORT.filter((action) => isPossible(action, guest.state)).map((action) =>
            restrict(el("button", {type: "button", "data-do": action, "aria-label": `${action} ${guest.name}`, onclick: () => click(guest.name, action)},
                action), roleOf(action)))));
}

export function overviewView() {
    const cpu = el("p"), cores = el("ul", {class: "cores", "aria-label": "Cores"});
    const body = el("tbody");
    const head = (text, kind) => el("th", {scope: "col", class: kind}, text);
    const heads = [head("guest"), head("state"), head("core", "minor"), head("run share"), head("exits/s", "number minor"), head("exits", "number minor"),
                   head("restarts", "number minor"), head("memory", "number minor"), head("actions")];
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
        node: el("section", null, el("h2", null, "Cores"), cpu, cores, el("h2", null, "Guests"), error,
                 el("div", {class: "scroll"}, el("table", {class: "guests"}, el("thead", null, el("tr", null, heads)), body)),
                 el("p", {class: "actions"}, reset, " ", done)),
        host(answer) {
            host = answer;
            setText(cpu, `${host.cpu}, time-stamp counter ${count(clock.hz / 1000)} kHz; ` +
                         `${megabytes(host.memory.free)} of ${megabytes(host.memory.total)} free; ` +
                         `network ${host.network.nic}, ${host.network.address}`);
            cores.replaceChildren(...host.cores.map((c) => el("li", null, `core ${c.id} `, bar(c.load),
                ` ${percent(c.load)}, ${c.vcpus} ${c.vcpus === 1 ? "vCPU" : "vCPUs"}`)));
        },
        async poll() {
            const rows = [];

            for (const {name} of (await api("v1/guests")).guests) {
                const guest = await api(`v1/guests/${encodeURIComponent(name)}`);
                const now = total(guest);

                rows.push(guestRow(guest, now, host, old.get(name), click));
                old.set(name, {...now, uptime_ms: host.uptime_ms});
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

// ---- text: the log, and the guests' consoles ----

const TEXT_MAX = 200000; // characters kept

// A pane that follows a ring of the API's; `path` gives {from, next, text}.
export function ringPane(path, label) {
    const pane = el("pre", {class: "ring", tabindex: "0", role: "log", "aria-label": label});
    let next = 0, all = "";

    function restarted() {
        next = 0;
        all = "";
        setText(pane, all);
    }
    async function poll() {
        const from = next, answer = await api(`${path}?format=json&from=${from}`);
        const atEnd = pane.scrollTop + pane.clientHeight >= pane.scrollHeight - 8;

        if (next !== from)
            return; // another poll was faster
        if (answer.next < from) { // another ring: the guest was deployed again, or the machine restarted
            restarted();
            await poll();
            return;
        }
        if (answer.from > from && all)
            all += "\n[some of it is lost]\n";
        if (answer.from === answer.next && from)
            return;
        all = (all + answer.text.replaceAll("\r", "")).slice(-TEXT_MAX);
        next = answer.next;
        setText(pane, all);
        if (atEnd)
            pane.scrollTop = pane.scrollHeight;
    }
    return {pane, poll, restarted};
}

export function logView() {
    const {pane, poll, restarted} = ringPane("v1/log", "Log");

    return {title: "Log", node: el("section", null, el("h2", null, "Log of the hypervisor"), pane), poll, restarted};
}

// ---- layout of the region ----

const REGION = 4096, COLUMNS = 64, CELL = 10;

// A field's bytes as rectangles, one per row of the map.
function pieces(f) {
    const parts = [];

    for (let at = f.offset; at < f.offset + f.size;) {
        const end = Math.min(f.offset + f.size, (Math.floor(at / COLUMNS) + 1) * COLUMNS);

        parts.push(svg("rect", {x: at % COLUMNS * CELL, y: Math.floor(at / COLUMNS) * CELL,
                                width: (end - at) * CELL - 1, height: CELL - 1}));
        at = end;
    }
    return svg("g", {class: `field ${encodedGroup(f.encoding)} ${f.stored.replace(" ", "-")}`}, parts);
}

const hex = (n) => `0x${n.toString(16).padStart(3, "0")}`;
const describe = (f) => `offset ${hex(f.offset)}, ${f.size} bytes: ${f.name} (${f.encoding}, ` +
                        `${encodedGroup(f.encoding)}), ${f.stored}`;

function layoutMap(found, readout) {
    const groups = found.map(pieces);
    const map = svg("svg", {class: "region", viewBox: `0 0 ${COLUMNS * CELL} ${REGION / COLUMNS * CELL}`,
                            tabindex: "0", role: "application",
                            "aria-label": "Map of the region; arrow keys go from field to field"},
                    svg("g", {class: "field header"}, svg("rect", {width: 8 * CELL - 1, height: CELL - 1})),
                    groups);
    let at = 0;

    function select(i) {
        groups[at].classList.remove("selected");
        at = i;
        groups[at].classList.add("selected");
        setText(readout, describe(found[at]));
    }
    groups.forEach((g, i) => g.addEventListener("pointerenter", () => select(i)));
    map.addEventListener("focus", () => select(at));
    map.addEventListener("keydown", (e) => {
        const to = step(e.key, at, found.length);

        if (to === null)
            return;
        e.preventDefault();
        select(to);
    });
    return map;
}

export function layoutView() {
    const node = el("section", null, el("h2", null, "Where this CPU keeps the fields of a VMCS"));
    let done = false;

    function show(layout) {
        const found = layout.fields.filter((f) => f.offset !== null).sort((a, b) => a.offset - b.offset);
        const readout = el("output", {class: "readout"}, "Point at a field, or use the arrow keys.");

        node.append(
            el("p", null, `Revision ${layout.revision} of ${layout.cpu}. ${found.length} of ` +
               `${layout.fields.length} fields were found in the region's ${REGION} bytes by writing ` +
               `them and looking. ${COLUMNS} bytes a row.`, layout.note ? ` Note: ${layout.note}.` : ""),
            el("p", {class: "legend"}, GROUPS.map((g) => el("span", {class: `key ${g}`}, g)),
               el("span", {class: "key header"}, "revision, VMX-abort indicator")),
            readout, layoutMap(found, readout),
            el("div", {class: "scroll"}, table("Fields in the order of the region",
               ["offset", "bytes", "encoding", "name", "stored"],
               found.map((f) => [hex(f.offset), String(f.size), f.encoding, f.name, f.stored]))));
    }
    return {
        title: "VMCS layout", node,
        async poll() {
            if (done)
                return; // it does not change
            show(await api("v1/vmx/layout"));
            done = true;
        },
    };
}

// ---- capabilities ----

const msrDetails = (msr) => el("details", {class: msr.differs ? "differs" : ""},
    el("summary", null, el("code", null, `${msr.msr} ${msr.name}`), " ", el("code", null, msr.value),
       msr.differs ? " differs from core 0" : ""),
    el("div", {class: "scroll"}, table(msr.name, ["bits", "name", "value", "meaning"],
        (msr.bits ?? []).map((b) => [b.bits, b.name, b.value, b.meaning]))));

export function capabilitiesView() {
    const node = el("section", null, el("h2", null, "What this CPU's VT-x can do"));
    let done = false;

    return {
        title: "Capabilities", node,
        async poll() {
            if (done)
                return;
            const answer = await api("v1/vmx/capabilities?decode=1");

            node.append(el("p", null, `${answer.cpu}, signature ${answer.cpu_signature}, VMCS revision ` +
                           `${answer.vmcs_revision}`));
            for (const core of answer.cores) {
                const same = core.core > 0 && core.differences_from_core_0 === 0;

                node.append(el("h3", null, `Core ${core.core}`),
                            !core.vmx ? el("p", null, "It has no VT-x.")
                            : same ? el("p", null, "The same as core 0.")
                                   : el("div", null, core.msrs.map(msrDetails)));
            }
            done = true;
        },
    };
}
