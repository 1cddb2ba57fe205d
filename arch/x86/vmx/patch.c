/*
 * Changes control words of a running vCPU. Bits that isolation depends on, or that need missing
 * structures, cannot be changed. The rest affects only this guest: if an entry fails, that ends the
 * guest.
 */
#include "arch/x86/vmx/exit_profile.h"
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"

void vmx_change_controls(struct vcpu *v, const struct abi_controls *c,
                         struct abi_controls_result *r)
{
    const struct abi_caps *k = vmx_caps_common();
    const uint64_t caps[ABI_CONTROLS] = {k->pin, k->cpu1, k->cpu2, k->exit, k->entry};
    uint32_t old[ABI_CONTROLS], words[ABI_CONTROLS];
    struct vmx_vcpu *x = v->backend;

    vmx_load(x);
    for (unsigned i = 0; i < ABI_CONTROLS; i++)
        old[i] = (uint32_t)vmread(vmx_control_fields[i]);
    r->result = controls_apply(old, c, caps, words, r);
    if (r->result)
        return;
    for (unsigned i = 0; i < ABI_CONTROLS; i++)
        if (words[i] != old[i])
            vmwrite(vmx_control_fields[i], words[i]);
    x->cpu1 = words[ABI_CONTROL_CPU1];
}
