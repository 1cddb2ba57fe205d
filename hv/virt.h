/*
 * The seam between hv/ and a vendor's virtualisation extension. arch/x86/vmx implements it for
 * VT-x, arch/x86/svm for AMD-V.
 */
#pragma once

#include "hv/guest.h"
#include "hv/mem.h"
#include "hv/types.h"

/* Why run() came back. */
enum vcpu_yield {
    VCPU_YIELD_SLICE, /* `until` is reached */
    VCPU_YIELD_KICK,  /* an external interrupt or a request: decide again */
    VCPU_YIELD_HALT,  /* v->halted: waits for irqchip_next_deadline() or a request */
    VCPU_YIELD_STOP,  /* v->stop is set */
};

enum map_perm { MAP_R = 1, MAP_RW = 3, MAP_RWX = 7 };

struct vcpu_place {
    uint64_t rip;
    bool interrupts_off;
    bool halted; /* in HLT */
};

struct virt_ops {
    const char *root;      /* the mode of a core that runs guests: "VMX root operation" */
    uint32_t bitmaps_size; /* of guest.bitmaps, at most ABI_BITMAPS_SIZE */

    /* The CPU has this extension at all. Boot core, before everything else. */
    bool (*present)(void);

    /* Checks that this core has what Bulkhead needs. Logs everything missing, by its SDM name, with
     * advice. Any core, for itself only. 0 or -E_NOTSUP. */
    int (*core_probe)(unsigned core);
    /* Switches it on, on the calling core. `core_page` is a zeroed page that stays the backend's.
     */
    int (*core_on)(unsigned core, void *core_page);
    /* Facts for the control ABI: fills cpu_signature, cpu_faults, vmcs_revision, state_kind,
     * cpu_brand. Boot core, after core_on. */
    void (*describe)(struct abi_host *h);

    /* Makes a guest's translation and bitmaps (guest_alloc_page for tables). Any core, before its
     * vCPU exists. */
    int (*guest_init)(struct guest *g);
    void (*guest_free)(struct guest *g);
    /* Maps whole pages, write-back; -E_EXIST on overlap, -E_NOMEM. Owning core, or any before the
     * vCPU first runs. */
    int (*map)(struct guest *g, gpa_t gpa, hpa_t hpa, uint64_t size, enum map_perm perm);
    /* Removes mappings, whole pages. Cores may still have them cached, see guest_unmap(). Owning
     * core. */
    int (*unmap)(struct guest *g, gpa_t gpa, uint64_t size);
    /* Makes this core forget its cached translations of v->guest. Owning core. */
    void (*flush)(struct vcpu *v);
    /* Makes the tables for later mappings with 2 MB alignment, which then need no memory. `gpa` is
     * a multiple of 1 GB. Before the vCPU first runs. */
    int (*prepare)(struct guest *g, gpa_t gpa, uint64_t size);
    /* Maps [gpa, gpa + size) as memory that guests share, read-write and not executable; `mapped`
     * false: removes that. Whole 2 MB pages within 1 GB that was prepared; takes no memory, and
     * less than 1,000 ticks for 256 MB. Any core of the guest's, in an access to its PC. */
    int (*place)(struct guest *g, gpa_t gpa, hpa_t hpa, uint64_t size, bool mapped);
    /* Decides whether guests' large pages become executable only when they are split, at the first
     * fetch (arch/x86/vmx/ept.h): if the CPU needs it and it is `wanted`. Logs and returns the
     * decision. Boot core, after core_probe, before any guest is made. */
    bool (*set_nx_large)(bool wanted);
    /* The bytes of g->split_tables that a guest with `memory` bytes of RAM needs; 0: none. */
    uint64_t (*split_size)(uint64_t memory);
    /* prepare_split fills the table for the 2 MB of RAM at `gpa`; audit_split checks the part of it
     * for the 1 MB at `gpa`. Each takes less than 2,000 ticks. Owning core, or any before the vCPU
     * first runs. Only for a guest with g->split_size. */
    void (*prepare_split)(struct guest *g, gpa_t gpa);
    bool (*audit_split)(const struct guest *g, gpa_t gpa);
    /* Walks all mappings against the owner map: every page must be MEM_GUEST of this guest,
     * MEM_REGION that it may map and not executable, or, for the management guest, MEM_SHARED or
     * MEM_MODULE read-only, or MEM_IMAGE not executable. 0, or -E_PERM with the offending mapping
     * in text. */
    int (*audit)(const struct guest *g, char *text, size_t text_size);

    /* Creates the vCPU's control structure, vCPU 0's in the state `start`, in short steps: called
     * with `step` 0, 1, 2 ... as long as it returns -E_AGAIN. Owning core. */
    int (*vcpu_init)(struct vcpu *v, const struct load_result *start, unsigned step);
    void (*vcpu_free)(struct vcpu *v);
    /* INIT: its registers become those of SDM 3A "IA-32 and Intel 64 Processor States Following
     * Power-up, Reset, or INIT". A vCPU other than 0 is in this state, too, when it has been
     * created. Owning core, vCPU live. */
    void (*vcpu_reset)(struct vcpu *v);
    /* SIPI, after that: it begins in real mode at vector * 4096. */
    void (*vcpu_start)(struct vcpu *v, uint8_t vector);
    /* Runs the vCPU until `until` (absolute ticks) at the latest; v->until has that, and what an
     * exit does may make it earlier (VCPU_REQ_UNTIL then). Owning core, interrupts off.
     * Handles timers (irqchip_next_deadline()), injection, all exits. Counts in v->stats. A
     * halted vCPU (with v->waits, or an interrupt pending) waits in its HLT; when an interrupt ends
     * it, v->halted becomes false and v->woke_at is set. A later HLT yields the core
     * (VCPU_YIELD_HALT). */
    enum vcpu_yield (*run)(struct vcpu *v, uint64_t until);
    /* Changes control words, all or nothing; fills result, control and bits of *r. Owning core,
     * vCPU live. */
    void (*controls)(struct vcpu *v, const struct abi_controls *c, struct abi_controls_result *r);
    /* Where the vCPU is. Owning core, vCPU live. */
    void (*where)(struct vcpu *v, struct vcpu_place *out);
    /* Subtracts `ticks` from the TSC that the guest reads. Owning core, vCPU live. */
    void (*shift_tsc)(struct vcpu *v, uint64_t ticks);
    /* Finds where the CPU keeps a field in its VMCS region: the result of ABI_CALL_PROBE. Inside an
     * exit of this vCPU. Bounded. */
    int64_t (*probe_field)(struct vcpu *v, uint64_t row);
    /* The calling core's capabilities, for the control ABI. */
    void (*core_caps)(struct abi_caps *out);
    /* Fills kind, count and vmcs of a snapshot, whose cause is set. Owning core, vCPU made. */
    void (*read_state)(struct vcpu *v, struct abi_snapshot *s);
};

/* The backend for this CPU, or NULL (the log says why). Boot core. */
const struct virt_ops *virt_select(void);

/* What virt_select() chose; constant from then on. */
const struct virt_ops *virt_backend(void);
