// The form for a new guest: an entry of guests.json, its images from files or existing ones.
import {DISKS_MAX, GUEST, MODULES_MAX, NET} from "./fields.js";
import {el, field, labelOf, Refusal} from "./lib.js";
import {isGuestName, suggestedName} from "./upload.js";

// Shown at once, before and after the modules; all other fields are folded away.
const PLAIN = ["memory", "vcpus", "core", "cmdline"], BEHIND = ["restart", "devices"];
const RAMDISK = /initr|ramdisk|ramfs|cpio/i; // of several files, the one that is not the kernel

const choice = (options) => el("select", null, options.map(([value, text]) => el("option", {value}, text)));

// A labelled control, with a place for its error.
function row(label, name, control, note) {
    const problem = el("small", {class: "error", id: `${name}-error`, role: "alert", hidden: true});

    control.id = `deploy-${name}`;
    control.setAttribute("name", name);
    control.setAttribute("aria-describedby", problem.id);
    return {name, control, problem, node: el("div", {class: "row"}, el("label", {for: control.id}, label),
        el("div", null, control, note ? el("small", {class: "note"}, note) : null, problem))};
}

const line = (more) => el("input", {type: "text", autocomplete: "off", spellcheck: "false", ...more});

function numberAt(text, pointer) {
    if (!/^\d{1,9}$/.test(text))
        throw new Refusal("must be a whole number", pointer);
    return Number(text);
}

// By a field's kind: its control, and its value in a guest's entry; undefined: the default.
const KINDS = {
    number: (f) => ({control: line({inputmode: "numeric", placeholder: String(f.preset)}), read: (text, pointer) => (text ? numberAt(text, pointer) : undefined)}),
    memory: (f) => ({control: line({value: f.preset, required: true}), read: (text) => text}),
    core: () => ({control: choice([["", "the one with the fewest vCPUs"]]), read: (text) => (text ? Number(text) : undefined)}),
    cores: () => ({control: line({placeholder: "0, 2, ..."}), read: (text, pointer) => (text ? text.split(/[\s,]+/).filter((a) => a).map((a) => numberAt(a, pointer)) : undefined)}),
    choice: (f) => ({control: choice(f.words.map((w) => [w, w.replaceAll("-", " ")])), read: (text) => (text === f.preset ? undefined : text)}),
    switch: (f) => ({control: choice((f.preset ? ["yes", "no"] : ["no", "yes"]).map((w, i) => [i ? w : "", w])), read: (text) => (text ? !f.preset : undefined)}),
    text: (f) => ({control: line({placeholder: f.preset ?? ""}), read: (text, pointer, control) => control.value || undefined}),
    addresses: () => ({control: line({placeholder: "with commas between them"}), read: (text) => (text ? text.split(/[\s,]+/).filter((a) => a) : undefined)}),
    flags(f) {
        const boxes = f.words.map((w) => el("input", {type: "checkbox", value: w, checked: f.preset.includes(w)}));
        const chosen = () => boxes.filter((b) => b.checked).map((b) => b.value);

        return {control: el("fieldset", {tabindex: "-1"}, f.words.map((w, i) => field(w, boxes[i]))), read: () => (chosen().join() === f.preset.join() ? undefined : chosen())};
    },
};

// A row of the form for a field of `path`, "" or "/net".
function fieldRow(f, path) {
    const {control, read} = KINDS[f.kind](f), r = row(labelOf(f.name, true), f.name, control, f.help);

    return {...r, path, read: () => read((control.value ?? "").trim(), `${path}/${f.name}`, control)};
}

