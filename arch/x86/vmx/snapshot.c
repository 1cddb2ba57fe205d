/* Reads every VMCS field that this CPU has into the vCPU's shared snapshot page. */
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"
#include "hv/arch.h"

uint64_t vmx_snapshot(struct vcpu *v)
{
    struct vmx_vcpu *x = v->backend;
    struct abi_snapshot *s = v->guest->snapshot;
    const struct vmx_caps *caps = vmx_caps_common();
    unsigned count = vmcs_field_count();
    uint64_t start;

    if (!x || !x->vmcs)
        return s->sequence;
    vmx_load(x);
    start = arch_tsc();
    __atomic_fetch_add(&s->lock, 1, __ATOMIC_ACQ_REL);
    s->count = count;
    for (unsigned row = 0; row < count; row++) {
        const struct vmcs_field *f = vmcs_field(row);
        uint64_t value;

        /* The table knows what should be there; the CPU has the last word. */
        if (vmcs_field_exists(f, caps) && vmread_try(f->encoding, &value))
            vmcs_set(&s->vmcs, row, value);
        else
            vmcs_set_absent(&s->vmcs, row);
    }
    s->tsc = start;
    s->ticks = arch_tsc() - start;
    __atomic_store_n(&s->sequence, s->sequence + 1, __ATOMIC_RELEASE);
    __atomic_fetch_add(&s->lock, 1, __ATOMIC_RELEASE);
    return s->sequence;
}
