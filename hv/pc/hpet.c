#include "hv/pc/hpet.h"

#include "hv/config.h"
#include "hv/lib.h"

/* Registers of 64 bits each. */
#define REG_CAPABILITIES 0x000u
#define REG_CONFIG       0x010u
#define REG_STATUS       0x020u
#define REG_COUNTER      0x0f0u
#define REG_TIMERS       0x100u
#define TIMER_SIZE       0x20u
enum { TIMER_CONFIG = 0x00, TIMER_COMPARATOR = 0x08 };

#define FEMTOSECONDS   1000000000000000ull
#define ENABLE         0x1u /* in the configuration */
#define LEGACY         0x2u
/* In that of a timer. */
#define TIMER_LEVEL    0x0002u
#define TIMER_ON       0x0004u
#define TIMER_PERIODIC 0x0008u
#define TIMER_CAN      0x0030u /* be periodic, count 64 bits */
#define TIMER_SET      0x0040u
#define TIMER_32       0x0100u
#define TIMER_ROUTE    0x3e00u
#define ROUTE_SHIFT    9
#define WRITABLE       (TIMER_LEVEL | TIMER_ON | TIMER_PERIODIC | TIMER_SET | TIMER_32 | TIMER_ROUTE)
#define ROUTES         0x00ff0000u

static bool counts(const struct hpet *h)
{
    return h->config & ENABLE;
}

/* The counter's ticks since it was started. */
static uint64_t ticks(const struct hpet *h)
{
    return ratio_apply(h->to_hpet, h->clock->now - h->start);
}

static uint64_t counter(const struct hpet *h)
{
    return counts(h) ? h->base + ticks(h) : h->base;
}

static uint64_t mask(const struct hpet_timer *t)
{
    return t->config & TIMER_32 ? UINT32_MAX : UINT64_MAX;
}

/* When the counter will be at the comparator: not now, if it is there already. */
static void arm(const struct hpet *h, struct hpet_timer *t)
{
    uint64_t now = counts(h) ? ticks(h) : 0;
    uint64_t ahead = ((t->comparator - (h->base + now) - 1) & mask(t)) + 1;

    t->ticks.owed = 0;
    t->due = counts(h) && ahead - 1 < HPET_FAR ? now + ahead : NEVER;
}

static unsigned route(const struct hpet *h, unsigned n)
{
    static const unsigned legacy[2] = {0, 8};

    return hpet_is_legacy(h) && n < 2 ? legacy[n]
                                      : (h->timer[n].config & TIMER_ROUTE) >> ROUTE_SHIFT;
}

static struct irq_line line_of(const struct hpet *h, unsigned n)
{
    struct irq_line line = h->irq;

    line.irq = route(h, n);
    return line;
}

static void drive(const struct hpet *h, unsigned n, bool level)
{
    const struct irq_line line = line_of(h, n);

    if ((hpet_is_legacy(h) && n < 2) || ROUTES >> line.irq & 1)
        irq_set(&line, level);
}

/* A level stays up until its status bit is cleared, or its interrupt turned off. */
static void drive_level(const struct hpet *h, unsigned n)
{
    if (h->timer[n].config & TIMER_LEVEL)
        drive(h, n, (h->status >> n & 1) && (h->timer[n].config & TIMER_ON));
}

static void interrupt(struct hpet *h, unsigned n)
{
    if (h->timer[n].config & TIMER_LEVEL) {
        h->status |= 1u << n;
        drive_level(h, n);
    } else if (h->timer[n].config & TIMER_ON) {
        drive(h, n, false);
        drive(h, n, true);
    }
}

