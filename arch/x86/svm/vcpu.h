/* The backend's part of a guest, of a vCPU and of a core. Owned by the vCPU's core. */
#pragma once

#include "arch/x86/guest/lazy.h"
#include "arch/x86/guest/vcpu.h"
#include "arch/x86/svm/asid.h"
#include "arch/x86/svm/caps.h"
#include "arch/x86/svm/npt.h"
#include "arch/x86/svm/vmcb.h"
#include "hv/arch.h"
#include "hv/guest.h"
#include "hv/virt.h"

struct svm_guest {
    struct nested npt; /* the first member: arch/x86/guest/tree.h */
};
_Static_assert(sizeof(struct svm_guest) <= 4096, "allocated as one page");

/* What VMRUN takes from the VMCB and a refused one may overwrite (Bochs and QEMU do, with the
 * host's registers): as it was before the last entry in which something was new that VMRUN checks.
 */
struct svm_entered {
    uint64_t entries; /* before that one */
    uint64_t eventinj;
    uint8_t tlb_control;
    uint8_t save[offsetof(struct vmcb_save, dbgctl)];
};

typedef enum exit_action svm_handler(struct vcpu *v);

struct svm_vcpu {
    struct vcpu *vcpu;
    struct vmcb *vmcb;
    uint64_t host;                /* where VMLOAD finds what the root has there: its core's */
    svm_handler *const *handlers; /* by abi_svm_exit() */
    uint64_t deadline;            /* the present entry ends by then, absolute ticks */
    uint64_t shown_cr0, shown_cr4;
    uint64_t pat;      /* as the guest wrote it: without effect */
    uint64_t trap_due; /* DR6's bits of a debug exception before the next instruction */
    struct asid asid;
    uint8_t nrips;    /* the CPU reports the next RIP */
    uint8_t changed;  /* since the last entry: what VMRUN checks, or the ASID; see enter.asm */
    bool halted;      /* the next entry waits in HLT instead */
    bool nmi_blocked; /* from an NMI's injection to its IRET */
    bool nmi_returns; /* that IRET, at nmi_iret, is executed next */
    uint64_t nmi_iret;
    bool irq_window, nmi_window;
    uint64_t injected_entry, injected_rip; /* of the last event: stats.entries then, the RIP */
    struct x86_vcpu x86;
    struct x86_lazy lazy;
    struct svm_entered entered;
};
_Static_assert(sizeof(struct svm_vcpu) <= 4096, "allocated as one page");

/* enter.asm. Enters the guest with v->regs, handles exits and enters again, until an exit needs
 * more than that. Returns its enum exit_action. v->exit records the exit. */
uint32_t svm_enter(struct vcpu *v);

/* exits.c: the handler of each exit, by abi_svm_exit(). v->exit is filled in, except for
 * qualification and detail: handlers whose reason defines them add them. The second table is for
 * CPUs that do not report the next RIP. */
extern svm_handler *const svm_exit_handlers[ABI_EXIT_REASONS];
extern svm_handler *const svm_decoding_handlers[ABI_EXIT_REASONS];

/* exits_cr.c: MOV to a control register, CLTS and LMSW; MOV from one, and SMSW. */
enum exit_action svm_on_cr_write(struct vcpu *v);
enum exit_action svm_on_cr_read(struct vcpu *v);

/* The CPU may have translations of the vCPU that are no longer true: none outlives the next entry,
 * even one from enter.asm's own loop. */
static inline void svm_flush(struct svm_vcpu *x)
{
    asid_flush(&x->asid);
    x->changed = 1;
}

/* entered.c. For enter.asm, before an entry in which something has changed: takes an ASID, and
 * keeps what is entered. Puts that back behind a refused VMRUN, if it was kept for it. Nothing else
 * can be refused: the CPU has saved it itself. */
void svm_keep_entered(struct vcpu *v);
bool svm_restore_entered(struct vcpu *v);

/* setup.c: both together write the whole VMCB, controls first. */
void svm_setup_controls(struct svm_vcpu *x);
void svm_setup_state(struct svm_vcpu *x, const struct load_result *start);

/* snapshot.c, patch.c: see struct virt_ops. */
void svm_read_state(struct vcpu *v, struct abi_snapshot *s);
void svm_change_controls(struct vcpu *v, const struct abi_controls *c,
                         struct abi_controls_result *r);

/* core.c: struct virt_ops' core_probe(); SVM on the calling core, -E_NOMEM. */
int svm_core_probe(unsigned core);
int svm_core_on(unsigned core, void *core_page) MUST_CHECK;
/* Before an entry: the vCPU has an ASID, and its translations are flushed as needed. */
void svm_take_asid(struct svm_vcpu *x);
/* Instead of an entry: waits in HLT until an interrupt or the deadline comes. */
void svm_wait(struct svm_vcpu *x);
/* Makes the vCPU's lazy registers present on this core. */
void svm_load(struct svm_vcpu *x);
/* The core forgets the vCPU. */
void svm_unload(struct svm_vcpu *x);
