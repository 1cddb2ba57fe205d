// Text that grows: the log, and the guests' consoles.
import {api, el, setText} from "./lib.js";

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
