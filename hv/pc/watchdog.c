#include "hv/pc/watchdog.h"

static uint32_t port_in(void *dev, uint16_t port, unsigned size)
{
    (void)dev;
    (void)port;
    (void)size;
    return 0;
}

static void port_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct watchdog *w = dev;

    (void)port;
    (void)size;
    (void)value;
    w->since = w->clock->now;
    w->written = true;
}

const struct io_ops watchdog_ops = {port_in, port_out};

void watchdog_start(struct watchdog *w, uint64_t now, uint64_t waited)
{
    w->since = now;
    w->waited = waited;
    w->written = false;
}

uint64_t watchdog_deadline(const struct watchdog *w, uint64_t waited)
{
    return w->patience ? w->since + w->patience + (waited - w->waited) : NEVER;
}

void watchdog_hold(struct watchdog *w, uint64_t now, uint64_t waited)
{
    w->held = now - w->since - (waited - w->waited);
}

void watchdog_go_on(struct watchdog *w, uint64_t now, uint64_t waited)
{
    watchdog_start(w, now - w->held, waited);
}