// A file of this computer, or an existing image.
function source(onPick) {
    const input = el("input", {type: "file"}), stored = choice([["", "(the file)"]]);
    let file = null;

    function take(f) {
        file = f;
        stored.value = "";
        onPick(f.name);
    }
    input.addEventListener("change", () => input.files[0] && take(input.files[0]));
    stored.addEventListener("change", () => {
        if (!stored.value)
            return;
        file = null;
        input.value = "";
        onPick(stored.value);
    });
    return {
        input, stored,
        // {file} or {image}; null: no choice.
        get: () => (stored.value ? {image: stored.value} : file ? {file} : null),
        drop(f) {
            const list = new DataTransfer();

            list.items.add(f);
            input.files = list.files; // makes it show the name
            take(f);
        },
        show(images) {
            const value = stored.value;

            stored.replaceChildren(el("option", {value: ""}, "(the file)"), ...images.map((i) => el("option", {value: i.name}, i.name)));
            stored.value = images.some((i) => i.name === value) ? value : "";
        },
    };
}

// What is given beside its file: a module's arguments, and whether a disk can be written.
function moduleArgs() {
    const control = el("input", {type: "text", "aria-label": "Arguments of the module", placeholder: "arguments"});

    return {control, node: control, read: () => ({args: control.value})};
}

function diskReadonly() {
    const control = el("input", {type: "checkbox", "aria-label": "The disk cannot be written"});

    return {control, node: el("label", null, control, " read-only"), read: () => (control.checked ? {readonly: true} : {})};
}

// A list of files: modules or disks.
function fileList(word, label, most, note, makeMore) {
    const field = `${word}s`, list = el("ol", {class: "modules"}), problem = el("small", {class: "error", id: `${field}-error`, role: "alert", hidden: true});
    const add = el("button", {type: "button", onclick: () => append()?.from.input.focus()}, `Add a ${word}`);
    const node = el("fieldset", {id: `deploy-${field}`, tabindex: "-1", "aria-labelledby": `${field}-label`, "aria-describedby": problem.id}, list, add);
    let entries = [], images = [], made = 0;

    function append() {
        if (entries.length === most)
            return null;
        const id = `${word}-${++made}`, from = source(() => {}), more = makeMore();
        const file = {control: from.input, problem: el("small", {class: "error", id: `${id}-error`, role: "alert", hidden: true})};
        const entry = {from, more, file, node: null};

        from.input.id = `deploy-${id}`;
        from.input.setAttribute("aria-label", word[0].toUpperCase() + word.slice(1));
        from.input.setAttribute("aria-describedby", file.problem.id);
        from.stored.setAttribute("aria-label", "or stored image");
        more.control.setAttribute("aria-describedby", file.problem.id);
        from.show(images);
        entry.node = el("li", null, el("div", {class: "module"}, from.input, from.stored, more.node, el("button", {type: "button", "aria-label": `Remove the ${word}`, onclick: () => {
            entries = entries.filter((m) => m !== entry);
            entry.node.remove();
            add.disabled = false;
            add.focus();
        }}, "Remove")), file.problem);
        entries.push(entry);
        list.append(entry.node);
        add.disabled = entries.length === most;
        return entry;
    }
    return {
        field,
        node: el("div", {class: "row"}, el("span", {id: `${field}-label`}, label), el("div", null, node, el("small", {class: "note"}, note), problem)),
        append,
        all: () => entries,
        whole: {control: node, problem},
        show(now) {
            images = now;
            entries.forEach((m) => m.from.show(now));
        },
    };
}

