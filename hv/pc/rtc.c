#include "hv/abi/memory.h"
#include "hv/pc/rtc.h"

#include "hv/config.h"
#include "hv/lib.h"

enum {
    REG_SECONDS = 0,
    REG_SECONDS_ALARM,
    REG_MINUTES,
    REG_MINUTES_ALARM,
    REG_HOURS,
    REG_HOURS_ALARM,
    REG_WEEKDAY,
    REG_DAY,
    REG_MONTH,
    REG_YEAR,
    REG_A,
    REG_B,
    REG_C,
    REG_D,
    REG_CENTURY = 0x32,
    /* Memory, in two bytes each: the first 640 KB, what is above 1 MB (twice) in KB, and above 16
     * MB in 64 KB. Above 4 GB, in 64 KB, in three bytes: QEMU's firmware interface. */
    REG_BASE = 0x15,
    REG_EXTENDED = 0x17,
    REG_EXTENDED2 = 0x30,
    REG_16M = 0x34,
    REG_4G = 0x5b,
};

#define A_UIP       0x80u
#define A_RATE      0x0fu
#define A_DIVIDER   0x70u
#define A_32768_HZ  0x20u
#define B_SET       0x80u
#define B_PERIODIC  0x40u
#define B_ALARM     0x20u
#define B_UPDATE    0x10u
#define B_BINARY    0x04u
#define B_24_HOURS  0x02u
#define C_IRQ       0x80u
#define C_PERIODIC  0x40u
#define C_ALARM     0x20u
#define C_UPDATE    0x10u
#define D_VALID     0x80u
#define HOUR_PM     0x80u
#define ALARM_ANY   0xc0u
#define DAY_SECONDS 86400u
#define SECOND_BITS 15 /* 32768 ticks are a second */
#define SECOND_MASK 0x7fffu
#define UIP_TICKS   8u /* 244 us: the bit is set this long before an update */

static uint64_t ticks_run(const struct rtc *r)
{
    return ratio_apply(r->to_clock, r->clock->now - r->start);
}

static uint8_t encode(const struct rtc *r, uint32_t v)
{
    return (uint8_t)(r->reg_b & B_BINARY ? v : v / 10 << 4 | v % 10);
}

static uint8_t encode_hour(const struct rtc *r, uint32_t hour)
{
    if (r->reg_b & B_24_HOURS)
        return encode(r, hour);
    return (uint8_t)(encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0));
}

/* ---- the time ---- */

static const uint8_t times[] = {REG_SECONDS, REG_MINUTES, REG_HOURS, REG_WEEKDAY,
                                REG_DAY,     REG_MONTH,   REG_YEAR,  REG_CENTURY};

static bool is_time(unsigned index)
{
    unsigned i = 0;

    while (i < ARRAY_LEN(times) && times[i] != index)
        i++;
    return i < ARRAY_LEN(times);
}

/* The dividers for faster crystals, which a PC does not have, count as that for its own: QEMU's
 * rtc_running(). */
static bool divides(uint8_t a)
{
    return (a & A_DIVIDER) <= A_32768_HZ;
}

static bool would_update(uint8_t a, uint8_t b)
{
    return divides(a) && !(b & B_SET);
}

static bool running(const struct rtc *r)
{
    return divides(r->reg_a);
}

static bool updating(const struct rtc *r)
{
    return would_update(r->reg_a, r->reg_b);
}

/* What the counting clock shows. */
static uint8_t shown(struct rtc *r, unsigned index)
{
    uint64_t second = ticks_run(r) >> SECOND_BITS;
    struct date d;

    if (second != r->date_of) {
        r->date = date_of(r->epoch + second);
        r->date_of = second;
    }
    d = r->date;
    switch (index) {
    case REG_SECONDS:
        return encode(r, d.second);
    case REG_MINUTES:
        return encode(r, d.minute);
    case REG_HOURS:
        return encode_hour(r, d.hour);
    case REG_WEEKDAY:
        return encode(r, (d.weekday - 1 + r->weekday) % 7 + 1);
    case REG_DAY:
        return encode(r, d.day);
    case REG_MONTH:
        return encode(r, d.month);
    case REG_YEAR:
        return encode(r, d.year % 100);
    default:
        return encode(r, (d.year - RTC_BIAS_YEARS) / 100 % 100);
    }
}

