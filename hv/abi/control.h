/*
 * The control ABI between the root and the management guest: VMCALL or VMMCALL (call.h) plus
 * shared pages that the guest can only read. This header is the whole contract; of the root, mgmt/
 * includes only this and the pure VMCS tables.
 *
 * Shared pages appear in the management guest's physical address space at ABI_BASE; the root
 * writes, the guest reads. A reader copies data guarded by a `sequence`, and copies again if the
 * sequence was odd or has changed (seqlock). Single aligned 64-bit counters need no guard.
 *
 * A call: RAX = function number (ABI_CALL_*), RBX, RCX, RDX = arguments; RAX = result: 0 or a
 * positive count, or a negative E_* (hv/types.h). All other registers are kept. Only CPL 0 of the
 * management guest may call; any other guest gets -E_PERM in RAX, and CPL > 0 gets #UD.
 * Every address is checked against the caller's own RAM.
 */
#pragma once

#include "hv/abi/cpu_faults.h"
#include "hv/abi/guest_config.h"
#include "hv/abi/topology.h"
#include "hv/options.h"
#include "hv/types.h"

#define ABI_VERSION            12u
#define ABI_MAGIC              0x646165686b6c7562ull /* "bulkhead" */

#define ABI_GUESTS_MAX         16u
#define ABI_VCPUS_MAX          CONFIG_VCPUS_MAX /* per guest */
#define ABI_CORES_MAX          128u
#define ABI_NAME_MAX           32u /* with the NUL */
#define ABI_TEXT_MAX           160u

/* Guest-physical layout, in the management guest. Pages not listed here are not mapped. */
#define ABI_BASE               0xd0000000ull
#define ABI_HOST_GPA           (ABI_BASE + 0x00000) /* struct abi_host, ABI_HOST_SIZE bytes */
#define ABI_HOST_SIZE          0x8000u
#define ABI_LOG_GPA            (ABI_BASE + 0x10000) /* struct abi_ring with ABI_LOG_RING_SIZE bytes */
#define ABI_LOG_RING_SIZE      0x8000u
/* One core's capabilities after the other: struct abi_caps[ABI_CORES_MAX]. */
#define ABI_CAPS_GPA           (ABI_BASE + 0x20000)
#define ABI_CAPS_SIZE          0x8000u
#define ABI_EVENTS_GPA         (ABI_BASE + 0x28000) /* struct abi_events, ABI_EVENTS_SIZE bytes */
#define ABI_EVENTS_SIZE        0x4000u
#define ABI_IMAGES_PAGE_GPA    (ABI_BASE + 0x2c000) /* struct abi_images, see hv/abi/deploy.h */
#define ABI_IMAGES_SIZE        0x4000u
/* The random token of this boot (AUTH_RANDOM), ends with NUL; a page of its own. Empty: none.
 */
#define ABI_TOKEN_GPA          (ABI_BASE + 0x30000)
#define ABI_TOKEN_SIZE         0x1000u
/* Every hardware thread of the machine: struct abi_thread[abi_host.topology.threads]. */
#define ABI_THREADS_GPA        (ABI_BASE + 0x40000)
#define ABI_THREADS_SIZE       0x8000u
/* What the management guest asked the root to keep: struct abi_keep. */
#define ABI_KEEP_GPA           (ABI_BASE + 0x80000)
/* The pages of each guest: its own, then those of each of its vCPUs. The status page of each number
 * always exists; the others from the first time on that a guest of this number has them. */
#define ABI_VCPU_STRIDE        0x20000ull
#define ABI_GUEST_STRIDE       ((1 + ABI_VCPUS_MAX) * ABI_VCPU_STRIDE)
#define ABI_GUEST_GPA(g)       (ABI_BASE + 0x100000 + (g)*ABI_GUEST_STRIDE) /* struct abi_guest */
#define ABI_GUEST_SIZE         0x2000u
/* Which MSRs and ports exit, as the CPU looks it up. VT-x: MSR bitmap, I/O bitmaps A and B, a page
 * each. AMD-V: MSR permission map, two pages; I/O permission map, three. */
