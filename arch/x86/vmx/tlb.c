/* Changes a guest's translations while it runs, and makes the CPU forget the old ones. */
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"

void vmx_flush_tlb(const struct vmx_vcpu *x)
{
    uint64_t type = vmx_caps_common()->ept_vpid & EPT_CAP_INVVPID_SINGLE ? INVVPID_SINGLE_CONTEXT
                                                                         : INVVPID_ALL_CONTEXT;

    invvpid(type, vmx_vpid(x->vcpu));
}

void vmx_flush_ept(const struct vmx_guest *b)
{
    uint64_t type = vmx_caps_common()->ept_vpid & EPT_CAP_INVEPT_SINGLE ? INVEPT_SINGLE_CONTEXT
                                                                        : INVEPT_ALL_CONTEXT;

    invept(type, ept_pointer(&b->ept));
}

bool vmx_split(struct vmx_vcpu *x, uint64_t at)
{
    struct nested_mapping m;
    struct guest *g = x->vcpu->guest;
    struct vmx_guest *b = g->backend;

    if (ept_split(&b->ept, gpa(at)))
        __atomic_fetch_add(&g->status->large_pages_split, 1, __ATOMIC_RELAXED);
    else if (!nested_lookup(&b->ept.tree, gpa(at), &m) || !(m.perm & NESTED_EXECUTE))
        return false; /* otherwise another vCPU was first, and this core had a stale translation */
    vmx_flush_ept(b);
    return true;
}
