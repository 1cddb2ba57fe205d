/* arch/x86/guest/vcpu_state.h for AMD-V: most of it is in the VMCB. */
#pragma once

#include "arch/x86/cpu/apic.h"
#include "arch/x86/cpu/leaks.h"
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/guest/loaded_state.h"
#include "arch/x86/guest/segment.h"
#include "arch/x86/guest/vcpu.h"
#include "arch/x86/svm/svm.h"
#include "arch/x86/svm/vcpu.h"
#include "hv/arch.h"

/* An attribute's bits 11:8 are bits 15:12 of the rights. */
#define ATTRIB_LOW  0xffu
#define ATTRIB_HIGH 0xf00u
#define ATTRIB_P    (1u << 7)

static inline struct svm_vcpu *svm_of(const struct vcpu *v)
{
    return v->backend;
}

static inline struct vmcb_control *svm_control(const struct vcpu *v)
{
    return &svm_of(v)->vmcb->control;
}

static inline struct vmcb_save *svm_save(const struct vcpu *v)
{
    return &svm_of(v)->vmcb->save;
}

/* To change what VMRUN checks; also CR3 and DR6, which it checks in part. */
static inline struct vmcb_save *svm_changed(struct vcpu *v)
{
    struct svm_vcpu *x = v->backend;

    x->changed = 1;
    return &x->vmcb->save;
}

static inline struct x86_vcpu *vcpu_x86(const struct vcpu *v)
{
    return &svm_of(v)->x86;
}

#define DEFINE_STATE(name, field, change)                                                          \
    static inline uint64_t vcpu_get_##name(const struct vcpu *v)                                   \
    {                                                                                              \
        return svm_save(v)->field;                                                                 \
    }                                                                                              \
    static inline void vcpu_set_##name(struct vcpu *v, uint64_t value)                             \
    {                                                                                              \
        change(v)->field = value;                                                                  \
    }
DEFINE_STATE(rip, rip, svm_save)
DEFINE_STATE(rsp, rsp, svm_save)
DEFINE_STATE(rflags, rflags, svm_save)
DEFINE_STATE(cr3, cr3, svm_changed)
DEFINE_STATE(dr7, dr7, svm_changed)
DEFINE_STATE(debugctl, dbgctl, svm_save)

static inline uint64_t vcpu_get_cr0(const struct vcpu *v)
{
    return svm_save(v)->cr0;
}

static inline uint64_t vcpu_get_cr4(const struct vcpu *v)
{
    return svm_save(v)->cr4;
}

/* Of the bits that the root owns the guest reads what was shown to it. */
static inline uint64_t svm_read_cr0(const struct vcpu *v)
{
    return (svm_save(v)->cr0 & ~X86_CR0_OWNED) | (svm_of(v)->shown_cr0 & X86_CR0_OWNED);
}

static inline uint64_t svm_read_cr4(const struct vcpu *v)
{
    return (svm_save(v)->cr4 & X86_CR4_GUESTS) | (svm_of(v)->shown_cr4 & ~X86_CR4_GUESTS);
}

/* The guest reads the register itself unless it must see something else. */
static inline void svm_intercept_cr_read(struct vcpu *v, unsigned cr, bool differs)
{
    uint16_t bit = (uint16_t)(1u << cr);
    struct vmcb_control *c = svm_control(v);

    c->intercept_cr_read =
        (uint16_t)(differs ? c->intercept_cr_read | bit : c->intercept_cr_read & ~bit);
}

static inline void vcpu_set_cr0(struct vcpu *v, uint64_t value)
{
    svm_changed(v)->cr0 = value;
    /* In QEMU 10 this bit decides for CR4 and CR8 as well. */
    svm_intercept_cr_read(v, 0, value != svm_read_cr0(v) || svm_caps_common()->abi.hypervisor);
}

static inline void vcpu_set_cr4(struct vcpu *v, uint64_t value)
{
    svm_changed(v)->cr4 = value;
    svm_intercept_cr_read(v, 4, value != svm_read_cr4(v));
}

static inline void vcpu_show_cr0(struct vcpu *v, uint64_t value)
{
    svm_of(v)->shown_cr0 = value;
    vcpu_set_cr0(v, svm_save(v)->cr0);
}

