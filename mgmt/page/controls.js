// A vCPU's control bits and exit profile.
import {api, el, field, setText, state, vcpuPath} from "./lib.js";
import {refusal, restrict} from "./session.js";

export function controlsView(guest, vcpu) {
    const path = `${vcpuPath(guest, vcpu)}/${state.path}`;
    const result = el("p", {class: "result", role: "status"}), words = el("div", {class: "words"});
    const profiles = ["least", "default", "most"].map((profile) => restrict(el("button", {type: "button", "data-profile": profile, "aria-pressed": "false",
        onclick: () => patch({exit_profile: profile}, `exit profile ${profile}`)}, profile), "operate"));
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
        const on = b.value === "0x1", forced = b.forced !== null && b.forced !== undefined, fixed = b.changeable === false;
        const box = el("input", {type: "checkbox", checked: on, disabled: fixed || refusal("operate") !== null, title: refusal("operate"), "data-bit": b.name, onchange: () =>
            patch({fields: {[word]: {[b.name]: box.checked}}}, `${b.name} is ${box.checked ? "on" : "off"}`)});
        const note = forced ? `forced to ${b.forced} by ${b.forced_by}` : fixed ? state.kept
                            : b.wanted !== on ? "changed since the start" : "";

        return el("li", {class: fixed ? "fixed" : null}, field(b.name, box), el("small", null, [b.meaning, note].filter(Boolean).join("; ")));
    }

    async function poll() {
        const dump = await api(`${path}?decode=1&fields=${state.controls}`);
        const now = JSON.stringify([dump.fields, dump.exit_profile]);
        const focused = document.activeElement?.dataset.bit;

        if (now === known)
            return;
        known = now;
        for (const b of profiles)
            b.setAttribute("aria-pressed", String(b.dataset.profile === dump.exit_profile));
        words.replaceChildren(...dump.fields.map((f) => el("fieldset", null, el("legend", null, `${f.name} ${f.value}`),
            el("ul", null, (f.bits ?? []).filter((b) => b.name !== "RESERVED" && !b.bits.includes(":"))
                .map((b) => toggle(f.name, b))))));
        if (focused)
            words.querySelector(`[data-bit="${CSS.escape(focused)}"]`)?.focus();
    }

    return {
        node: el("div", null, el("p", {class: "tools", role: "group", "aria-label": "Exit profile"}, "Exit profile: ", profiles), result, words),
        poll,
    };
}
