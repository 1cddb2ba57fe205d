#include "hv/pc/pit.h"

#include "hv/config.h"
#include "hv/lib.h"

#define CONTROL_PORT      0x43u
#define CONTROL_BITS      0x3fu /* without the channel */
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

/* The modes by what they do. */
enum { MODE_TERMINAL_COUNT, MODE_ONE_SHOT, MODE_RATE, MODE_SQUARE, MODE_STROBE, MODE_HW_STROBE };

static bool periodic(const struct pit_channel *c)
{
    return c->mode == MODE_RATE || c->mode == MODE_SQUARE;
}

/* These begin with a rising gate, not with the count. */
static bool triggered(const struct pit_channel *c)
{
    return c->mode == MODE_ONE_SHOT || c->mode == MODE_HW_STROBE;
}

static uint64_t pit_ticks(const struct pit *p, const struct pit_channel *c)
{
    if (!c->gate && !triggered(c))
        return c->stopped_at;
    return ratio_apply(p->to_pit, p->clock->now - c->start);
}

static bool is_channel_0(const struct pit *p, const struct pit_channel *c)
{
    return c == &p->channel[0];
}

/* Takes over the count that waited for the end of a period or for a trigger. */
static void take_next_count(struct pit_channel *c)
{
    if (c->next_count == 0)
        return;
    c->count = c->next_count;
    c->next_count = 0;
    c->null_count = false;
}

/* The period is over, nearly always by less than another period: then this takes no division.
 * Returns how many are over. */
static uint64_t next_period(struct pit_channel *c, uint64_t t)
{
    uint64_t more = 0;

    c->base += c->count;
    take_next_count(c);
    if (t > c->base && t - c->base >= c->count)
        more = (t - c->base) / c->count;
    c->base += more * c->count;
    return 1 + more;
}

/* PIT ticks since the period began. Rounding can put "now" slightly before it. */
static uint32_t phase(const struct pit *p, const struct pit_channel *c)
{
    uint64_t t = pit_ticks(p, c);
    uint64_t n = t > c->base ? t - c->base : 0;

    return (uint32_t)min_u64(n, c->count - 1);
}

static uint16_t to_bcd(uint32_t v)
{
    return (uint16_t)(v % 10 | (v / 10 % 10) << 4 | (v / 100 % 10) << 8 | (v / 1000 % 10) << 12);
}

static uint32_t from_bcd(uint32_t v)
{
    return (v & 15) + 10 * (v >> 4 & 15) + 100 * (v >> 8 & 15) + 1000 * (v >> 12 & 15);
}

/* The counter has four digits, of either kind. */
static uint32_t wrap(const struct pit_channel *c, uint64_t v)
{
    return (uint32_t)(c->bcd ? v % 10000 : v % 65536);
}

/* Mode 3 counts by two, twice a period; an odd count's first half is the longer one. */
static uint32_t square_counter(const struct pit_channel *c, uint32_t at)
{
    uint32_t half = (c->count + 1) / 2;

    return (c->count & ~1u) - 2 * (at < half ? at : at - half);
}

/* What the counting element shows. */
static uint16_t counter(const struct pit *p, const struct pit_channel *c)
{
    uint32_t v;

    if (!c->started)
        v = 0;
    else if (c->mode == MODE_RATE)
        v = c->count - phase(p, c);
    else if (c->mode == MODE_SQUARE)
        v = square_counter(c, phase(p, c));
    else /* the others keep counting below zero */
        v = c->count + (c->bcd ? 10000 : 65536) - wrap(c, pit_ticks(p, c));
    v = wrap(c, v);
    return c->bcd ? to_bcd(v) : (uint16_t)v;
}

static bool output(const struct pit *p, const struct pit_channel *c)
{
    if (!c->started)
        return c->mode != MODE_TERMINAL_COUNT;
    switch (c->mode) {
    case MODE_TERMINAL_COUNT:
    case MODE_ONE_SHOT:
        return pit_ticks(p, c) >= c->count;
    case MODE_RATE:
        return !c->gate || phase(p, c) != c->count - 1;
    case MODE_SQUARE:
        return !c->gate || phase(p, c) < (c->count + 1) / 2;
    default: /* strobes: low for one tick */
        return pit_ticks(p, c) != c->count;
    }
}

