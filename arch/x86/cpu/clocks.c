#include "arch/x86/cpu/clocks.h"

/* Intel 8254 "Programmable Interval Timer"; channel 2's gate and output are in port 0x61. */
#define PIT_CHANNEL2    0x42u
#define PIT_COMMAND     0x43u
#define PIT_MODE0       0xb0u /* channel 2, both bytes, mode 0 */
#define PORT_SPEAKER    0x61u
#define SPEAKER_GATE    0x01u
#define SPEAKER_DATA    0x02u
#define SPEAKER_OUTPUT  0x20u

/* Motorola MC146818 "Real-Time Clock". */
#define CMOS_INDEX      0x70u
#define CMOS_DATA       0x71u
#define CMOS_SECOND     0x00u
#define CMOS_STATUS_A   0x0au
#define STATUS_A_DIVIDE 0x70u
#define DIVIDE_RUNS     0x20u /* from a 32 kHz crystal */

/* IA-PC HPET specification 1.0a "Memory Map". The counter may have 32 bits; only these are used. */
#define HPET_PERIOD     0x004u
#define HPET_CONFIG     0x010u
#define HPET_ENABLE     1u
#define HPET_COUNTER    0x0f0u
#define HPET_BITS       32u
#define PM_TIMER_BITS   24u /* or 32, of which only these are used */

#define COUNT           23864u /* 20 ms */
#define RUN_PER_SECOND  50u    /* the same */
#define ALIVE_READS     10000u /* even in 100 ns each, 3,000 ticks of a PM timer */
/* Whichever limit comes first: of reads or of TSC ticks. */
#define TRIES           5000000u
#define WAIT_TICKS      (1ull << 31)
#define PIT_TRIES       250000u /* no PC reads that port as often in 20 ms */
#define RTC_TRIES       100000000u
#define RTC_TICKS       (1ull << 35) /* 5 s at 6.9 GHz */

static uint8_t in8(const struct clocks *c, uint16_t port)
{
    return c->ops->in8(c->ops->ctx, port);
}

static void out8(const struct clocks *c, uint16_t port, uint8_t v)
{
    c->ops->out8(c->ops->ctx, port, v);
}

static uint64_t tsc(const struct clocks *c)
{
    return c->ops->tsc(c->ops->ctx);
}

/* Some chipsets change it while it is read: three values in a row must be in order (Intel's errata
 * for the PIIX4 and ICH4). */
static uint32_t read_pm_timer(const struct clocks *k)
{
    const struct clocks_ops *o = k->ops;
    uint32_t a = o->in32(o->ctx, k->pm_port), b = o->in32(o->ctx, k->pm_port);
    uint32_t c = o->in32(o->ctx, k->pm_port);

    for (unsigned i = 0; i < 10 && (a > b || b > c); i++) {
        a = b;
        b = c;
        c = o->in32(o->ctx, k->pm_port);
    }
    return b;
}

static uint64_t read_clock(const struct clocks *c, unsigned clock)
{
    return clock == CALIBRATE_PM_TIMER ? read_pm_timer(c)
                                       : c->ops->hpet_read(c->ops->ctx, HPET_COUNTER);
}

static uint64_t elapsed(const struct clocks *c, unsigned clock, uint64_t from)
{
    return calibrate_elapsed(from, read_clock(c, clock),
                             clock == CALIBRATE_PM_TIMER ? PM_TIMER_BITS : HPET_BITS);
}

static bool counts(const struct clocks *c, unsigned clock)
{
    uint64_t from = read_clock(c, clock);

    for (unsigned i = 0; i < ALIVE_READS; i++)
        if (elapsed(c, clock, from))
            return true;
    return false;
}

void clocks_begin(struct clocks *c)
{
    const struct clocks_ops *o = c->ops;

    c->pit_counts = true;
    c->clock_hz[CALIBRATE_PIT] = CALIBRATE_PIT_HZ;
    c->clock_hz[CALIBRATE_PM_TIMER] =
        c->pm_port && counts(c, CALIBRATE_PM_TIMER) ? CALIBRATE_PM_TIMER_HZ : 0;
    c->clock_hz[CALIBRATE_HPET] =
        c->hpet ? calibrate_hpet_hz((uint64_t)o->hpet_read(o->ctx, HPET_PERIOD) << 32) : 0;
    /* Left alone if it counts. If it does not even then, it is no clock. */
    c->hpet = c->clock_hz[CALIBRATE_HPET] && !(o->hpet_read(o->ctx, HPET_CONFIG) & HPET_ENABLE);
    if (c->hpet)
        o->hpet_write(o->ctx, HPET_CONFIG, o->hpet_read(o->ctx, HPET_CONFIG) | HPET_ENABLE);
    if (c->clock_hz[CALIBRATE_HPET] && !counts(c, CALIBRATE_HPET))
        c->clock_hz[CALIBRATE_HPET] = 0;
}

