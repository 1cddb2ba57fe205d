/*
 * What all device models of a PC share. A device model is pure: registers in a struct, port
 * accesses and time come in as calls, interrupt lines and deadlines go out. Calls never overlap:
 * the PC that a model is part of belongs to one core, or its callers hold its lock (platform.h).
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

/* What has become of an interrupt's last edge. */
enum irq_state {
    IRQ_TAKEN,  /* a vCPU has begun to handle it, or there was none */
    IRQ_WAITS,  /* it is still to be taken */
    IRQ_MASKED, /* nobody will take it */
};

/* An interrupt input: irq_set(l, true) raises it. `set` NULL: not connected. */
struct irq_line {
    void (*set)(void *ctx, unsigned irq, bool level);
    void *ctx;
    unsigned irq;
    enum irq_state (*state)(void *ctx, unsigned irq); /* NULL: always taken */
    /* The same as lowering and raising it, but cheaper. NULL: there is nothing cheaper. */
    void (*pulse)(void *ctx, unsigned irq);
};

static inline enum irq_state irq_look(const struct irq_line *l)
{
    return l->state ? l->state(l->ctx, l->irq) : IRQ_TAKEN;
}

static inline void irq_set(const struct irq_line *l, bool level)
{
    if (l->set)
        l->set(l->ctx, l->irq, level);
}

/* The line is low for a moment, then high. */
static inline void irq_pulse(const struct irq_line *l)
{
    if (l->set && l->pulse) {
        l->pulse(l->ctx, l->irq);
        return;
    }
    irq_set(l, false);
    irq_set(l, true);
}

/* Interrupts that go to a vCPU itself and not through its local APIC. */
enum platform_ipi {
    PLATFORM_NMI,
    PLATFORM_INIT, /* SDM 3A "MP Initialization Protocol" */
    PLATFORM_SIPI, /* the start address is the vector times 4096 */
};

/* What the PC calls in its guest's owner. */
struct platform_host {
    void *ctx;
    void (*console)(void *ctx, uint8_t byte); /* the UART sent a byte */
    void (*reset)(void *ctx,
                  const char *how); /* the guest asked for a reset (keyboard controller, 0xcf9) */
    void (*power_off)(void *ctx, const char *how); /* the guest switched itself off */
    void (*exit)(void *ctx, uint32_t code);        /* the guest wrote its exit port */
    /* From any core. The vCPU has an interrupt to take: its core must look at it, unless it is the
     * calling one, which looks before its next entry. */
    void (*kick)(void *ctx, unsigned vcpu);
    /* The same, if the interrupt is in the descriptor of its local APIC (lapic.h). */
    void (*notify)(void *ctx, unsigned vcpu);
    /* From a core of the guest's. */
    void (*ipi)(void *ctx, unsigned vcpu, enum platform_ipi kind, uint8_t vector);
};

struct pci;

/* The environment of a device. */
struct device_env {
    const struct dev_clock *clock;
    uint32_t devices; /* DEV_*: those that exist */
    struct io_bus *bus;
    struct pci *pci; /* with DEV_PCI */
    /* Sends a message-signalled interrupt, with the line's `ctx`; NULL: no one takes them. */
    int (*msi)(void *ctx, uint64_t address, uint32_t data);
    void (*rerouted)(void *ctx); /* see hpet.h; likewise */
    bool merge_ticks;            /* see ticks.h */
    uint32_t virtio;             /* enum config_virtio: how virtio devices are found */
    uint64_t epoch;              /* the wall clock now: seconds since 1970 */
    uint64_t memory;             /* the guest's RAM, bytes */
    struct irq_line irq;         /* the device's own; not connected if it has none, or no interrupt
                                    controller exists */
    const struct platform_host *host;
};

#define DEVICE_PORTS 3u

/* One for each device model; `dev` is its struct. A NULL member does not apply. */
struct device {
    uint32_t bit; /* DEV_*: its bits in the configuration, any of which connects it; 0: claimed by
                     another call */
    unsigned irq; /* see irqchip_raise() */
    /* Claimed when the device is connected; entries without `ops` are unused. */
    struct device_ports {
        uint16_t first, last;
        const struct io_ops *ops;
    } ports[DEVICE_PORTS];
    /* Claimed likewise; unused without `ops`. */
    struct device_memory {
        uint64_t base, size;
        const struct mmio_ops *ops;
    } memory;
    /* Sets the power-on state, even if the device is not connected. */
    void (*reset)(void *dev, const struct device_env *env);
    /* Instead of `ports`, and in most cases of `reset`, for what is on the PCI bus: puts it there
     * in that state, if it exists. */
    void (*plug)(void *dev, const struct device_env *env);
    /* Where in `dev` it keeps the time at which update() must be called, and from which its clock
     * counts. 0: neither exists. */
    size_t deadline, start;
    /* Brings the device up to clock->now, and raises its line for what has fallen due. */
    void (*update)(void *dev);
    /* The rest of device_shift(). */
    void (*shift)(void *dev, uint64_t ticks);
    /* update() changes only the interrupt line and this many bytes of `dev`, from the first on. 0:
     * it changes more. */
    size_t state;
};

static inline uint64_t *device_time(void *dev, size_t at)
{
    return (uint64_t *)(void *)((uint8_t *)dev + at);
}

/* A deadline passes over `ticks` of the guest's time; but what is due at once or never stays so. */
static inline void device_delay(uint64_t *deadline, uint64_t ticks)
{
    if (*deadline != 0 && *deadline != NEVER)
        *deadline += ticks;
}

/* The guest's time stood still for `ticks`: everything that counts continues where it stood. */
static inline void device_shift(const struct device *d, void *dev, uint64_t ticks)
{
    if (d->deadline)
        device_delay(device_time(dev, d->deadline), ticks);
    if (d->start)
        *device_time(dev, d->start) += ticks;
    if (d->shift)
        d->shift(dev, ticks);
}
