// Images, and new guests of them: a file is dropped, sent, and becomes a guest.
import {api, el, field, megabytes, Refusal, setText} from "./lib.js";
import {authorization, refusal, restrict, session} from "./session.js";

const DEVICES = ["uart", "pic", "pit", "rtc", "reset", "exit", "net"], USUAL = DEVICES.slice(0, -1);
const NAME_MAX = 64;

// As the API wants names: letters, digits, ".", "_", "-", beginning with a letter or digit.
const asName = (text) => text.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "").slice(0, NAME_MAX) || "image";

// fetch() does not say how far it has got.
function upload(name, file, onProgress) {
    return new Promise((resolve, reject) => {
        const request = new XMLHttpRequest();

        request.open("PUT", `v1/images/${encodeURIComponent(name)}`);
        request.setRequestHeader("Accept", "application/json");
        for (const [header, value] of Object.entries(authorization()))
            request.setRequestHeader(header, value);
        request.upload.addEventListener("progress", (e) => onProgress(e.loaded, e.total));
        request.addEventListener("error", () => reject(new Refusal("the connection broke while the image was sent")));
        request.addEventListener("load", () => {
            const answer = request.responseText ? JSON.parse(request.responseText) : {};

            if (request.status < 300)
                resolve(answer);
            else
                reject(new Refusal(answer.error?.message ?? `status ${request.status}`, "/image"));
        });
        request.send(file);
    });
}

// A labelled control, with a place for what is wrong with it.
function row(label, name, control, note) {
    const problem = el("small", {class: "error", id: `${name}-error`, role: "alert", hidden: true});

    control.id = `deploy-${name}`;
    control.setAttribute("name", name);
    control.setAttribute("aria-describedby", problem.id);
    return {name, control, problem, node: el("div", {class: "row"}, el("label", {for: control.id}, label),
        el("div", null, control, note ? el("small", {class: "note"}, note) : null, problem))};
}

const choice = (options) => el("select", null, options.map(([value, text]) => el("option", {value}, text)));

function makeForm() {
    const file = el("input", {type: "file"}), stored = choice([["", "the file"]]), name = el("input", {type: "text", required: true, maxlength: "31"});
    const boxes = DEVICES.map((d) => el("input", {type: "checkbox", value: d, checked: USUAL.includes(d)}));
    const rows = [
        row("Image", "image", file, "or drop it here; multiboot ELF, Linux bzImage or flat binary"),
        row("or one that is there", "stored", stored),
        row("Name", "name", name),
        row("Memory", "memory", el("input", {type: "text", value: "16M", required: true}), "a multiple of 2 MB"),
        row("Core", "core", choice([["", "the one with the fewest guests"]])),
        row("Command line", "cmdline", el("input", {type: "text"})),
        row("Restart", "restart", choice([["never", "never"], ["on-failure", "on failure"], ["always", "always"]])),
        row("Devices", "devices", el("fieldset", null, DEVICES.map((d, i) => field(d, boxes[i]))))];
    const by = Object.fromEntries(rows.map((r) => [r.name, r]));

    return {rows, by, file, stored, name, boxes};
}

function entry({by, name, boxes}, image) {
    const devices = boxes.filter((b) => b.checked).map((b) => b.value);
    const guest = {name: name.value.trim(), image, memory: by.memory.control.value.trim(), restart: by.restart.control.value};

    if (by.core.control.value)
        guest.core = Number(by.core.control.value);
    if (by.cmdline.control.value)
        guest.cmdline = by.cmdline.control.value;
    if (devices.join() !== USUAL.join())
        guest.devices = devices;
    return guest;
}

function showProblem({rows, by}, general, e) {
    const at = by[e?.pointer?.split("/")[1]] ?? null;

    for (const r of rows) {
        r.problem.hidden = r !== at;
        r.control.setAttribute("aria-invalid", String(r === at));
    }
    general.hidden = !e || at !== null;
    if (!e)
        return;
    setText(at ? at.problem : general, e.message);
    at?.control.focus();
}

