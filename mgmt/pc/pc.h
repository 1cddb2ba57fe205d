/*
 * The small PC that our own guests (the management guest and the samples) run on: ports, exception
 * and interrupt entries, the 8259 pair. start.asm calls guest_run() in 64-bit mode with the first
 * 4 GB mapped one to one and interrupts off.
 */
#pragma once

#include "hv/types.h"

#define PC_EXCEPTIONS 32u /* vectors 0..31; IRQ n is vector PC_EXCEPTIONS + n */
#define PC_VECTORS    48u

/* What an interrupt or exception pushed. */
struct guest_frame {
    uint64_t error, rip, cs, rflags, rsp, ss;
};

/* Each guest's own. `info`: multiboot2 information. */
void guest_run(const uint8_t *info);
void guest_interrupt(uint64_t vector, struct guest_frame *f);

/* IDT and PICs are set up; all lines are masked but the cascade. */
void pc_start(void);
/* The line interrupts from now on. */
void pc_unmask(unsigned irq);
/* End of interrupt, at the PICs that have the line. */
void pc_eoi(unsigned irq);

static inline void outb(uint16_t port, uint8_t v)
{
    __asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port));
}
static inline void outw(uint16_t port, uint16_t v)
{
    __asm__ volatile("outw %0, %1" ::"a"(v), "Nd"(port));
}
static inline void outl(uint16_t port, uint32_t v)
{
    __asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port));
}
static inline uint8_t inb(uint16_t port)
{
    uint8_t v;

    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint16_t inw(uint16_t port)
{
    uint16_t v;

    __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
static inline uint32_t inl(uint16_t port)
{
    uint32_t v;

    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}
