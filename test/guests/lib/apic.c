#include "test/guests/lib/apic.h"

#include "arch/x86/cpu/io.h"
#include "hv/lib.h"
#include "mgmt/pc/pc.h"

#define VECTORS   256u
#define CODE      8u
#define GATE      0x8e00u /* present, interrupt gate */
#define STUB_SIZE 10u

struct gate {
    uint16_t low, selector, type, middle;
    uint32_t high, zero;
};

static struct gate idt[VECTORS];

__attribute__((weak)) void apic_interrupt(uint64_t vector)
{
    (void)vector;
}

__asm__(".globl apic_stubs\n"
        "apic_stubs:\n"
        ".set vector, 48\n"
        ".rept 208\n"
        ".byte 0x68; .long vector\n" /* push */
        ".byte 0xe9; .long apic_common - . - 4\n"
        ".set vector, vector + 1\n"
        ".endr\n"
        "apic_common:\n"
        "push %rax; push %rcx; push %rdx; push %rsi; push %rdi\n"
        "push %r8; push %r9; push %r10; push %r11\n"
        "mov 72(%rsp), %rdi\n"
        "cld\n"
        "call apic_interrupt\n"
        "pop %r11; pop %r10; pop %r9; pop %r8\n"
        "pop %rdi; pop %rsi; pop %rdx; pop %rcx; pop %rax\n"
        "add $8, %rsp\n"
        "iretq\n");
extern const char apic_stubs[];

void apic_gate(unsigned vector, const char *handler)
{
    uintptr_t at = (uintptr_t)handler;

    idt[vector] =
        (struct gate){(uint16_t)at, CODE, GATE, (uint16_t)(at >> 16), (uint32_t)(at >> 32), 0};
}

void apic_vectors(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) table;

    outb(0x21, 0xff);
    outb(0xa1, 0xff);
    __asm__ volatile("sidt %0" : "=m"(table));
    memcpy(idt, (const void *)table.base, PC_VECTORS * sizeof(struct gate));
    for (unsigned i = PC_VECTORS; i < VECTORS; i++)
        apic_gate(i, apic_stubs + (i - PC_VECTORS) * STUB_SIZE);
    table.limit = sizeof(idt) - 1;
    table.base = (uintptr_t)idt;
    __asm__ volatile("lidt %0" : : "m"(table));
}