#define ABI_BITMAPS_GPA(g)     (ABI_GUEST_GPA(g) + 0x3000)
#define ABI_BITMAPS_SIZE       0x5000u
/* struct abi_ring with ABI_CONSOLE_RING_SIZE bytes. */
#define ABI_CONSOLE_GPA(g)     (ABI_GUEST_GPA(g) + 0x8000)
#define ABI_CONSOLE_RING_SIZE  0x4000u
/* The pages of vCPU `v` of guest `g`. Each contains both numbers, so that it cannot be mistaken for
 * another's. */
#define ABI_VCPU_GPA(g, v)     (ABI_GUEST_GPA(g) + (1 + (v)) * ABI_VCPU_STRIDE) /* struct abi_vcpu */
#define ABI_VCPU_SIZE          0x1000u
/* struct abi_exit[ABI_EXITS]: its last exits. */
#define ABI_EXITS_GPA(g, v)    (ABI_VCPU_GPA(g, v) + 0x8000)
/* struct abi_snapshot[ABI_SNAPSHOTS], a page each. */
#define ABI_SNAPSHOT_GPA(g, v) (ABI_VCPU_GPA(g, v) + 0x10000)

/* A byte ring: byte number n (counted from the beginning of time) is at data[n % size]; valid are
 * the last min(written, size). The data begin one page after the header. A reader checks `written`
 * again after copying and drops what was overwritten meanwhile. */
struct abi_ring {
    uint64_t written; /* bytes ever written */
    uint32_t size;    /* of the data, a power of two */
    uint32_t reserved;
    uint8_t pad[4096 - 16];
    uint8_t data[];
};

/* A histogram of delays. Buckets are powers of two, so that counting takes no division: bucket i
 * counts what is below abi_histogram_limit(i) ticks and not in an earlier bucket; the last counts
 * the rest. */
#define ABI_HISTOGRAM_BUCKETS 14u
#define ABI_HISTOGRAM_SHIFT   6u
struct abi_histogram {
    uint64_t sum; /* ticks */
    uint64_t count[ABI_HISTOGRAM_BUCKETS];
};

static inline uint64_t abi_histogram_limit(unsigned bucket)
{
    return 1ull << (ABI_HISTOGRAM_SHIFT + bucket);
}

static inline void abi_histogram_add(struct abi_histogram *h, uint64_t ticks)
{
    unsigned top = 63 - (unsigned)__builtin_clzll(ticks | 1); /* the highest set bit */
    unsigned bucket = top < ABI_HISTOGRAM_SHIFT ? 0 : top - ABI_HISTOGRAM_SHIFT + 1;

    h->sum += ticks;
    h->count[bucket < ABI_HISTOGRAM_BUCKETS ? bucket : ABI_HISTOGRAM_BUCKETS - 1]++;
}

enum abi_core_flags {
    ABI_CORE_VMX_ROOT = 1u << 0,
};

struct abi_core {
    uint32_t id, apic_id;
    uint32_t flags;
    uint32_t vcpus;          /* vCPUs bound to this core */
    uint64_t busy_ticks;     /* time spent in guests, since start */
    uint64_t idle_ticks;     /* time halted */
    uint64_t slice_ends;     /* slices ended by the preemption timer */
    uint64_t slice_late_max; /* worst lateness of a slice end, ticks */
    struct abi_histogram slice_late;
};

/* Bytes of host memory, by owner. */
struct abi_memory {
    uint64_t total, free, host, modules, shared, guests, tables, reserved, images;
    uint64_t regions;      /* that guests share */
    uint64_t largest_free; /* the longest free range for a guest's RAM or an image */
};

/* What a core's virtualisation extension can do. VT-x: the capability MSRs as they were read, SDM
 * 3D appendix A. SVM: CPUID, APM 3 appendix E, in the members whose names begin with svm_. */
