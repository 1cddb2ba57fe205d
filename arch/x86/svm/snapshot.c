/* Copies every VMCB field that this CPU has into one of the guest's shared snapshot pages. */
#include "arch/x86/inspect/vmcb_fields.h"
#include "arch/x86/svm/vcpu.h"
#include "hv/lib.h"

/* The rows that this machine has (all cores are alike). Two cores at once make the same. */
static struct vmcb_plan plan;
static bool planned;

/* Before the first entry the intercept vectors are those that setup wanted. */
static void note_wanted(struct vcpu *v, const struct abi_vmcs *state)
{
    for (unsigned i = 0; i < ABI_SVM_CONTROLS; i++)
        v->stats->wanted[i] = state->value[VMCB_ROW_INTERCEPT_CR + i];
}

void svm_snapshot(struct vcpu *v, unsigned slot, enum abi_cause cause)
{
    const struct svm_vcpu *x = v->backend;
    struct abi_snapshot *s = &v->snapshots[slot];
    uint64_t start;

    if (!x || !x->vmcb)
        return;
    if (!__atomic_load_n(&planned, __ATOMIC_ACQUIRE)) {
        vmcb_make_plan(&plan, &svm_caps_common()->abi);
        __atomic_store_n(&planned, true, __ATOMIC_RELEASE);
    }
    start = arch_tsc();
    __atomic_fetch_add(&s->lock, 1, __ATOMIC_ACQ_REL);
    s->count = VMCB_ROWS;
    s->cause = cause;
    s->kind = ABI_STATE_SVM;
    s->exit = *v->exit;
    vmcb_read_planned(&plan, x->vmcb, &s->vmcs);
    s->tsc = start;
    s->ticks = arch_tsc() - start;
    __atomic_store_n(&s->sequence, v->snapshot_sequence + 1, __ATOMIC_RELEASE);
    __atomic_fetch_add(&s->lock, 1, __ATOMIC_RELEASE);
    __atomic_store_n(&v->snapshot_sequence, s->sequence, __ATOMIC_RELEASE);
    if (cause == ABI_CAUSE_LAUNCH)
        note_wanted(v, &s->vmcs);
}
