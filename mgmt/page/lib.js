// Shared by all views: elements, the API, numbers. Text from the API only ever becomes a text node: a guest's name or console cannot become
// markup.

import {authorization, isLoggingIn, token, tokenRefused} from "./session.js";

const SVG = "http://www.w3.org/2000/svg";
// How long to wait: for an answer; for one that comes when all is done (a guest's memory is zeroed: the appliance gives up after 20 s); for
// any sign of life of a stream, which sends one every 15 s; and for an upload to make progress.
export const limits = {answerMs: 8000, slowMs: 30000, quietMs: 40000, stallMs: 30000};

function build(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes ?? {})) {
        if (name.startsWith("on"))
            node.addEventListener(name.slice(2), value);
        else if (typeof value === "boolean")
            node.toggleAttribute(name, value);
        else if (value !== undefined && value !== null)
            node.setAttribute(name, value);
    }
    node.append(...children.flat().filter((c) => c !== null && c !== undefined));
    return node;
}

export const el = (tag, attributes, ...children) =>
    build(document.createElement(tag), attributes, children);
export const svg = (tag, attributes, ...children) =>
    build(document.createElementNS(SVG, tag), attributes, children);

// Changes the text only if it differs, so that screen readers and selections are left alone.
export function setText(node, text) {
    if (node.textContent !== text)
        node.textContent = text;
}

// A long name from the SDM, with a possible line break after each word.
export const breakable = (name) => name.split(/(?<=_)/).flatMap((word) => [word, el("wbr")]);

export const table = (caption, heads, rows) => el("table", null,
    el("caption", null, caption),
    el("thead", null, el("tr", null, heads.map((h) => el("th", {scope: "col"}, h)))),
    el("tbody", null, rows.map((cells) => el("tr", null, cells.map((c) => el("td", null, c))))));

export const field = (label, control) => el("label", {class: "field"}, control, " ", label);

// A bar of a bar chart; `share` from 0 to 1.
export function bar(share, colour) {
    const fill = el("span", {class: "fill"});

    if (colour)
        fill.style.background = colour;
    fill.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
    return el("span", {class: "bar", "aria-hidden": "true"}, fill);
}

// ---- the API ----

// The appliance answered with an error: its message, and the error's place in the request.
export class Refusal extends Error {
    constructor(message, pointer, status) {
        super(message);
        this.pointer = pointer;
        this.status = status;
    }
}
// No answer at all.
export class Silence extends Error {}

// `sent`: the request's token.
function refused(status, error, sent) {
    const wait = status === 429 ? "; wait a moment" : "";

    if (status === 401)
        tokenRefused(sent, error?.message ?? "this token is not known");
    return new Refusal((error?.message ?? `status ${status}`) + wait, error?.pointer, status);
}

// The token to send, if there is one.
function tokenNow() {
    if (isLoggingIn())
        throw new Refusal("a token is needed first", null, 401);
    return token();
}

async function exchange(path, {method = "GET", body, type, accept = "application/json", slow = false}) {
    const mine = tokenNow();
    let response, text;

    try {
        response = await fetch(path, {method, body, cache: "no-store", redirect: "error",
                                      headers: {Accept: accept, ...(type ? {"Content-Type": type} : {}), ...authorization(mine)},
                                      signal: AbortSignal.timeout(slow ? limits.slowMs : limits.answerMs)});
        text = await response.text();
    } catch (e) {
        throw new Silence(e.message);
    }
    if (!response.ok)
        throw refused(response.status, errorOf(text), mine);
    return text;
}

function errorOf(text) {
    try {
        return JSON.parse(text).error;
    } catch {
        return null;
    }
}

// An answer without end, as a reader of its bytes; `stop` (an AbortController) ends it.
async function beginStream(path, headers, stop) {
    const mine = tokenNow(), timer = setTimeout(() => stop.abort(), limits.answerMs);
    let response;

    try {
        response = await fetch(path, {cache: "no-store", redirect: "error", signal: stop.signal, headers: {...headers, ...authorization(mine)}});
        if (!response.ok)
            throw refused(response.status, errorOf(await response.text()), mine);
    } catch (e) {
        throw e instanceof Refusal ? e : new Silence(e.message);
    } finally {
        clearTimeout(timer);
    }
    return response.body.getReader();
}

// One request at a time: the appliance has other work.
let last = Promise.resolve();

function inTurn(what) {
    const mine = last.then(what);

    last = mine.catch(() => {});
    return mine;
}

