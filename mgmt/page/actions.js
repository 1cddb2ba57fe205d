// What can be done to a guest.
import {api} from "./lib.js";

// action -> the states in which it makes sense; those that end something are asked about first.
export const ACTIONS = {start: ["stopped", "crashed", "failed"], pause: ["running"], resume: ["paused"], nmi: ["running"],
                 reset: null, stop: ["running", "paused"], delete: null};
const ENDING = ["reset", "stop", "delete"];

// Asks first where something ends. False: it was not done.
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

export const isPossible = (action, state) => ACTIONS[action] === null || ACTIONS[action].includes(state);
export const roleOf = (action) => (action === "delete" ? "admin" : "operate");
