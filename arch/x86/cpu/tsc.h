/* The time-stamp counter's frequency, and short waits. */
#pragma once

#include "hv/types.h"

/* Measures against channel 2 of the PIT. Boot core. */
void tsc_calibrate(void);
/* Busy-waits. Start-up only. */
void tsc_wait_us(uint64_t us);
