/*
 * The configuration of one guest, as the control ABI carries it: the management guest passes it to
 * make a guest (hv/abi/deploy.h), and the guest's page shows it.
 */
#pragma once

#include "hv/abi/net.h"

#define CONFIG_MODULES_MAX 8
#define CONFIG_VCPUS_MAX   8u
#define CONFIG_DISKS_MAX   4

/* Which exits a guest starts with. */
enum abi_exit_profile {
    ABI_EXITS_DEFAULT,
    ABI_EXITS_LEAST, /* the fewest that isolation allows */
    ABI_EXITS_MOST,  /* every one that needs no additional structures */
    ABI_EXIT_PROFILES
};

enum config_device {
    DEV_UART = 1u << 0,  /* 16550 at 0x3f8, IRQ 4 */
    DEV_PIC = 1u << 1,   /* 8259 pair */
    DEV_PIT = 1u << 2,   /* 8254, IRQ 0, and port 0x61 */
    DEV_RTC = 1u << 3,   /* CMOS RTC, IRQ 8 */
    DEV_RESET = 1u << 4, /* an empty keyboard controller, ports 0x92 and 0xcf9 */
    DEV_EXIT =
        1u << 5, /* port 0xf4: a byte or word written stops the guest, the value is its exit code */
    DEV_NET = 1u << 6,      /* virtio-net on the virtual switch, on the PCI bus */
    DEV_ACPI = 1u << 7,     /* power management: PM1a block, PM timer, IRQ 9; ACPI's tables */
    DEV_PCI = 1u << 8,      /* the PCI bus: ports 0xcf8 and 0xcfc, ECAM */
    DEV_HPET = 1u << 9,     /* event timers at 0xfed00000 */
    DEV_APIC = 1u << 10,    /* a local APIC for each vCPU, IOAPIC at 0xfec00000 */
    DEV_RNG = 1u << 11,     /* virtio-rng, on the PCI bus */
    DEV_CONSOLE = 1u << 12, /* virtio-console, on the PCI bus */
};
#define DEV_DEFAULT                                                                                \
    (DEV_UART | DEV_PIC | DEV_PIT | DEV_RTC | DEV_RESET | DEV_EXIT | DEV_ACPI | DEV_PCI |          \
     DEV_HPET | DEV_APIC)
/* Those that are on the PCI bus. */
#define DEV_ON_PCI (DEV_NET | DEV_RNG | DEV_CONSOLE)
#define DEV_ALL    (DEV_DEFAULT | DEV_ON_PCI)

/* What a guest's clocks do while it is paused: TSC, PIT and RTC stand still, or go on. */
enum config_paused_clock { PAUSED_CLOCK_STOPS, PAUSED_CLOCK_RUNS };

/* What becomes of timer ticks that a guest could not take in time, see hv/pc/ticks.h. */
enum config_timer_ticks { TICKS_CATCH_UP, TICKS_MERGE };

/* How a guest finds its virtio devices: as PCI functions, as such that older drivers know too, or
 * as memory-mapped devices in ACPI's tables. */
enum config_virtio { VIRTIO_MODERN, VIRTIO_TRANSITIONAL, VIRTIO_MMIO };

enum config_restart { RESTART_NEVER, RESTART_ON_FAILURE, RESTART_ALWAYS };

/* What an image is: its headers say, or one of the kinds that they can say, or a flat binary. */
enum config_kind { KIND_AUTO, KIND_FLAT, KIND_LINUX, KIND_MULTIBOOT1, KIND_MULTIBOOT2, KIND_PVH };

struct config_module {
    char file[96];
    char args[256];
};

struct config_disk {
    char file[96];
    uint32_t readonly; /* 1: without it the guest's writes go to memory of its own */
    uint32_t size_mb;  /* 0..CONFIG_DISK_MB_MAX: its size in MB, if that is more than the file's */
};
#define CONFIG_DISK_MB_MAX      65536