/* How many times the comparator has been reached by tick `now`; goes on to the next. */
static uint64_t advance(struct hpet_timer *t, uint64_t now)
{
    uint64_t step, times = 1;

    if (now < t->due)
        return 0;
    if (t->config & TIMER_PERIODIC) {
        step = t->period & mask(t);
        if (step == 0 || step >= HPET_FAR) {
            t->due = NEVER;
            return 1;
        }
        if (now - t->due >= step) /* seldom: it was late by a period or more */
            times += (now - t->due) / step;
        t->comparator = (t->comparator + times * step) & mask(t);
        t->due += times * step;
    } else if (t->config & TIMER_32) {
        t->due += (times + ((now - t->due) >> 32)) << 32; /* the next time round */
    } else {
        t->due = NEVER;
    }
    return times;
}

static enum irq_state state_of(const struct hpet *h, unsigned n)
{
    const struct irq_line line = line_of(h, n);

    if (!(h->timer[n].config & TIMER_ON))
        return IRQ_MASKED;
    if (h->timer[n].config & TIMER_LEVEL)
        return h->status >> n & 1 ? IRQ_WAITS : IRQ_TAKEN;
    return irq_look(&line);
}

static void plan(struct hpet *h)
{
    uint64_t first = NEVER;

    for (unsigned n = 0; n < HPET_TIMERS; n++) {
        const struct hpet_timer *t = &h->timer[n];

        if (t->config & TIMER_ON)
            first = min_u64(first, t->due);
        if (t->ticks.owed)
            first = ticks_next(&t->ticks, ticks(h), first, t->period & mask(t));
    }
    /* Rounded up: the counter has got there by then. */
    h->deadline = first == NEVER ? NEVER : h->start + ratio_apply(h->to_tsc, first) + 1;
}

static void update(void *dev)
{
    struct hpet *h = dev;

    for (unsigned n = 0; counts(h) && n < HPET_TIMERS; n++) {
        struct hpet_timer *t = &h->timer[n];
        uint64_t times = advance(t, ticks(h));

        if (t->config & TIMER_PERIODIC ? ticks_due(&t->ticks, times, state_of(h, n)) : times > 0)
            interrupt(h, n);
    }
    plan(h);
}

/* ---- registers ---- */

static uint64_t timer_config(const struct hpet_timer *t)
{
    return (uint64_t)ROUTES << 32 | t->config | TIMER_CAN;
}

static uint64_t read_register(const struct hpet *h, uint64_t at)
{
    const uint64_t period = FEMTOSECONDS / HPET_HZ;
    const struct hpet_timer *t;

    switch (at) {
    case REG_CAPABILITIES:
        return period << 32 | PC_HPET_ID;
    case REG_CONFIG:
        return h->config;
    case REG_STATUS:
        return h->status;
    case REG_COUNTER:
        return counter(h);
    default:
        break;
    }
    if (at < REG_TIMERS || (at - REG_TIMERS) / TIMER_SIZE >= HPET_TIMERS)
        return 0;
    t = &h->timer[(at - REG_TIMERS) / TIMER_SIZE];
    at %= TIMER_SIZE;
    return at == TIMER_CONFIG ? timer_config(t) : at == TIMER_COMPARATOR ? t->comparator : 0;
}

static void set_counter(struct hpet *h, uint64_t value)
{
    h->base = value;
    h->start = h->clock->now;
    for (unsigned n = 0; n < HPET_TIMERS; n++)
        arm(h, &h->timer[n]);
}

static void lower_all(const struct hpet *h)
{
    for (unsigned n = 0; n < HPET_TIMERS; n++)
        drive(h, n, false);
}

static void change_routes(struct hpet *h)
{
    lower_all(h);
    h->config ^= LEGACY;
    lower_all(h); /* also what the PIT and the RTC held up */
    h->rerouted(h->irq.ctx);
}

static void set_config(struct hpet *h, uint32_t value)
{
    uint32_t changed = h->config ^ value;
    uint64_t now = counter(h);

    if (changed & LEGACY)
        change_routes(h);
    if (changed & ENABLE) {
        h->config ^= ENABLE;
        set_counter(h, now);
    }
    for (unsigned n = 0; n < HPET_TIMERS; n++)
        drive_level(h, n);
}

