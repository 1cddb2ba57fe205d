/* A refused VMRUN leaves the guest's state as it was. APM vol. 2 "VMRUN Instruction": what such a
 * #VMEXIT saves is undefined. */
#include "arch/x86/svm/vcpu.h"
#include "hv/lib.h"

void svm_keep_entered(struct vcpu *v)
{
    struct svm_vcpu *x = v->backend;
    struct svm_entered *e = &x->entered;

    x->changed = 0;
    svm_take_asid(x);
    e->entries = v->stats->entries;
    e->eventinj = x->vmcb->control.eventinj;
    e->tlb_control = x->vmcb->control.tlb_control;
    x->vmcb->save.rax = v->regs.rax;
    memcpy(e->save, &x->vmcb->save, sizeof(e->save));
}

bool svm_restore_entered(struct vcpu *v)
{
    struct svm_vcpu *x = v->backend;
    const struct svm_entered *e = &x->entered;

    if (v->stats->entries != e->entries + 1)
        return false;
    memcpy(&x->vmcb->save, e->save, sizeof(e->save));
    x->vmcb->control.eventinj = e->eventinj;
    x->vmcb->control.tlb_control = e->tlb_control;
    v->regs.rax = x->vmcb->save.rax;
    v->exit->rip = x->vmcb->save.rip;
    return true;
}
