// A guest's console as a terminal: xterm.js over a WebSocket.
import {el, limits, setText, Silence} from "./lib.js";
import {restrict, token} from "./session.js";

const AGAIN_MS = 2000, FRAME_MAX = 4096, COLUMNS_MIN = 20, COLUMNS_MAX = 132, ROWS = 25;
const GONE = 1001; // the guest is deleted

const colours = () => {
    const style = getComputedStyle(document.documentElement), of = (name) => style.getPropertyValue(name).trim();

    return {background: of("--raised"), foreground: of("--fore"), cursor: of("--link"), selectionBackground: "rgba(128, 160, 220, .4)"};
};

// A console's WebSocket. on.open(), on.bytes(bytes), on.close({code, reason}).
function connection(guest, on) {
    const url = new URL(`v1/guests/${encodeURIComponent(guest)}/terminal`, location.href);

    url.protocol = url.protocol.replace("http", "ws");
    url.hash = "";
    const socket = new WebSocket(url, ["bulkhead.console", ...(token() ? [`bearer.${token()}`] : [])]);

    socket.binaryType = "arraybuffer";
    socket.addEventListener("open", on.open);
    socket.addEventListener("message", (e) => on.bytes(new Uint8Array(e.data)));
    socket.addEventListener("close", on.close);
    return socket;
}

// One connection at most, resumed after a break by poll(), which is called only while the page is visible and the appliance answers.
// on.open(), on.text(text), on.say(what, connected).
function line(guest, on) {
    let socket = null, wanted = false, due = 0, heard = 0;

    function drop() {
        const old = socket;

        socket = null; // from now on its callbacks have no effect
        old?.close(1000);
    }
    function lost(why) {
        drop();
        due = Date.now() + AGAIN_MS;
        on.say(`${why}; trying again`, false);
    }
    function connect() {
        const decoder = new TextDecoder();
        const mine = (what) => (...args) => {
            if (socket === opened)
                what(...args);
        };

        const bytes = mine((some) => {
            heard = Date.now();
            if (some.length) // an empty frame only says that the other side is alive
                on.text(decoder.decode(some, {stream: true}));
        });
        const close = mine(({code, reason}) => {
            if (code === GONE)
                end(reason);
            else
                lost(`the connection is closed${reason ? `: ${reason}` : ""}`);
        });
        let opened = null;

        drop();
        wanted = true;
        heard = Date.now();
        on.say("connecting ...", true);
        try {
            opened = socket = connection(guest, {open: mine(on.open), bytes, close});
        } catch (e) {
            end(e.message); // the token is a subprotocol, which cannot contain some characters
        }
    }
    function end(why) {
        wanted = false;
        drop();
        on.say(why, false);
    }

    return {
        connect, end, lost,
        isThere: () => socket !== null,
        poll() {
            if (socket && Date.now() - heard > limits.quietMs)
                lost("nothing was heard for long");
            else if (wanted && !socket && Date.now() >= due)
                connect();
        },
        send(bytes) {
            for (let at = 0; socket?.readyState === WebSocket.OPEN && at < bytes.length; at += FRAME_MAX)
                socket.send(bytes.subarray(at, at + FRAME_MAX));
        },
    };
}

let loads = 0;

// A browser may remember that a module failed to load: so it gets another name then.
async function loadTerminal() {
    try {
        return (await import(loads ? `./xterm.js?${loads}` : "./xterm.js")).default;
    } catch (e) {
        loads++;
        throw new Silence(e.message);
    }
}

export function terminalView(guest) {
    const status = el("p", {class: "status", role: "status"}, "connecting ...");
    const place = el("div", {class: "screen", "aria-label": `Terminal of ${guest}`});
    const leave = restrict(el("button", {type: "button", onclick: () => {
        if (to.isThere())
            to.end("disconnected");
        else if (terminal)
            to.connect();
    }}, "Connect"), "operate");
    let terminal = null, closed = false;

    function say(text, connected) {
        setText(status, text);
        setText(leave, connected ? "Disconnect" : "Connect");
    }
    const to = line(guest, {
        say,
        open: () => {
            terminal.reset(); // everything that still exists comes again
            say("connected; F6 leaves the terminal", true);
        },
        text: (text) => terminal.write(text),
    });

    function fit() {
        const cell = (place.querySelector(".xterm-screen")?.clientWidth ?? 0) / terminal.cols;

        if (cell > 0)
            terminal.resize(Math.max(COLUMNS_MIN, Math.min(COLUMNS_MAX, Math.floor((place.clientWidth - 24) / cell))), ROWS);
    }
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const recolour = () => { terminal.options.theme = colours(); };

    async function start() {
        const Terminal = await loadTerminal();

        if (closed)
            return;
        const made = new Terminal({rows: ROWS, scrollback: 5000, screenReaderMode: true, fontSize: 13, theme: colours(),
                               fontFamily: '"DejaVu Sans Mono", Menlo, Consolas, monospace'});

        made.open(place);
        made.attachCustomKeyEventHandler((e) => {
            if (e.key !== "F6")
                return true;
            if (e.type === "keydown")
                leave.focus();
            return false;
        });
        made.onData((text) => to.send(new TextEncoder().encode(text)));
        terminal = made;
        fit();
        addEventListener("resize", fit);
        dark.addEventListener("change", recolour);
        to.connect();
        terminal.focus();
    }

    return {
        node: el("div", null, place, el("p", {class: "tools"}, leave, status)),
        async poll() {
            if (!terminal)
                await start();
            else
                to.poll();
        },
        restarted: () => to.isThere() && to.lost("the machine has restarted"),
        close() {
            closed = true;
            to.end("closed");
            removeEventListener("resize", fit);
            dark.removeEventListener("change", recolour);
            terminal?.dispose?.();
        },
    };
}
