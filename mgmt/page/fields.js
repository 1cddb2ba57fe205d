// The fields of a guest and of its network card, and what can be done to it. "make documents" writes this from hv/config_fields.def and hv/actions.def.

export const GUEST = [
    {name: "kind", kind: "choice", preset: "auto", words: ["auto", "flat", "linux", "multiboot1", "multiboot2", "pvh"], help: "auto: the image's headers decide; flat: an image without a header, which starts in real mode at 0x7c00"},
    {name: "cmdline", kind: "text", help: "its kernel's command line"},
    {name: "argv0", kind: "switch", preset: false, help: "whether multiboot command lines begin with the name of the file, as QEMU writes them"},
    {name: "memory", kind: "memory", preset: "16M", help: "2M to 256G, a multiple of 2M"},
    {name: "core", kind: "core", help: "the core that runs it; by default the one with the fewest vCPUs, on the NUMA node with the fewest"},
    {name: "vcpus", kind: "number", preset: 1, help: "the number of its vCPUs"},
    {name: "cores", kind: "cores", help: "the core of each vCPU, in order; by default as many different cores, those with the fewest vCPUs, on one NUMA node if possible"},
    {name: "weight", kind: "number", preset: 100, help: "its share of the core, relative to other guests'"},
    {name: "slice_us", kind: "number", preset: 2000, help: "the longest run while others want the core, in microseconds"},
    {name: "budget_us", kind: "number", preset: 0, help: "the most microseconds of run time in each period; 0: no limit"},
    {name: "period_us", kind: "number", preset: 10000, help: "the period of its budget and of its guarantee, in microseconds"},
    {name: "guaranteed_us", kind: "number", preset: 0, help: "microseconds in each period before guests without a guarantee run"},
    {name: "restart", kind: "choice", preset: "never", words: ["never", "on-failure", "always"], help: "whether it starts again after it has ended"},
    {name: "restart_limit", kind: "number", preset: 0, help: "the most restarts in a row after lives of less than 10 seconds; 0: no limit"},
    {name: "watchdog_ms", kind: "number", preset: 0, help: "it crashes if it does not write to port 0xf8 for this many milliseconds; 0: no watchdog"},
    {name: "paused_clock", kind: "choice", preset: "stops", words: ["stops", "runs"], help: "what its TSC, PIT and RTC do while it is paused"},
    {name: "timer_ticks", kind: "choice", preset: "catch-up", words: ["catch-up", "merge"], help: "what becomes of timer ticks that come while it has no core or its interrupts are off"},
    {name: "exit_profile", kind: "choice", preset: "default", words: ["default", "least", "most"], help: "which VM exits it starts with"},
    {name: "strict_memory", kind: "switch", preset: false, help: "whether an access to an address without memory or device ends it"},
    {name: "memory_dump", kind: "switch", preset: false, help: "whether an admin can read its memory when it has ended or is paused"},
    {name: "devices", kind: "flags", preset: ["uart", "pic", "pit", "rtc", "reset", "exit", "acpi", "pci", "hpet", "apic"], words: ["uart", "pic", "pit", "rtc", "reset", "exit", "net", "acpi", "pci", "hpet", "apic", "rng", "console"], help: "its devices; by default all but net, rng and console"},
    {name: "virtio", kind: "choice", preset: "modern", words: ["modern", "transitional", "mmio"], help: "how it finds its virtio devices"},
];

export const NET = [
    {name: "network", kind: "text", preset: "default", help: "the network of its card: guests reach only guests of the same network"},
    {name: "uplink", kind: "switch", preset: true, help: "false: its card reaches only guests of its network, no machine outside"},
    {name: "addresses", kind: "addresses", help: "the IP addresses that it may use; by default those that DHCP and routers assign"},
    {name: "allow", kind: "flags", preset: [], words: ["any-address", "router-advertisements", "dhcp-server", "vlan-tags"], help: "what it may do that is otherwise refused"},
    {name: "broadcasts_per_second", kind: "number", preset: 500, help: "the most broadcasts and multicasts a second; more are refused"},
];

export const MODULES_MAX = 8;
export const DISKS_MAX = 4;

// What can be done to a guest, and in which states; null: in all.
export const ACTIONS = {
    start: ["failed", "stopped", "crashed", "restarting"],
    pause: ["running"],
    resume: ["paused"],
    nmi: ["running"],
    reset: null,
    stop: ["starting", "running", "paused", "restarting"],
};
