/*
 * Changes intercepts of a running vCPU. Those that isolation depends on cannot be changed. The rest
 * affects only this guest.
 */
#include "arch/x86/svm/exit_profile.h"
#include "arch/x86/svm/vcpu.h"

void svm_change_controls(struct vcpu *v, const struct abi_controls *c,
                         struct abi_controls_result *r)
{
    struct svm_vcpu *x = v->backend;
    uint32_t old[ABI_CONTROL_WORDS], words[ABI_CONTROL_WORDS];

    intercepts_read(x->vmcb, old);
    r->result = intercepts_apply(old, c, words, r);
    if (r->result == 0) {
        intercepts_write(x->vmcb, words);
        x->changed = 1;
    }
}
