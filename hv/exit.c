#include "hv/exit.h"

const struct io_bus *exit_ports(struct vcpu *v)
{
    v->platform->clock.now = v->exit->tsc;
    return &v->platform->bus;
}

void exit_timers(struct vcpu *v, uint64_t now)
{
    v->platform->clock.now = now;
    platform_timers(v->platform);
}

/* A read may raise an interrupt that has just fallen due, but makes no deadline earlier. */
uint32_t exit_port_in(struct vcpu *v, uint16_t port, unsigned size)
{
    return io_in(exit_ports(v), port, size);
}

/* A write may set a timer, end the guest or raise an interrupt. */
enum exit_action exit_port_out(struct vcpu *v, uint16_t port, unsigned size, uint32_t value)
{
    const struct io_bus *bus = exit_ports(v);

    if (size == 1 && !io_region(bus, port))
        return EXIT_DONE; /* nobody's: nothing has changed */
    io_out(bus, port, size, value);
    platform_timers(v->platform);
    return v->stop ? EXIT_STOP : EXIT_DONE;
}

static bool nobody(struct vcpu *v, const char *what, uint64_t gpa)
{
    v->exit->detail = gpa;
    vcpu_stop(v, ABI_GUEST_CRASHED,
              "%s guest-physical address 0x%lx, outside of its memory, at RIP 0x%lx", what, gpa,
              v->exit->rip);
    return false;
}

bool exit_mmio_read(struct vcpu *v, uint64_t gpa, unsigned size, uint64_t *value)
{
    return mmio_read(exit_ports(v), gpa, size, value) || nobody(v, "read from", gpa);
}

/* Like exit_port_out(). */
bool exit_mmio_write(struct vcpu *v, uint64_t gpa, unsigned size, uint64_t value)
{
    if (!mmio_write(exit_ports(v), gpa, size, value))
        return nobody(v, "wrote to", gpa);
    platform_timers(v->platform);
    return !v->stop;
}
