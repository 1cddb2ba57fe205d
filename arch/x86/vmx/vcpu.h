/* The backend's part of a guest and of a vCPU. Owned by the vCPU's core. */
#pragma once

#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/guest/lazy.h"
#include "arch/x86/guest/vcpu.h"
#include "arch/x86/vmx/caps.h"
#include "arch/x86/inspect/fields.h"
#include "arch/x86/vmx/ept.h"
#include "arch/x86/vmx/vmcs.h"
#include "hv/guest.h"
#include "hv/virt.h"

struct vmx_guest {
    struct ept ept; /* the first member: arch/x86/guest/tree.h */
    /* With APIC virtualization (apicv.c); else NULL. The guest's page at LAPIC_BASE, which is never
     * accessed in xAPIC mode; and the MSR bitmap of vCPUs in x2APIC mode, like vmx_msr_bitmap() for
     * all other MSRs. */
    void *apic_page;
    uint8_t *x2apic_bitmap;
    bool posts; /* its vCPUs take interrupts that others post without an exit */
};

#define VMX_LAZY_MSRS 5u

/* Registers that the guest reaches directly and that no VMCS field holds: switched only when
 * another vCPU runs on the core. */
struct vmx_lazy {
    struct x86_lazy x86;
    uint64_t msr[VMX_LAZY_MSRS];
    uint64_t dr6, cr2;
};

struct vmx_vcpu {
    struct vcpu *vcpu;
    void *vmcs;
    uint64_t host_rsp; /* HOST_RSP as it is in the VMCS; 0 before the first entry */
    bool launched;
    uint64_t deadline;  /* the present entry ends by then, absolute ticks */
    uint64_t timer_end; /* the same for the timer, which counts whole units: it never fires early */
    uint32_t timer_shift; /* preemption timer ticks are TSC ticks shifted right by this */
    uint32_t cpu1;        /* primary controls as they are in the VMCS */
    uint32_t apic_mode;   /* APIC virtualization: secondary controls as they are in the VMCS */
    struct x86_vcpu x86;
    struct vmx_lazy lazy;
    void *scratch, *scratch_copy; /* pages for vmx_probe_field(), after its first call */
};
_Static_assert(sizeof(struct vmx_vcpu) <= 4096, "allocated as one page");
_Static_assert(sizeof(struct vmx_guest) <= 4096, "allocated as one page");

/* The MSR bitmap and the I/O bitmaps of a guest: pages that the management guest may read. */
static inline uint8_t *vmx_msr_bitmap(const struct guest *g)
{
    return g->bitmaps;
}

static inline uint8_t *vmx_io_bitmap(const struct guest *g, unsigned half)
{
    return g->bitmaps + (1 + half) * PAGE_SIZE;
}

/* enter.asm. Enters the guest with v->regs, handles exits and enters again, until an exit needs
 * more than that. Returns its enum exit_action, or one of these two. v->exit records the exit. */
uint32_t vmx_enter(struct vcpu *v);
#define VMX_EXIT_UNUSUAL 0x100u /* an entry that failed, or a reason beyond the handlers' table */
#define VMX_ENTER_FAILED UINT32_MAX /* VMLAUNCH or VMRESUME itself failed */
/* Where VM exits arrive: HOST_RIP. With ABI_MEASURE_RETURNS, ABI_MEASURE_RETURN, or neither. */
void vmx_exit_point_returns(void);
void vmx_exit_point_return(void);
void vmx_exit_point(void);

/* tlb.c. The guest fetched from guest-physical `at`, which is not executable. True: now it is, try
 * again. Bounded: allocates no memory, writes one table entry. */
bool vmx_split(struct vmx_vcpu *x, uint64_t at);
/* After a change by the guest that its TLB does not reflect. */
void vmx_flush_tlb(const struct vmx_vcpu *x);
/* After a change of the guest's EPT tables, for this core. */
void vmx_flush_ept(const struct vmx_guest *b);

/* setup.c: both together write every field of the current VMCS, controls first. */
int vmx_setup_controls(struct vmx_vcpu *x) MUST_CHECK;
void vmx_setup_state(struct vmx_vcpu *x, const struct load_result *start);
/* The host state, in the current VMCS. */
void vmx_write_host(void);

/* ---- apicv.c ---- */

/* Makes what the guest's vCPUs share, if the CPU has APIC virtualization and the guest a local
 * APIC; only with the default exit profile. `posts`: vmx_posts(). -E_NOMEM. */
int vmx_apicv_init_guest(struct guest *g, bool posts) MUST_CHECK;
/* For the current VMCS, after vmx_setup_controls()'s other fields. */
void vmx_apicv_init(struct vmx_vcpu *x);
/* The root has changed the local APIC. Only with lapic.apicv, which vmx_apicv_init() sets. */
void vmx_apicv_sync(struct vmx_vcpu *x);

/* exits.c: the handler of each exit of the current VMCS. v->exit is filled in, except for
 * qualification and detail: handlers whose reason defines them add them. */
extern enum exit_action (*const vmx_exit_handlers[ABI_EXIT_REASONS])(struct vcpu *v);
/* VMX_EXIT_UNUSUAL or VMX_ENTER_FAILED. */
enum exit_action vmx_on_unusual(struct vcpu *v, uint32_t how);
/* For enter.asm. */
_Noreturn void vmx_broken(void);
/* Exit qualification for I/O instructions. */
#define IO_SIZE_MASK  7u
#define IO_IN         (1u << 3)
#define IO_STRING     (1u << 4)
#define IO_REP        (1u << 5)
#define IO_PORT_SHIFT 16
/* VPID 0 is the root's own. */
static inline uint16_t vmx_vpid(const struct vcpu *v)
{
    return (uint16_t)(1 + v->guest->number * ABI_VCPUS_MAX + v->number);
}

/* patch.c: struct virt_ops' controls(). The fields of the control words are in enum abi_control's
 * order. */
void vmx_change_controls(struct vcpu *v, const struct abi_controls *c,
                         struct abi_controls_result *r);
extern const uint16_t vmx_control_fields[ABI_CONTROLS];

/* layout.c: struct virt_ops' probe_field(). */
int64_t vmx_probe_field(struct vcpu *v, uint64_t row);

/* snapshot.c */
/* Finds out which fields this CPU has, so that the first snapshot takes no longer than later ones.
 * In VMX root operation, before a VMCS is current; one core, once. */
void vmx_prepare_snapshots(void);
/* All fields of the current VMCS. */
void vmx_read_fields(struct abi_vmcs *out);
void vmx_read_state(struct vcpu *v, struct abi_snapshot *s);

static inline void vmx_set_deadline(struct vmx_vcpu *x, uint64_t deadline)
{
    x->deadline = deadline;
    x->timer_end = deadline + (1ull << x->timer_shift) - 1;
}

/* lazy.c: the state of a vCPU after reset; l->x86.area is set. */
void vmx_lazy_reset(struct vmx_lazy *l);
/* Makes the vCPU's VMCS current and its lazy registers present on this core. */
void vmx_load(struct vmx_vcpu *x);
/* Makes the VMCS of the vCPU loaded on the core current again, after another was. */
void vmx_reload(unsigned core);
/* The core forgets the vCPU. */
void vmx_unload(struct vmx_vcpu *x);
