// The fields of a guest and of its network card, and what can be done to it. "make documents" writes this from hv/config_fields.def and hv/actions.def.

export const GUEST = [
    {name: "kind", kind: "choice", preset: "auto", words: ["auto", "flat"], help: "flat: an image without a header, started in real mode at 0x7c00"},
    {name: "cmdline", kind: "text", help: "its kernel's command line"},
    {name: "memory", kind: "memory", preset: "16M", help: "2M to 3G, a multiple of 2M"},
    {name: "core", kind: "core", help: "the core that runs it; else the one with the fewest vCPUs"},
    {name: "vcpus", kind: "number", preset: 1, help: "how many vCPUs it has"},
    {name: "cores", kind: "cores", help: "the core of each vCPU, in order; else as many different ones, those with the fewest vCPUs"},
    {name: "weight", kind: "number", preset: 100, help: "its share of the core, beside those of other guests"},
    {name: "slice_us", kind: "number", preset: 2000, help: "the longest run at a stretch, in microseconds"},
    {name: "budget_us", kind: "number", preset: 0, help: "at most so many microseconds in each period; 0: any number"},
    {name: "period_us", kind: "number", preset: 10000, help: "the period of its budget and of its guarantee, in microseconds"},
    {name: "guaranteed_us", kind: "number", preset: 0, help: "so many microseconds in each period before guests without a guarantee"},
    {name: "restart", kind: "choice", preset: "never", words: ["never", "on-failure", "always"], help: "whether it starts again when it has ended"},
    {name: "restart_limit", kind: "number", preset: 0, help: "so many restarts after lives of less than 10 seconds in a row; 0: no limit"},
    {name: "watchdog_ms", kind: "number", preset: 0, help: "crashed when it does not write to port 0xf8 for so many milliseconds; 0: it need not"},
    {name: "paused_clock", kind: "choice", preset: "stops", words: ["stops", "runs"], help: "what its TSC, PIT and RTC do while it is paused"},
    {name: "exit_profile", kind: "choice", preset: "default", words: ["default", "least", "most"], help: "which VM exits it starts with"},
    {name: "strict_memory", kind: "switch", preset: false, help: "an access where there is neither memory nor a device ends it"},
    {name: "devices", kind: "flags", preset: ["uart", "pic", "pit", "rtc", "reset", "exit", "acpi", "pci"], words: ["uart", "pic", "pit", "rtc", "reset", "exit", "net", "acpi", "pci"], help: "its devices; else all but net"},
];

export const NET = [
    {name: "network", kind: "text", preset: "default", help: "the network of its card: guests reach those of their own only"},
    {name: "uplink", kind: "switch", preset: true, help: "false: its card reaches guests of its network only, no machine outside"},
    {name: "addresses", kind: "addresses", help: "the IP addresses that it may use; else those that DHCP and routers give it"},
    {name: "allow", kind: "flags", preset: [], words: ["any-address", "router-advertisements", "dhcp-server", "vlan-tags"], help: "what it may do that is refused otherwise"},
    {name: "broadcasts_per_second", kind: "number", preset: 500, help: "so many broadcasts and multicasts a second; more are refused"},
];

export const MODULES_MAX = 8;

// What can be done to a guest, and in which states; null: in all.
export const ACTIONS = {
    start: ["failed", "stopped", "crashed", "restarting"],
    pause: ["running"],
    resume: ["paused"],
    nmi: ["running"],
    reset: null,
    stop: ["starting", "running", "paused", "restarting"],
};
