/* Copies every VMCB field that this CPU has. */
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

void svm_read_state(struct vcpu *v, struct abi_snapshot *s)
{
    const struct svm_vcpu *x = v->backend;

    if (!__atomic_load_n(&planned, __ATOMIC_ACQUIRE)) {
        vmcb_make_plan(&plan, &svm_caps_common()->abi);
        __atomic_store_n(&planned, true, __ATOMIC_RELEASE);
    }
    s->kind = ABI_STATE_SVM;
    s->count = VMCB_ROWS;
    vmcb_read_planned(&plan, x->vmcb, &s->vmcs);
    if (s->cause == ABI_CAUSE_LAUNCH)
        note_wanted(v, &s->vmcs);
}