void clocks_end(struct clocks *c)
{
    const struct clocks_ops *o = c->ops;

    if (c->hpet)
        o->hpet_write(o->ctx, HPET_CONFIG, o->hpet_read(o->ctx, HPET_CONFIG) & ~HPET_ENABLE);
    c->hpet = false;
}

/* True if each other clock that counts has counted this long. False if none counts. */
static bool others_counted(const struct clocks *c, const uint64_t *from, unsigned runs)
{
    bool some = false;

    for (unsigned i = CALIBRATE_PM_TIMER; i < CALIBRATE_CLOCKS; i++) {
        if (!c->clock_hz[i])
            continue;
        if (elapsed(c, i, from[i]) < c->clock_hz[i] / RUN_PER_SECOND * runs)
            return false;
        some = true;
    }
    return some;
}

/* Waits for the PIT's end or, if that never comes (many boards stop its clock, and some have none),
 * until the others have counted. True: the PIT ended. */
static bool wait(const struct clocks *c, const uint64_t *from)
{
    bool others = c->clock_hz[CALIBRATE_PM_TIMER] || c->clock_hz[CALIBRATE_HPET];
    uint64_t start = tsc(c);

    for (unsigned i = 0; i < TRIES && (c->pit_counts || others); i++) {
        if (c->pit_counts && (in8(c, PORT_SPEAKER) & SPEAKER_OUTPUT))
            return true;
        if (!c->pit_counts ? others_counted(c, from, 1)
                           : i > PIT_TRIES && i % 256 == 0 && others_counted(c, from, 5))
            return false;
        if (tsc(c) - start > WAIT_TICKS)
            return false;
    }
    return false;
}

/* False: its output does not even go low. */
static bool start_pit(const struct clocks *c)
{
    uint8_t control = (uint8_t)((in8(c, PORT_SPEAKER) & ~SPEAKER_DATA) | SPEAKER_GATE);

    out8(c, PORT_SPEAKER, control);
    out8(c, PIT_COMMAND, PIT_MODE0);
    out8(c, PIT_CHANNEL2, COUNT & 0xff);
    out8(c, PIT_CHANNEL2, COUNT >> 8);
    return !(in8(c, PORT_SPEAKER) & SPEAKER_OUTPUT);
}

static void measure(struct clocks *c, struct calibrate_run *r)
{
    uint64_t from[CALIBRATE_CLOCKS] = {0}, start[CALIBRATE_CLOCKS] = {0};
    bool end;

    *r = (struct calibrate_run){.tsc = {0}};
    c->pit_counts = c->pit_counts && start_pit(c);
    start[CALIBRATE_PIT] = tsc(c);
    for (unsigned i = CALIBRATE_PM_TIMER; i < CALIBRATE_CLOCKS; i++)
        if (c->clock_hz[i]) {
            from[i] = read_clock(c, i);
            start[i] = tsc(c);
        }
    end = wait(c, from);
    if (end) {
        r->tsc[CALIBRATE_PIT] = tsc(c) - start[CALIBRATE_PIT];
        r->count[CALIBRATE_PIT] = COUNT;
    }
    c->pit_counts = end;
    for (unsigned i = CALIBRATE_PM_TIMER; i < CALIBRATE_CLOCKS; i++)
        if (c->clock_hz[i]) {
            r->count[i] = elapsed(c, i, from[i]);
            r->tsc[i] = tsc(c) - start[i];
        }
}

void clocks_measure(struct clocks *c, uint64_t hz[CALIBRATE_SOURCES])
{
    struct calibrate_run runs[CALIBRATE_RUNS];

    for (unsigned i = 0; i < CALIBRATE_RUNS; i++)
        measure(c, &runs[i]);
    calibrate_by_clocks(runs, c->clock_hz, hz);
}

static uint8_t cmos_read(const struct clocks *c, uint8_t index)
{
    out8(c, CMOS_INDEX, index);
    return in8(c, CMOS_DATA);
}

/* Waits until the second changes; returns the time, or 0: it does not. */
static uint64_t next_second(const struct clocks *c)
{
    uint64_t start = tsc(c), now = start;
    uint8_t old = cmos_read(c, CMOS_SECOND);

    for (unsigned i = 0; i < RTC_TRIES && now - start <= RTC_TICKS; i++) {
        if (cmos_read(c, CMOS_SECOND) != old)
            return tsc(c);
        now = tsc(c);
    }
    return 0;
}

uint64_t clocks_measure_rtc(const struct clocks *c)
{
    uint64_t from, to;

    if ((cmos_read(c, CMOS_STATUS_A) & STATUS_A_DIVIDE) != DIVIDE_RUNS)
        return 0; /* stopped; absent ports read ones */
    from = next_second(c);
    to = from ? next_second(c) : 0;
    return to ? to - from : 0;
}