static inline void vcpu_show_cr4(struct vcpu *v, uint64_t value)
{
    svm_of(v)->shown_cr4 = value;
    vcpu_set_cr4(v, svm_save(v)->cr4);
}

static inline uint64_t vcpu_shown_cr0(const struct vcpu *v)
{
    return svm_of(v)->shown_cr0;
}

static inline uint64_t vcpu_shown_cr4(const struct vcpu *v)
{
    return svm_of(v)->shown_cr4;
}

/* VMRUN requires SVME. */
static inline uint64_t vcpu_get_efer(const struct vcpu *v)
{
    return svm_save(v)->efer & ~EFER_SVME;
}

static inline void vcpu_set_efer(struct vcpu *v, uint64_t value)
{
    svm_changed(v)->efer = value | EFER_SVME;
}

/* DR6 is in the VMCB; the others stay in the core while the vCPU is loaded (core.c). */
static inline uint64_t vcpu_get_dr(const struct vcpu *v, unsigned n)
{
    return n <= 3 ? read_breakpoint(n) : svm_save(v)->dr6;
}

static inline void vcpu_set_dr(struct vcpu *v, unsigned n, uint64_t value)
{
    if (n <= 3)
        write_breakpoint(n, value);
    else
        svm_changed(v)->dr6 = value;
}

/* In both places: see svm_load(). */
static inline void vcpu_set_cr2(struct vcpu *v, uint64_t value)
{
    svm_save(v)->cr2 = value;
    write_cr2(value);
}

static inline uint64_t vcpu_owned_cr4(const struct vcpu *v)
{
    (void)v;
    return ~X86_CR4_GUESTS;
}

static inline uint64_t vcpu_known_cr4(const struct vcpu *v)
{
    (void)v;
    return svm_caps_common()->cr4;
}

static inline struct vmcb_segment *svm_segment(const struct vcpu *v, enum segment_id id)
{
    struct vmcb_save *s = svm_save(v);

    switch (id) {
    case SEGMENT_LDTR:
        return &s->ldtr;
    case SEGMENT_TR:
        return &s->tr;
    default:
        return &s->es + id;
    }
}

static inline uint32_t svm_rights(const struct vmcb_segment *s)
{
    return (s->attrib & ATTRIB_LOW) | (uint32_t)(s->attrib & ATTRIB_HIGH) << 4 |
           (s->attrib & ATTRIB_P ? 0 : SEGMENT_RIGHTS_NULL);
}

static inline uint16_t svm_attrib(uint32_t rights)
{
    return rights & SEGMENT_RIGHTS_NULL
               ? 0
               : (uint16_t)((rights & ATTRIB_LOW) | (rights >> 4 & ATTRIB_HIGH));
}

static inline struct segment vcpu_get_segment(const struct vcpu *v, enum segment_id id)
{
    const struct vmcb_segment *s = svm_segment(v, id);

    return (struct segment){.base = s->base, .limit = s->limit, .rights = svm_rights(s)};
}

static inline uint16_t vcpu_get_selector(const struct vcpu *v, enum segment_id id)
{
    return svm_segment(v, id)->selector;
}

static inline void vcpu_set_segment(struct vcpu *v, enum segment_id id, uint16_t selector,
                                    const struct segment *s)
{
    svm_of(v)->changed = 1;
    *svm_segment(v, id) = (struct vmcb_segment){selector, svm_attrib(s->rights), s->limit, s->base};
    if (id == SEGMENT_SS)
        svm_save(v)->cpl = s->rights >> 5 & 3;
}

static inline struct segment vcpu_get_gdtr(const struct vcpu *v)
{
    const struct vmcb_segment *s = &svm_save(v)->gdtr;

    return (struct segment){.base = s->base, .limit = s->limit};
}

static inline void vcpu_set_gdtr(struct vcpu *v, uint64_t base, uint32_t limit)
{
    svm_changed(v)->gdtr = (struct vmcb_segment){0, 0, limit, base};
}

static inline void vcpu_set_idtr(struct vcpu *v, uint64_t base, uint32_t limit)
{
    svm_changed(v)->idtr = (struct vmcb_segment){0, 0, limit, base};
}