struct abi_caps {
    uint64_t present; /* 1: the core reported */
    uint64_t basic, misc, ept_vpid, vmfunc, vmcs_enum;
    /* The TRUE MSRs where they exist. Bits 31:0: must be 1; 63:32: may be 1. cpu3, exit2: may be 1.
     */
    uint64_t pin, cpu1, cpu2, cpu3, exit, exit2, entry;
    uint64_t cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
    uint64_t feature_control;
    uint64_t hypervisor;     /* CPUID.1:ECX bit 31 */
    uint64_t address_widths; /* CPUID.80000008H:EAX */
    uint64_t svm_revision;   /* CPUID.8000000AH:EAX bits 7:0 */
    uint64_t svm_asids;      /* CPUID.8000000AH:EBX */
    uint64_t svm_features;   /* CPUID.8000000AH:EDX */
    uint64_t svm_memory;     /* CPUID.8000001FH:EAX, encrypted memory; 0: no such leaf */
    uint64_t svm_branches;   /* CPUID.80000022H:EAX, performance monitoring; 0: no such leaf */
    uint64_t svm_vm_cr;      /* MSR VM_CR */
    uint64_t reserved[6];
};
_Static_assert(sizeof(struct abi_caps) * ABI_CORES_MAX <= ABI_CAPS_SIZE, "abi_caps must fit");

struct abi_host {
    uint64_t magic;
    uint32_t abi_version;
    uint32_t core_count;
    uint32_t guests; /* bits of the guest numbers that are in use */
    uint32_t self;   /* the management guest's own number */
    uint64_t tsc_hz;
    uint64_t boot_tsc;        /* TSC at kernel entry */
    uint64_t boot_epoch;      /* wall clock then, seconds since 1970 */
    uint64_t first_entry_tsc; /* TSC at the management guest's first instruction */
    uint64_t first_guest_tsc; /* at that of the first other guest; 0: none has run */
    char version[32];         /* "0.1.0" */
    char build_id[48];        /* hash of the sources, hexadecimal */
    char cpu_brand[64];
    uint32_t cpu_signature; /* CPUID.1:EAX */
    uint32_t vmcs_revision;
    struct abi_cpu_faults cpu_faults;
    uint8_t mac[6]; /* of the management guest's virtio-net */
    uint8_t pad0[2];
    uint8_t ip[4], netmask[4]; /* as passed to ABI_CALL_ADDRESS; 0.0.0.0: not yet */
    char nic[32]; /* the name of management's network card, "82540EM", if that runs; or empty */
    uint32_t nx_large;    /* 1: guests' large pages are split at the first fetch */
    uint32_t configured;  /* 1: since ABI_CALL_CONFIGURED */
    uint32_t state_kind;  /* enum abi_state_kind: of all guests' snapshots and exits */
    char tsc_verdict[16]; /* of the sources: "agreed", "alone", "outvoted", "disputed" */
    struct abi_tsc_source tsc_sources[ABI_TSC_SOURCES_MAX];
    char serial[32]; /* the console's port, or empty */
    struct abi_topology topology;
    struct boot_options options;       /* from the kernel's command line, in force */
    struct abi_nic nics[ABI_NICS_MAX]; /* those that a driver knows, in the order of their places */
    /* Bytes of each guest's console that never reached the host's serial line, since the guest was
     * made. */
    uint64_t console_lost[ABI_GUESTS_MAX];
    struct abi_memory memory;
    struct abi_core cores[ABI_CORES_MAX];
};
_Static_assert(sizeof(struct abi_host) <= ABI_HOST_SIZE, "abi_host must fit its pages");
_Static_assert(sizeof(struct abi_thread) * ABI_THREADS_MAX <= ABI_THREADS_SIZE,
               "all threads must fit");

enum abi_guest_state {
    ABI_GUEST_EMPTY = 0,  /* this number is not in use */
    ABI_GUEST_STARTING,   /* its memory is being cleared and filled */
    ABI_GUEST_FAILED,     /* could not be started: `why` says what was wrong with it */
    ABI_GUEST_RUNNING,    /* on a core, or waiting for its turn, or halted until an event */
    ABI_GUEST_STOPPED,    /* ended by itself or by request: `why` */
    ABI_GUEST_CRASHED,    /* ended by something it did: `why`; its last state is kept */
    ABI_GUEST_PAUSED,     /* by request: keeps everything, gets no time */
    ABI_GUEST_DELETING,   /* its memory is being scrubbed */
    ABI_GUEST_RESTARTING, /* ended by itself (`why`); starts again at next_start_tsc */
    ABI_GUEST_STATES
};