/* Channel 0's gate is always high, so the triggered modes never begin there. */
static void plan(struct pit *p)
{
    const struct pit_channel *c = &p->channel[0];
    uint64_t end = c->base + c->count;

    if (p->ticks.owed)
        end = ticks_next(&p->ticks, pit_ticks(p, c), end, c->count);
    if (!c->started || c->done)
        p->deadline = NEVER;
    else /* rounded up: at that TSC value the PIT tick has been reached */
        p->deadline = c->start + ratio_apply(p->to_tsc, end) + 1;
}

/* Is there a tick to be taken now? */
static bool end_periods(struct pit *p, struct pit_channel *c)
{
    uint64_t t = pit_ticks(p, c);

    return ticks_due(&p->ticks, t >= c->base + c->count ? next_period(c, t) : 0,
                     p->ticks.merge ? IRQ_TAKEN : irq_look(&p->irq0));
}

static void update(void *dev)
{
    struct pit *p = dev;
    struct pit_channel *c = &p->channel[0];
    bool due = true;

    if (p->clock->now < p->deadline)
        return;
    if (periodic(c))
        due = end_periods(p, c);
    else
        c->done = true;
    if (due) /* the output is low for a moment before the edge; in mode 0 since the load */
        irq_pulse(&p->irq0);
    plan(p);
}

void pit_drive(struct pit *p)
{
    const struct pit_channel *c = &p->channel[0];

    update(p);
    p->ticks.owed = 0;
    if (c->started)
        irq_set(&p->irq0, output(p, c));
}

/* Before a channel is read or changed: first does what was due. */
static void settle(struct pit *p, struct pit_channel *c)
{
    uint64_t t;

    if (is_channel_0(p, c)) {
        update(p);
    } else if (c->started && periodic(c) && c->gate) {
        t = pit_ticks(p, c);
        if (t >= c->base + c->count)
            (void)next_period(c, t);
    }
}

/* Channel 0 has begun or stopped: in mode 0 with its output low. Elsewhere an interrupt that waits
 * in the PIC stays. */
static void restart(struct pit *p, const struct pit_channel *c)
{
    if (!is_channel_0(p, c))
        return;
    p->ticks.owed = 0;
    if (c->mode == MODE_TERMINAL_COUNT)
        irq_set(&p->irq0, false);
    plan(p);
}

static void begin(struct pit *p, struct pit_channel *c)
{
    take_next_count(c);
    c->start = p->clock->now;
    c->base = c->stopped_at = 0;
    c->started = true;
    c->done = false;
    restart(p, c);
}

static void stop(struct pit *p, struct pit_channel *c)
{
    c->started = false;
    restart(p, c);
}

static void load(struct pit *p, struct pit_channel *c, uint32_t value)
{
    uint32_t count = c->bcd ? from_bcd(value) : value;

    if (count == 0)
        count = c->bcd ? 10000 : 65536;
    if (count == 1 && periodic(c))
        count = 2; /* one is illegal in modes 2 and 3 */
    c->next_count = count;
    c->null_count = true;
    if (!triggered(c) && !(periodic(c) && c->started))
        begin(p, c);
}

static void write_count(struct pit *p, struct pit_channel *c, uint8_t value)
{
    settle(p, c);
    if (c->access == 1) {
        load(p, c, value);
    } else if (c->access == 2) {
        load(p, c, (uint32_t)value << 8);
    } else if (c->write_high) {
        c->write_high = false;
        load(p, c, (uint32_t)value << 8 | c->low);
    } else {
        c->write_high = true;
        c->low = value;
        if (c->mode == MODE_TERMINAL_COUNT)
            stop(p, c); /* the first byte stops this mode */
    }
}

static void latch_count(struct pit *p, struct pit_channel *c)
{
    if (c->count_latched)
        return;
    settle(p, c);
    c->latch = counter(p, c);
    c->count_latched = true;
}

