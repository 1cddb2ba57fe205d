#include "hv/dev/rtc.h"

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
    REG_BASE_LOW = 0x15,
    REG_BASE_HIGH,
    REG_EXTENDED_LOW,
    REG_EXTENDED_HIGH,
    REG_CENTURY = 0x32,
    REG_16M_LOW = 0x34,
    REG_16M_HIGH,
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

struct date {
    uint32_t year, month, day, weekday, hour, minute, second;
};

static bool leap(uint32_t y)
{
    return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

static struct date date_of(uint64_t epoch)
{
    static const uint8_t month_days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    uint64_t days = epoch / DAY_SECONDS;
    uint32_t rest = (uint32_t)(epoch % DAY_SECONDS);
    struct date d = {.year = 1970, .weekday = (uint32_t)((days + 4) % 7) + 1};

    d.hour = rest / 3600;
    d.minute = rest / 60 % 60;
    d.second = rest % 60;
    /* 400 years are 146097 days: no loop is longer than that. */
    d.year += (uint32_t)(days / 146097 * 400);
    days %= 146097;
    while (days >= (leap(d.year) ? 366u : 365u)) {
        days -= leap(d.year) ? 366 : 365;
        d.year++;
    }
    for (;;) {
        uint32_t n = month_days[d.month] + (d.month == 1 && leap(d.year) ? 1u : 0u);

        if (days < n)
            break;
        days -= n;
        d.month++;
    }
    d.month++;
    d.day = (uint32_t)days + 1;
    return d;
}

static uint64_t seconds_run(const struct rtc *r)
{
    return (r->clock->now - r->start) / r->clock->tsc_hz;
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

static uint8_t read_time(const struct rtc *r, unsigned index)
{
    struct date d = date_of(r->epoch + seconds_run(r));

    switch (index) {
    case REG_SECONDS:
        return encode(r, d.second);
    case REG_MINUTES:
        return encode(r, d.minute);
    case REG_HOURS:
        return encode_hour(r, d.hour);
    case REG_WEEKDAY:
        return encode(r, d.weekday);
    case REG_DAY:
        return encode(r, d.day);
    case REG_MONTH:
        return encode(r, d.month);
    case REG_YEAR:
        return encode(r, d.year % 100);
    default:
        return encode(r, d.year / 100);
    }
}

static bool alarm_matches(const struct rtc *r)
{
    static const uint8_t regs[3] = {REG_SECONDS, REG_MINUTES, REG_HOURS};

    for (unsigned i = 0; i < 3; i++)
        if (r->alarm[i] < ALARM_ANY && r->alarm[i] != read_time(r, regs[i]))
            return false;
    return true;
}

static void update_line(struct rtc *r)
{
    if (r->reg_b & r->reg_c & (C_PERIODIC | C_ALARM | C_UPDATE))
        r->reg_c |= C_IRQ;
    irq_set(&r->irq, r->reg_c & C_IRQ);
}

/* Deadlines exist only while somebody wants their interrupts. */
static void plan(struct rtc *r)
{
    unsigned rate = r->reg_a & A_RATE;
    bool running = (r->reg_a & A_DIVIDER) == A_32768_HZ;

    r->next_period = r->next_second = NEVER;
    if (running && rate && (r->reg_b & B_PERIODIC)) {
        /* Rates 1 and 2 are those of 8 and 9. SDM of the part: "Periodic Interrupt Rate". */
        unsigned shift = rate < 3 ? rate + 6 : rate - 1;

        r->period = (r->clock->tsc_hz << shift) >> 15;
        r->next_period = r->clock->now + r->period;
    }
    if (running && !(r->reg_b & B_SET) && (r->reg_b & (B_ALARM | B_UPDATE)))
        r->next_second = r->start + (seconds_run(r) + 1) * r->clock->tsc_hz;
}

void rtc_update(struct rtc *r)
{
    uint64_t now = r->clock->now;

    if (now >= r->next_period) {
        r->reg_c |= C_PERIODIC;
        r->next_period += r->period;
        if (r->next_period <= now)
            r->next_period = now + r->period;
    }
    if (now >= r->next_second) {
        r->reg_c |= C_UPDATE;
        if (alarm_matches(r))
            r->reg_c |= C_ALARM;
        r->next_second = r->start + (seconds_run(r) + 1) * r->clock->tsc_hz;
    }
    update_line(r);
}

void rtc_init(struct rtc *r, const struct dev_clock *clock, const struct irq_line *irq,
              uint64_t epoch, uint64_t memory)
{
    uint64_t extended = (min_u64(memory, 64ull << 20) >> 10) - 1024;
    uint64_t above_16m = memory > (16ull << 20) ? (memory - (16ull << 20)) >> 16 : 0;

    memset(r, 0, sizeof(*r));
    r->clock = clock;
    r->irq = *irq;
    r->epoch = epoch;
    r->start = clock->now;
    r->reg_a = A_32768_HZ | 6; /* 1024 Hz */
    r->reg_b = B_24_HOURS;
    r->next_period = r->next_second = NEVER;
    above_16m = min_u64(above_16m, 0xffff);
    r->cmos[REG_BASE_LOW] = 640 & 0xff;
    r->cmos[REG_BASE_HIGH] = 640 >> 8;
    r->cmos[REG_EXTENDED_LOW] = (uint8_t)extended;
    r->cmos[REG_EXTENDED_HIGH] = (uint8_t)(extended >> 8);
    r->cmos[REG_16M_LOW] = (uint8_t)above_16m;
    r->cmos[REG_16M_HIGH] = (uint8_t)(above_16m >> 8);
}

static uint8_t rtc_read(struct rtc *r)
{
    uint8_t v;

    switch (r->index) {
    case REG_SECONDS_ALARM:
    case REG_MINUTES_ALARM:
    case REG_HOURS_ALARM:
        return r->alarm[r->index / 2];
    case REG_A:
        return r->reg_a; /* no update is ever seen half done */
    case REG_B:
        return r->reg_b;
    case REG_C:
        v = r->reg_c;
        r->reg_c = 0;
        irq_set(&r->irq, false);
        return v;
    case REG_D:
        return D_VALID;
    case REG_CENTURY:
        return read_time(r, REG_CENTURY);
    default:
        return r->index <= REG_YEAR ? read_time(r, r->index) : r->cmos[r->index];
    }
}

static void rtc_write(struct rtc *r, uint8_t value)
{
    switch (r->index) {
    case REG_SECONDS_ALARM:
    case REG_MINUTES_ALARM:
    case REG_HOURS_ALARM:
        r->alarm[r->index / 2] = value;
        break;
    case REG_A:
        r->reg_a = (uint8_t)(value & ~A_UIP);
        plan(r);
        break;
    case REG_B:
        r->reg_b = value;
        plan(r);
        update_line(r);
        break;
    case REG_C:
    case REG_D:
        break;
    default:
        /* The time itself belongs to the appliance: a guest may not set it. */
        if (r->index > REG_D && r->index != REG_CENTURY)
            r->cmos[r->index] = value;
        break;
    }
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

const struct io_ops rtc_io_ops = {rtc_in, rtc_out};
