/*
 * The I/O APIC of a PC: 24 pins, an EOI register. Intel 82093AA and ICH data sheets; version 0x20.
 * Pure.
 *
 * A line's level means "asserted": the polarity bit is kept, and believed to be what the tables
 * say, as other virtual machines do. An edge at a masked pin is lost (82093AA).
 */
#pragma once

#include "hv/pc/device.h"

#define IOAPIC_BASE       0xfec00000u
#define IOAPIC_PINS       24u

/* A redirection entry, and what becomes of it: an interrupt message. */
#define IOAPIC_VECTOR     0xffull
#define IOAPIC_MODE_SHIFT 8
#define IOAPIC_MODE       (7ull << IOAPIC_MODE_SHIFT) /* enum lapic_mode */
#define IOAPIC_LOGICAL    (1ull << 11)
#define IOAPIC_REMOTE_IRR (1ull << 14)
#define IOAPIC_LEVEL      (1ull << 15)
#define IOAPIC_MASKED     (1ull << 16)
#define IOAPIC_DEST_SHIFT 56

struct ioapic {
    /* Sends the message of an entry. False: no local APIC takes it. */
    bool (*send)(void *ctx, uint64_t entry);
    void *ctx;
    uint64_t entry[IOAPIC_PINS];
    uint32_t lines; /* asserted */
    uint8_t id, select;
};

extern const struct device ioapic_device; /* ioapic_reset() is its reset */

/* Power-on: all masked. */
void ioapic_reset(struct ioapic *io, unsigned id, bool (*send)(void *ctx, uint64_t entry),
                  void *ctx);
/* A pin's line changes. */
void ioapic_set(struct ioapic *io, unsigned pin, bool level);
/* The same as low, then high. */
void ioapic_pulse(struct ioapic *io, unsigned pin);
/* A broadcast EOI. */
void ioapic_eoi(struct ioapic *io, uint8_t vector);
