#include "hv/exit.h"

#include "hv/arch.h"
#include "hv/pc/irqchip.h"

/* Of a device's work, before the vCPU takes its own interrupts again: frames of the wire's size. */
#define GO_ON_STEPS 16u

const struct io_bus *exit_ports(struct vcpu *v)
{
    platform_enter(v->platform, v->exit->tsc);
    return &v->platform->bus;
}

/* What an access has made due; shortly before the end of a run that waits for the next one. */
static inline void serve_devices(const struct vcpu *v)
{
    struct platform *p = v->platform;

    if (__builtin_expect(v->exit->tsc >= v->closes, 0))
        platform_set_event(p, platform_deadline(p));
    else
        platform_timers(p);
}

/* A device goes on with the work that the access has given it, so that what each vCPU sends is done
 * on its core, and vCPU 0 is not kicked for it; it gets what is left. */
static void go_on(const struct vcpu *v)
{
    struct platform *p = v->platform;

    for (unsigned steps = 0; p->next_event == 0 && steps < GO_ON_STEPS; steps++) {
        uint64_t now = arch_tsc();

        if (now >= v->closes || exit_core_is_wanted(v) ||
            __atomic_load_n(&v->entity.requests, __ATOMIC_RELAXED))
            return;
        platform_rest(p, now);
        platform_timers(p);
    }
}

void exit_ports_done(struct vcpu *v)
{
    serve_devices(v);
    if (platform_is_shared(v->platform) && v->number != 0)
        go_on(v);
    platform_leave(v->platform, v->number);
}

void exit_timers(struct vcpu *v, uint64_t now)
{
    platform_enter(v->platform, now);
    platform_timers(v->platform);
    platform_leave(v->platform, v->number);
    irqchip_timers(v->platform, v->number, now);
}

static __attribute__((noinline)) uint32_t shared_port_in(struct vcpu *v, uint16_t port,
                                                         unsigned size)
{
    uint32_t value;

    platform_lock(v->platform, v->exit->tsc);
    value = io_in(&v->platform->bus, port, size);
    platform_unlock(v->platform, v->number);
    return value;
}

static __attribute__((noinline)) void shared_port_out(struct vcpu *v, uint16_t port, unsigned size,
                                                      uint32_t value)
{
    platform_lock(v->platform, v->exit->tsc);
    io_out(&v->platform->bus, port, size, value);
    exit_ports_done(v);
}

/* A read may raise an interrupt that has just fallen due, but makes no deadline earlier. */
uint32_t exit_port_in(struct vcpu *v, uint16_t port, unsigned size)
{
    struct platform *p = v->platform;

    if (platform_is_shared(p))
        return shared_port_in(v, port, size);
    p->clock.now = v->exit->tsc;
    return io_in(&p->bus, port, size);
}

/* A write may set a timer, end the guest or raise an interrupt. */
enum exit_action exit_port_out(struct vcpu *v, uint16_t port, unsigned size, uint32_t value)
{
    struct platform *p = v->platform;
    uint64_t before = p->next_event;

    if (platform_is_shared(p)) {
        shared_port_out(v, port, size, value);
    } else if (size != 1 || io_region(&p->bus, port)) { /* otherwise nothing has changed */
        p->clock.now = v->exit->tsc;
        io_out(&p->bus, port, size, value);
        serve_devices(v);
    }
    if (v->stop)
        return EXIT_STOP;
    return irqchip_may_be_pending(p, v->number) || p->next_event < before ? EXIT_DONE : EXIT_SKIP;
}

/* Nobody claims the address: on a PC reads give all ones there, and writes are lost. */
static bool ends_strict(struct vcpu *v, const char *what, uint64_t gpa)
{
    v->stats->unclaimed_address = gpa;
    if (!v->guest->config.strict_memory)
        return false;
    v->exit->detail = gpa;
    vcpu_stop(v, ABI_GUEST_CRASHED,
              "%s guest-physical address 0x%lx, outside of its memory, at RIP 0x%lx", what, gpa,
              v->exit->rip);
    return true;
}

static uint64_t ones(unsigned bytes)
{
    return bytes < 8 ? (1ull << (8 * bytes)) - 1 : UINT64_MAX;
}

bool exit_mmio_read(struct vcpu *v, uint64_t gpa, unsigned size, uint64_t *value)
{
    struct platform *p = v->platform;
    struct lapic *l = irqchip_lapic_at(p, v->number, gpa);
    bool there;

    if (l) {
        *value = lapic_mmio_read(l, gpa % LAPIC_PAGE, size, v->exit->tsc) & ones(size);
        return true;
    }
    platform_enter(p, v->exit->tsc);
    there = mmio_read(&p->bus, gpa, size, value);
    platform_leave(p, v->number);
    if (__builtin_expect(there, 1))
        return true;
    *value = ones(size);
    v->stats->unclaimed_reads++;
    return !ends_strict(v, "read from", gpa);
}

/* Like exit_port_out(). */
bool exit_mmio_write(struct vcpu *v, uint64_t gpa, unsigned size, uint64_t value)
{
    struct lapic *l = irqchip_lapic_at(v->platform, v->number, gpa);
    bool there;

    if (l) {
        lapic_mmio_write(l, gpa % LAPIC_PAGE, size, (uint32_t)value, v->exit->tsc);
        return !v->stop;
    }
    platform_enter(v->platform, v->exit->tsc);
    there = mmio_write(&v->platform->bus, gpa, size, value);
    exit_ports_done(v);
    if (!there) {
        v->stats->unclaimed_writes++;
        return !ends_strict(v, "wrote to", gpa);
    }
    return !v->stop;
}