/* What ended a guest's last life. */
enum abi_end {
    ABI_END_NONE,    /* it has not ended, or never lived */
    ABI_END_ITSELF,  /* the guest: it powered off, exited, crashed, ... */
    ABI_END_REQUEST, /* a request to stop or delete it */
    ABI_ENDS
};

/* Exits are counted by basic exit reason (VT-x: 0 to 79 so far), or by abi_svm_exit() of the exit
 * code. */
#define ABI_EXIT_REASONS 176u

#define ABI_SVM_LOW_END  0xa8u  /* exit codes below it are counted as they are */
#define ABI_SVM_NPF      0x400u /* VMEXIT_NPF */
enum {
    ABI_SVM_EXIT_NPF = ABI_SVM_LOW_END,
    ABI_SVM_EXIT_OTHER = ABI_EXIT_REASONS - 1, /* any other code */
};

/* The counter of an exit code. Only its low 32 bits count: some CPUs leave the others 0. */
static inline uint32_t abi_svm_exit(uint64_t exit_code)
{
    uint32_t code = (uint32_t)exit_code;

    if (code < ABI_SVM_LOW_END)
        return code;
    return code == ABI_SVM_NPF ? ABI_SVM_EXIT_NPF : ABI_SVM_EXIT_OTHER;
}

/* What the root did about an exit. */
enum abi_outcome {
    ABI_OUTCOME_RESUME, /* the same instruction goes on, or an event was injected */
    ABI_OUTCOME_SKIP,   /* the instruction was emulated: continue after it */
    ABI_OUTCOME_DONE,   /* the same, and it may have changed what is due */
    ABI_OUTCOME_HALT,   /* HLT, and nothing wakes it yet */
    ABI_OUTCOME_KICK,   /* the core was wanted for something else */
    ABI_OUTCOME_STOP,   /* the guest was ended */
    ABI_OUTCOMES
};

/*
 * A recorded exit. SDM 3C "Basic VM-Exit Information", APM 2 "SVM Intercept Codes". The flight
 * recorder keeps the last ABI_EXITS of a vCPU: exit number n (abi_vcpu.entries counts them from 0)
 * is at n % ABI_EXITS. The owning core overwrites the oldest: a reader copies, then drops what was
 * overwritten meanwhile, and always the newest (which may be half written).
 */
struct abi_exit {
    uint64_t tsc;       /* when the root took over */
    uint64_t entry_tsc; /* when the guest went on; less than tsc: it has not yet */
    uint64_t rip;
    uint64_t qualification; /* if the reason defines one; else 0. SVM: EXITINFO1 */
    uint64_t detail;        /* EPT violation: guest-physical address; RDMSR, WRMSR: ECX; CPUID: EAX;
                               VMCALL: RAX; else 0. SVM: the same, with NPF, MSR, CPUID, VMMCALL */
    uint32_t reason;        /* the whole exit-reason field; SVM: EXITCODE bits 31:0 */
    uint32_t outcome;       /* enum abi_outcome */
    uint64_t instruction_length; /* of emulated instructions; else 0 */
    uint32_t guest, vcpu;        /* whose exit: the same in the whole ring */
};
#define ABI_EXITS 256u
_Static_assert(sizeof(struct abi_exit) == 64, "enter.asm goes from one to the next");

/* Control words, by the SDM's names: pin-based, primary and secondary processor-based, VM-exit,
 * VM-entry. */
enum abi_control {
    ABI_CONTROL_PIN,
    ABI_CONTROL_CPU1,
    ABI_CONTROL_CPU2,
    ABI_CONTROL_EXIT,
    ABI_CONTROL_ENTRY,
    ABI_CONTROLS
};

/* Those of SVM: the intercept vectors of the VMCB's control area, one after the other from offset
 * 0.
 */
