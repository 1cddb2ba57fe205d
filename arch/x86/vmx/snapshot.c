/* Reads every VMCS field that this CPU has into one of the guest's shared snapshot pages. */
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"
#include "hv/arch.h"

static void read_fields(struct abi_vmcs *out, unsigned count)
{
    const struct vmx_caps *caps = vmx_caps_common();

    for (unsigned row = 0; row < count; row++) {
        const struct vmcs_field *f = vmcs_field(row);
        uint64_t value;

        /* The table knows what should be there; the CPU has the last word. */
        if (vmcs_field_exists(f, caps) && vmread_try(f->encoding, &value))
            vmcs_set(out, row, value);
        else
            vmcs_set_absent(out, row);
    }
}

void vmx_snapshot(struct vcpu *v, unsigned slot, enum abi_cause cause)
{
    struct vmx_vcpu *x = v->backend;
    struct guest *g = v->guest;
    struct abi_snapshot *s = &g->snapshots[slot];
    uint64_t start;

    if (!x || !x->vmcs)
        return;
    vmx_load(x);
    start = arch_tsc();
    __atomic_fetch_add(&s->lock, 1, __ATOMIC_ACQ_REL);
    s->count = vmcs_field_count();
    s->cause = cause;
    s->exit = *v->exit;
    read_fields(&s->vmcs, s->count);
    s->tsc = start;
    s->ticks = arch_tsc() - start;
    __atomic_store_n(&s->sequence, g->snapshot_sequence + 1, __ATOMIC_RELEASE);
    __atomic_fetch_add(&s->lock, 1, __ATOMIC_RELEASE);
    __atomic_store_n(&g->snapshot_sequence, s->sequence, __ATOMIC_RELEASE);
}
