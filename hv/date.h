/* The calendar. Pure. */
#pragma once

#include "hv/types.h"

struct date {
    uint32_t year, month, day, weekday, hour, minute, second; /* weekday 1: Sunday */
};

/* Converts seconds since 1970, UTC. */
struct date date_of(uint64_t epoch);
/* The reverse; years from 1970 on, months 1 to 12. Days and times beyond their limits count on into
 * what follows; the weekday is not looked at. */
uint64_t date_seconds(const struct date *d);
