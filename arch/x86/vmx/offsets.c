/* Offsets for enter.asm, from the compiler itself. Compiled to assembly only; the Makefile turns
 * each "->NAME value" into %define. */
#include "hv/guest.h"

#define OFFSET(name, member)                                                                       \
    __asm__ volatile("\n->" #name " %0" : : "i"(offsetof(struct vcpu_gprs, member)))

void offsets(void);

void offsets(void)
{
    OFFSET(GPR_RAX, rax);
    OFFSET(GPR_RCX, rcx);
    OFFSET(GPR_RDX, rdx);
    OFFSET(GPR_RBX, rbx);
    OFFSET(GPR_RBP, rbp);
    OFFSET(GPR_RSI, rsi);
    OFFSET(GPR_RDI, rdi);
    OFFSET(GPR_R8, r8);
    OFFSET(GPR_R9, r9);
    OFFSET(GPR_R10, r10);
    OFFSET(GPR_R11, r11);
    OFFSET(GPR_R12, r12);
    OFFSET(GPR_R13, r13);
    OFFSET(GPR_R14, r14);
    OFFSET(GPR_R15, r15);
}