static void hold_time(struct rtc *r)
{
    for (unsigned i = 0; i < ARRAY_LEN(times); i++)
        r->cmos[times[i]] = shown(r, times[i]);
}

/* ---- alarm ---- */

#define ANY     (-1)
#define INVALID (-2)

static int decode(const struct rtc *r, unsigned v, int limit)
{
    int n = (int)v;

    if (!(r->reg_b & B_BINARY)) {
        if ((v & 15) > 9 || v >> 4 > 9)
            return INVALID;
        n = (int)(10 * (v >> 4) + (v & 15));
    }
    return n < limit ? n : INVALID;
}

static int decode_hour(const struct rtc *r, unsigned v)
{
    int n;

    if (r->reg_b & B_24_HOURS)
        return decode(r, v, 24);
    n = decode(r, v & ~HOUR_PM, 13);
    return n < 1 ? INVALID : n % 12 + (v & HOUR_PM ? 12 : 0);
}

/* One of the held registers, below `limit`; `least` if it holds no such number. */
static uint32_t held(const struct rtc *r, unsigned index, int least, int limit)
{
    unsigned v = r->cmos[index];
    int n = index == REG_HOURS ? decode_hour(r, v) : decode(r, v, limit);

    return (uint32_t)(n < least ? least : n);
}

/* The clock goes on from the held registers. */
static void release_time(struct rtc *r)
{
    struct date d = {
        .year = RTC_BIAS_YEARS + 100 * held(r, REG_CENTURY, 0, 100) + held(r, REG_YEAR, 0, 100),
        .month = held(r, REG_MONTH, 1, 13),
        .day = held(r, REG_DAY, 1, 32),
        .hour = held(r, REG_HOURS, 0, 24),
        .minute = held(r, REG_MINUTES, 0, 60),
        .second = held(r, REG_SECONDS, 0, 60),
    };
    uint64_t now = date_seconds(&d);

    r->epoch = now - (ticks_run(r) >> SECOND_BITS);
    r->date_of = NEVER;
    r->weekday = (uint8_t)((held(r, REG_WEEKDAY, 1, 8) + 7 - date_of(now).weekday) % 7);
}

static uint64_t ahead(int from, int to, int modulus)
{
    return (uint64_t)((to - from + modulus) % modulus);
}

/* The first second at or after `t` (since 1970) that the alarm registers match. Each step fixes one
 * field; fixing a lower one can carry into a higher one, once each. */
static uint64_t next_match(const struct rtc *r, uint64_t t)
{
    const uint8_t *at = r->cmos;
    int second = at[REG_SECONDS_ALARM] >= ALARM_ANY ? ANY : decode(r, at[REG_SECONDS_ALARM], 60);
    int minute = at[REG_MINUTES_ALARM] >= ALARM_ANY ? ANY : decode(r, at[REG_MINUTES_ALARM], 60);
    int hour = at[REG_HOURS_ALARM] >= ALARM_ANY ? ANY : decode_hour(r, at[REG_HOURS_ALARM]);

    if (second == INVALID || minute == INVALID || hour == INVALID)
        return NEVER;
    for (unsigned i = 0; i < 8; i++) {
        int day = (int)(t % DAY_SECONDS), h = day / 3600, m = day / 60 % 60, s = day % 60;

        if (hour != ANY && h != hour)
            t += ahead(h, hour, 24) * 3600 - (uint64_t)(m * 60 + s);
        else if (minute != ANY && m != minute)
            t += ahead(m, minute, 60) * 60 - (uint64_t)s;
        else if (second != ANY && s != second)
            t += ahead(s, second, 60);
        else
            return t;
    }
    return NEVER;
}

static void plan_alarm(struct rtc *r)
{
    uint64_t t = next_match(r, r->epoch + r->seconds_seen + 1);

    r->alarm_at = t == NEVER ? NEVER : t - r->epoch;
}

/* ---- interrupts ---- */

/* The periodic interrupt comes every 2^n ticks; 0: it is off. */
static unsigned period_shift(const struct rtc *r)
{
    unsigned rate = r->reg_a & A_RATE;

    if (rate == 0)
        return 0;
    /* Rates 1 and 2 are those of 8 and 9. MC146818A data sheet, "Periodic Interrupt Rate". */
    return rate < 3 ? rate + 6 : rate - 1;
}

