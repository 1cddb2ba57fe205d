/*
 * Measures the TSC against the clocks of a PC, of which any may be missing, stand still, or answer
 * with garbage: a clock exists if it counts, whatever the firmware's tables say. Every wait is
 * bounded. Pure: reaches the clocks through callbacks.
 */
#pragma once

#include "arch/x86/cpu/calibrate.h"

#define CLOCKS_HPET_SIZE 1024u

struct clocks_ops {
    uint64_t (*tsc)(void *ctx);
    uint8_t (*in8)(void *ctx, uint16_t port);
    void (*out8)(void *ctx, uint16_t port, uint8_t v);
    uint32_t (*in32)(void *ctx, uint16_t port);
    /* The HPET's registers, by their offset. Not called if there is none. */
    uint32_t (*hpet_read)(void *ctx, uint32_t offset);
    void (*hpet_write)(void *ctx, uint32_t offset, uint32_t v);
    void *ctx;
};

struct clocks {
    const struct clocks_ops *ops;
    uint16_t pm_port; /* 0: none */
    bool hpet;
    /* The rest is clocks.c's. */
    bool pit_counts;
    uint64_t clock_hz[CALIBRATE_CLOCKS];
};

/* Finds which clocks count. Starts the HPET if it is stopped; clocks_end() stops it again. */
void clocks_begin(struct clocks *c);
void clocks_end(struct clocks *c);
/* Measures against PIT, PM timer and HPET in the same 60 ms: fills these sources of hz[]. */
void clocks_measure(struct clocks *c, uint64_t hz[CALIBRATE_SOURCES]);
/* Measures one second of the RTC, which takes up to two. 0: it does not count. */
uint64_t clocks_measure_rtc(const struct clocks *c);
