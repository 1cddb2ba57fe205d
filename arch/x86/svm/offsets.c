/* Offsets and constants for enter.asm: see guest/offsets.h. */
#include "arch/x86/guest/offsets.h"

#include "arch/x86/svm/svm.h"
#include "arch/x86/svm/vcpu.h"

void offsets(void);

void offsets(void)
{
    common_offsets();
    VALUE(IOIO_PORT_SHIFT, IOIO_PORT_SHIFT);
    VALUE(IOIO_UNUSUAL, IOIO_IN | IOIO_STR | (IOIO_SIZE_MASK & ~1u) << IOIO_SIZE_SHIFT);
    OFFSET(X_VMCB, svm_vcpu, vmcb);
    OFFSET(X_HOST, svm_vcpu, host);
    OFFSET(X_HANDLERS, svm_vcpu, handlers);
    OFFSET(X_CHANGED, svm_vcpu, changed);
    OFFSET(X_NRIPS, svm_vcpu, nrips);
    OFFSET(X_CPUID_PLAIN, svm_vcpu, x86.cpuid.plain);
    OFFSET(X_CPUID_BASIC, svm_vcpu, x86.cpuid.basic);
    OFFSET(VMCB_TLB_CONTROL, vmcb, control.tlb_control);
    OFFSET(VMCB_VINTR, vmcb, control.vintr);
    OFFSET(VMCB_SHADOW, vmcb, control.interrupt_shadow);
    OFFSET(VMCB_EXITCODE, vmcb, control.exitcode);
    OFFSET(VMCB_EXITINFO1, vmcb, control.exitinfo1);
    OFFSET(VMCB_EXITINFO2, vmcb, control.exitinfo2);
    OFFSET(VMCB_EVENTINJ, vmcb, control.eventinj);
    OFFSET(VMCB_NRIP, vmcb, control.nrip);
    OFFSET(VMCB_RFLAGS, vmcb, save.rflags);
    OFFSET(VMCB_RIP, vmcb, save.rip);
    OFFSET(VMCB_RAX, vmcb, save.rax);
    VALUE(SVM_EXIT_CPUID, SVM_EXIT_CPUID);
    VALUE(SVM_EXIT_IOIO, SVM_EXIT_IOIO);
    VALUE(SVM_EXIT_NPF, SVM_EXIT_NPF);
    VALUE(ROWS_DIRECT, ABI_SVM_LOW_END);
    VALUE(ROW_NPF, ABI_SVM_EXIT_NPF);
    VALUE(ROW_OTHER, ABI_SVM_EXIT_OTHER);
}