static inline uint32_t vcpu_get_cs_rights(const struct vcpu *v)
{
    return svm_rights(&svm_save(v)->cs);
}

static inline uint32_t vcpu_get_tr_rights(const struct vcpu *v)
{
    return svm_rights(&svm_save(v)->tr);
}

static inline void vcpu_set_tr_rights(struct vcpu *v, uint32_t rights)
{
    svm_save(v)->tr.attrib = svm_attrib(rights);
}

static inline unsigned vcpu_get_cpl(const struct vcpu *v)
{
    return svm_save(v)->cpl;
}

/* With nested paging they are no registers: a walk reads them from memory. */
static inline void vcpu_get_pdptes(const struct vcpu *v, uint64_t pdpte[4])
{
    uint64_t at = svm_save(v)->cr3 & 0xffffffe0ull;

    if (gmem_read(&v->guest->mem, gpa(at), pdpte, 4 * sizeof(pdpte[0])))
        for (unsigned i = 0; i < 4; i++)
            pdpte[i] = 0;
}

static inline void vcpu_set_pdptes(struct vcpu *v, const uint64_t pdpte[4])
{
    (void)v;
    (void)pdpte;
}

static inline uint64_t vcpu_get_tsc_offset(const struct vcpu *v)
{
    return svm_control(v)->tsc_offset;
}

static inline void vcpu_set_tsc(struct vcpu *v, uint64_t value)
{
    svm_control(v)->tsc_offset = value - arch_tsc();
}

static inline void vcpu_flush_tlb(struct vcpu *v)
{
    svm_flush(v->backend);
}

static inline bool vcpu_in_shadow(const struct vcpu *v)
{
    return svm_control(v)->interrupt_shadow & INTERRUPT_SHADOW;
}

static inline void vcpu_end_shadow(struct vcpu *v)
{
    svm_control(v)->interrupt_shadow &= ~INTERRUPT_SHADOW;
}

/* The VMCB has no place for this: an IRET exits while it is so. */
static inline bool vcpu_nmi_blocked(const struct vcpu *v)
{
    const struct svm_vcpu *x = svm_of(v);

    return x->nmi_blocked && (!x->nmi_returns || x->vmcb->save.rip == x->nmi_iret);
}

static inline void vcpu_block_nmi(struct vcpu *v, bool blocked)
{
    struct vmcb_control *c = svm_control(v);

    svm_of(v)->nmi_blocked = blocked;
    svm_of(v)->nmi_returns = false;
    c->intercept_misc1 =
        blocked ? c->intercept_misc1 | INTERCEPT_IRET : c->intercept_misc1 & ~INTERCEPT_IRET;
}

static inline bool vcpu_trap_is_due(const struct vcpu *v)
{
    return svm_of(v)->trap_due;
}

static inline void vcpu_set_trap_due(struct vcpu *v, uint64_t conditions)
{
    svm_of(v)->trap_due |= conditions;
}

static inline bool vcpu_exit_port(const struct vcpu *v, uint16_t *port, unsigned *size)
{
    uint64_t q = v->exit->qualification;

    *port = (uint16_t)(q >> IOIO_PORT_SHIFT);
    *size = (unsigned)(q >> IOIO_SIZE_SHIFT & IOIO_SIZE_MASK);
    return v->exit->reason == SVM_EXIT_IOIO;
}

static inline bool vcpu_injects(const struct vcpu *v)
{
    return svm_control(v)->eventinj & EVENT_VALID;
}

/* No CPU refuses it. */
static inline bool svm_event_is_plain(uint32_t event)
{
    uint32_t type = event & EVENT_TYPE, vector = event & EVENT_VECTOR;

    if (type == EVENT_EXCEPTION)
        return vector < 32 && vector != VECTOR_NMI;
    return type == EVENT_EXTERNAL || type == EVENT_NMI;
}

