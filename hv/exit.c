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
