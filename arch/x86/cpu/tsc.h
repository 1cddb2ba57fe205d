/* The time-stamp counter's frequency, and short waits. */
#pragma once

#include "arch/x86/cpu/acpi.h"
#include "hv/types.h"

/* Measures against channel 2 of the PIT, and at the same time against the ACPI PM timer and the
 * HPET if the tables name them. Panics if no clock counts. Boot core. */
void tsc_calibrate(const struct acpi_info *a);
/* Busy-waits. Start-up only. */
void tsc_wait_us(uint64_t us);