enum abi_svm_control {
    ABI_SVM_INTERCEPT_CR,
    ABI_SVM_INTERCEPT_DR,
    ABI_SVM_INTERCEPT_EXCEPTIONS,
    ABI_SVM_INTERCEPT_MISC1,
    ABI_SVM_INTERCEPT_MISC2,
    ABI_SVM_INTERCEPT_MISC3,
    ABI_SVM_CONTROLS
};

#define ABI_CONTROL_WORDS 6u /* of whichever kind has more */
_Static_assert(ABI_CONTROLS <= ABI_CONTROL_WORDS && ABI_SVM_CONTROLS <= ABI_CONTROL_WORDS,
               "a word for every control");

/* A change of a vCPU's control words: the bits in `mask` take their values from `value`. */
struct abi_controls {
    uint32_t mask[ABI_CONTROL_WORDS], value[ABI_CONTROL_WORDS];
};

/* The result of the newest change. */
struct abi_controls_result {
    uint64_t sequence; /* counts requested changes, from 1; written last */
    int32_t result;    /* 0; -E_PERM: may not be changed; -E_INVAL: not possible; -E_STATE */
    uint32_t control;  /* enum abi_control or abi_svm_control that was refused */
    uint32_t bits;     /* the refused bits of it; 0: none */
};

/* What a vCPU does with its turns. */
enum abi_activity {
    ABI_ACTIVE,
    ABI_HALTED,         /* in HLT */
    ABI_WAITS_FOR_SIPI, /* not started yet, or stopped by INIT: it gets no time */
    ABI_ACTIVITIES
};

/* Written by the owning core only. Each counter is read on its own. */
struct abi_vcpu {
    uint32_t guest, vcpu; /* whose page this is */
    uint32_t core;
    uint32_t activity; /* enum abi_activity */
    uint64_t run_ticks;
    uint64_t wait_ticks; /* runnable, but another vCPU had the core */
    uint64_t entries;
    uint64_t slice_ends;
    uint64_t slice_late_max; /* ticks */
    uint64_t irqs;           /* external interrupts injected */
    uint64_t exits[ABI_EXIT_REASONS];
    /* Control words: what the hypervisor wanted, before the capability MSRs forced bits. In the
     * order of enum abi_control or abi_svm_control. */
    uint64_t wanted[ABI_CONTROL_WORDS];
    struct abi_controls_result controls;
    struct abi_histogram wake_late; /* from a timer's due time to the end of HLT */
    /* Accesses to guest-physical addresses where there is neither RAM nor a device; the address of
     * the newest. */
    uint64_t unclaimed_reads, unclaimed_writes, unclaimed_address;
};
_Static_assert(sizeof(struct abi_vcpu) <= ABI_VCPU_SIZE, "abi_vcpu must fit its page");

/* `why` begins with this if the CPU refused to enter a guest. The snapshot of its death shows which
 * of the SDM's checks failed. */
#define ABI_WHY_ENTRY_FAILED "VM entry failed"

/* Changes of guests' states: event n is at (n - 1) % ABI_EVENTS. A reader copies an event and
 * checks that its sequence is the same before and after. */
#define ABI_EVENTS           64u
struct abi_event {
    uint64_t sequence; /* from 1; 0: being written */
    uint64_t tsc;
    uint32_t guest;
    uint32_t state; /* enum abi_guest_state: the new one */
    uint32_t restarts;
    uint32_t pad;
    char name[ABI_NAME_MAX];
    char why[ABI_TEXT_MAX];
};
struct abi_events {
    uint64_t newest; /* sequence; 0: none yet */
    uint64_t pad;
    struct abi_event ring[ABI_EVENTS];
};
_Static_assert(sizeof(struct abi_events) <= ABI_EVENTS_SIZE, "abi_events must fit its pages");

enum abi_guest_flags {
    ABI_GUEST_MANAGEMENT = 1u << 0,
    ABI_GUEST_HUSK = 1u << 1, /* failed before it had its memory: it can never be started */
};

