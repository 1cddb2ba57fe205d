/*
 * The entry trials of AMD-V: does this CPU refuse what the checks of VMRUN say that it refuses, and
 * is the guest's state as it was then? They are tried by the backend's own way into a guest and
 * back, with the vCPU of the management guest.
 */
#include "arch/x86/guest/vcpu_state.h"
#include "arch/x86/inspect/entry_check_vmrun.h"
#include "arch/x86/inspect/decode_fields.h"
#include "arch/x86/virt.h"
#include "hv/core.h"
#include "hv/fmt.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "test/kernel/trials.h"

/* The first breaks nothing. */
static const struct {
    int rule; /* enum vmrun_rule_id */
    unsigned row;
    uint64_t value;
} trials[] = {
    {-1, VMCB_ROW_RIP, 0x1000},
#define VMRUN_MUTATION(rule, field, value) {VMRUN_RULE_##rule, VMCB_ROW_##field, value},
#include "test/vmrun_mutations.def"
#undef VMRUN_MUTATION
};

/* Too large for the stack; one core only does this. */
static struct abi_vmcs entered, left;
static bool kept;

/* Of every exit. A guest that was entered is left alone. */
static enum exit_action note(struct vcpu *v)
{
    kept = v->exit->reason == SVM_EXIT_INVALID && svm_restore_entered(v);
    return EXIT_STOP;
}

/* 64-bit mode with a page table of zeros: its first instruction faults, and exits. */
static void make_enterable(struct svm_vcpu *x)
{
    struct vmcb_save *s = &x->vmcb->save;

    s->efer = EFER_SVME | EFER_LMA | EFER_LME;
    s->cr0 = CR0_PG | CR0_WP | CR0_ET | CR0_PE;
    s->cr4 |= CR4_PAE;
    s->cr3 = PAGE_SIZE;
    s->cs.attrib = 0xa9b;
    x->vmcb->control.intercept_exceptions = UINT32_MAX;
    /* It has its ASID now, so the entry leaves the trial's fields alone. */
    svm_take_asid(x);
    x->vmcb->control.tlb_control = TLB_FLUSH_ALL;
    x->changed = 1;
}

static void set_field(struct vmcb *vmcb, unsigned row, uint64_t value)
{
    const struct vmcb_field *f = vmcb_field(row);

    memcpy((uint8_t *)vmcb + f->offset, &value, f->bytes);
}

/* The save area, and what the check reads of the control area. */
static const char *first_difference(void)
{
    for (unsigned row = 0; row < VMCB_ROWS; row++)
        if ((vmcb_area(vmcb_field(row)->offset) == VMCS_GROUP_GUEST || row == VMCB_ROW_EVENTINJ ||
             row == VMCB_ROW_TLB_CONTROL) &&
            vmcs_has(&entered, row) && entered.value[row] != left.value[row])
            return vmcb_field(row)->name;
    return NULL;
}

static void name_rule(void *arg, const struct entry_rule_failure *f)
{
    *(const char **)arg = f->rule->name;
}

/* Bochs does not look at CR0.PE, and cannot run what it enters then. */
static bool is_tried(unsigned n)
{
    return trials[n].rule != VMRUN_RULE_LME_PE;
}

static void try_one(struct vcpu *v, const struct abi_caps *caps, unsigned n)
{
    static svm_handler *handlers[ABI_EXIT_REASONS];
    struct svm_vcpu *x = v->backend;
    const char *before = "none", *after = "none", *differs;
    char outcome[80] = "entered";

    for (unsigned i = 0; i < ABI_EXIT_REASONS; i++)
        handlers[i] = note;
    x->handlers = handlers;
    make_enterable(x);
    set_field(x->vmcb, trials[n].row, trials[n].value);
    vmcb_read_fields(x->vmcb, caps, &entered);
    (void)vmrun_check(&entered, caps, name_rule, &before);
    kept = false;
    (void)svm_enter(v);
    arch_irq_window();
    vmcb_read_fields(x->vmcb, caps, &left);
    (void)vmrun_check(&left, caps, name_rule, &after);
    differs = first_difference();
    if (v->exit->reason == SVM_EXIT_INVALID)
        (void)fmt(outcome, sizeof(outcome), "refused, %s, %s, then %s", kept ? "kept" : "lost",
                  differs ? differs : "the same", after);
    log_info("VMRUN trial %s: %s; check: %s",
             trials[n].rule < 0 ? "none" : vmrun_rule((unsigned)trials[n].rule)->name, outcome,
             before);
}

void vmrun_trials(struct vcpu *v, int (*set_up)(struct vcpu *v))
{
    for (unsigned n = 0; n < ARRAY_LEN(trials); n++) {
        if (!is_tried(n))
            continue;
        if (set_up(v)) {
            log_warn("VMRUN trials: the virtual CPU cannot be set up");
            return;
        }
        try_one(v, &svm_caps_common()->abi, n);
        svm_ops.vcpu_free(v);
        (void)log_poll();
    }
    log_info("entry trials: done");
}