/* Register C says whether its last tick was taken. */
static enum irq_state periodic_state(const struct rtc *r)
{
    if (!(r->reg_b & B_PERIODIC))
        return IRQ_MASKED;
    return r->reg_c & C_PERIODIC ? IRQ_WAITS : IRQ_TAKEN;
}

/* Sets the flags of what happened since the last look. */
static void catch_up(struct rtc *r)
{
    uint64_t ticks = ticks_run(r), seconds = ticks >> SECOND_BITS;
    unsigned shift = period_shift(r);

    if (shift) {
        uint64_t periods = (ticks >> shift) - r->periods_seen;

        r->periods_seen += periods;
        if (running(r) && ticks_due(&r->ticks, periods, periodic_state(r)))
            r->reg_c |= C_PERIODIC;
    }
    if (seconds > r->seconds_seen) {
        r->seconds_seen = seconds;
        if (updating(r))
            r->reg_c |= C_UPDATE;
        if (seconds >= r->alarm_at) {
            if (updating(r))
                r->reg_c |= C_ALARM;
            plan_alarm(r);
        }
    }
}

static void update_line(struct rtc *r)
{
    bool ask = r->reg_b & r->reg_c & (C_PERIODIC | C_ALARM | C_UPDATE);

    r->reg_c = (uint8_t)((r->reg_c & ~C_IRQ) | (ask ? C_IRQ : 0));
    irq_set(&r->irq, ask);
}

/* TSC at which tick `n` has been reached: rounded up. */
static uint64_t when(const struct rtc *r, uint64_t n)
{
    return r->start + ratio_apply(r->to_tsc, n) + 1;
}

/* Deadlines exist only while their interrupts are enabled. */
static void plan(struct rtc *r)
{
    unsigned shift = period_shift(r);
    uint64_t d = NEVER;

    if (running(r) && shift && (r->reg_b & B_PERIODIC))
        d = when(
            r, ticks_next(&r->ticks, ticks_run(r), (r->periods_seen + 1) << shift, 1ull << shift));
    if (updating(r) && (r->reg_b & B_UPDATE))
        d = min_u64(d, when(r, (r->seconds_seen + 1) << SECOND_BITS));
    if (updating(r) && (r->reg_b & B_ALARM) && r->alarm_at != NEVER)
        d = min_u64(d, when(r, r->alarm_at << SECOND_BITS));
    r->deadline = d;
}

static void update(void *dev)
{
    struct rtc *r = dev;

    catch_up(r);
    update_line(r);
    plan(r);
}

void rtc_drive(struct rtc *r)
{
    update(r);
    r->ticks.owed = 0;
}

/* The sizes that old software reads here. */
static void init_cmos(struct rtc *r, uint64_t memory)
{
    uint64_t extended = memory > (1ull << 20) ? (min_u64(memory, 64ull << 20) >> 10) - 1024 : 0;
    uint64_t below = memory_below(memory), above_hole = (memory - below) >> 16;
    uint64_t above_16m = below > (16ull << 20) ? (below - (16ull << 20)) >> 16 : 0;

    put_le16(&r->cmos[REG_BASE], 640);
    put_le16(&r->cmos[REG_EXTENDED], (uint16_t)extended);
    put_le16(&r->cmos[REG_EXTENDED2], (uint16_t)extended);
    put_le16(&r->cmos[REG_16M], (uint16_t)above_16m);
    put_le16(&r->cmos[REG_4G], (uint16_t)above_hole);
    r->cmos[REG_4G + 2] = (uint8_t)(above_hole >> 16);
}

static uint8_t read_reg_a(const struct rtc *r)
{
    bool soon = (ticks_run(r) & SECOND_MASK) >= SECOND_MASK + 1 - UIP_TICKS;

    return r->reg_a | (soon && updating(r) ? A_UIP : 0);
}

static uint8_t read_reg_c(struct rtc *r)
{
    uint8_t v;

    update(r);
    v = r->reg_c;
    r->reg_c = 0;
    update_line(r);
    return v;
}