struct abi_guest {
    uint32_t sequence; /* seqlock for everything else */
    uint32_t state;    /* enum abi_guest_state */
    uint32_t flags;
    uint32_t vcpu_count;
    uint32_t restarts;    /* by its policy, ever */
    uint32_t short_lives; /* in a row; sets the back-off, see hv/restart.h */
    uint32_t exit_code;   /* written to its exit port in its last life; 0: nothing */
    uint32_t number;      /* whose page this is */
    uint32_t core;        /* of vCPU 0, which also makes, clears and scrubs the guest */
    uint8_t mac[6];
    uint8_t pad[2];
    uint32_t ended_by;      /* enum abi_end */
    char why[ABI_TEXT_MAX]; /* empty while running */
    /* How it is stuck without having ended: "spins at RIP 0x..., with interrupts off"; otherwise
     * empty. */
    char stuck[ABI_TEXT_MAX];
    char image_kind[24]; /* "multiboot1", "multiboot2", "linux", "flat" */
    uint64_t started_tsc, stopped_tsc;
    uint64_t next_start_tsc;                               /* with ABI_GUEST_RESTARTING */
    struct guest_config config;                            /* as requested */
    uint64_t frames_sent, frames_received, frames_dropped; /* virtio-net */
    uint64_t near_memory;               /* bytes of its RAM on the NUMA node of its core */
    uint64_t large_pages_split;         /* since it was made; at most one for each 2 MB of RAM */
    uint64_t frames_refused[NET_DROPS]; /* of the frames sent, by enum net_drop */
    uint32_t queue_pairs, queue_pairs_used; /* of virtio-net; those that its driver uses */
};
_Static_assert(sizeof(struct abi_guest) <= ABI_GUEST_SIZE, "abi_guest must fit its pages");

/* A VMCS or a VMCB as its owning core read it: one entry for each row of
 * arch/x86/inspect/fields.def or vmcb_fields.def, in that file's order. */
#define ABI_SNAPSHOT_FIELDS 224u

/* Values by row: the input for decoding, comparing and checking. */
struct abi_vmcs {
    uint64_t present[ABI_SNAPSHOT_FIELDS / 64 + 1]; /* bit n: row n exists here and was read */
    uint64_t value[ABI_SNAPSHOT_FIELDS];
};

#define ABI_REGISTERS 15u

/* Why a snapshot was taken. */
enum abi_cause {
    ABI_CAUSE_NONE,   /* never taken */
    ABI_CAUSE_LAUNCH, /* before the first entry */
    ABI_CAUSE_REQUEST,
    ABI_CAUSE_DEATH, /* the guest ended, for whatever reason */
    ABI_CAUSES
};

/* What a snapshot's rows contain. */
enum abi_state_kind {
    ABI_STATE_NONE, /* never taken */
    ABI_STATE_VMX,  /* a VMCS, by the table of VMX */
    ABI_STATE_SVM,  /* a VMCB, by the table of SVM */
    ABI_STATE_KINDS
};

struct abi_snapshot {
    uint64_t sequence; /* counts all snapshots of this vCPU from 1; 0: none taken yet */
    uint32_t lock;     /* seqlock of this page: odd while it is written */
    uint32_t count;    /* rows used */
    uint64_t tsc;
    uint64_t ticks;       /* time that it took from the vCPU */
    uint32_t cause;       /* enum abi_cause */
    uint32_t kind;        /* enum abi_state_kind */
    uint32_t guest, vcpu; /* whose page this is */
    struct abi_vmcs vmcs;
    struct abi_exit exit; /* the last exit before it; tsc 0: none yet */
    /* What neither VMCS nor VMCB has: RAX, RCX, RDX, RBX, RBP, RSI, RDI, R8 to R15. */
    uint64_t registers[ABI_REGISTERS];
    uint64_t cr2; /* VMX: no VMCS field has it */
    uint8_t pad[4096 - 56 - sizeof(struct abi_vmcs) - sizeof(struct abi_exit) - 8 * ABI_REGISTERS];
};
_Static_assert(sizeof(struct abi_snapshot) == 4096, "one page a snapshot");

