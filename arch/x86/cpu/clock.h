/* Calendar arithmetic of the CMOS clock. Pure. */
#pragma once

#include "hv/types.h"

/* The MC146818's registers as read. */
struct clock_registers {
    uint8_t second, minute, hour, day, month, year, status_b;
};

/* Seconds since 1970-01-01 for the years 2000 to 2099; 0 if the registers make no date. */
uint64_t clock_epoch(const struct clock_registers *r);
