/* Exceptions and interrupts of the root. */
#pragma once

#include "hv/types.h"

#define TRAP_DEBUG         1u
#define TRAP_NMI           2u
#define TRAP_DOUBLE_FAULT  8u
#define TRAP_GENERAL       13u
#define TRAP_PAGE_FAULT    14u
#define TRAP_MACHINE_CHECK 18u

/* Interrupt vectors. The PICs are masked, but can still send a spurious interrupt. */
#define VECTOR_PIC         0x20u
#define VECTOR_IRQ         0x40u /* trap_new_vector(): from here on */
#define VECTOR_IRQ_END     0x60u
#define VECTOR_TIMER       0xf0u
#define VECTOR_KICK        0xf1u
#define VECTOR_NOTIFY      0xf2u /* of posted interrupts: SDM 3C "Posted-Interrupt Processing" */
#define VECTOR_APIC_ERROR  0xfeu
#define VECTOR_SPURIOUS    0xffu

/* As isr.asm pushes it. */
struct trap_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
    uint64_t rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};

/* The core that takes the vector (>= 32) calls handler(ctx) with interrupts off, then EOI. Start-up
 * only. */
void trap_set_handler(unsigned vector, void (*handler)(void *ctx), void *ctx);
/* The same for a vector that no other device has. 0: there is none left. */
unsigned trap_new_vector(void (*handler)(void *ctx), void *ctx) MUST_CHECK;

/* An interrupt that a VM exit has acknowledged: calls its handler, then EOI. */
void trap_interrupt(unsigned vector);

/* An NMI for which the chipset gives no reason means nothing from now on. */
void trap_expect_nmis(void);

/* For a VM exit caused by an NMI: does what the host's NMI handler does. Returns only if the NMI
 * means nothing. */
static inline void trap_host_nmi(void)
{
    __asm__ volatile("int $2" ::: "memory");
}

/* For a VM exit caused by a machine check, in the guest or during VM entry: the host's handler
 * reports the machine-check banks. The exit did not go through the IDT. */
static inline void trap_host_machine_check(void)
{
    __asm__ volatile("int $18" ::: "memory");
}

/* Reads a quadword that may not be mapped. 0 or -E_NOTSUP. */
int mem_read_safe(const uint64_t *p, uint64_t *value) MUST_CHECK;
