// One guest: its actions, and its views.
import {act, ACTIONS, isPossible, reason, roleOf} from "./actions.js";
import {consoleView} from "./console.js";
import {controlsView} from "./controls.js";
import {checkView, diffView} from "./diff.js";
import {exitsView} from "./exits.js";
import {api, el, Refusal, setText, state as kind} from "./lib.js";
import {plotsView} from "./plots.js";
import {restrict} from "./session.js";
import {summaryView} from "./summary.js";
import {mapView} from "./vmcs.js";

const TABS = {summary: ["Summary", summaryView], console: ["Console", consoleView], exits: ["Exits", exitsView], plots: ["Plots", plotsView],
              controls: ["Controls", controlsView], state: [null, mapView], diff: ["Differences", diffView], check: ["Entry check", checkView]};

// In the address the map has the name of what it shows: "vmcs", "vmcb".
const addressOf = (tab) => tab === "state" ? kind.path : tab;
const titleOf = (tab) => TABS[tab][0] ?? kind.name;

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

// What is shown in place of a guest that does not exist: nothing to press that could not work.
function nobody(guest) {
    return el("section", {"aria-label": guest}, el("h2", null, "There is no guest \u201c", guest, "\u201d"),
        el("p", {class: "nobody", role: "status"}, "It may have been deleted: see ", el("a", {href: "#/events"}, "the events"), ", or ",
           el("a", {href: "#/"}, "all guests"), ". If one of this name is made, it appears here."));
}

// `tab`, `number`: as in the address; without them, the summary, and the first vCPU.
export function guestView(guest, tab, number) {
    const asked = tab === "vmcs" || tab === "vmcb" ? "state" : tab;
    const shown = Object.hasOwn(TABS, asked) ? asked : "summary", title = titleOf(shown), make = TABS[shown][1];
    const vcpu = /^\d+$/.test(number ?? "") ? Number(number) : 0;
    const inner = make(guest, vcpu), head = guestHead(guest);
    const base = `#/guest/${encodeURIComponent(guest)}`;
    const choice = el("nav", {class: "tabs", "aria-label": `vCPUs of ${guest}`, hidden: true});
    const missing = nobody(guest);
    const whole = el("section", {hidden: true, "aria-label": `${guest}, ${title}`}, head.nodes,
        el("nav", {class: "tabs", "aria-label": `Views of ${guest}`}, Object.keys(TABS).map((name) =>
            el("a", {href: `${base}/${addressOf(name)}${vcpu ? `/${vcpu}` : ""}`, "aria-current": name === shown ? "page" : null}, titleOf(name)))),
        choice, inner.node);
    const place = el("div", null, whole); // unseen until the guest is known to exist

    // With only one there is no choice.
    function showChoice(count) {
        if (choice.children.length === count)
            return;
        choice.hidden = count < 2;
        choice.replaceChildren(...Array.from({length: count}, (_, i) =>
            el("a", {href: `${base}/${addressOf(shown)}/${i}`, "aria-current": i === vcpu ? "page" : null}, `vCPU ${i}`)));
    }
    function show(node) {
        node.hidden = false;
        if (node.parentNode !== place)
            place.replaceChildren(node);
    }
    // null: there is no such guest.
    async function ask() {
        try {
            return await api(`v1/guests/${encodeURIComponent(guest)}`);
        } catch (e) {
            if (e instanceof Refusal && e.status === 404)
                return null;
            throw e;
        }
    }

    return {
        title: `${guest}, ${title}`,
        node: place,
        async poll() {
            if (head.isLeaving())
                return;
            const answer = await ask();

            show(answer ? whole : missing);
            if (!answer)
                return;
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
