// The frame around the views: where we are, the poll, whether the appliance answers.
import "./help.js";
import {api, clock, el, limits, percent, Refusal, setExtension, setText, Silence, state, uptime} from "./lib.js";
import {compareView} from "./compare.js";
import {deployView} from "./deploy.js";
import {eventsView} from "./events.js";
import {guestView} from "./guest.js";
import {logView} from "./ring.js";
import {overviewView} from "./overview.js";
import {capabilitiesView, layoutView} from "./vmx.js";
import {isLoggingIn, logOut, session, setRole, token} from "./session.js";

const POLL_MS = 1000;
const HOST_EVERY = 5; // polls
const VIEWS = {"": ["Guests", overviewView], deploy: ["New guest", deployView], events: ["Events", eventsView], log: ["Log", logView],
               layout: ["VMCS layout", layoutView], capabilities: ["Capabilities", capabilitiesView], compare: ["VMCS and VMCB", compareView]};
const OF_VMX = new Set(["layout"]); // a VMCB's layout is public

const main = document.getElementById("main");
const offline = document.getElementById("offline");
const nav = document.getElementById("nav");

// A view: {node, poll, host, restarted, take, unfinished, close}. `poll` asks for what it shows; the others are optional: `host` gets
// /v1/host, `restarted` is called when the machine has restarted, `take` gets dropped files, `unfinished` returns what to ask before the
// view is left.
let view = null;
let lastAnswer = null;
let wake = () => {};

function showNav(first) {
    nav.replaceChildren(...Object.entries(VIEWS).filter(([path]) => state.path === "vmcs" || !OF_VMX.has(path)).map(([path, [title]]) =>
        el("a", {href: `#/${path}`, "aria-current": path === first ? "page" : null}, title)));
}

// "#/guest/echo/exits" is ["guest", "echo", "exits"]; anything unreadable is the overview.
function place() {
    try {
        return location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
    } catch {
        return [""];
    }
}

let here = "#/";
let dropped = null; // files, on their way to their view

function route(mayStay) {
    const [first, ...rest] = place();

    if (location.hash === "#main" && view)
        return; // the skip link
    if (mayStay && view?.unfinished?.() && !confirm(view.unfinished())) {
        history.replaceState(null, "", here);
        return;
    }
    here = location.hash || "#/";
    view?.close?.();
    showNav(first);
    view = first === "guest" && rest[0] ? guestView(rest[0], rest[1], rest[2])
                                        : (Object.hasOwn(VIEWS, first) ? VIEWS[first] : VIEWS[""])[1]();
    document.title = `${view.title} - Bulkhead`;
    view.error = el("p", {class: "error", role: "alert", hidden: true});
    main.replaceChildren(view.error, view.node);
    scrollTo(0, 0);
    main.focus({preventScroll: true}); // the focused element may be gone
    if (dropped)
        view.take?.(dropped);
    dropped = null;
    wake();
}

// Without authentication, or with an appliance that knows none, every client may do everything.
let known = false;

async function whoAmI() {
    const who = await api("v1/whoami").catch((e) => {
        if (e instanceof Refusal && e.status === 404)
            return {name: null, role: "admin"};
        throw e;
    });

    known = true;
    setRole(who);
    setText(document.getElementById("role"), who.name ? `${who.name} (${who.role})` : "");
    document.getElementById("logout").hidden = !token();
}

session.changed = () => {
    known = false;
    before = null;
    route(false); // the old role's content goes
};
document.getElementById("logout").addEventListener("click", logOut);

let before = null; // the last answer of /v1/host: loads are computed between two answers

const CORES_NAMED = 8; // with more cores the line says less about each

function loadsOf(cores) {
    const busiest = cores.reduce((a, b) => (b.load > a.load ? b : a), cores[0]);

    return cores.length <= CORES_NAMED ? cores.map((c) => `core ${c.id} ${percent(c.load)}`).join(" · ")
        : `${cores.length} cores ${percent(cores.reduce((sum, c) => sum + c.load, 0) / cores.length)}, core ${busiest.id} ${percent(busiest.load)}`;
}

function showHost(host) {
    if (before && host.uptime_ms < before.uptime_ms) {
        before = null;
        view.restarted?.();
    }
    for (const core of host.cores) {
        const old = before?.cores[core.id] ?? {busy_ticks: 0, idle_ticks: 0};
        const busy = core.busy_ticks - old.busy_ticks, idle = core.idle_ticks - old.idle_ticks;

        core.load = busy + idle > 0 ? busy / (busy + idle) : 0;
    }
    clock.hz = host.cores[0]?.tsc_hz ?? 0;
    before = host;
    setText(document.getElementById("host"),
            `${host.version} (build ${host.build_id.slice(0, 8)}) · up ${uptime(host.uptime_ms)} · ` +
            loadsOf(host.cores));
}

function showSilence(e) {
    const age = lastAnswer ? `What you see is ${Math.round((Date.now() - lastAnswer) / 1000)} s old.`
                           : "Nothing is known yet.";

    setText(offline, `The appliance is not answering. ${age} Trying again.`);
    offline.title = e.message;
    offline.hidden = false;
    document.body.classList.add("stale");
}

function showAnswer() {
    lastAnswer = Date.now();
    offline.hidden = true;
    document.body.classList.remove("stale");
}

async function poll(round, now) {
    try {
        if (!known)
            await whoAmI();
        if (now.host || !before || round % HOST_EVERY === 0) {
            const host = await api("v1/host");

            showHost(host);
            if (setExtension(host.virtualization)) {
                route(false); // its views ask for other resources
                return;
            }
            now.host?.(host);
        }
        if (now === view)
            await now.poll();
        showAnswer();
        now.error.hidden = true;
    } catch (e) {
        if (e instanceof Silence) {
            showSilence(e);
            return;
        }
        showAnswer();
        setText(now.error, e instanceof Refusal ? e.message : `This page has made a mistake, and tries again: ${e.message}`);
        now.error.hidden = e.status === 401; // the login box shows it
        if (!(e instanceof Refusal))
            console.error(e);
    }
}

const pause = () => new Promise((resolve) => {
    const timer = setTimeout(resolve, POLL_MS);

    wake = () => {
        clearTimeout(timer);
        resolve();
    };
});

// ---- a file dropped anywhere is to become a guest ----

const hasFiles = (e) => e.dataTransfer?.types.includes("Files");
const showOver = (over) => document.body.classList.toggle("over", over);

document.addEventListener("dragover", (e) => {
    if (!hasFiles(e))
        return;
    e.preventDefault(); // otherwise the browser would show it instead of this page
    showOver(!isLoggingIn());
});
document.addEventListener("dragleave", (e) => e.relatedTarget || showOver(false));
document.addEventListener("drop", (e) => {
    if (!hasFiles(e))
        return;
    e.preventDefault();
    showOver(false);
    const files = [...e.dataTransfer.files];

    if (files.length === 0 || isLoggingIn())
        return;
    if (view.take) {
        view.take(files, e.target);
        return;
    }
    dropped = files;
    location.hash = "#/deploy";
});

export const settings = limits; // for tests

async function run() {
    for (let round = 0; ; round++) {
        const now = view;

        if (!document.hidden && !isLoggingIn())
            await poll(round, now);
        if (now === view)
            await pause();
    }
}

window.addEventListener("hashchange", () => route(true));
document.addEventListener("visibilitychange", () => wake());
route(false);
run();