// options.slow: the others do not wait for it.
export async function api(path, options = {}) {
    const send = () => exchange(path, options), text = await (options.slow ? send() : inTurn(send));

    return text ? JSON.parse(text) : null; // 204 has no body
}
export const apiText = (path) => inTurn(() => exchange(path, {accept: "text/plain"}));
export const openStream = (path, headers, stop) => inTurn(() => beginStream(path, headers, stop));

export const vcpuPath = (guest, vcpu) => `v1/guests/${encodeURIComponent(guest)}/vcpus/${vcpu}`;

// ---- numbers ----

const UNITS = {us: ", µs", ms: ", ms"};

// The name of a configuration's field as words: "slice_us" is "Slice", or with its unit "Slice, µs".
export function labelOf(name, withUnit) {
    const words = {cmdline: ["command", "line"], vcpus: ["vCPUs"]}[name] ?? name.split("_"), unit = words.length > 1 ? UNITS[words.at(-1)] : undefined;
    const text = (unit ? words.slice(0, -1) : words).join(" ");

    return (text.startsWith("vCPU") ? text : text[0].toUpperCase() + text.slice(1)) + (withUnit && unit ? unit : "");
}

export const count = (n) => Math.round(n).toLocaleString("en");
// Never "0 %" for more than nothing.
export function percent(x) {
    const value = Math.max(0, Math.min(1, x)) * 100;

    if (value > 0 && value < 0.1)
        return "< 0.1 %";
    return `${value > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value)} %`;
}
export const mebibytes = (n) => `${Math.round(n / 2 ** 20)} MiB`;
// If there are few, all of them count.
export const size = (n) => (n < 2 ** 20 ? `${Math.ceil(n / 1024)} KiB` : mebibytes(n));

export const clock = {hz: 0}; // the time-stamp counter's frequency, once /v1/host is known

export function duration(ticks) {
    const us = clock.hz ? ticks / clock.hz * 1e6 : 0;

    if (ticks === null || ticks === undefined)
        return "not over";
    if (!clock.hz)
        return `${count(ticks)} ticks`;
    return us < 1000 ? `${us.toFixed(1)} µs` : us < 1e6 ? `${(us / 1000).toFixed(1)} ms`
                                                        : `${(us / 1e6).toFixed(1)} s`;
}

export function uptime(ms) {
    const s = Math.floor(ms / 1000), pad = (n) => String(n).padStart(2, "0");

    return `${Math.floor(s / 3600)}:${pad(Math.floor(s / 60) % 60)}:${pad(s % 60)}`;
}

// What a vCPU's state is called, by the vendor of the CPU: a VMCS, or a VMCB.
const STATES = {
    "VT-x": {extension: "VT-x", path: "vmcs", name: "VMCS", key: "encoding", said: "encoded as a ", saidEnd: " field", by: "its encoding says",
             controls: "0x4000,0x4002,0x401e,0x400c,0x4012", kept: "kept: isolation depends on it", rules: "The rules of the SDM's chapter \"VM Entries\""},
    "AMD-V": {extension: "AMD-V", path: "vmcb", name: "VMCB", key: "offset", said: "in the ", saidEnd: " area", by: "its area says",
              controls: "INTERCEPT_CR,INTERCEPT_DR,INTERCEPT_EXCEPTIONS,INTERCEPT_MISC1,INTERCEPT_MISC2,INTERCEPT_MISC3",
              kept: "kept: isolation depends on it, or the root does not handle the exit", rules: "The APM's \"Canonicalization and Consistency Checks\""},
};
export const state = {...STATES["VT-x"]};

// True: it was another one until now.
export function setExtension(extension) {
    const other = extension in STATES && extension !== state.extension;

    Object.assign(state, STATES[other ? extension : state.extension]);
    return other;
}

// The SDM's groups, by bits 11:10 of an encoding.
export const GROUPS = ["control", "read-only", "guest", "host"];
export const encodedGroup = (encoding) => GROUPS[parseInt(encoding, 16) >> 10 & 3];

// As many colours as can be distinguished; further names are grey.
const PALETTE = ["#3d7fe0", "#e07b1f", "#2ea36b", "#c2459b", "#c9a800", "#7d5bd6", "#19a7b8", "#d1483f"];

// name -> colour, in order of first use.
export function palette() {
    const known = new Map();

    return (name) => {
        if (!known.has(name))
            known.set(name, PALETTE[known.size] ?? "#8a8f98");
        return known.get(name);
    };
}

// Arrow keys, Home and End in a list with only one tab stop.
export function step(key, at, n, columns = 1) {
    const by = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns,
                Home: -at, End: n - 1 - at}[key];

    return by === undefined ? null : Math.max(0, Math.min(n - 1, at + by));
}
