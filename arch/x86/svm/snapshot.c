/* Copies every VMCB field that this CPU has into one of the guest's shared snapshot pages. */
#include "arch/x86/inspect/vmcb_fields.h"
#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/svm/vcpu.h"
#include "hv/lib.h"

/* The rows that this machine has (all cores are alike). Two cores at once make the same. */
static struct vmcb_plan plan;
static bool planned;

#define CPUID_MEMORY_ENCRYPTION 0x8000001fu
#define CPUID_PERFORMANCE       0x80000022u

void svm_core_caps(struct abi_caps *out)
{
    uint32_t last = cpuid(CPUID_EXTENDED, 0).eax;
    struct svm_caps c;

    svm_caps_read(&c);
    *out = (struct abi_caps){
        .present = c.svm,
        .hypervisor = c.hypervisor,
        .svm_revision = c.revision,
        .svm_asids = c.asids,
        .svm_features = c.features,
        .svm_vm_cr = c.vm_cr,
    };
    if (last >= CPUID_EXTENDED + 8)
        out->address_widths = cpuid(CPUID_EXTENDED + 8, 0).eax;
    if (last >= CPUID_MEMORY_ENCRYPTION)
        out->svm_memory = cpuid(CPUID_MEMORY_ENCRYPTION, 0).eax;
    if (last >= CPUID_PERFORMANCE)
        out->svm_branches = cpuid(CPUID_PERFORMANCE, 0).eax;
}

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
    struct abi_caps caps;
    uint64_t start;

    if (!x || !x->vmcb)
        return;
    if (!__atomic_load_n(&planned, __ATOMIC_ACQUIRE)) {
        svm_core_caps(&caps);
        vmcb_make_plan(&plan, &caps);
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
