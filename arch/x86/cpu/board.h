/* Odds and ends of a PC: reset, random numbers, the clock. */
#pragma once

#include "arch/x86/cpu/acpi.h"
#include "hv/types.h"

/* Keeps the FADT's reset register for arch_reboot(). Boot core. */
void board_init(const struct acpi_info *a);
/* Reads the clock once for arch_boot_epoch(). Boot core. */
void clock_init(void);