/* Memory that guests share, as each of its peers knows it. A peer's place in the list is its ID. */
#define CONFIG_PEERS_MAX        14u
#define CONFIG_GUEST_SHARED_MAX 4
#define CONFIG_SHARED_LEAST     (2ull << 20) /* bytes; a power of two */
#define CONFIG_SHARED_MOST      (256ull << 20)
#define CONFIG_SHARED_ALL       (512ull << 20) /* of a guest */
struct config_shared {
    char name[32];
    uint64_t size;
    char peers[CONFIG_PEERS_MAX][32]; /* names of guests */
    uint32_t peer_count;              /* at least 2 */
    uint32_t pad;
};

/* Also the argument of ABI_CALL_CREATE. */
struct guest_config {
    char name[32];  /* [a-z0-9][a-z0-9-]*, unique; "mgmt" is taken */
    char image[96]; /* the boot module's name (the path as written in the configuration), or that of
                       an uploaded image */
    enum config_kind kind; /* JSON: "auto" (default), "flat" and so on */
    char cmdline[512];
    uint64_t memory;    /* bytes, multiple of 2 MB, 2 MB .. 256 GB; default 16 MB. JSON: number of
                           bytes    or "16M", "512K", "1G" */
    int core;           /* of vCPU 0; -1: management chooses */
    uint32_t weight;    /* 1..1000, default 100: share of the core against others on it */
    uint32_t slice_us;  /* 100..1000000, default 2000 */
    uint32_t budget_us; /* 0: unbounded; else at most this much run time in each period_us */
    uint32_t period_us; /* with a budget or a guarantee; 1000..10000000 */
    uint32_t guaranteed_us; /* this much run time in each period_us before others get any; 0: by
                               weight alone. The guarantees of all guests on a core must fit */
    enum config_restart restart; /* default never */
    uint32_t restart_limit; /* 0..1000: most restarts after short lives in a row; 0: no limit */
    uint32_t watchdog_ms;   /* 0..3600000: the longest time without a write to WATCHDOG_PORT; 0: no
                               watchdog */
    enum config_timer_ticks timer_ticks;   /* JSON: "catch-up" (default) or "merge" */
    enum config_virtio virtio;             /* JSON: "modern" (default), "transitional" or "mmio" */
    enum config_paused_clock paused_clock; /* JSON: "stops" (default) or "runs" */
    uint16_t strict_memory; /* 1: an access where there is neither RAM nor a device ends it */
    uint16_t memory_dump;   /* 1: ABI_CALL_MEMORY may read its memory */
    uint32_t devices; /* DEV_*; default DEV_DEFAULT. JSON: list of "uart", "pic", "pit", "rtc",
                         "reset", "exit", "net", "acpi", "pci", "hpet", "apic", "rng", "console" */
    enum abi_exit_profile exit_profile; /* JSON: "least", "default" or "most" */
    struct net_config net; /* with DEV_NET. JSON: an object, which adds "net" to the devices */
    uint32_t net_given;    /* 1: the object was given */
    struct config_module modules[CONFIG_MODULES_MAX];
    uint32_t module_count;
    struct config_disk disks[CONFIG_DISKS_MAX];
    uint32_t disk_count;
    struct config_shared shared[CONFIG_GUEST_SHARED_MAX]; /* those that name it */
    uint32_t shared_count;
    uint32_t vcpus; /* 1..CONFIG_VCPUS_MAX, default 1; each has the share, budget and guarantee */
    /* The core of each vCPU; one may be named more than once. core_count 0: management chooses;
     * otherwise at least `vcpus`, and the first is `core`. */
    uint8_t cores[CONFIG_VCPUS_MAX];
    uint32_t core_count;
    uint32_t argv0; /* 1: a multiboot command line begins with the file's name */
    uint32_t line;  /* of the guest's `{` in the file */
    uint32_t index; /* in the file's list, from 0, counting those that were left out */
};
