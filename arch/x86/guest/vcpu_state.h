/*
 * The seam between what an x86 guest sees and the vendor's structure that holds it: inline getters
 * and setters, so that an exit costs no more than code for a single vendor. A backend defines these
 * functions in a vcpu_state.h of its own; VCPU_STATE names another one (host tests: a plain
 * struct). Only on the core where the vCPU is loaded. The values are those of the CPU while the
 * guest runs.
 */
#pragma once

#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/guest/alu.h"
#include "arch/x86/guest/vcpu.h"
#include "hv/arch.h"
#include "hv/pc/irqchip.h"

static inline struct x86_vcpu *vcpu_x86(const struct vcpu *v);

#define DECLARE_STATE(name)                                                                        \
    static inline uint64_t vcpu_get_##name(const struct vcpu *v);                                  \
    static inline void vcpu_set_##name(struct vcpu *v, uint64_t value);
DECLARE_STATE(rip)
DECLARE_STATE(rsp)
DECLARE_STATE(rflags)
DECLARE_STATE(cr0)
DECLARE_STATE(cr3)
DECLARE_STATE(cr4)
DECLARE_STATE(efer) /* LMA also decides whether the next entry is into IA-32e mode */
DECLARE_STATE(dr7)
DECLARE_STATE(debugctl)
DECLARE_STATE(tsc) /* as RDTSC reads it */
/* The guest's TSC minus the host's. */
static inline uint64_t vcpu_get_tsc_offset(const struct vcpu *v);
/* DR0 to DR3 and DR6. */
static inline uint64_t vcpu_get_dr(const struct vcpu *v, unsigned n);
static inline void vcpu_set_dr(struct vcpu *v, unsigned n, uint64_t value);
static inline void vcpu_set_cr2(struct vcpu *v, uint64_t value);
static inline void vcpu_set_xcr0(struct vcpu *v, uint64_t value);
static inline uint64_t vcpu_get_tsc_aux(const struct vcpu *v);

/* What the guest reads for bits that it does not own. */
static inline void vcpu_show_cr0(struct vcpu *v, uint64_t value);
static inline void vcpu_show_cr4(struct vcpu *v, uint64_t value);
static inline uint64_t vcpu_shown_cr0(const struct vcpu *v);
static inline uint64_t vcpu_shown_cr4(const struct vcpu *v);
/* The bits of CR4 that the root owns, and those that this CPU has. */
static inline uint64_t vcpu_owned_cr4(const struct vcpu *v);
static inline uint64_t vcpu_known_cr4(const struct vcpu *v);

static inline struct segment vcpu_get_segment(const struct vcpu *v, enum segment_id id);
static inline uint16_t vcpu_get_selector(const struct vcpu *v, enum segment_id id);
/* The register's visible and hidden part. */
static inline void vcpu_set_segment(struct vcpu *v, enum segment_id id, uint16_t selector,
                                    const struct segment *s);
/* Its base and limit. */
static inline struct segment vcpu_get_gdtr(const struct vcpu *v);
static inline void vcpu_set_gdtr(struct vcpu *v, uint64_t base, uint32_t limit);
static inline void vcpu_set_idtr(struct vcpu *v, uint64_t base, uint32_t limit);
/* As in struct segment. */
static inline uint32_t vcpu_get_cs_rights(const struct vcpu *v);
static inline uint32_t vcpu_get_tr_rights(const struct vcpu *v);
static inline void vcpu_set_tr_rights(struct vcpu *v, uint32_t rights);
static inline unsigned vcpu_get_cpl(const struct vcpu *v);
/* PAE's four entries, which are registers. */
static inline void vcpu_get_pdptes(const struct vcpu *v, uint64_t pdpte[4]);
static inline void vcpu_set_pdptes(struct vcpu *v, const uint64_t pdpte[4]);
/* After a change that the guest's TLB does not reflect. */
static inline void vcpu_flush_tlb(struct vcpu *v);
/* RDSEED or RDRAND, once. */
static inline bool vcpu_random(const struct vcpu *v, bool seed, uint64_t *value);

/* In the shadow of STI or MOV SS. SDM 3A "Masking Exceptions and Interrupts When Switching Stacks"
 */
static inline bool vcpu_in_shadow(const struct vcpu *v);
static inline void vcpu_end_shadow(struct vcpu *v);
/* Until its IRET. SDM 3A "Handling Multiple NMIs" */
static inline bool vcpu_nmi_blocked(const struct vcpu *v);
static inline void vcpu_block_nmi(struct vcpu *v, bool blocked);
/* A debug exception follows the next entry, before the guest executes anything. */
static inline bool vcpu_trap_is_due(const struct vcpu *v);
/* A trap, with what DR6 will report: DR6_BS, DR6_B. Adds to one that is due already. */
static inline void vcpu_set_trap_due(struct vcpu *v, uint64_t conditions);
/* True if the last exit was IN or OUT (with string forms): its port, and bytes per access. */
static inline bool vcpu_exit_port(const struct vcpu *v, uint16_t *port, unsigned *size);
/* Whether each instruction that exits goes through x86_end_of_instruction(). Otherwise only those
 * that end in a shadow, or with TF or RF set. */
static inline void vcpu_watch_ends(struct vcpu *v, bool all);

/* Make the next entry deliver an event; check that one is set; set its error code; set the length
 * of the instruction that raised it. */
