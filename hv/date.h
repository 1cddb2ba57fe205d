/* The calendar. Pure. */
#pragma once

#include "hv/types.h"

struct date {
    uint32_t year, month, day, weekday, hour, minute, second; /* weekday 1: Sunday */
};

/* Converts seconds since 1970, UTC. */
struct date date_of(uint64_t epoch);
