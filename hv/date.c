#include "hv/date.h"

#define DAY_SECONDS 86400u

static bool leap(uint32_t y)
{
    return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

struct date date_of(uint64_t epoch)
{
    static const uint8_t month_days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    uint64_t days = epoch / DAY_SECONDS;
    uint32_t rest = (uint32_t)(epoch % DAY_SECONDS);
    struct date d = {.year = 1970, .weekday = (uint32_t)((days + 4) % 7) + 1};

    d.hour = rest / 3600;
    d.minute = rest / 60 % 60;
    d.second = rest % 60;
    /* 400 years are 146097 days: this bounds the loop. */
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
