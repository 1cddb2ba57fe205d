// The form for a new guest: an entry of guests.json, its images from files or existing ones.
import {GUEST, MODULES_MAX, NET} from "./fields.js";
import {el, field, Refusal} from "./lib.js";
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

const UNITS = {us: ", µs", ms: ", ms"};

// "slice_us" is "Slice, µs".
function labelOf(name) {
    const words = name === "cmdline" ? ["command", "line"] : name.split("_"), unit = words.length > 1 ? UNITS[words.at(-1)] : undefined;
    const text = (unit ? words.slice(0, -1) : words).join(" ");

    return text[0].toUpperCase() + text.slice(1) + (unit ?? "");
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
    const {control, read} = KINDS[f.kind](f), r = row(labelOf(f.name), f.name, control, f.help);

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

function moduleList() {
    const list = el("ol", {class: "modules"}), problem = el("small", {class: "error", id: "modules-error", role: "alert", hidden: true});
    const add = el("button", {type: "button", onclick: () => append()?.from.input.focus()}, "Add a module");
    const node = el("fieldset", {id: "deploy-modules", tabindex: "-1", "aria-labelledby": "modules-label", "aria-describedby": problem.id}, list, add);
    let modules = [], images = [], made = 0;

    function append() {
        if (modules.length === MODULES_MAX)
            return null;
        const id = `module-${++made}`, from = source(() => {}), args = el("input", {type: "text", "aria-label": "Arguments of the module", placeholder: "arguments"});
        const file = {control: from.input, problem: el("small", {class: "error", id: `${id}-error`, role: "alert", hidden: true})};
        const module = {from, args, file, node: null};

        from.input.id = `deploy-${id}`;
        from.input.setAttribute("aria-label", "Module");
        from.input.setAttribute("aria-describedby", file.problem.id);
        from.stored.setAttribute("aria-label", "or stored image");
        args.setAttribute("aria-describedby", file.problem.id);
        from.show(images);
        module.node = el("li", null, el("div", {class: "module"}, from.input, from.stored, args, el("button", {type: "button", "aria-label": "Remove the module", onclick: () => {
            modules = modules.filter((m) => m !== module);
            module.node.remove();
            add.disabled = false;
            add.focus();
        }}, "Remove")), file.problem);
        modules.push(module);
        list.append(module.node);
        add.disabled = modules.length === MODULES_MAX;
        return module;
    }
    return {
        node: el("div", {class: "row"}, el("span", {id: "modules-label"}, "Modules"), el("div", null, node,
            el("small", {class: "note"}, "more files for the kernel; for Linux one, the initrd"), problem)),
        append,
        all: () => modules,
        whole: {control: node, problem},
        show(now) {
            images = now;
            modules.forEach((m) => m.from.show(now));
        },
    };
}

export function makeForm() {
    const name = el("input", {type: "text", required: true, maxlength: "31", autocomplete: "off", spellcheck: "false"});
    const image = source((file) => {
        if (!name.value)
            name.value = suggestedName(file);
    });
    const modules = moduleList(), fields = [...GUEST.map((f) => fieldRow(f, "")), ...NET.map((f) => fieldRow(f, "/net"))];
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
        const [, first, n, part] = (pointer ?? "").split("/"), module = modules.all()[n];

        if (first !== "modules")
            return by.get(first === "net" ? n ?? "network" : first);
        return !module ? modules.whole : part === "args" ? {...module.file, control: module.args} : module.file;
    }
    const places = () => [...rows, modules.whole, ...modules.all().flatMap((m) => [m.file, {...m.file, control: m.args}])];

    return {
        nodes: [...plain.map((r) => r.node), modules.node, ...after.map((r) => r.node), more],
        name: () => text("name"),
        // {file} or {image} of the image and of each module. Throws a Refusal if something is missing.
        sources() {
            const all = [["/image", image], ...modules.all().map((m, i) => [`/modules/${i}/file`, m.from])];

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

            if (others.length)
                guest.modules = others.map((file, i) => ({file, args: modules.all()[i].args.value}));
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
            const on = modules.all().find((m) => m.node.contains(target));
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
            modules.show(images);
        },
        showCores(cores) {
            const core = by.get("core").control;

            if (core.options.length === 1)
                core.append(...cores.map((c) => el("option", {value: String(c.id)}, `core ${c.id}`)));
        },
    };
}