/* Where snapshots go. The ring keeps those requested to be kept, and overwrites the oldest. */
#define ABI_SNAPSHOT_LIVE   0u /* the newest that was not requested to be kept */
#define ABI_SNAPSHOT_LAUNCH 1u
#define ABI_SNAPSHOT_DEATH  2u
#define ABI_SNAPSHOT_RING   3u
#define ABI_SNAPSHOTS_KEPT  8u
#define ABI_SNAPSHOTS       (ABI_SNAPSHOT_RING + ABI_SNAPSHOTS_KEPT)

/* Bytes that outlive the management guest: the root keeps them as they are, for this guest alone
 * and only until the machine is reset, and never looks at them. */
#define ABI_KEEP_SIZE       0x1000u
#define ABI_KEEP_MAX        (ABI_KEEP_SIZE - 8)
struct abi_keep {
    uint32_t length; /* of the kept bytes; 0: nothing yet */
    uint32_t reserved;
    uint8_t bytes[ABI_KEEP_MAX];
};

enum abi_call {
    /* Returns ABI_VERSION. */
    ABI_CALL_VERSION = 0x42480000,
    /* "I am alive". The root restarts a management guest that has not called for ABI_HEARTBEAT_MS.
     */
    ABI_CALL_HEARTBEAT,
    /* RBX = guest, RCX = vCPU, RDX = 1 to keep it: requests a new snapshot from the owning core.
     * Returns the sequence number to wait for: ABI_EVENT_IRQ is raised when a page of
     * ABI_SNAPSHOT_GPA(guest, vCPU) has it (or a later one, after simultaneous requests). If the
     * guest is not running, returns the sequence number of the snapshot of its death, which exists
     * or is about to be taken. -E_STATE: there is none. */
    ABI_CALL_SNAPSHOT,
    /* RBX = guest, RCX = address, RDX = length: types into the guest's UART. Returns the number of
     * bytes taken (0 if its queue is full). */
    ABI_CALL_CONSOLE_INPUT,
    /* RBX = guest, RCX = enum abi_action. -E_STATE: not possible in the guest's current state;
     * -E_PERM: the management guest itself accepts no stop, pause or NMI; -E_NOTSUP: the guest
     * failed before it had its memory and its share of a core, and can never be started. */
    ABI_CALL_ACTION,
    /* RBX = address, RCX = length (<= 512): a line for the hypervisor's log, as plain text (see
     * hv/plain.h) and prefixed "mgmt: ". -E_AGAIN: beyond LOG_MANAGEMENT_RATE (hv/log.h); the line
     * is lost, and the next one says so. */
    ABI_CALL_LOG,
    /* RBX = four bytes of IPv4 address (first octet in bits 7:0), RCX = netmask likewise: the
     * address the network gave; shown on console and in /v1/host. RDX = bits of enum abi_serves. */
    ABI_CALL_ADDRESS,
    /* RBX = guest, RCX = vCPU, RDX = address of struct abi_controls: the owning core changes
     * control words of a running guest between two of its exits, all or nothing. The root changes
     * only bits that isolation does not depend on and that the CPU allows; the caller must check
     * that the guest can still be entered. Returns the sequence number to wait for in
     * abi_vcpu.controls; ABI_EVENT_IRQ is raised then. -E_STATE: not running, or another change is
     * under way; -E_PERM: the management guest itself. */
    ABI_CALL_CONTROLS,
    /* RBX = row: finds where this CPU keeps that field in its VMCS region, with a scratch VMCS that
     * is never launched. Returns ABI_PROBE_OFFSET, _SIZE and _STORED; -E_NOENT: no such field on
     * this CPU, or it cannot be written. */
    ABI_CALL_PROBE,
    /* RBX = address of struct abi_image_request: memory for an image. Returns its slot: the memory
     * appears at ABI_IMAGE_GPA(slot), by ABI_CALL_IMAGE_EXTEND. -E_NOMEM; -E_NOSPC: no free slot;
     * -E_EXIST: a boot module has this name; -E_INVAL: the name or the size. */
    ABI_CALL_IMAGE_BEGIN,
    /* RBX = slot: clears some more of an image's memory. Returns how many of its bytes can be
     * written now. Repeat until that is all of them. */
    ABI_CALL_IMAGE_EXTEND,
    /* RBX = slot, RCX = address of 32 bytes of SHA-256: the image is complete, and replaces any
     * other of the same name. -E_BUSY: guests use that one; -E_STATE: part of its memory is not
     * writable yet. */
    ABI_CALL_IMAGE_COMMIT,
    /* RBX = slot. -E_BUSY: guests use it. */
    ABI_CALL_IMAGE_DROP,
    /* RBX = address of struct abi_create: makes a new guest, or a husk for one that cannot be made.
     * Returns its number, the lowest free one, while the guest is still being prepared. Errors
     * change nothing: -E_INVAL (an impossible configuration or plan), -E_NOENT (no such image or
     * core), -E_EXIST (the name), -E_NOMEM, -E_NOSPC (no free number), -E_BUSY (not enough core
     * time), -E_STATE (SMT_ONE_NETWORK, and a guest of another network runs beside it), -E_PERM (an
     * IP address that another machine has), -E_AGAIN (not all cores are ready yet). */
    ABI_CALL_CREATE,
    /* RBX = guest: ends it, scrubs its memory and frees it; ABI_EVENT_IRQ is raised when its number
     * is free again. -E_PERM for the management guest. */
    ABI_CALL_DELETE,
    /* RBX = address, RCX = length (<= ABI_KEEP_MAX): from now on struct abi_keep has these bytes
     * instead of the former ones. */
    ABI_CALL_KEEP,
    /* RBX = enum abi_host_action. Returns 0; the action follows ABI_HOST_ACTION_MS later, so that
     * the reply to the API's client still goes out. */
    ABI_CALL_HOST_ACTION,
    /* The guests of the configuration have been made: abi_host.configured says so from now on, in
     * the management guest's next lives too. */
    ABI_CALL_CONFIGURED,
    /* RBX = guest, RCX = guest-physical address in it, RDX = address: ABI_MEMORY_BYTES of the
     * memory of a guest that allows it (guest_config.memory_dump). -E_PERM: it does not; -E_STATE:
     * it has neither ended nor is it paused; -E_RANGE: not all of that is its RAM. */
    ABI_CALL_MEMORY,
    ABI_CALL_END
};

