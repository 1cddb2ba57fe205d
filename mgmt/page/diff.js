// A guest's VMCS or VMCB over time, and against the rules: differences of snapshots, the entry check.
import {api, count, duration, el, field, setText, state, table, vcpuPath} from "./lib.js";
import {restrict} from "./session.js";

// ---- differences ----

export function diffView(guest, vcpu) {
    const path = `${vcpuPath(guest, vcpu)}/${state.path}`;
    const list = el("tbody"), result = el("div", {class: "scroll", "aria-live": "polite"});
    const error = el("p", {class: "error", role: "alert", hidden: true});
    const all = el("input", {type: "checkbox", checked: true});
    let snapshots = [], from = null, to = null, known = "";

    async function say(action) {
        try {
            await action();
            error.hidden = true;
        } catch (e) {
            setText(error, e.message);
            error.hidden = false;
        }
    }

    async function compare() {
        if (!from || !to || from === to) {
            result.replaceChildren(el("p", null, "Two snapshots are needed: take one more, or choose others."));
            return;
        }
        const diff = await api(`${path}/diff?from=${from}&to=${to}&volatile=${all.checked ? 1 : 0}`);

        result.replaceChildren(table(`${diff.fields.length} fields differ; ${duration(diff.ticks_between)} ` +
            "lie between", [state.key, "name", "changed by", `in ${from}`, `in ${to}`],
            diff.fields.map((f) => [f[state.key], f.name, f.volatility, f.from ?? "absent", f.to ?? "absent"])));
    }

    const choice = (name, sequence, chosen) => el("input", {type: "radio", name, value: String(sequence),
        checked: sequence === chosen, "aria-label": `${name} snapshot ${sequence}`});

    function showList() {
        const sequences = snapshots.map((s) => s.sequence);

        if (!sequences.includes(from))
            from = sequences[0] ?? null;
        if (!sequences.includes(to))
            to = sequences.at(-1) ?? null;
        list.replaceChildren(...snapshots.map((s) => el("tr", null,
            [choice("from", s.sequence, from), choice("to", s.sequence, to), String(s.sequence), s.cause,
             count(s.tsc), s.exit ? `${s.exit.reason} at ${s.exit.rip}` : "none"].map((c) => el("td", null, c)))));
    }

    async function refresh() {
        ({snapshots} = await api(`${path}/snapshots`));
        const now = snapshots.map((s) => s.sequence).join();

        if (now === known)
            return;
        known = now;
        showList();
        await compare();
    }

    list.addEventListener("change", (e) => {
        if (e.target.name === "from")
            from = Number(e.target.value);
        else
            to = Number(e.target.value);
        say(compare);
    });
    all.addEventListener("change", () => say(compare));

    const take = restrict(el("button", {type: "button", onclick: () => say(async () => {
        to = (await api(`${path}/snapshots`, {method: "POST"})).sequence;
        await refresh();
    })}, "Take a snapshot"), "operate");

    return {
        node: el("div", null, el("p", {class: "tools"}, take, field("also what changes by itself", all)), error,
            el("div", {class: "scroll"}, el("table", {class: "snapshots"}, el("caption", null, "Snapshots that are kept"),
                el("thead", null, el("tr", null, ["from", "to", "number", "cause", "time stamp", "last exit"]
                    .map((h) => el("th", {scope: "col"}, h)))), list)), result),
        poll: refresh,
    };
}

// ---- the entry check ----

export function checkView(guest, vcpu) {
    const verdict = el("p", {class: "verdict", role: "status"}, "checking ..."), failures = el("div", {class: "scroll"});

    return {
        node: el("div", null, el("p", null, `${state.rules}, applied to the ${state.name} as it is now.`), verdict, failures),
        async poll() {
            const check = await api(`${vcpuPath(guest, vcpu)}/${state.path}/check`);

            setText(verdict, check.enters ? `It enters: all ${check.rules} rules hold.`
                : `It does not enter: ${check.failures.length} of ${check.rules} rules are broken.`);
            verdict.classList.toggle("bad", !check.enters);
            failures.replaceChildren(...check.failures.length ? [table("Broken rules",
                ["stage", "field", "value", "bits", "allowed", "rule", "section"], check.failures.map((f) =>
                    [f.stage, f.field, f.value, f.bits ?? "", f.allowed, f.rule, f.section]))] : []);
        },
    };
}
