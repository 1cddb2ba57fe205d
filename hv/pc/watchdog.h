/*
 * A guest's watchdog: it has to write to a port again before so long has passed, or it counts as
 * hung. What passes while it is paused, and while it could run and its core is not to be had, does
 * not count: no neighbour can make it late. Time asleep in HLT does. Pure.
 */
#pragma once

#include "hv/pc/device.h"

#define WATCHDOG_PORT       0xf8u
#define WATCHDOG_PORT_COUNT 4u

struct watchdog {
    const struct dev_clock *clock;
    uint64_t patience; /* ticks; 0: there is none */
    uint64_t since;    /* of its last write, or start */
    uint64_t waited;   /* for its core by then, in all its lives: ticks */
    uint64_t held;     /* while paused: what counted before */
    bool written;      /* `waited` is to be noted when this run of the vCPU ends */
};

/* A byte, word or double word, whatever its value, is a sign of life. Reads give 0: where there is
 * no watchdog, nobody owns the port, and they give ones. */
extern const struct io_ops watchdog_ops;
/* Its ports are claimed when it gets its patience: platform_watch(). */
extern const struct device watchdog_device;

/* Before the first instruction. `waited` is the vCPU's wait for its core until now, ever. */
void watchdog_start(struct watchdog *w, uint64_t now, uint64_t waited);
/* After each run of the vCPU, in which it cannot have waited. */
static inline void watchdog_ran(struct watchdog *w, uint64_t waited)
{
    if (w->written) {
        w->written = false;
        w->waited = waited;
    }
}
/* When it would be over if the guest had its core or slept from now on: absolute ticks, NEVER
 * without one. */
uint64_t watchdog_deadline(const struct watchdog *w, uint64_t waited);
/* Around a pause. */
void watchdog_hold(struct watchdog *w, uint64_t now, uint64_t waited);
void watchdog_go_on(struct watchdog *w, uint64_t now, uint64_t waited);
