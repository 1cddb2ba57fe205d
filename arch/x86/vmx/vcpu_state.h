/* arch/x86/guest/vcpu_state.h for VT-x: most of it is in the current VMCS. */
#pragma once

#include "arch/x86/cpu/leaks.h"
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/guest/loaded_state.h"
#include "arch/x86/guest/vcpu.h"
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"
#include "hv/arch.h"

#if EVENT_VECTOR != INTR_INFO_VECTOR_MASK || EVENT_TYPE != INTR_INFO_TYPE_MASK ||                  \
    EVENT_EXTERNAL != INTR_INFO_EXTERNAL || EVENT_NMI != INTR_INFO_NMI ||                          \
    EVENT_EXCEPTION != INTR_INFO_HARD_EXCEPTION ||                                                 \
    EVENT_SOFT_INTERRUPT != INTR_INFO_SOFT_INTERRUPT ||                                            \
    EVENT_PRIVILEGED_SOFT != INTR_INFO_PRIVILEGED_SOFT ||                                          \
    EVENT_ERROR_CODE != INTR_INFO_ERROR_CODE || EVENT_VALID != INTR_INFO_VALID
#error "an event is interruption information"
#endif

/* Deadlines further away than the timer can count are reached in several entries. In units of the
 * timer. */
#define VMX_TIMER_SPAN 0x80000000ull

#define VMX_SHADOW     ((uint64_t)(BLOCKING_BY_STI | BLOCKING_BY_MOV_SS))
#define VMX_WINDOWS    (CPU1_INTERRUPT_WINDOW_EXITING | CPU1_NMI_WINDOW_EXITING)

static inline struct x86_vcpu *vcpu_x86(const struct vcpu *v)
{
    return &((struct vmx_vcpu *)v->backend)->x86;
}

#define DEFINE_STATE(name, field)                                                                  \
    static inline uint64_t vcpu_get_##name(const struct vcpu *v)                                   \
    {                                                                                              \
        (void)v;                                                                                   \
        return vmread(field);                                                                      \
    }                                                                                              \
    static inline void vcpu_set_##name(struct vcpu *v, uint64_t value)                             \
    {                                                                                              \
        (void)v;                                                                                   \
        vmwrite(field, value);                                                                     \
    }
DEFINE_STATE(rip, VMCS_GUEST_RIP)
DEFINE_STATE(rsp, VMCS_GUEST_RSP)
DEFINE_STATE(rflags, VMCS_GUEST_RFLAGS)
DEFINE_STATE(cr0, VMCS_GUEST_CR0)
DEFINE_STATE(cr3, VMCS_GUEST_CR3)
DEFINE_STATE(cr4, VMCS_GUEST_CR4)
DEFINE_STATE(dr7, VMCS_GUEST_DR7)
DEFINE_STATE(debugctl, VMCS_GUEST_IA32_DEBUGCTL)

static inline uint64_t vcpu_get_efer(const struct vcpu *v)
{
    (void)v;
    return vmread(VMCS_GUEST_IA32_EFER);
}

static inline void vcpu_set_efer(struct vcpu *v, uint64_t value)
{
    uint64_t entry = vmread(VMCS_VM_ENTRY_CONTROLS) & ~(uint64_t)ENTRY_IA32E_MODE_GUEST;

    (void)v;
    vmwrite(VMCS_GUEST_IA32_EFER, value);
    vmwrite(VMCS_VM_ENTRY_CONTROLS, entry | (value & EFER_LMA ? ENTRY_IA32E_MODE_GUEST : 0));
}

/* No VMCS field holds them: they stay in the core while the vCPU is loaded (lazy.c). */
static inline uint64_t vcpu_get_dr(const struct vcpu *v, unsigned n)
{
    (void)v;
    return n <= 3 ? read_breakpoint(n) : read_dr6();
}

static inline void vcpu_set_dr(struct vcpu *v, unsigned n, uint64_t value)
{
    (void)v;
    if (n <= 3)
        write_breakpoint(n, value);
    else
        write_dr6(value);
}

static inline void vcpu_set_cr2(struct vcpu *v, uint64_t value)
{
    (void)v;
    write_cr2(value);
}

static inline void vcpu_show_cr0(struct vcpu *v, uint64_t value)
{
    (void)v;
    vmwrite(VMCS_CR0_READ_SHADOW, value);
}

static inline void vcpu_show_cr4(struct vcpu *v, uint64_t value)
{
    (void)v;
    vmwrite(VMCS_CR4_READ_SHADOW, value);
}

static inline uint64_t vcpu_shown_cr0(const struct vcpu *v)
{
    (void)v;
    return vmread(VMCS_CR0_READ_SHADOW);
}

static inline uint64_t vcpu_shown_cr4(const struct vcpu *v)
{
    (void)v;
    return vmread(VMCS_CR4_READ_SHADOW);
}

static inline uint64_t vcpu_owned_cr4(const struct vcpu *v)
{
    (void)v;
    return vmread(VMCS_CR4_GUEST_HOST_MASK);
}