static uint8_t rtc_read(struct rtc *r)
{
    switch (r->index) {
    case REG_A:
        return read_reg_a(r);
    case REG_B:
        return r->reg_b;
    case REG_C:
        return read_reg_c(r);
    case REG_D:
        return D_VALID;
    default:
        return is_time(r->index) && updating(r) ? shown(r, r->index) : r->cmos[r->index];
    }
}

/* The first update comes half a second after the divider leaves its reset. MC146818A data sheet,
 * "Divider Control". */
static void start_divider(struct rtc *r)
{
    r->start = r->clock->now - ratio_apply(r->to_tsc, 1u << (SECOND_BITS - 1)) - 1;
    r->seconds_seen = 0;
}

/* New registers A and B. */
static void set_control(struct rtc *r, uint8_t a, uint8_t b)
{
    bool ran = running(r), updated = updating(r), updates = would_update(a, b);

    if (updated && !updates)
        hold_time(r); /* in the old form */
    r->reg_a = a;
    r->reg_b = b;
    if (running(r) && !ran)
        start_divider(r);
    if (updates && !updated)
        release_time(r);
}

static void write_reg_a(struct rtc *r, uint8_t value)
{
    unsigned shift;

    set_control(r, (uint8_t)(value & ~A_UIP), r->reg_b);
    shift = period_shift(r);
    r->ticks.owed = 0;
    if (shift) /* the new period's first edge is still to come */
        r->periods_seen = ticks_run(r) >> shift;
}

/* SET going high clears UIE. MC146818A data sheet, "SET". */
static void write_reg_b(struct rtc *r, uint8_t value)
{
    if (value & B_SET)
        value = (uint8_t)(value & ~B_UPDATE);
    set_control(r, r->reg_a, value);
}

static void write_time(struct rtc *r, unsigned index, uint8_t value)
{
    bool counts = updating(r);

    if (counts)
        hold_time(r);
    r->cmos[index] = value;
    if (counts)
        release_time(r);
}

static void rtc_write(struct rtc *r, uint8_t value)
{
    bool time = is_time(r->index);

    if (r->index == REG_C || r->index == REG_D) /* cannot be written */
        return;
    if (r->index > REG_D && !time) {
        r->cmos[r->index] = value;
        return;
    }
    catch_up(r); /* what was due happened under the old settings */
    if (r->index == REG_A)
        write_reg_a(r, value);
    else if (r->index == REG_B)
        write_reg_b(r, value);
    else if (time)
        write_time(r, r->index, value);
    else
        r->cmos[r->index] = value; /* an alarm */
    plan_alarm(r);
    update_line(r);
    plan(r);
}

static uint32_t rtc_in(void *dev, uint16_t port, unsigned size)
{
    struct rtc *r = dev;

    (void)size;
    return port & 1 ? rtc_read(r) : 0xff;
}

static void rtc_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct rtc *r = dev;

    (void)size;
    if (port & 1)
        rtc_write(r, (uint8_t)value);
    else
        r->index = (uint8_t)(value & (RTC_SIZE - 1)); /* bit 7, NMI disable, has no effect here */
}

static const struct io_ops ops = {rtc_in, rtc_out, 1};

static void reset(void *dev, const struct device_env *env)
{
    struct rtc *r = dev;

    *r = (struct rtc){
        .clock = env->clock,
        .irq = env->irq,
        .to_clock = ratio_make_up(1u << SECOND_BITS, env->clock->tsc_hz),
        .to_tsc = ratio_make(env->clock->tsc_hz, 1u << SECOND_BITS),
        .start = env->clock->now,
        .epoch = env->epoch + RTC_BIAS,
        .deadline = NEVER,
        .ticks = {.merge = env->merge_ticks},
        .date_of = NEVER,
        .reg_a = A_32768_HZ | 6, /* 1024 Hz */
        .reg_b = B_24_HOURS,
    };
    plan_alarm(r);
    init_cmos(r, env->memory);
}

const struct device rtc_device = {
    .bit = DEV_RTC,
    .irq = RTC_IRQ,
    .ports = {{RTC_PORT, RTC_PORT + 1, &ops}},
    .reset = reset,
    .deadline = offsetof(struct rtc, deadline),
    .start = offsetof(struct rtc, start),
    .update = update,
};
