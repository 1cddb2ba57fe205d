/* Instructions of AMD-V that C executes; enter.asm has its own. A host test replaces them. */
#pragma once

#include "arch/x86/svm/vmcb.h"

/* FS, GS, TR, LDTR and the MSRs that VMRUN does not switch, to a page in the layout of a VMCB. */
static inline void svm_vmsave(void *page)
{
    __asm__ volatile("vmsave %0" ::"a"(page) : "memory");
}

/* Runs a guest that uses no register but EAX, until it exits. What VMLOAD would load stays the
 * root's. Interrupts are off before and after. */
static inline void svm_vmrun(struct vmcb *b)
{
    __asm__ volatile("clgi\n\tsti\n\tmov %0, %%rax\n\tvmrun %%rax\n\tcli\n\tstgi" ::"r"(b)
                     : "rax", "memory", "cc");
}