static void set_timer_config(struct hpet *h, unsigned n, uint32_t value)
{
    struct hpet_timer *t = &h->timer[n];
    uint32_t old = t->config;

    if (!(ROUTES >> ((value & TIMER_ROUTE) >> ROUTE_SHIFT) & 1))
        value = (value & ~TIMER_ROUTE) | (old & TIMER_ROUTE);
    if (old & TIMER_LEVEL)
        drive(h, n, false);
    t->config = value & WRITABLE;
    t->ticks.owed = 0;
    if ((t->config ^ old) & (TIMER_32 | TIMER_PERIODIC)) {
        t->comparator &= mask(t);
        arm(h, t);
    }
    drive_level(h, n);
}

/* A periodic timer's period, and its comparator only after TIMER_SET, which counts once. `mask` has
 * the bits that are written. HPET Specification "Periodic Mode". */
static void set_comparator(struct hpet *h, struct hpet_timer *t, uint64_t value, uint64_t written)
{
    written &= mask(t);
    if (t->config & TIMER_PERIODIC)
        t->period = (t->period & ~written) | (value & written);
    if (!(t->config & TIMER_PERIODIC) || (t->config & TIMER_SET)) {
        t->comparator = (t->comparator & ~written) | (value & written);
        arm(h, t);
    }
    t->config &= ~TIMER_SET;
}

/* `value` has the old contents where nothing is written. */
static void write_register(struct hpet *h, uint64_t at, uint64_t value, uint64_t written)
{
    unsigned n = (unsigned)((at - REG_TIMERS) / TIMER_SIZE);

    switch (at) {
    case REG_CONFIG:
        set_config(h, (uint32_t)value);
        return;
    case REG_STATUS: /* ones clear */
        h->status &= ~(uint32_t)(value & written);
        for (n = 0; n < HPET_TIMERS; n++)
            drive_level(h, n);
        return;
    case REG_COUNTER:
        set_counter(h, value);
        return;
    default:
        break;
    }
    if (at < REG_TIMERS || n >= HPET_TIMERS)
        return;
    if (at % TIMER_SIZE == TIMER_CONFIG)
        set_timer_config(h, n, (uint32_t)value);
    else if (at % TIMER_SIZE == TIMER_COMPARATOR)
        set_comparator(h, &h->timer[n], value, written);
}

/* An access reaches one register; of one that crosses its end the rest is lost. */
static uint64_t hpet_read(void *dev, uint64_t offset, unsigned size)
{
    struct hpet *h = dev;

    update(h);
    return read_register(h, offset & ~7ull) >> (8 * (offset & 7)) & UINT64_MAX >> (64 - 8 * size);
}

static void hpet_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct hpet *h = dev;
    unsigned shift = 8 * (offset & 7);
    uint64_t written = (UINT64_MAX >> (64 - 8 * size)) << shift;

    update(h);
    offset &= ~7ull;
    write_register(h, offset, (read_register(h, offset) & ~written) | (value << shift & written),
                   written);
    plan(h);
}

static const struct mmio_ops ops = {hpet_read, hpet_write, 8};

static void reset(void *dev, const struct device_env *env)
{
    struct hpet *h = dev;

    *h = (struct hpet){
        .clock = env->clock,
        .irq = env->irq,
        .rerouted = env->rerouted,
        .to_hpet = ratio_make_up(HPET_HZ, env->clock->tsc_hz),
        .to_tsc = ratio_make(env->clock->tsc_hz, HPET_HZ),
        .deadline = NEVER,
    };
    for (unsigned n = 0; n < HPET_TIMERS; n++)
        h->timer[n] = (struct hpet_timer){
            .comparator = UINT64_MAX, .due = NEVER, .ticks = {.merge = env->merge_ticks}};
}

const struct device hpet_device = {
    .bit = DEV_HPET,
    .memory = {PC_HPET, PC_HPET_SIZE, &ops},
    .reset = reset,
    .deadline = offsetof(struct hpet, deadline),
    .start = offsetof(struct hpet, start),
    .update = update,
};
