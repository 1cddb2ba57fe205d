// What happens to guests, as it happens. EventSource cannot send a token, so the stream is read here.
import {el, limits, openStream, setText, uptime} from "./lib.js";

const KEPT = 200, AGAIN_MS = 2000;
const HEADS = [["number", "number"], ["uptime", "number"], ["time (UTC)", "minor"], ["guest"], ["state"], ["by"], ["why"], ["restarts", "number minor"]];

// More about "by": the role and the address behind a request.
const byWhom = ({by, role, from}) => (role ? `${by} (${role}), from ${from}` : by ? null : "not known: management has restarted since");

// One event's text ("field: value" lines) as an object.
function parse(text) {
    const fields = {};

    for (const line of text.split("\n")) {
        const colon = line.indexOf(":");

        if (colon > 0)
            fields[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
    }
    return fields;
}

// The next part. A peer that vanished silently is treated as gone.
async function heard(reader) {
    let timer;
    const quiet = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error("nothing was heard for long")), limits.quietMs);
    });

    try {
        return await Promise.race([reader.read(), quiet]);
    } finally {
        clearTimeout(timer);
    }
}

// Calls on(fields) for each event until the stream ends, which throws.
async function read(reader, on) {
    const decoder = new TextDecoder();
    let text = "";

    for (;;) {
        const {value, done} = await heard(reader);

        if (done)
            throw new Error("the stream has ended");
        const parts = (text + decoder.decode(value, {stream: true})).split("\n\n");

        text = parts.pop();
        parts.map(parse).filter((f) => f.data).forEach(on);
    }
}

export function eventsView() {
    const body = el("tbody"), status = el("p", {class: "status", role: "status"}, "asking ...");
    let stream = null, last = 0, due = 0; // due: no retry before

    function add(fields) {
        const e = JSON.parse(fields.data);

        last = Number(fields.id);
        body.prepend(el("tr", {"data-event": String(e.id)}, el("td", {class: "number"}, String(e.id)), el("td", {class: "number"}, uptime(e.uptime_ms)),
            el("td", {class: "minor"}, (e.time ?? "").slice(0, 19).replace("T", " ")),
            el("th", {scope: "row"}, el("a", {href: `#/guest/${encodeURIComponent(e.guest)}`}, e.guest)),
            el("td", {class: `state ${e.state}`}, e.state), el("td", {title: byWhom(e)}, e.by ?? "?"), el("td", null, e.why), el("td", {class: "number minor"}, String(e.restarts))));
        while (body.children.length > KEPT)
            body.lastChild.remove();
    }
    function end() {
        stream?.abort();
        stream = null;
    }
    async function listen() {
        const mine = stream = new AbortController();

        try {
            const reader = await openStream("v1/events", {Accept: "text/event-stream", "Last-Event-ID": String(last)}, mine);

            setText(status, "live");
            read(reader, add).catch((e) => {
                if (mine !== stream)
                    return;
                setText(status, `${e.message}; trying again`);
                due = Date.now() + AGAIN_MS;
                end();
            });
        } catch (e) {
            if (mine !== stream)
                return;
            setText(status, "not connected");
            end();
            throw e;
        }
    }
    return {
        title: "Events",
        node: el("section", null, el("h2", null, "Events, the newest first"), status, el("div", {class: "scroll"},
            el("table", {class: "events"}, el("thead", null, el("tr", null, HEADS
                .map(([h, kind]) => el("th", {scope: "col", class: kind}, h)))), body))),
        // No poll and no connection if the page is hidden or has no token.
        async poll() {
            if (!stream && Date.now() >= due)
                await listen();
        },
        restarted() {
            end();
            last = 0; // they are counted from 1 again
            body.replaceChildren();
        },
        close: end,
    };
}
