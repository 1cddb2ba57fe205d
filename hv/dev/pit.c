#include "hv/dev/pit.h"

#include "hv/lib.h"

#define CONTROL_PORT      0x43u
#define READ_BACK         3u
#define READ_BACK_COUNT   0x20u /* 0: latch */
#define READ_BACK_STATUS  0x10u /* 0: latch */
#define STATUS_OUT        0x80u
#define STATUS_NULL       0x40u
#define PORT_B_GATE       0x01u
#define PORT_B_WRITABLE   0x0fu
#define PORT_B_REFRESH    0x10u
#define PORT_B_OUT2       0x20u
/* The refresh bit toggles every 15 us; programs only look for changes. */
#define REFRESH_PIT_TICKS 18u

static uint64_t pit_ticks(const struct pit *p, const struct pit_channel *c)
{
    if (!c->loaded)
        return 0;
    if (!c->gate)
        return c->stopped_at;
    return ratio_apply(p->to_pit, p->clock->now - c->start);
}

static bool periodic(const struct pit_channel *c)
{
    return c->mode == 2 || c->mode == 3;
}

static uint16_t to_bcd(uint32_t v)
{
    return (uint16_t)(v % 10 | (v / 10 % 10) << 4 | (v / 100 % 10) << 8 | (v / 1000 % 10) << 12);
}

static uint32_t from_bcd(uint32_t v)
{
    return (v & 15) + 10 * (v >> 4 & 15) + 100 * (v >> 8 & 15) + 1000 * (v >> 12 & 15);
}

/* What the counting element shows. */
static uint16_t counter(const struct pit *p, const struct pit_channel *c)
{
    uint64_t t = pit_ticks(p, c);
    uint32_t range = c->bcd ? 10000 : 65536, v;

    if (!c->loaded)
        v = 0;
    else if (c->mode == 2)
        v = c->count - (uint32_t)(t % c->count);
    else if (c->mode == 3) /* counts by two, twice a period */
        v = c->count - (uint32_t)(2 * t % c->count);
    else /* the others count on below zero */
        v = (uint32_t)((c->count + range - t % range) % range);
    v %= range;
    return c->bcd ? to_bcd(v) : (uint16_t)v;
}

static bool output(const struct pit *p, const struct pit_channel *c)
{
    uint64_t t = pit_ticks(p, c);

    switch (c->mode) {
    case 0:
    case 1:
        return c->loaded && t >= c->count;
    case 2:
        return !c->loaded || t % c->count != c->count - 1;
    case 3:
        return !c->loaded || !c->gate || t % c->count < (c->count + 1) / 2;
    default: /* strobes: low for one tick */
        return !c->loaded || t != c->count;
    }
}

/* TSC at which PIT tick `t` after the load has been reached. */
static uint64_t when(const struct pit *p, const struct pit_channel *c, uint64_t t)
{
    return c->start + ratio_apply(p->to_tsc, t) + 1;
}

static void plan(struct pit *p)
{
    const struct pit_channel *c = &p->channel[0];

    if (!c->loaded || !c->gate)
        p->deadline = NEVER;
    else if (periodic(c))
        p->deadline = when(p, c, (p->periods + 1) * c->count);
    else if (p->periods == 0 && c->mode != 1 && c->mode != 5)
        p->deadline = when(p, c, c->count);
    else
        p->deadline = NEVER;
}

void pit_update(struct pit *p)
{
    const struct pit_channel *c = &p->channel[0];

    if (p->clock->now < p->deadline)
        return;
    if (periodic(c)) {
        /* Nearly always the very next period; only a guest that did not run needs the division. */
        uint64_t t = pit_ticks(p, c);

        p->periods++;
        if (t >= (p->periods + 1) * c->count)
            p->periods = t / c->count;
        irq_set(&p->irq0, false);
        irq_set(&p->irq0, true);
    } else {
        p->periods = 1;
        irq_set(&p->irq0, true);
    }
    plan(p);
}

static void load(struct pit *p, struct pit_channel *c, uint32_t value)
{
    uint32_t range = c->bcd ? 10000 : 65536;

    c->count = c->bcd ? from_bcd(value) : value;
    if (c->count == 0)
        c->count = range;
    if (c->count == 1 && periodic(c))
        c->count = 2; /* one is illegal in modes 2 and 3 */
    c->loaded = true;
    c->null_count = false;
    c->start = p->clock->now;
    c->stopped_at = 0;
    if (c != &p->channel[0])
        return;
    p->periods = 0;
    irq_set(&p->irq0, false);
    plan(p);
}

static void write_count(struct pit *p, struct pit_channel *c, uint8_t value)
{
    switch (c->access) {
    case 1:
        load(p, c, value);
        break;
    case 2:
        load(p, c, (uint32_t)value << 8);
        break;
    default:
        if (c->write_high)
            load(p, c, (uint32_t)value << 8 | c->low);
        else
            c->low = value;
        c->write_high = !c->write_high;
        break;
    }
}

