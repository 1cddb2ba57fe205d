// Files of this computer on their way to the appliance, and their names there.
import {limits, Refusal, Silence} from "./lib.js";
import {authorization, token, tokenRefused} from "./session.js";

const IMAGE_NAME_MAX = 63, GUEST_NAME_MAX = 31;

// Named like bhctl: "GUEST-FILE", with "-2" and so on appended if that is taken.
export function imageName(guest, file, isTaken) {
    for (let n = 1; ; n++) {
        const suffix = n > 1 ? `-${n}` : "";
        const bytes = new TextEncoder().encode(`${guest}-${file}`).slice(0, IMAGE_NAME_MAX - suffix.length);
        const name = [...bytes].map((b) => String.fromCharCode(b)).join("").replace(/[^A-Za-z0-9._-]/g, "_") + suffix;

        if (!isTaken(name))
            return name;
    }
}

export const isGuestName = (name) => /^[a-z0-9][a-z0-9-]{0,30}$/.test(name);

// From a file's name, without its last extension.
export const suggestedName = (file) => file.replace(/^.*\//, "").replace(/(?<=.)\.[^.]*$/, "").toLowerCase()
    .replace(/[^a-z0-9]+/g, "-").replace(/^-/, "").slice(0, GUEST_NAME_MAX).replace(/-$/, "");

export class Abandoned extends Error {}

const errorOf = (text) => {
    try {
        return JSON.parse(text).error;
    } catch {
        return null;
    }
};

// PUTs a file. {done, abort}: done says whether an image was made (false: one was replaced). fetch() does not report progress.
export function upload(name, file, onProgress) {
    const request = new XMLHttpRequest(), mine = token(), begun = Date.now();
    const alive = () => {
        request.timeout = Date.now() - begun + limits.stallMs; // counts from the beginning
    };
    const done = new Promise((resolve, reject) => {
        request.open("PUT", `v1/images/${encodeURIComponent(name)}`);
        request.setRequestHeader("Accept", "application/json");
        for (const [header, value] of Object.entries(authorization(mine)))
            request.setRequestHeader(header, value);
        request.upload.addEventListener("progress", (e) => {
            alive();
            onProgress(e.loaded);
        });
        request.addEventListener("abort", () => reject(new Abandoned("given up")));
        request.addEventListener("timeout", () => reject(new Silence(`${file.name}: nothing has got through for ${Math.round(limits.stallMs / 1000)} s`)));
        request.addEventListener("error", () => reject(new Silence(`${file.name}: the connection broke, or the file cannot be read`)));
        request.addEventListener("load", () => {
            const {status} = request, message = errorOf(request.responseText)?.message ?? `status ${status}`;

            if (status === 401)
                tokenRefused(mine, message);
            if (status < 300)
                resolve(status === 201);
            else
                reject(new Refusal(message, null, status));
        });
        alive();
        request.send(file);
    });

    return {done, abort: () => request.abort()};
}
