// A guest's console: a terminal, or plain text for those who prefer it or may only read.
import {api, el, field, Refusal, setText} from "./lib.js";
import {ringPane} from "./ring.js";
import {refusal, restrict} from "./session.js";
import {terminalView} from "./terminal.js";

const PLAIN = "bulkhead-plain-console";
const BODY_MAX = 4096, TRIES = 20, AGAIN_MS = 250;

function plainView(guest) {
    const path = `v1/guests/${encodeURIComponent(guest)}/console`;
    const {pane, poll, restarted} = ringPane(path, `Console of ${guest}`);
    const input = el("input", {type: "text", autocomplete: "off", spellcheck: "false", "aria-label": "A line for the guest"});
    const error = el("p", {class: "error", role: "alert", hidden: true});

    // The guest's UART only takes what it has room for, and the guest needs time to make room.
    async function send(text) {
        let bytes = new TextEncoder().encode(text), tries = 0;

        while (bytes.length) {
            const {accepted} = await api(path, {method: "POST", body: bytes.slice(0, BODY_MAX)});

            bytes = bytes.slice(accepted);
            tries = accepted > 0 ? 0 : tries + 1;
            if (tries > TRIES)
                throw new Refusal(`the guest does not read its console: ${bytes.length} bytes were not sent`);
            if (tries > 0)
                await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
        }
    }

    const form = el("form", {class: "tools", onsubmit: async (e) => {
        e.preventDefault();
        try {
            const text = input.value, why = refusal("operate");

            if (why)
                throw new Refusal(why);

            input.value = "";
            await send(`${text}\r`);
            error.hidden = true;
            await poll();
        } catch (problem) {
            setText(error, problem.message);
            error.hidden = false;
        }
    }}, input, restrict(el("button", {type: "submit"}, "Send"), "operate"));

    return {node: el("div", null, pane, form, error), poll, restarted};
}

// Which of the two is decided with the first answer: only then the role is known.
export function consoleView(guest) {
    const plain = el("input", {type: "checkbox", class: "plain-text", checked: localStorage.getItem(PLAIN) === "1", onchange: () => {
        localStorage.setItem(PLAIN, plain.checked ? "1" : "0");
        choose();
    }});
    const place = el("div");
    let inner = null;

    function choose() {
        const why = refusal("operate");

        inner?.close?.();
        plain.disabled = why !== null;
        plain.title = why ?? "";
        inner = (plain.checked || why ? plainView : terminalView)(guest);
        place.replaceChildren(inner.node);
    }

    return {
        node: el("div", null, place, el("p", {class: "tools"}, field("plain text", plain))),
        async poll() {
            if (!inner)
                choose();
            await inner.poll();
        },
        restarted: () => inner?.restarted?.(),
        close: () => inner?.close?.(),
    };
}