static inline uint64_t vcpu_known_cr4(const struct vcpu *v)
{
    (void)v;
    return vmx_caps_common()->cr4_fixed1;
}

/* The encodings of a segment's four fields are equally spaced for all segments. */
static inline struct segment vcpu_get_segment(const struct vcpu *v, enum segment_id id)
{
    (void)v;
    return (struct segment){
        .base = vmread(VMCS_GUEST_ES_BASE + 2 * id),
        .limit = (uint32_t)vmread(VMCS_GUEST_ES_LIMIT + 2 * id),
        .rights = (uint32_t)vmread(VMCS_GUEST_ES_ACCESS_RIGHTS + 2 * id),
    };
}

static inline uint16_t vcpu_get_selector(const struct vcpu *v, enum segment_id id)
{
    (void)v;
    return (uint16_t)vmread(VMCS_GUEST_ES_SELECTOR + 2 * id);
}

static inline void vcpu_set_segment(struct vcpu *v, enum segment_id id, uint16_t selector,
                                    const struct segment *s)
{
    (void)v;
    vmwrite(VMCS_GUEST_ES_SELECTOR + 2 * id, selector);
    vmwrite(VMCS_GUEST_ES_BASE + 2 * id, s->base);
    vmwrite(VMCS_GUEST_ES_LIMIT + 2 * id, s->limit);
    vmwrite(VMCS_GUEST_ES_ACCESS_RIGHTS + 2 * id, s->rights);
}

static inline struct segment vcpu_get_gdtr(const struct vcpu *v)
{
    (void)v;
    return (struct segment){
        .base = vmread(VMCS_GUEST_GDTR_BASE),
        .limit = (uint32_t)vmread(VMCS_GUEST_GDTR_LIMIT),
    };
}

static inline void vcpu_set_gdtr(struct vcpu *v, uint64_t base, uint32_t limit)
{
    (void)v;
    vmwrite(VMCS_GUEST_GDTR_BASE, base);
    vmwrite(VMCS_GUEST_GDTR_LIMIT, limit);
}

static inline void vcpu_set_idtr(struct vcpu *v, uint64_t base, uint32_t limit)
{
    (void)v;
    vmwrite(VMCS_GUEST_IDTR_BASE, base);
    vmwrite(VMCS_GUEST_IDTR_LIMIT, limit);
}

static inline uint32_t vcpu_get_cs_rights(const struct vcpu *v)
{
    (void)v;
    return (uint32_t)vmread(VMCS_GUEST_CS_ACCESS_RIGHTS);
}

static inline uint32_t vcpu_get_tr_rights(const struct vcpu *v)
{
    (void)v;
    return (uint32_t)vmread(VMCS_GUEST_TR_ACCESS_RIGHTS);
}

static inline void vcpu_set_tr_rights(struct vcpu *v, uint32_t rights)
{
    (void)v;
    vmwrite(VMCS_GUEST_TR_ACCESS_RIGHTS, rights);
}

static inline unsigned vcpu_get_cpl(const struct vcpu *v)
{
    (void)v;
    return (unsigned)(vmread(VMCS_GUEST_SS_ACCESS_RIGHTS) & AR_DPL_MASK) >> AR_DPL_SHIFT;
}

static inline void vcpu_get_pdptes(const struct vcpu *v, uint64_t pdpte[4])
{
    (void)v;
    for (unsigned i = 0; i < 4; i++)
        pdpte[i] = vmread(VMCS_GUEST_PDPTE0 + 2 * i);
}

static inline void vcpu_set_pdptes(struct vcpu *v, const uint64_t pdpte[4])
{
    (void)v;
    for (unsigned i = 0; i < 4; i++)
        vmwrite(VMCS_GUEST_PDPTE0 + 2 * i, pdpte[i]);
}

static inline uint64_t vcpu_get_tsc_offset(const struct vcpu *v)
{
    const struct vmx_vcpu *x = v->backend;

    return x->cpu1 & CPU1_USE_TSC_OFFSETTING ? vmread(VMCS_TSC_OFFSET) : 0;
}

static inline void vcpu_set_tsc(struct vcpu *v, uint64_t value)
{
    (void)v;
    vmwrite(VMCS_TSC_OFFSET, value - arch_tsc());
}

static inline void vcpu_flush_tlb(struct vcpu *v)
{
    vmx_flush_tlb(v->backend);
}

static inline bool vcpu_in_shadow(const struct vcpu *v)
{
    (void)v;
    return vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE) & VMX_SHADOW;
}

static inline void vcpu_end_shadow(struct vcpu *v)
{
    uint64_t blocking = vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE);

    (void)v;
    if (blocking & VMX_SHADOW)
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY_STATE, blocking & ~VMX_SHADOW);
}

static inline bool vcpu_nmi_blocked(const struct vcpu *v)
{
    (void)v;
    return vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE) & BLOCKING_BY_NMI;
}

static inline void vcpu_block_nmi(struct vcpu *v, bool blocked)
{
    uint64_t others = vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE) & ~(uint64_t)BLOCKING_BY_NMI;

    (void)v;
    vmwrite(VMCS_GUEST_INTERRUPTIBILITY_STATE, others | (blocked ? BLOCKING_BY_NMI : 0));
}

