// What this CPU's VT-x or AMD-V is: the layout of a VMCS region, and the capabilities.
import {api, el, encodedGroup, GROUPS, setText, state, step, svg, table} from "./lib.js";

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

function coresOfVmx(answer) {
    const head = el("p", null, `${answer.cpu}, signature ${answer.cpu_signature}, VMCS revision ${answer.vmcs_revision}`);

    return [head, answer.cores.map((core) => [el("h3", null, `Core ${core.core}`),
        !core.vmx ? el("p", null, "It has no VT-x.")
        : core.core > 0 && core.differences_from_core_0 === 0 ? el("p", null, "The same as core 0.")
                                                              : el("div", null, core.msrs.map(msrDetails))])];
}

const svmDetails = (core) => el("details", {open: true}, el("summary", null, el("code", null, `CPUID 8000000A EDX ${core.features}`)),
    el("div", {class: "scroll"}, table(`Revision ${core.revision}, ${core.asids} ASIDs`, ["bit", "name", "meaning", "there"],
        (core.bits ?? []).map((b) => [String(b.bit), b.name, b.meaning, b.present ? "yes" : "no"]))));

const coresOfSvm = (answer) => [el("p", null, `${answer.cpu}, signature ${answer.cpu_signature}`),
    answer.cores.map((core) => [el("h3", null, `Core ${core.core}`),
        !core.svm ? el("p", null, "It has no AMD-V.")
        : core.core > 0 && core.like_core_0 ? el("p", null, "The same as core 0.") : svmDetails(core)])];

export function capabilitiesView() {
    const node = el("section", null, el("h2", null, `What this CPU's ${state.extension} can do`));
    let done = false;

    return {
        title: "Capabilities", node,
        async poll() {
            if (done)
                return;
            const answer = await api(`v1/${state.path === "vmcb" ? "svm" : "vmx"}/capabilities?decode=1`);

            node.append(...(state.path === "vmcb" ? coresOfSvm : coresOfVmx)(answer).flat(2));
            done = true;
        },
    };
}
