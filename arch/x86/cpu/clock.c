#include "arch/x86/cpu/clock.h"

#define STATUS_B_24H    0x02u
#define STATUS_B_BINARY 0x04u
#define HOUR_PM         0x80u
#define DAYS_TO_2000    10957u /* from 1970-01-01 */

/* -1: not a number in this format. */
static int number(uint8_t v, bool binary)
{
    if (binary)
        return v;
    if ((v & 0xf) > 9 || v >> 4 > 9)
        return -1;
    return (v >> 4) * 10 + (v & 0xf);
}

uint64_t clock_epoch(const struct clock_registers *r)
{
    static const uint16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    bool binary = r->status_b & STATUS_B_BINARY, h24 = r->status_b & STATUS_B_24H;
    int year = number(r->year, binary), month = number(r->month, binary);
    int day = number(r->day, binary), minute = number(r->minute, binary);
    int second = number(r->second, binary);
    int hour = number(h24 ? r->hour : (uint8_t)(r->hour & ~HOUR_PM), binary);
    uint64_t days;

    if (!h24 && hour >= 1 && hour <= 12)
        hour = hour % 12 + (r->hour & HOUR_PM ? 12 : 0);
    else if (!h24)
        return 0;
    if (year < 0 || year > 99 || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 ||
        hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60)
        return 0;
    days = DAYS_TO_2000 + (uint64_t)year * 365 + ((uint64_t)year + 3) / 4 + before[month - 1] +
           (uint64_t)day - 1;
    if (year % 4 == 0 && month > 2)
        days++;
    return days * 86400 + (uint64_t)hour * 3600 + (uint64_t)minute * 60 + (uint64_t)second;
}
