#include "hv/pc/watchdog.h"

static uint32_t port_in(void *dev, uint16_t port, unsigned size)
{
    (void)dev;
    return port == WATCHDOG_PORT ? 0 : io_ones(size);
}

static void port_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct watchdog *w = dev;

    (void)size;
    (void)value;
    if (port != WATCHDOG_PORT)
        return;
    w->since = w->clock->now;
    w->written = true;
}

static const struct io_ops ops = {port_in, port_out, 4};

static void reset(void *dev, const struct device_env *env)
{
    *(struct watchdog *)dev = (struct watchdog){.clock = env->clock};
}

const struct device watchdog_device = {
    .ports = {{WATCHDOG_PORT, WATCHDOG_PORT + WATCHDOG_PORT_COUNT - 1, &ops}},
    .reset = reset,
};

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

/* What counts against it. */
static uint64_t silence(const struct watchdog *w, uint64_t now, uint64_t waited)
{
    return now - w->since - (waited - w->waited);
}

void watchdog_excuse(struct watchdog *w, uint64_t now, uint64_t waited, uint64_t still)
{
    w->since += min_u64(still, silence(w, now, waited));
}

void watchdog_hold(struct watchdog *w, uint64_t now, uint64_t waited)
{
    w->held = silence(w, now, waited);
}

void watchdog_go_on(struct watchdog *w, uint64_t now, uint64_t waited)
{
    watchdog_start(w, now - w->held, waited);
}
