// What becomes of guests, as it happens. EventSource cannot send a token, so that the stream is read here.
import {el, openStream, setText, uptime} from "./lib.js";

const KEPT = 200, AGAIN_MS = 2000;

// One event's text ("field: value" lines) as an object of its fields.
function parse(text) {
    const fields = {};

    for (const line of text.split("\n")) {
        const colon = line.indexOf(":");

        if (colon > 0)
            fields[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
    }
    return fields;
}

// Calls on(event) for each until `signal`; goes on behind the last one where it was cut off.
async function follow(on, state, signal) {
    let next = 1;

    while (!signal.aborted) {
        try {
            const reader = (await openStream(`v1/events?from=${next}`, "text/event-stream", signal)).getReader();
            const decoder = new TextDecoder();
            let text = "";

            state("live");
            for (;;) {
                const {value, done} = await reader.read();

                if (done)
                    break;
                const parts = (text + decoder.decode(value, {stream: true})).split("\n\n");

                text = parts.pop();
                for (const fields of parts.map(parse).filter((f) => f.data)) {
                    next = Number(fields.id) + 1;
                    on(JSON.parse(fields.data));
                }
            }
        } catch (e) {
            if (signal.aborted)
                return;
            state(e.message);
        }
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
}

export function eventsView() {
    const body = el("tbody"), status = el("p", {class: "status", role: "status"}, "asking ...");
    const stop = new AbortController();

    function add(e) {
        body.prepend(el("tr", {"data-event": String(e.id)}, el("td", {class: "number"}, String(e.id)), el("td", null, uptime(e.uptime_ms)),
            el("th", {scope: "row"}, el("a", {href: `#/guest/${encodeURIComponent(e.guest)}/terminal`}, e.guest)),
            el("td", {class: `state ${e.state}`}, e.state), el("td", null, e.why), el("td", {class: "number"}, String(e.restarts))));
        while (body.children.length > KEPT)
            body.lastChild.remove();
    }
    follow(add, (text) => setText(status, text), stop.signal);
    return {
        title: "Events",
        node: el("section", null, el("h2", null, "Events, the newest first"), status, el("div", {class: "scroll"},
            el("table", {class: "events"}, el("thead", null, el("tr", null, ["number", "uptime", "guest", "state", "why", "restarts"]
                .map((h) => el("th", {scope: "col"}, h)))), body))),
        async poll() {},
        close: () => stop.abort(),
    };
}
