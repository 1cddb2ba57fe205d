// What a guest used between two answers.
import {clock} from "./lib.js";

// All vCPUs of a guest together.
export const total = ({vcpus}) => ({
    entries: vcpus.reduce((sum, v) => sum + v.entries, 0), run_ticks: vcpus.reduce((sum, v) => sum + v.run_ticks, 0),
    halted: vcpus.every((v) => v.halted), cores: [...new Set(vcpus.map((v) => v.core))].join(", "),
});

// Exits per second and share of a core; null: not known yet. `now` and `old` have {entries, run_ticks, uptime_ms}, the machine's uptime. `most`: of the share, as
// run time that is counted late, at the end of a slice, may be older than `old`.
export function rates(now, old, most) {
    const seconds = old ? (now.uptime_ms - old.uptime_ms) / 1000 : 0;

    if (seconds <= 0 || now.entries < old.entries)
        return {share: null, exits: null};
    return {share: Math.min(most, (now.run_ticks - old.run_ticks) / (seconds * (clock.hz || 1))), exits: (now.entries - old.entries) / seconds};
}