static void latch_count(const struct pit *p, struct pit_channel *c)
{
    if (c->count_latched)
        return;
    c->latch = counter(p, c);
    c->count_latched = true;
}

static void latch_status(const struct pit *p, struct pit_channel *c)
{
    if (c->status_latched)
        return;
    c->status = (uint8_t)((output(p, c) ? STATUS_OUT : 0) | (c->null_count ? STATUS_NULL : 0) |
                          (unsigned)c->access << 4 | (unsigned)c->mode << 1 | (c->bcd ? 1 : 0));
    c->status_latched = true;
}

static void read_back(struct pit *p, uint8_t value)
{
    for (unsigned i = 0; i < 3; i++) {
        if (!(value & (2u << i)))
            continue;
        if (!(value & READ_BACK_COUNT))
            latch_count(p, &p->channel[i]);
        if (!(value & READ_BACK_STATUS))
            latch_status(p, &p->channel[i]);
    }
}

static void write_control(struct pit *p, uint8_t value)
{
    unsigned select = value >> 6;
    struct pit_channel *c;

    if (select == READ_BACK) {
        read_back(p, value);
        return;
    }
    c = &p->channel[select];
    if ((value >> 4 & 3) == 0) {
        latch_count(p, c);
        return;
    }
    c->access = value >> 4 & 3;
    c->mode = value >> 1 & 7;
    if (c->mode > 5)
        c->mode = (uint8_t)(c->mode - 4);
    c->bcd = value & 1;
    c->loaded = c->write_high = c->read_high = false;
    c->count_latched = c->status_latched = false;
    c->null_count = true;
    if (c == &p->channel[0]) {
        irq_set(&p->irq0, false); /* no edge but at the end of a count */
        plan(p);
    }
}

static uint8_t read_count(struct pit *p, struct pit_channel *c)
{
    uint16_t v;

    if (c->status_latched) {
        c->status_latched = false;
        return c->status;
    }
    v = c->count_latched ? c->latch : counter(p, c);
    if (c->access == 3) {
        bool high = c->read_high;

        c->read_high = !high;
        if (high)
            c->count_latched = false;
        return (uint8_t)(high ? v >> 8 : v);
    }
    c->count_latched = false;
    return (uint8_t)(c->access == 2 ? v >> 8 : v);
}

static uint32_t pit_in(void *dev, uint16_t port, unsigned size)
{
    struct pit *p = dev;

    (void)size;
    return port == CONTROL_PORT ? 0xff : read_count(p, &p->channel[port & 3]);
}

static void pit_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct pit *p = dev;

    (void)size;
    if (port == CONTROL_PORT)
        write_control(p, (uint8_t)value);
    else
        write_count(p, &p->channel[port & 3], (uint8_t)value);
}

static uint32_t port_b_in(void *dev, uint16_t port, unsigned size)
{
    const struct pit *p = dev;
    uint64_t refresh = ratio_apply(p->to_pit, p->clock->now) / REFRESH_PIT_TICKS;

    (void)port;
    (void)size;
    return p->port_b | (refresh & 1 ? PORT_B_REFRESH : 0) |
           (output(p, &p->channel[2]) ? PORT_B_OUT2 : 0);
}

static void port_b_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct pit *p = dev;
    struct pit_channel *c = &p->channel[2];
    bool gate = value & PORT_B_GATE;

    (void)port;
    (void)size;
    if (gate && !c->gate) {
        /* A rising gate restarts modes 1, 2, 3 and 5 and lets 0 and 4 go on from where they stood.
         */
        c->start = p->clock->now;
        if (c->mode == 0 || c->mode == 4)
            c->start -= ratio_apply(p->to_tsc, c->stopped_at);
    } else if (!gate && c->gate) {
        c->stopped_at = pit_ticks(p, c);
    }
    c->gate = gate;
    p->port_b = (uint8_t)(value & PORT_B_WRITABLE);
}

void pit_init(struct pit *p, const struct dev_clock *clock, const struct irq_line *irq0)
{
    memset(p, 0, sizeof(*p));
    p->clock = clock;
    p->irq0 = *irq0;
    p->to_pit = ratio_make(PIT_HZ, clock->tsc_hz);
    p->to_tsc = ratio_make(clock->tsc_hz, PIT_HZ);
    p->deadline = NEVER;
    for (unsigned i = 0; i < 3; i++) {
        p->channel[i].access = 3;
        p->channel[i].mode = 3;
        p->channel[i].gate = i != 2;
    }
}

const struct io_ops pit_io_ops = {pit_in, pit_out};
const struct io_ops pit_port_b_ops = {port_b_in, port_b_out};