static inline void vcpu_inject(struct vcpu *v, uint32_t event);
static inline bool vcpu_injects(const struct vcpu *v);
static inline void vcpu_inject_error(struct vcpu *v, uint32_t error);
static inline void vcpu_inject_length(struct vcpu *v, uint32_t bytes);
/* As after INIT: nothing is injected, pending or blocked, and it is not in HLT. */
static inline void vcpu_clear_events(struct vcpu *v);
/* Requests an exit as soon as an interrupt, or an NMI, can be delivered. */
static inline void vcpu_set_windows(struct vcpu *v, bool irq, bool nmi);
static inline bool vcpu_has_windows(const struct vcpu *v);
/* Makes the next entry enter HLT, or run. */
static inline void vcpu_set_halt(struct vcpu *v, bool halted);

/* With lapic.apicv: the root has changed the local APIC. Sets lapic.by_cpu: the CPU works on its
 * registers and delivers its interrupts by itself. */
static inline void vcpu_sync_apic(struct vcpu *v);
/* With lapic.by_cpu: the CPU knows of an interrupt in IRR; it is told of the first one. */
static inline bool vcpu_apic_waits(const struct vcpu *v);
static inline void vcpu_request_vector(struct vcpu *v, uint8_t vector);

/* Loads the vCPU on this core. */
static inline void vcpu_load(struct vcpu *v);
/* The next entries end by this time, or earlier if the CPU's timer does not reach that far.
 * Absolute ticks. */
static inline void vcpu_set_deadline(struct vcpu *v, uint64_t deadline, uint64_t now);
/* The same in an exit whose handler returns EXIT_SKIP. */
static inline void vcpu_change_deadline(struct vcpu *v, uint64_t deadline, uint64_t now);
/* Enters, handles exits and enters again, until an exit needs more than that. Returns its action:
 * EXIT_SKIP only if a request waits. A skipped instruction is already skipped; v->exit is the last
 * exit. */
static inline enum exit_action vcpu_enter(struct vcpu *v);
/* True if the last exit was the deadline. */
static inline bool vcpu_deadline_came(const struct vcpu *v);

#ifndef VCPU_STATE
#define VCPU_STATE "arch/x86/vmx/vcpu_state.h"
#endif
#include VCPU_STATE

static inline unsigned x86_physical_width(const struct vcpu *v)
{
    return vcpu_x86(v)->cpuid.extended[8].eax & 0xff;
}

/* The registers that control paging, for an access by the instruction; with its RFLAGS. */
static inline void x86_read_paging(const struct vcpu *v, uint64_t rflags, struct paging *p)
{
    p->cr0 = vcpu_get_cr0(v);
    p->cr3 = vcpu_get_cr3(v);
    p->cr4 = vcpu_get_cr4(v);
    p->efer = vcpu_get_efer(v);
    if (!(p->efer & EFER_LMA) && (p->cr4 & CR4_PAE)) /* otherwise nothing reads them */
        vcpu_get_pdptes(v, p->pdpte);
    p->cpl = vcpu_get_cpl(v);
    p->ac = rflags & RFLAGS_AC;
    p->physical_width = x86_physical_width(v);
}

/* Of the memory operand, in its segment. */
static ALWAYS_INLINE uint64_t x86_operand_offset(const struct vcpu *v, const struct instruction *in)
{
    uint64_t offset = in->displacement;

    if (in->base == DECODE_RIP)
        offset += v->exit->rip + in->length;
    else if (in->base != DECODE_NO_REGISTER)
        offset += x86_read_gpr(v, in->base);
    if (in->index != DECODE_NO_REGISTER)
        offset += x86_read_gpr(v, in->index) << in->scale;
    return offset & alu_mask(in->address_bytes);
}

static inline bool x86_events_pending(const struct vcpu *v)
{
    return irqchip_may_be_pending(v->platform, v->number) || vcpu_x86(v)->reinject || v->nmi ||
           vcpu_has_windows(v);
}

/* Between two iterations of a string instruction an event is taken like between two instructions.
 */
static inline bool x86_takes_event(const struct vcpu *v, uint64_t rflags)
{
    return (v->nmi && !vcpu_nmi_blocked(v)) ||
           ((rflags & RFLAGS_IF) && irqchip_pending(v->platform, v->number));
}

/* True if any breakpoint is on. */
static inline bool x86_watches(const struct vcpu *v)
{
    return vcpu_get_dr7(v) & DR7_ENABLED;
}

/* Code has 64 bits: otherwise only the low halves of registers are operands. */
static inline bool x86_in_64bit_mode(const struct vcpu *v)
{
    return (vcpu_get_efer(v) & EFER_LMA) && (vcpu_get_cs_rights(v) & SEGMENT_RIGHTS_L);
}

/* With these RFLAGS each instruction ends in a trap. With BTF only branches do, and no instruction
 * that exits is a branch. */
static inline bool x86_steps(const struct vcpu *v, uint64_t rflags)
{
    return (rflags & RFLAGS_TF) && !(vcpu_get_debugctl(v) & DEBUGCTL_BTF);
}

/* The run is about to end, see RUN_CLOSE: the guest repeats what it has just begun, in its next
 * run. But not what it debugs: a breakpoint on the instruction would come twice, as RF is gone, and
 * in Bochs the trap of a step that was not made. */
static inline bool x86_puts_off(const struct vcpu *v)
{
    return __builtin_expect(v->exit->tsc >= v->closes, 0) && !x86_watches(v) &&
           !x86_steps(v, vcpu_get_rflags(v));
}

/* Something comes between this iteration of a string instruction and the next one, or its time is
 * up. `watches`: x86_watches(). */
static inline bool x86_string_ends(const struct vcpu *v, uint64_t rflags, bool watches,
                                   uint64_t until)
{
    return x86_steps(v, rflags) || (watches && vcpu_trap_is_due(v)) || x86_takes_event(v, rflags) ||
           arch_tsc() >= until;
}
