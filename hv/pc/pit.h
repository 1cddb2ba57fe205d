/*
 * The 8254 timer of a PC: channel 0 raises IRQ 0, channel 2 drives the speaker and can be read at
 * port 0x61. Intel 8254 data sheet. Pure.
 *
 * Nothing is counted step by step: a channel remembers when its count was loaded, and everything
 * else follows from the time. Periods are counted in PIT ticks from the load and only then turned
 * into TSC ticks, so that they never drift. For a guest that was not running for several periods
 * see ticks.h.
 *
 * Differences from the real part: a count is loaded at once and not with the next PIT tick; in mode
 * 3 a count written while counting waits for the end of the period, not of the half.
 */
#pragma once

#include "hv/pc/device.h"
#include "hv/pc/ratio.h"
#include "hv/pc/ticks.h"

#define PIT_HZ         1193182u
#define PIT_PORT       0x40u
#define PIT_PORT_COUNT 4u
#define PIT_IRQ        0u
#define PIT_PORT_B     0x61u /* speaker gate, channel 2 output, refresh toggle */

struct pit_channel {
    uint8_t mode, access; /* access: 1 low, 2 high, 3 low then high */
    bool bcd, gate;
    bool started;               /* it counts, or would if the gate were high */
    bool done;                  /* modes 0 and 4: the end of the count was reported */
    bool null_count;            /* a written count or mode is not in use yet */
    bool write_high, read_high; /* the next byte is the high one */
    bool count_latched, status_latched;
    uint8_t control; /* as the last control word says */
    uint8_t low, status;
    uint16_t latch;
    uint32_t count;      /* 1..65536 */
    uint32_t next_count; /* used from the next period or trigger on; 0: none */
    uint64_t start;      /* TSC at which counting began */
    uint64_t base;       /* modes 2 and 3: PIT ticks after `start` at which this period began */
    uint64_t stopped_at; /* PIT ticks run when the gate fell */
};

struct pit {
    const struct dev_clock *clock;
    struct irq_line irq0;
    struct ratio to_pit, to_tsc; /* TSC ticks to PIT ticks and back */
    struct pit_channel channel[3];
    uint64_t deadline;  /* TSC of the next IRQ 0, NEVER */
    struct ticks ticks; /* of channel 0 */
    uint8_t port_b;
};

extern const struct device pit_device;

/* Sets IRQ 0 to the output's level, after something else has driven it. Nothing is owed from
 * before.
 */
void pit_drive(struct pit *p);
