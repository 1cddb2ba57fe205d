#include "hv/exit.h"

/* A read may raise an interrupt that has just fallen due; it brings no deadline nearer. */
uint32_t exit_port_in(struct vcpu *v, uint16_t port, unsigned size)
{
    struct platform *p = v->platform;

    p->clock.now = v->exit->tsc;
    return io_in(&p->bus, port, size);
}

/* A write may set a timer, end the guest or raise an interrupt. */
enum exit_action exit_port_out(struct vcpu *v, uint16_t port, unsigned size, uint32_t value)
{
    struct platform *p = v->platform;

    p->clock.now = v->exit->tsc;
    io_out(&p->bus, port, size, value);
    platform_timers(p);
    return v->stop ? EXIT_STOP : EXIT_DONE;
}
