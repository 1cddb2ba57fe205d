/*
 * The high-precision event timers of a PC at 0xfed00000: one block with a 64-bit counter of 100 MHz
 * and three comparators. IA-PC HPET Specification 1.0a. Pure.
 *
 * Each comparator can be periodic, level- or edge-triggered, and go to the IOAPIC's inputs 16 to
 * 23; with the legacy replacement route the first two go to IRQ 0 and IRQ 8 instead, and the PIT
 * and the RTC interrupt no more. There are no message interrupts.
 *
 * A comparator counts in the counter's ticks since the counter was started, so it never drifts.
 * Values more than HPET_FAR ticks (22 years) ahead never come.
 */
#pragma once

#include "hv/abi/pc.h"
#include "hv/pc/device.h"
#include "hv/pc/ratio.h"
#include "hv/pc/ticks.h"

#define HPET_HZ     100000000u
#define HPET_TIMERS 3u
#define HPET_FAR    (1ull << 56)

struct hpet_timer {
    uint32_t config;     /* what can be written of its lower half */
    uint64_t comparator; /* as read */
    uint64_t period;
    uint64_t due; /* ticks since `start`; NEVER */
    struct ticks ticks;
};

struct hpet {
    const struct dev_clock *clock;
    struct irq_line irq;          /* its `set` and `ctx` count */
    void (*rerouted)(void *ctx);  /* IRQ 0 and IRQ 8 were taken or given back */
    struct ratio to_hpet, to_tsc; /* TSC ticks to the counter's and back */
    uint64_t start;               /* TSC at which the counter was started */
    uint64_t base;                /* its value then, or while it is stopped */
    uint64_t deadline;            /* TSC of the next interrupt, NEVER */
    struct hpet_timer timer[HPET_TIMERS];
    uint32_t config;
    uint32_t status; /* level-triggered interrupts that have come */
};

extern const struct device hpet_device;

/* Does it have IRQ 0 and IRQ 8 for itself? */
static inline bool hpet_is_legacy(const struct hpet *h)
{
    return h->config & 2;
}
