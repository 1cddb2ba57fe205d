// A new guest: sends its files, then creates it from them. Files sent for a guest that could not be created are kept for the next try, and
// removed if there is none.
import {api, el, Refusal, setText, size} from "./lib.js";
import {makeForm} from "./deploy_form.js";
import {imageTable} from "./images.js";
import {refusal, restrict, session} from "./session.js";
import {Abandoned, imageName, upload} from "./upload.js";

// The files that were sent, until a guest uses them.
function sentFiles() {
    const names = new Map(); // File -> {name, made}

    return {
        nameOf: (file) => names.get(file)?.name ?? null,
        add: (file, name, made) => names.set(file, {name, made}),
        used: () => names.clear(),
        all: () => [...names.values()].map((n) => n.name),
        // Removes all but `wanted`; images that existed before under a name stay too.
        async tidy(wanted = []) {
            for (const [file, {name, made}] of names) {
                if (wanted.includes(file))
                    continue;
                names.delete(file);
                if (made)
                    await api(`v1/images/${encodeURIComponent(name)}`, {method: "DELETE", slow: true}).catch(() => {});
            }
        },
    };
}

export function deployView() {
    const form = makeForm(), sent = sentFiles();
    const general = el("p", {class: "error", role: "alert", hidden: true}), status = el("p", {class: "status", role: "status"});
    const progress = el("progress", {max: "1", value: "0", hidden: true, "aria-label": "Sent"});
    const submit = restrict(el("button", {type: "submit", class: "main"}, "Deploy"), "admin");
    const cancel = el("button", {type: "button", hidden: true, onclick: () => giveUp()}, "Cancel");
    const forget = el("button", {type: "button", hidden: true, onclick: () => tidy()}, "Remove what was sent");
    const images = imageTable(() => refresh(), say);
    let known = "", there = [], busy = false, closed = false, current = null;

    function say(message) {
        general.hidden = message === null;
        setText(general, message ?? "");
    }
    function giveUp() {
        current?.abort();
    }
    async function tidy() {
        forget.hidden = true;
        await sent.tidy();
        setText(status, "");
        known = "";
    }
    const hold = (e) => e.preventDefault(); // the browser asks

    // The names of the new guest's images; sends those that do not exist yet.
    async function sendAll(sources, guest) {
        const files = sources.filter((s) => s.file && !sent.nameOf(s.file)), all = files.reduce((sum, s) => sum + s.file.size, 0);
        const names = [];
        let done = 0;

        for (const {file, image, pointer} of sources) {
            const old = image ?? sent.nameOf(file);
            const name = old ?? imageName(guest, file.name, (n) => names.includes(n) || there.some((i) => i.name === n && i.used_by.length > 0));

            names.push(name);
            if (old)
                continue;
            progress.hidden = cancel.hidden = false;
            current = upload(name, file, (n) => {
                progress.value = all ? (done + n) / all : 0;
                setText(status, `${file.name}: ${size(done + n)} of ${size(all)} sent`);
            });
            try {
                sent.add(file, name, await current.done);
            } catch (e) {
                e.pointer = pointer;
                throw e;
            } finally {
                current = null;
            }
            if (closed)
                throw new Abandoned("given up");
            done += file.size;
        }
        return names;
    }
    async function make() {
        const sources = form.sources(), name = form.name();

        form.entry(sources.map(() => "")); // finds mistakes before anything is sent
        await sent.tidy(sources.map((s) => s.file));
        if (sources.some((s) => s.file) && (await api("v1/guests")).guests.some((g) => g.name === name))
            throw new Refusal("there is a guest of this name", "/name");
        const guest = form.entry(await sendAll(sources, name));

        cancel.hidden = true;
        setText(status, `${name} is being made`);
        await api("v1/guests", {method: "POST", body: JSON.stringify(guest), type: "application/json", slow: true});
        sent.used();
        if (!closed)
            location.hash = `#/guest/${encodeURIComponent(name)}/console`;
    }
    async function failed(e) {
        setText(status, "");
        if (closed || e instanceof Abandoned)
            await sent.tidy();
        if (e instanceof Abandoned) {
            setText(status, "Given up. What was sent is removed.");
            return;
        }
        if (!form.showProblem(e))
            say(e.message);
        forget.hidden = sent.all().length === 0;
        if (!forget.hidden)
            setText(status, `Kept for the next try: ${sent.all().join(", ")}`);
    }
    async function deploy() {
        if (busy)
            return;
        busy = true;
        submit.setAttribute("aria-busy", "true");
        forget.hidden = true;
        form.showProblem(null);
        say(null);
        addEventListener("beforeunload", hold);
        try {
            await make();
        } catch (e) {
            await failed(e);
        }
        removeEventListener("beforeunload", hold);
        progress.hidden = cancel.hidden = true;
        submit.removeAttribute("aria-busy");
        busy = false;
        known = "";
    }
    async function refresh() {
        const answer = (await api("v1/images")).images, now = JSON.stringify([answer, session.role]);

        if (now === known)
            return;
        known = now;
        there = answer;
        images.show(answer);
        form.showImages(answer);
    }

    const node = el("form", {class: "deploy", novalidate: true, "aria-label": "New guest"}, form.nodes,
        el("p", {class: "tools"}, submit, cancel, progress), general, el("p", {class: "tools outcome"}, status, forget));

    // An error is about what was there before.
    for (const kind of ["input", "change"])
        node.addEventListener(kind, () => {
            if (busy)
                return;
            form.showProblem(null);
            say(null);
        });
    node.addEventListener("submit", (e) => {
        e.preventDefault();
        if (!refusal("admin"))
            deploy();
    });
    return {
        title: "New guest",
        node: el("section", null, el("h2", null, "New guest"), node, images.node),
        host: (answer) => form.showCores(answer.cores),
        poll: refresh,
        take(files, target) {
            if (!busy)
                form.take(files, target);
        },
        // What to ask before the view is left.
        unfinished: () => (busy ? "Files are being sent. Leave, and give that up?" : null),
        close() {
            closed = true;
            giveUp();
            if (!busy)
                sent.tidy();
        },
    };
}
