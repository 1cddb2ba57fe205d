#include "mgmt/clock.h"

#include "hv/fmt.h"

#define SECOND_US   1000000ull
#define DAY_SECONDS 86400ull
#define LAST_SECOND 253402300799ull /* of the year 9999 */

uint64_t clock_ticks_us(const struct abi_host *h, uint64_t ticks)
{
    /* Splits off whole seconds, which keeps the product far below 64 bits. */
    return h->tsc_hz ? ticks / h->tsc_hz * SECOND_US + ticks % h->tsc_hz * SECOND_US / h->tsc_hz
                     : 0;
}

void clock_init(struct clock *c, const struct abi_host *h)
{
    clock_set(c, h, h->boot_tsc, h->boot_epoch * SECOND_US);
    c->synchronised = false;
}

void clock_set(struct clock *c, const struct abi_host *h, uint64_t tsc, uint64_t us)
{
    c->zero_us = us - clock_ticks_us(h, tsc);
    c->synchronised = true;
}

bool clock_is_known(const struct clock *c, const struct abi_host *h)
{
    return c->synchronised || h->boot_epoch;
}

uint64_t clock_us(const struct clock *c, const struct abi_host *h, uint64_t tsc)
{
    return c->zero_us + clock_ticks_us(h, tsc);
}

/* The Gregorian calendar, counted from March 1 of year 0, so that a leap day is a year's last. */
static void put_date(uint64_t days, unsigned *year, unsigned *month, unsigned *day)
{
    uint64_t n = days + 719468, era = n / 146097, in_era = n % 146097;
    uint64_t y = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    uint64_t in_year = in_era - (365 * y + y / 4 - y / 100), m = (5 * in_year + 2) / 153;

    *day = (unsigned)(in_year - (153 * m + 2) / 5 + 1);
    *month = (unsigned)(m < 10 ? m + 3 : m - 9);
    *year = (unsigned)(era * 400 + y + (*month <= 2));
}

void clock_text(char out[CLOCK_TEXT], uint64_t us)
{
    uint64_t s = us / SECOND_US;
    unsigned year, month, day, rest;

    if (s > LAST_SECOND)
        s = LAST_SECOND;
    put_date(s / DAY_SECONDS, &year, &month, &day);
    rest = (unsigned)(s % DAY_SECONDS);
    (void)fmt(out, CLOCK_TEXT, "%04u-%02u-%02uT%02u:%02u:%02u.%06uZ", year, month, day, rest / 3600,
              rest / 60 % 60, rest % 60, (unsigned)(us % SECOND_US));
}

void clock_http(char out[CLOCK_HTTP], uint64_t seconds)
{
    static const char days[] = "ThuFriSatSunMonTueWed"; /* 1970 began with a Thursday */
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    uint64_t s = seconds < LAST_SECOND ? seconds : LAST_SECOND, day_number = s / DAY_SECONDS;
    unsigned year, month, day, rest = (unsigned)(s % DAY_SECONDS);

    put_date(day_number, &year, &month, &day);
    (void)fmt(out, CLOCK_HTTP, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
              days + 3 * (day_number % 7), day, months + 3 * (month - 1), year, rest / 3600,
              rest / 60 % 60, rest % 60);
}
