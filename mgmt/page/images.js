// The table of images.
import {api, el, size} from "./lib.js";
import {restrict} from "./session.js";

const HEADS = [["name"], ["size", "number"], ["from", "minor"], ["used by"], ["SHA-256", "minor"], ["actions"]];

// say(message): the result; null: success.
export function imageTable(refresh, say) {
    const body = el("tbody");

    async function remove(name) {
        if (!confirm(`Delete the image ${name}?`))
            return;
        try {
            await api(`v1/images/${encodeURIComponent(name)}`, {method: "DELETE", slow: true});
            say(null);
            await refresh();
        } catch (e) {
            say(e.message);
        }
    }
    function row(image) {
        const why = image.source === "iso" ? "It came with the ISO." : image.used_by.length ? `In use by ${image.used_by.join(", ")}.` : null;
        const button = el("button", {type: "button", "data-delete": image.name, "aria-label": `delete ${image.name}`,
                                     onclick: () => why || remove(image.name)}, "delete");

        if (why) {
            button.setAttribute("aria-disabled", "true");
            button.title = why;
        } else {
            restrict(button, "admin");
        }
        return el("tr", {"data-image": image.name}, el("th", {scope: "row"}, image.name), el("td", {class: "number"}, size(image.size)),
            el("td", {class: "minor"}, image.source === "iso" ? "ISO" : image.source), el("td", null, image.used_by.join(", ") || "none"),
            el("td", {class: "minor"}, el("code", {title: image.sha256 ?? ""}, image.sha256?.slice(0, 16) ?? "")), el("td", null, button));
    }
    return {
        node: el("div", {class: "scroll"}, el("table", {class: "images"}, el("caption", null, "Images"), el("thead", null, el("tr", null,
            HEADS.map(([h, kind]) => el("th", {scope: "col", class: kind}, h)))), body)),
        show: (images) => body.replaceChildren(...images.map(row)),
    };
}
