#include "hv/date.h"

#define DAY_SECONDS 86400u

static bool leap(uint32_t y)
{
    return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

static uint32_t days_in(uint32_t year, uint32_t month)
{
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[month - 1] + (month == 2 && leap(year) ? 1u : 0u);
}

/* Leap days in all years before this one. */
static uint64_t leap_days(uint32_t year)
{
    uint64_t y = year - 1;

    return y / 4 - y / 100 + y / 400;
}

/* From 1970 to the beginning of this year. */
static uint64_t days_before(uint32_t year)
{
    return 365ull * (year - 1970) + leap_days(year) - leap_days(1970);
}

uint64_t date_seconds(const struct date *d)
{
    uint64_t days = days_before(d->year) + d->day - 1;

    for (uint32_t m = 1; m < d->month; m++)
        days += days_in(d->year, m);
    return days * DAY_SECONDS + d->hour * 3600ull + d->minute * 60ull + d->second;
}

struct date date_of(uint64_t epoch)
{
    uint64_t days = epoch / DAY_SECONDS;
    uint32_t rest = (uint32_t)(epoch % DAY_SECONDS);
    struct date d = {.weekday = (uint32_t)((days + 4) % 7) + 1};

    d.hour = rest / 3600;
    d.minute = rest / 60 % 60;
    d.second = rest % 60;
    /* 400 years are 146097 days. Leap days are nearly even among them: the year is at most one off.
     * A guest chooses the year, so nothing here takes longer for some than for others. */
    d.year = 1970 + (uint32_t)(days * 400 / 146097);
    if (days < days_before(d.year))
        d.year--;
    else if (days >= days_before(d.year + 1))
        d.year++;
    days -= days_before(d.year);
    for (d.month = 1; days >= days_in(d.year, d.month); d.month++)
        days -= days_in(d.year, d.month);
    d.day = (uint32_t)days + 1;
    return d;
}
