/*
 * What all device models of a PC share. A device model is pure: registers in a struct, port
 * accesses and time come in as calls, interrupt lines and deadlines go out. A PC belongs to a
 * guest; it is called only by the core that runs the guest's vCPU 0, to which its interrupts go; no
 * locks.
 *
 * Time: `clock->now` is the host TSC, refreshed before any device is called. Deadlines are absolute
 * TSC values, NEVER for none. Frequencies are converted by a precomputed 64.64 ratio (no division
 * after init).
 */
#pragma once

#include "hv/pc/bus.h"
#include "hv/types.h"

struct dev_clock {
    uint64_t now;    /* ticks */
    uint64_t tsc_hz; /* ticks per second, constant */
};

/* An interrupt input of somebody: irq_set(l, true) raises it. `set` NULL: not connected. */
struct irq_line {
    void (*set)(void *ctx, unsigned irq, bool level);
    void *ctx;
    unsigned irq;
};

static inline void irq_set(const struct irq_line *l, bool level)
{
    if (l->set)
        l->set(l->ctx, l->irq, level);
}

/* What the PC asks of its guest's owner. */
struct platform_host {
    void *ctx;
    void (*console)(void *ctx, uint8_t byte); /* the UART sent a byte */
    void (*reset)(void *ctx,
                  const char *how); /* the guest asked for a reset (keyboard controller, 0xcf9) */
    void (*exit)(void *ctx, uint32_t code); /* the guest wrote its exit port */
};

/* What a device is put into. */
struct device_env {
    const struct dev_clock *clock;
    uint64_t epoch;      /* the wall clock now: seconds since 1970 */
    uint64_t memory;     /* the guest's RAM, bytes */
    struct irq_line irq; /* the device's own; not connected where it has none, or there is no PIC */
    const struct platform_host *host;
};

#define DEVICE_PORTS 3u

/* One a device model; `dev` is its struct. What is NULL it does not have. */
struct device {
    const char *name;
    uint32_t bit; /* DEV_*: the configuration's word for it; 0: claimed by another call */
    unsigned irq; /* of the PICs */
    /* Claimed when the device is connected; of as many as have an `ops`. */
    struct device_ports {
        uint16_t first, last;
        const struct io_ops *ops;
    } ports[DEVICE_PORTS];
    /* Power-on state; of devices that are not connected too. */
    void (*reset)(void *dev, const struct device_env *env);
    /* Where it keeps the moment at which update() is to be called. */
    uint64_t *(*deadline)(void *dev);
    /* Brings it up to clock->now, and raises its line for what has fallen due. */
    void (*update)(void *dev);
    /* `ticks` of the guest's time never were: all that counts goes on where it stood. */
    void (*shift)(void *dev, uint64_t ticks);
    /* All that update() changes besides its interrupt line: so many bytes of `dev`, from the first
     * on. 0: more than that. */
    size_t state;
};