static inline void vcpu_inject(struct vcpu *v, uint32_t event)
{
    struct svm_vcpu *x = svm_of(v);
    struct vmcb_control *c = &x->vmcb->control;

    c->eventinj = (c->eventinj & ~(uint64_t)UINT32_MAX) | event;
    x->injected_entry = v->stats->entries;
    x->injected_rip = x->vmcb->save.rip;
    if (!svm_event_is_plain(event))
        x->changed = 1;
    x->halted = false;
    if ((event & EVENT_TYPE) == EVENT_NMI)
        vcpu_block_nmi(v, true);
}

static inline void vcpu_inject_error(struct vcpu *v, uint32_t error)
{
    svm_control(v)->eventinj = (uint64_t)error << EVENT_ERROR_SHIFT;
}

/* Software interrupts and exceptions are not injected: the guest executes the instruction again. */
static inline void vcpu_inject_length(struct vcpu *v, uint32_t bytes)
{
    (void)v;
    (void)bytes;
}

static inline void vcpu_clear_events(struct vcpu *v)
{
    struct svm_vcpu *x = svm_of(v);

    x->vmcb->control.eventinj = 0;
    x->vmcb->control.interrupt_shadow = 0;
    x->trap_due = 0;
    x->halted = false;
    vcpu_block_nmi(v, false);
}

static inline bool vcpu_has_windows(const struct vcpu *v)
{
    return svm_of(v)->irq_window || svm_of(v)->nmi_window;
}

/* A virtual interrupt that is intercepted shows that an interrupt can be delivered, so also that
 * the IRET of an NMI's handler is done, if it was executed with interrupts off. Otherwise an NMI
 * that waits comes after the next exit. */
static inline bool svm_needs_vintr(const struct vcpu *v, bool irq, bool nmi)
{
    return irq || (nmi && (!vcpu_nmi_blocked(v) ||
                           (svm_of(v)->nmi_returns && !(vcpu_get_rflags(v) & RFLAGS_IF))));
}

static inline void vcpu_set_windows(struct vcpu *v, bool irq, bool nmi)
{
    struct svm_vcpu *x = svm_of(v);
    struct vmcb_control *c = &x->vmcb->control;
    const uint64_t request = VINTR_IRQ | VINTR_PRIO | VINTR_IGN_TPR;

    if (!irq && !nmi && !vcpu_has_windows(v))
        return;
    x->irq_window = irq;
    x->nmi_window = nmi;
    if (svm_needs_vintr(v, irq, nmi)) {
        c->vintr |= request;
        c->intercept_misc1 |= INTERCEPT_VINTR;
    } else {
        c->vintr &= ~request;
        c->intercept_misc1 &= ~INTERCEPT_VINTR;
    }
}

static inline void vcpu_set_halt(struct vcpu *v, bool halted)
{
    svm_of(v)->halted = halted;
}

/* No CPU that this backend knows works on the APIC by itself. */
static inline void vcpu_sync_apic(struct vcpu *v)
{
    (void)v;
}

static inline bool vcpu_apic_waits(const struct vcpu *v)
{
    (void)v;
    return false;
}

static inline void vcpu_request_vector(struct vcpu *v, uint8_t vector)
{
    (void)v;
    (void)vector;
}

static inline void vcpu_load(struct vcpu *v)
{
    svm_load(v->backend);
    leaks_begin_run();
}

static inline void vcpu_set_deadline(struct vcpu *v, uint64_t deadline, uint64_t now)
{
    (void)now;
    svm_of(v)->deadline = deadline;
}

static inline void vcpu_change_deadline(struct vcpu *v, uint64_t deadline, uint64_t now)
{
    vcpu_set_deadline(v, deadline, now);
    apic_timer_set(deadline);
}

static inline enum exit_action vcpu_enter(struct vcpu *v)
{
    struct svm_vcpu *x = svm_of(v);

    if (__builtin_expect(x->halted, 0)) {
        svm_wait(x);
        return EXIT_KICK;
    }
    if (__builtin_expect(x->trap_due != 0, 0) && !vcpu_injects(v)) {
        (void)x86_trap_db(v, x->trap_due);
        x->trap_due = 0;
    }
    apic_timer_set(x->deadline);
    return (enum exit_action)svm_enter(v);
}

static inline bool vcpu_deadline_came(const struct vcpu *v)
{
    return v->exit->reason == SVM_EXIT_INTR && v->exit->tsc >= svm_of(v)->deadline;
}
