// The form for a new guest: an entry of guests.json, its images from files or from those that are there.
import {el, field, Refusal} from "./lib.js";
import {isGuestName, suggestedName} from "./upload.js";

const DEVICES = ["uart", "pic", "pit", "rtc", "reset", "exit", "net"], USUAL = DEVICES.slice(0, -1);
const MODULES_MAX = 8;
const RAMDISK = /initr|ramdisk|ramfs|cpio/i; // of several files the one that is not the kernel

// name, label, what happens without it, what it is
const NUMBERS = [
    ["weight", "Weight", "100", "its share of the core, beside those of other guests"],
    ["slice_us", "Slice, µs", "2000", "the longest run at a stretch"],
    ["budget_us", "Budget, µs", "unbounded", "runs at most so long in each period"],
    ["period_us", "Period, µs", "10000", null],
    ["guaranteed_us", "Guaranteed, µs", "0", "gets so much of each period before guests without a guarantee"],
    ["restart_limit", "Restart limit", "none", "so many restarts after lives of less than 10 seconds in a row, then no more"],
    ["watchdog_ms", "Watchdog, ms", "none", "ends as crashed when it has not written to port 0xf8 for so long"]];

const choice = (options) => el("select", null, options.map(([value, text]) => el("option", {value}, text)));

// A labelled control, with a place for what is wrong with it.
function row(label, name, control, note) {
    const problem = el("small", {class: "error", id: `${name}-error`, role: "alert", hidden: true});

    control.id = `deploy-${name}`;
    control.setAttribute("name", name);
    control.setAttribute("aria-describedby", problem.id);
    return {name, control, problem, node: el("div", {class: "row"}, el("label", {for: control.id}, label),
        el("div", null, control, note ? el("small", {class: "note"}, note) : null, problem))};
}

// A file of this computer, or an image that is there.
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
        // {file} or {image}; null: nothing is chosen.
        get: () => (stored.value ? {image: stored.value} : file ? {file} : null),
        drop(f) {
            const list = new DataTransfer();

            list.items.add(f);
            input.files = list.files; // so that it says its name
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
    const modules = moduleList(), boxes = DEVICES.map((d) => el("input", {type: "checkbox", value: d, checked: USUAL.includes(d)}));
    const plain = [
        row("Image", "image", image.input, "or drop it anywhere on this page: multiboot ELF, Linux bzImage"),
        row("or stored image", "stored", image.stored),
        row("Name", "name", name),
        row("Memory", "memory", el("input", {type: "text", value: "16M", required: true}), "a multiple of 2 MB"),
        row("Core", "core", choice([["", "the one with the fewest guests"]])),
        row("Command line", "cmdline", el("input", {type: "text", autocomplete: "off", spellcheck: "false"}))];
    const after = [
        row("Restart", "restart", choice([["never", "never"], ["on-failure", "on failure"], ["always", "always"]])),
        row("Devices", "devices", el("fieldset", {tabindex: "-1"}, DEVICES.map((d, i) => field(d, boxes[i]))))];
    const advanced = [
        ...NUMBERS.map(([id, label, without, note]) => row(label, id, el("input", {type: "text", inputmode: "numeric", placeholder: without}), note)),
        row("Clock while paused", "paused_clock", choice([["stops", "stops"], ["runs", "runs"]]), "its TSC, PIT and RTC"),
        row("Network", "network", el("input", {type: "text", placeholder: "default", maxlength: "31", autocomplete: "off", spellcheck: "false"}), "guests see those of their own network only"),
        row("Reaches", "uplink", choice([["", "guests and machines outside"], ["no", "guests of its network only"]])),
        row("Addresses", "addresses", el("input", {type: "text", placeholder: "as the network gives them", autocomplete: "off", spellcheck: "false"}), "the IP addresses that it may use, with commas between them"),
        row("Exit profile", "exit_profile", choice([["default", "default"], ["least", "least"], ["most", "most"]]), "which VM exits it starts with"),
        row("Kind of image", "kind", choice([["auto", "auto"], ["flat", "flat"]]), "flat: a binary without a header, started in real mode at 0x7c00")];
    const more = el("details", {class: "advanced"}, el("summary", null, "Advanced: time, restarts, network, exits"),
        el("div", {class: "more"}, advanced.map((r) => r.node)));
    const rows = [...plain, ...after, ...advanced], by = new Map(rows.map((r) => [r.name, r]));
    const text = (id) => by.get(id).control.value.trim();

    // What a JSON pointer of a refusal is about, or undefined.
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
        // {file} or {image} of the image and of each module. Throws a Refusal when something is missing.
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
        // `names`: of the images, in the order of sources().
        entry([first, ...others]) {
            const devices = boxes.filter((b) => b.checked).map((b) => b.value);
            const guest = {name: text("name"), image: first, memory: text("memory"), restart: text("restart")};

            if (text("core"))
                guest.core = Number(text("core"));
            if (by.get("cmdline").control.value)
                guest.cmdline = by.get("cmdline").control.value;
            if (others.length)
                guest.modules = others.map((file, i) => ({file, args: modules.all()[i].args.value}));
            if (devices.join() !== USUAL.join())
                guest.devices = devices;
            for (const [id] of NUMBERS.filter(([n]) => text(n))) {
                if (!/^\d{1,9}$/.test(text(id)))
                    throw new Refusal("must be a whole number", `/${id}`);
                guest[id] = Number(text(id));
            }
            for (const [id, usual] of [["paused_clock", "stops"], ["exit_profile", "default"], ["kind", "auto"]])
                if (text(id) !== usual)
                    guest[id] = text(id);
            const net = {};

            if (text("network"))
                net.network = text("network");
            if (text("uplink"))
                net.uplink = false;
            if (text("addresses"))
                net.addresses = text("addresses").split(/[\s,]+/).filter((a) => a);
            if (Object.keys(net).length)
                guest.net = net;
            return guest;
        },
        // At its field. False: it is about none of them.
        showProblem(e) {
            const at = e ? placeOf(e.pointer) : undefined;

            for (const p of places()) {
                p.problem.hidden = true;
                p.control.setAttribute("aria-invalid", String(p.control === at?.control));
            }
            if (!at)
                return false;
            at.problem.textContent = e.message.replace(/^\d+:\d+: (?:[\w/]+: )?/, ""); // where in the JSON, and its name
            at.problem.hidden = false;
            more.open ||= more.contains(at.control);
            at.control.focus();
            return true;
        },
        // Dropped files: to where they were dropped, or the kernel to the image and others to modules.
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