/* SDM 3C "Pending Debug Exceptions": nothing is delivered unless one of these bits is set. */
static inline bool vcpu_trap_is_due(const struct vcpu *v)
{
    (void)v;
    return vmread(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS) &
           (PENDING_DEBUG_BUS_LOCK | PENDING_DEBUG_ENABLED | PENDING_DEBUG_BS | PENDING_DEBUG_RTM);
}

/* The bits are where DR6 has them. */
static inline void vcpu_set_trap_due(struct vcpu *v, uint64_t conditions)
{
    uint64_t due = vmread(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS) | conditions;

    (void)v;
    if (conditions & DR6_B)
        due |= PENDING_DEBUG_ENABLED;
    vmwrite(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, due);
}

static inline bool vcpu_exit_port(const struct vcpu *v, uint16_t *port, unsigned *size)
{
    uint64_t q = v->exit->qualification;

    *port = (uint16_t)(q >> IO_PORT_SHIFT);
    *size = (unsigned)(q & IO_SIZE_MASK) + 1;
    return v->exit->reason == VMX_EXIT_IO_INSTRUCTION;
}

static inline bool vcpu_injects(const struct vcpu *v)
{
    (void)v;
    return vmread(VMCS_VM_ENTRY_INTERRUPTION_INFO) & INTR_INFO_VALID;
}

static inline void vcpu_inject(struct vcpu *v, uint32_t event)
{
    (void)v;
    vmwrite(VMCS_VM_ENTRY_INTERRUPTION_INFO, event);
}

static inline void vcpu_inject_error(struct vcpu *v, uint32_t error)
{
    (void)v;
    vmwrite(VMCS_VM_ENTRY_EXCEPTION_ERROR_CODE, error);
}

static inline void vcpu_inject_length(struct vcpu *v, uint32_t bytes)
{
    (void)v;
    vmwrite(VMCS_VM_ENTRY_INSTRUCTION_LENGTH, bytes);
}

static inline void vcpu_clear_events(struct vcpu *v)
{
    (void)v;
    vmwrite(VMCS_VM_ENTRY_INTERRUPTION_INFO, 0);
    vmwrite(VMCS_GUEST_INTERRUPTIBILITY_STATE, 0);
    vmwrite(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, 0);
    vmwrite(VMCS_GUEST_ACTIVITY_STATE, ACTIVITY_ACTIVE);
}

static inline bool vcpu_has_windows(const struct vcpu *v)
{
    const struct vmx_vcpu *x = v->backend;

    return x->cpu1 & VMX_WINDOWS;
}

static inline void vcpu_set_windows(struct vcpu *v, bool irq, bool nmi)
{
    struct vmx_vcpu *x = v->backend;
    uint32_t cpu1 = x->cpu1 & ~VMX_WINDOWS;

    cpu1 |= (irq ? CPU1_INTERRUPT_WINDOW_EXITING : 0) | (nmi ? CPU1_NMI_WINDOW_EXITING : 0);
    if (cpu1 == x->cpu1)
        return;
    x->cpu1 = cpu1;
    vmwrite(VMCS_PRIMARY_PROCESSOR_CONTROLS, cpu1);
}

static inline void vcpu_set_halt(struct vcpu *v, bool halted)
{
    (void)v;
    vmwrite(VMCS_GUEST_ACTIVITY_STATE, halted ? ACTIVITY_HLT : ACTIVITY_ACTIVE);
}

static inline void vcpu_sync_apic(struct vcpu *v)
{
    vmx_apicv_sync(v->backend);
}

/* SDM 3C "Guest Interrupt Status": RVI is in the low byte. */
static inline bool vcpu_apic_waits(const struct vcpu *v)
{
    (void)v;
    return vmread(VMCS_GUEST_INTERRUPT_STATUS) & 0xff;
}

static inline void vcpu_request_vector(struct vcpu *v, uint8_t vector)
{
    (void)v;
    vmwrite(VMCS_GUEST_INTERRUPT_STATUS, vmread(VMCS_GUEST_INTERRUPT_STATUS) | vector);
}

static inline void vcpu_load(struct vcpu *v)
{
    vmx_load(v->backend);
    leaks_begin_run();
}

static inline void vcpu_set_deadline(struct vcpu *v, uint64_t deadline, uint64_t now)
{
    struct vmx_vcpu *x = v->backend;

    vmx_set_deadline(x, min_u64(deadline, now + (VMX_TIMER_SPAN << x->timer_shift)));
}

static inline void vcpu_change_deadline(struct vcpu *v, uint64_t deadline, uint64_t now)
{
    vcpu_set_deadline(v, deadline, now);
}

static inline enum exit_action vcpu_enter(struct vcpu *v)
{
    uint32_t how = vmx_enter(v);

    return __builtin_expect(how <= EXIT_STOP, 1) ? (enum exit_action)how : vmx_on_unusual(v, how);
}

static inline bool vcpu_deadline_came(const struct vcpu *v)
{
    return v->exit->reason == VMX_EXIT_PREEMPTION_TIMER;
}
