// A guest's console as a terminal: xterm.js over a WebSocket.
import {el, setText} from "./lib.js";
import {refusal, restrict, token} from "./session.js";

const AGAIN_MS = 2000, FRAME_MAX = 4096, COLUMNS_MIN = 20, COLUMNS_MAX = 132, ROWS = 25;
const GONE = 1001; // the guest is deleted

const colours = () => {
    const style = getComputedStyle(document.documentElement), of = (name) => style.getPropertyValue(name).trim();

    return {background: of("--raised"), foreground: of("--fore"), cursor: of("--link"), selection: "rgba(128, 160, 220, .4)"};
};

function open(guest, on) {
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

export function terminalView(guest) {
    const status = el("p", {class: "status", role: "status"}, "connecting ...");
    const place = el("div", {class: "screen", "aria-label": `Terminal of ${guest}`});
    const leave = restrict(el("button", {type: "button", onclick: () => (socket ? end() : connect())}, "Disconnect"), "operate");
    let terminal = null, socket = null, ended = false, timer = 0, decoder;

    function say(text, connected) {
        setText(status, text);
        setText(leave, connected ? "Disconnect" : "Connect");
    }
    function end() {
        clearTimeout(timer);
        ended = true;
        socket?.close(1000);
    }
    function connect() {
        ended = false;
        decoder = new TextDecoder();
        socket = open(guest, {
            open: () => {
                terminal.reset(); // all that is still there comes again
                say("connected; F6 leaves the terminal", true);
            },
            bytes: (bytes) => terminal.write(decoder.decode(bytes, {stream: true})),
            close: (e) => {
                socket = null;
                if (ended || e.code === GONE) {
                    say(ended ? "disconnected" : e.reason, false);
                    return;
                }
                say(`the connection is closed${e.reason ? `: ${e.reason}` : ""}; trying again`, false);
                timer = setTimeout(connect, AGAIN_MS);
            },
        });
    }
    function type(text) {
        const bytes = new TextEncoder().encode(text);

        for (let at = 0; socket?.readyState === WebSocket.OPEN && at < bytes.length; at += FRAME_MAX)
            socket.send(bytes.subarray(at, at + FRAME_MAX));
    }
    function fit() {
        const cell = terminal?._core.renderer?.dimensions.actualCellWidth;

        if (cell > 0)
            terminal.resize(Math.max(COLUMNS_MIN, Math.min(COLUMNS_MAX, Math.floor((place.clientWidth - 24) / cell))), ROWS);
    }
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const recolour = () => terminal?.setOption("theme", colours());

    async function start() {
        const {default: Terminal} = await import("./xterm.js");

        if (ended)
            return;
        terminal = new Terminal({rows: ROWS, scrollback: 5000, screenReaderMode: true, fontSize: 13, theme: colours(),
                                 fontFamily: '"DejaVu Sans Mono", Menlo, Consolas, monospace'});
        terminal.open(place);
        terminal.attachCustomKeyEventHandler((e) => {
            if (e.key !== "F6")
                return true;
            if (e.type === "keydown")
                leave.focus();
            return false;
        });
        terminal.on("data", type);
        fit();
        addEventListener("resize", fit);
        dark.addEventListener("change", recolour);
        const why = refusal("operate");

        if (why) {
            say(why, false);
            return;
        }
        connect();
        terminal.focus();
    }

    return {
        node: el("div", null, place, el("p", {class: "tools"}, leave, status)),
        async poll() {
            if (!terminal && !timer) {
                timer = -1;
                await start();
            }
        },
        close() {
            end();
            removeEventListener("resize", fit);
            dark.removeEventListener("change", recolour);
            terminal?.dispose?.();
        },
    };
}