export function makeForm() {
    const name = el("input", {type: "text", required: true, maxlength: "31", autocomplete: "off", spellcheck: "false"});
    const image = source((file) => {
        if (!name.value)
            name.value = suggestedName(file);
    });
    const modules = fileList("module", "Modules", MODULES_MAX, "more files for the kernel; for Linux one, the initrd", moduleArgs);
    const disks = fileList("disk", "Disks", DISKS_MAX, "virtio disks; what is written to them is gone when the guest is deleted", diskReadonly);
    const lists = [modules, disks], fields = [...GUEST.map((f) => fieldRow(f, "")), ...NET.map((f) => fieldRow(f, "/net"))];
    const some = (names) => names.map((name) => fields.find((r) => r.name === name));
    const plain = [
        row("Image", "image", image.input, "or drop it anywhere on this page: Linux bzImage, multiboot or PVH image"),
        row("or stored image", "stored", image.stored),
        row("Name", "name", name), ...some(PLAIN)];
    const after = some(BEHIND), advanced = fields.filter((r) => !plain.includes(r) && !after.includes(r));
    const more = el("details", {class: "advanced"}, el("summary", null, "Advanced: time, restarts, network, exits"),
        el("div", {class: "more"}, advanced.map((r) => r.node)));
    const rows = [...plain, ...after, ...advanced], by = new Map(rows.map((r) => [r.name, r]));
    const text = (id) => by.get(id).control.value.trim();

    // The element that a refusal's JSON pointer is about, or undefined.
    function placeOf(pointer) {
        const [, first, n, part] = (pointer ?? "").split("/"), list = lists.find((l) => l.field === first), entry = list?.all()[n];

        if (!list)
            return by.get(first === "net" ? n ?? "network" : first);
        return !entry ? list.whole : part && part !== "file" ? {...entry.file, control: entry.more.control} : entry.file;
    }
    const places = () => [...rows, ...lists.flatMap((l) => [l.whole, ...l.all().flatMap((m) => [m.file, {...m.file, control: m.more.control}])])];

    return {
        nodes: [...plain.map((r) => r.node), modules.node, disks.node, ...after.map((r) => r.node), more],
        name: () => text("name"),
        // {file} or {image} of the image, of each module and of each disk. Throws a Refusal if something is missing.
        sources() {
            const all = [["/image", image], ...lists.flatMap((l) => l.all().map((m, i) => [`/${l.field}/${i}/file`, m.from]))];

            if (!isGuestName(text("name")))
                throw new Refusal("a name has lower-case letters, digits and -, and begins with a letter or digit", "/name");
            return all.map(([pointer, from]) => {
                const chosen = from.get();

                if (!chosen)
                    throw new Refusal("choose a file, or an image that is there", pointer);
                return {...chosen, pointer};
            });
        },
        // `names`: the images', in the order of sources().
        entry([first, ...others]) {
            const guest = {name: text("name"), image: first}, net = {};

            for (const l of lists)
                if (l.all().length)
                    guest[l.field] = l.all().map((m) => ({file: others.shift(), ...m.more.read()}));
            for (const r of fields) {
                const value = r.read();

                if (value !== undefined)
                    (r.path ? net : guest)[r.name] = value;
            }
            if (Object.keys(net).length)
                guest.net = net;
            return guest;
        },
        // Shows an error at its field. False: it is about no field.
        showProblem(e) {
            const at = e ? placeOf(e.pointer) : undefined;

            for (const p of places()) {
                p.problem.hidden = true;
                p.control.setAttribute("aria-invalid", String(p.control === at?.control));
            }
            if (!at)
                return false;
            at.problem.textContent = e.message.replace(/^\d+:\d+: (?:[\w/]+: )?/, ""); // without the position in the JSON and the name
            at.problem.hidden = false;
            more.open ||= more.contains(at.control);
            at.control.focus();
            return true;
        },
        // Dropped files: to the control under them, otherwise the kernel to the image and others to modules.
        take(files, target) {
            const on = lists.flatMap((l) => l.all()).find((m) => m.node.contains(target));
            const [kernels, others] = [files.filter((f) => !RAMDISK.test(f.name)), files.filter((f) => RAMDISK.test(f.name))];
            const toImage = target !== image.input && (modules.node.contains(target) || (kernels.length === 0 && image.get())) ? [] : [...kernels, ...others].slice(0, 1);

            if (on && files.length === 1) {
                on.from.drop(files[0]);
                return;
            }
            toImage.forEach((f) => image.drop(f));
            [...kernels, ...others].slice(toImage.length).forEach((f) => modules.append()?.from.drop(f));
        },
        showImages(images) {
            image.show(images);
            lists.forEach((l) => l.show(images));
        },
        showCores(cores) {
            const core = by.get("core").control;

            if (core.options.length === 1)
                core.append(...cores.map((c) => el("option", {value: String(c.id)}, `core ${c.id}`)));
        },
    };
}
