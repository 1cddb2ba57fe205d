// The actions on a guest.
import {ACTIONS as OFFERED} from "./fields.js";
import {api, duration} from "./lib.js";

// Actions that end something need a confirmation. A guest that is held back after short lives can be started at once, or not at all.
export const ACTIONS = {...OFFERED, delete: null};
const ENDING = ["reset", "stop", "delete"];

// Asks first if the action ends something. False: it was not done.
export async function act(guest, action) {
    const path = `v1/guests/${encodeURIComponent(guest)}`;

    if (ENDING.includes(action) && !confirm(`${action} ${guest}?`))
        return false;
    if (action === "delete")
        await api(path, {method: "DELETE", slow: true});
    else
        await api(`${path}/actions`, {method: "POST", body: JSON.stringify({action}), type: "application/json"});
    return true;
}

// The text next to the state: why, how the guest is stuck, and how long it is held back.
export function reason({state, why, stuck, short_lives: lives, next_start_tsc: next, stopped_tsc: stopped}) {
    const held = state !== "restarting" || !(next > stopped) ? ""
        : `held back for ${duration(next - stopped)}${lives > 0 ? ` after ${lives} short ${lives === 1 ? "life" : "lives"}` : ""}`;

    return [why, stuck, held].filter(Boolean).join("; ");
}

// The management guest can only be reset: this page would be gone with it.
export const isPossible = (action, state, management = false) =>
    management ? action === "reset" : ACTIONS[action] === null || ACTIONS[action].includes(state);
export const roleOf = (action, management = false) => (action === "delete" || management ? "admin" : "operate");
