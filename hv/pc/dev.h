/*
 * What all device models share. A device model is pure: registers in a struct, port accesses and
 * time come in as calls, interrupt lines and deadlines go out. It is called only by the core that
 * owns the guest's vCPU; no locks.
 *
 * Time: `clock->now` is the host TSC, refreshed by the run loop at each exit before any device is
 * called. Deadlines are absolute TSC values, NEVER for none. Frequencies are converted by a
 * precomputed 64.64 ratio (no division after init).
 */
#pragma once

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

/* Port accesses of 1, 2 or 4 bytes. */
struct io_ops {
    uint32_t (*in)(void *dev, uint16_t port, unsigned size);
    void (*out)(void *dev, uint16_t port, unsigned size, uint32_t value);
};

#define IO_REGIONS_MAX 24
#define IO_DIRECT      0x1000u

/* A guest's port space: O(1) for ports below IO_DIRECT, none above it are claimable. */
struct io_bus {
    uint8_t index[IO_DIRECT]; /* region number + 1, 0: nobody */
    struct io_region {
        const struct io_ops *ops;
        void *dev;
        uint16_t first, last;
    } regions[IO_REGIONS_MAX];
    unsigned count;
};

/* -E_EXIST when a port is taken, -E_RANGE, -E_NOSPC. */
int io_claim(struct io_bus *b, uint16_t first, uint16_t last, const struct io_ops *ops,
             void *dev) MUST_CHECK;

/* Unclaimed ports read all ones (of the access's size) and swallow writes. A 2- or 4-byte access
 * goes to the region of its first port whole. */
static inline uint32_t io_in(const struct io_bus *b, uint16_t port, unsigned size)
{
    unsigned n = port < IO_DIRECT ? b->index[port] : 0;

    if (n == 0)
        return size == 1 ? 0xffu : size == 2 ? 0xffffu : 0xffffffffu;
    return b->regions[n - 1].ops->in(b->regions[n - 1].dev, port, size);
}

static inline void io_out(const struct io_bus *b, uint16_t port, unsigned size, uint32_t value)
{
    unsigned n = port < IO_DIRECT ? b->index[port] : 0;

    if (n != 0)
        b->regions[n - 1].ops->out(b->regions[n - 1].dev, port, size, value);
}