/* How management can be reached, for ABI_CALL_ADDRESS. */
enum abi_serves {
    ABI_SERVES_HTTPS = 1u << 0,
    ABI_SERVES_HTTP = 1u << 1, /* not only to lead to HTTPS */
};

/* The result of ABI_CALL_PROBE. Offset and size in bytes; both 0 if nothing was found. */
#define ABI_PROBE_OFFSET(r) ((uint32_t)((r)&0xffff))
#define ABI_PROBE_SIZE(r)   ((uint32_t)((r) >> 16 & 0xffff))
#define ABI_PROBE_STORED(r) ((uint32_t)((r) >> 32 & 0xff))

enum abi_stored {
    ABI_STORED_NOT_FOUND,   /* nothing in the region changed with the field */
    ABI_STORED_VERBATIM,    /* the field's bytes, lowest first */
    ABI_STORED_TRANSFORMED, /* these bytes change with the field, but are not its value */
    ABI_STORED_FORMS
};

enum abi_action {
    ABI_ACTION_STOP = 1,
    ABI_ACTION_START, /* loads the image again */
    ABI_ACTION_RESET, /* stop, then start */
    ABI_ACTION_PAUSE,
    ABI_ACTION_RESUME,
    ABI_ACTION_NMI, /* injects a non-maskable interrupt into each vCPU */
    ABI_ACTION_END
};

/* What can be done to the machine. */
enum abi_host_action {
    ABI_HOST_REBOOT = 1, /* resets it: like a power cut for guests and files in memory */
    ABI_HOST_ACTION_END
};
#define ABI_HOST_ACTION_MS 1000u

#define ABI_MEMORY_BYTES   512u

#define ABI_HEARTBEAT_MS   2000u
/* Legacy interrupt line of the management guest's PIC, edge: something in the shared pages changed.
 */
#define ABI_EVENT_IRQ      5u
