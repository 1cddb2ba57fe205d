/*
 * A guest's watchdog: a guest that does not write to a port within its patience counts as hung.
 * Time while it is paused, or waits for its core, does not count: no neighbour can make it late.
 * Time asleep in HLT does. Pure.
 */
#pragma once

#include "hv/pc/device.h"

#define WATCHDOG_PORT       0xf8u
#define WATCHDOG_PORT_COUNT 4u

struct watchdog {
    const struct dev_clock *clock;
    uint64_t patience; /* ticks; 0: there is none */
    uint64_t since;    /* time of its last write, or start */
    uint64_t waited;   /* ticks it had waited for its core by then, in all its lives */
    uint64_t held;     /* while paused: the time that counted before */
    bool written;      /* record `waited` when this run of the vCPU ends */
};

/* Writing a byte, word or doubleword of any value is a sign of life. Reads return 0; without a
 * watchdog the port is unclaimed, and they return ones. platform_watch() claims it. */
extern const struct device watchdog_device;

/* Before the first instruction. `waited`: the vCPU's total wait for its core so far. */
void watchdog_start(struct watchdog *w, uint64_t now, uint64_t waited);
/* After each run of the vCPU; during the run it did not wait. */
static inline void watchdog_ran(struct watchdog *w, uint64_t waited)
{
    if (w->written) {
        w->written = false;
        w->waited = waited;
    }
}
/* When it would expire if the guest had its core or slept from now on: absolute ticks; NEVER
 * without a watchdog. */
uint64_t watchdog_deadline(const struct watchdog *w, uint64_t waited);
/* For `still` ticks before `now` the guest could not have written: they do not count, whether it
 * waited for its core then or not. */
void watchdog_excuse(struct watchdog *w, uint64_t now, uint64_t waited, uint64_t still);
/* Around a pause. */
void watchdog_hold(struct watchdog *w, uint64_t now, uint64_t waited);
void watchdog_go_on(struct watchdog *w, uint64_t now, uint64_t waited);