function imageTable(refresh, general) {
    const body = el("tbody");

    async function remove(name) {
        if (!confirm(`Delete the image ${name}?`))
            return;
        try {
            await api(`v1/images/${encodeURIComponent(name)}`, {method: "DELETE"});
            general.hidden = true;
        } catch (e) {
            setText(general, e.message);
            general.hidden = false;
        }
        await refresh();
    }
    function rowOf(image) {
        const why = image.source === "iso" ? "It came with the ISO." : image.used_by.length ? `In use by ${image.used_by.join(", ")}.` : null;
        const button = el("button", {type: "button", "data-delete": image.name, "aria-label": `delete ${image.name}`,
                                     onclick: () => why || remove(image.name)}, "delete");

        if (why) {
            button.setAttribute("aria-disabled", "true");
            button.title = why;
        } else {
            restrict(button, "admin");
        }
        return el("tr", {"data-image": image.name}, el("th", {scope: "row"}, image.name), el("td", {class: "number"}, megabytes(image.size)),
            el("td", null, image.source), el("td", null, image.used_by.join(", ") || "nobody"),
            el("td", null, el("code", {title: image.sha256 ?? ""}, image.sha256?.slice(0, 16) ?? "")), el("td", null, button));
    }
    return {
        node: el("div", {class: "scroll"}, el("table", {class: "images"}, el("caption", null, "Images"), el("thead", null, el("tr", null,
            ["name", "size", "from", "used by", "SHA-256", ""].map((h) => el("th", {scope: "col"}, h)))), body)),
        show: (images) => body.replaceChildren(...images.map(rowOf)),
    };
}

export function deployView() {
    const form = makeForm(), {file, stored, name} = form;
    const general = el("p", {class: "error", role: "alert", hidden: true}), status = el("p", {class: "status", role: "status"});
    const progress = el("progress", {max: "1", value: "0", hidden: true, "aria-label": "Image sent"});
    const submit = restrict(el("button", {type: "submit"}, "Deploy"), "admin");
    let chosen = null, known = "", busy = false;
    const images = imageTable(() => refresh(), general);

    function take(f) {
        chosen = f;
        stored.value = "";
        setText(status, `${f.name}, ${megabytes(f.size)}`);
        if (!name.value)
            name.value = asName(f.name.replace(/\.[^.]*$/, "")).slice(0, 31);
    }
    file.addEventListener("change", () => file.files[0] && take(file.files[0]));
    stored.addEventListener("change", () => {
        if (stored.value && !name.value)
            name.value = asName(stored.value.replace(/^.*\//, "").replace(/\.[^.]*$/, "")).slice(0, 31);
    });

    async function sendImage() {
        if (stored.value)
            return stored.value;
        if (!chosen)
            throw new Refusal("choose a file, or an image that is there", "/image");
        progress.hidden = false;
        await upload(asName(chosen.name), chosen, (sent, all) => {
            progress.value = all ? sent / all : 0;
            setText(status, `${megabytes(sent)} of ${megabytes(all)} sent`);
        });
        return asName(chosen.name);
    }
    async function deploy() {
        if (busy)
            return;
        busy = true;
        showProblem(form, general, null);
        try {
            const guest = entry(form, await sendImage());

            await api("v1/guests", {method: "POST", body: JSON.stringify(guest), type: "application/json"});
            location.hash = `#/guest/${encodeURIComponent(guest.name)}/terminal`;
        } catch (e) {
            showProblem(form, general, e);
            setText(status, "");
        }
        busy = false;
        progress.hidden = true;
        known = "";
    }

    async function refresh() {
        const answer = (await api("v1/images")).images, now = JSON.stringify([answer, session.role]);

        if (now === known)
            return;
        known = now;
        images.show(answer);
        const value = stored.value;

        stored.replaceChildren(el("option", {value: ""}, "the file"), ...answer.map((i) => el("option", {value: i.name}, i.name)));
        stored.value = value;
    }

    const drop = el("form", {class: "deploy", novalidate: true, "aria-label": "Deploy a guest"}, form.rows.map((r) => r.node),
        el("p", {class: "tools"}, submit, progress), status, general);

    drop.addEventListener("submit", (e) => {
        e.preventDefault();
        if (!refusal("admin"))
            deploy();
    });
    for (const [event, over] of [["dragover", true], ["dragleave", false], ["drop", false]])
        drop.addEventListener(event, (e) => {
            e.preventDefault();
            drop.classList.toggle("over", over);
            if (event === "drop" && e.dataTransfer.files[0])
                take(e.dataTransfer.files[0]);
        });
    return {
        title: "Deploy",
        node: el("section", null, el("h2", null, "Deploy a guest"), drop, images.node),
        host(answer) {
            const core = form.by.core.control;

            if (core.options.length === 1)
                core.append(...answer.cores.map((c) => el("option", {value: String(c.id)}, `core ${c.id}`)));
        },
        poll: refresh,
    };
}