static void latch_status(struct pit *p, struct pit_channel *c)
{
    if (c->status_latched)
        return;
    settle(p, c);
    c->status =
        (uint8_t)((output(p, c) ? STATUS_OUT : 0) | (c->null_count ? STATUS_NULL : 0) | c->control);
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
    settle(p, c);
    c->control = value & CONTROL_BITS;
    c->access = value >> 4 & 3;
    c->mode = value >> 1 & 7;
    if (c->mode > 5)
        c->mode = (uint8_t)(c->mode - 4);
    c->bcd = value & 1;
    c->write_high = c->read_high = c->count_latched = c->status_latched = false;
    c->null_count = true;
    c->next_count = 0;
    stop(p, c);
}

static uint8_t read_count(struct pit *p, struct pit_channel *c)
{
    bool both = c->access == 3, high = both ? c->read_high : c->access == 2;
    uint16_t v;

    if (c->status_latched) {
        c->status_latched = false;
        return c->status;
    }
    settle(p, c);
    v = c->count_latched ? c->latch : counter(p, c);
    if (!both || high)
        c->count_latched = false; /* this was its last byte */
    c->read_high = both && !high;
    return (uint8_t)(high ? v >> 8 : v);
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
    struct pit *p = dev;
    uint64_t refresh = ratio_apply(p->to_pit, p->clock->now) / REFRESH_PIT_TICKS;

    (void)port;
    (void)size;
    settle(p, &p->channel[2]);
    return p->port_b | (refresh & 1 ? PORT_B_REFRESH : 0) |
           (output(p, &p->channel[2]) ? PORT_B_OUT2 : 0);
}

/* A rising gate lets modes 0 and 4 continue where they stood, and restarts the others. */
static void gate_rises(struct pit *p, struct pit_channel *c)
{
    c->gate = true;
    if (c->mode == MODE_TERMINAL_COUNT || c->mode == MODE_STROBE)
        c->start = p->clock->now - ratio_apply(p->to_tsc, c->stopped_at) - (c->stopped_at ? 1 : 0);
    else if (c->started || c->next_count)
        begin(p, c);
}

static void gate_falls(struct pit *p, struct pit_channel *c)
{
    c->stopped_at = pit_ticks(p, c);
    c->gate = false;
}

static void port_b_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct pit *p = dev;
    struct pit_channel *c = &p->channel[2];
    bool gate = value & PORT_B_GATE;

    (void)port;
    (void)size;
    settle(p, c);
    if (gate && !c->gate)
        gate_rises(p, c);
    else if (!gate && c->gate)
        gate_falls(p, c);
    p->port_b = (uint8_t)(value & PORT_B_WRITABLE);
}

static void shift(void *dev, uint64_t ticks)
{
    struct pit *p = dev;

    for (unsigned i = 0; i < ARRAY_LEN(p->channel); i++)
        p->channel[i].start += ticks;
}

static const struct io_ops ops = {pit_in, pit_out, 1};
static const struct io_ops port_b_ops = {port_b_in, port_b_out, 1};

static void reset(void *dev, const struct device_env *env)
{
    struct pit *p = dev;

    *p = (struct pit){
        .clock = env->clock,
        .irq0 = env->irq,
        .to_pit = ratio_make_up(PIT_HZ, env->clock->tsc_hz),
        .to_tsc = ratio_make(env->clock->tsc_hz, PIT_HZ),
        .deadline = NEVER,
        .ticks = {.merge = env->merge_ticks},
    };
    for (unsigned i = 0; i < 3; i++)
        p->channel[i] = (struct pit_channel){.access = 3, .mode = MODE_SQUARE, .gate = i != 2};
}

const struct device pit_device = {
    .bit = DEV_PIT,
    .irq = PIT_IRQ,
    .ports = {{PIT_PORT, PIT_PORT + PIT_PORT_COUNT - 1, &ops},
              {PIT_PORT_B, PIT_PORT_B, &port_b_ops}},
    .reset = reset,
    .deadline = offsetof(struct pit, deadline),
    .update = update,
    .shift = shift,
    .state = sizeof(struct pit),
};
