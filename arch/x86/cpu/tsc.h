/* The time-stamp counter's frequency, and short waits. */
#pragma once

#include "arch/x86/cpu/acpi.h"
#include "hv/types.h"

/* Measures, asks the CPU, decides and logs (calibrate.h has the rule). Panics if there is no source
 * at all. Boot core. */
void tsc_calibrate(const struct acpi_info *a);
/* Busy-waits. Start-up only. */
void tsc_wait_us(uint64_t us);
