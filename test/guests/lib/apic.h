/* A sample guest's local APIC and IOAPIC: interrupts at vectors 48 to 255. */
#pragma once

#include "arch/x86/cpu/msr.h"
#include "hv/types.h"

#define APIC_PAGE   0xfee00000ul
#define IOAPIC_PAGE 0xfec00000ul
#define APIC_SELF   0x40000u /* ICR: shorthand self */

static inline uint32_t apic_read(unsigned offset)
{
    return *(volatile uint32_t *)(APIC_PAGE + offset);
}

static inline void apic_write(unsigned offset, uint32_t value)
{
    *(volatile uint32_t *)(APIC_PAGE + offset) = value;
}

static inline void ioapic_write(unsigned index, uint32_t value)
{
    *(volatile uint32_t *)IOAPIC_PAGE = index;
    *(volatile uint32_t *)(IOAPIC_PAGE + 0x10) = value;
}

static inline uint32_t ioapic_read(unsigned index)
{
    *(volatile uint32_t *)IOAPIC_PAGE = index;
    return *(volatile uint32_t *)(IOAPIC_PAGE + 0x10);
}

/* Takes over vectors 48 to 255; the 8259s are masked. Interrupts off. */
void apic_vectors(void);
/* Defined by each guest that calls it: an interrupt. It writes EOI itself. */
void apic_interrupt(uint64_t vector);
/* This vector goes straight to `handler`, which is all of the interrupt handler. */
void apic_gate(unsigned vector, const char *handler);
