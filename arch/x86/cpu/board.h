/* Odds and ends of a PC: reset, random numbers, the clock. */
#pragma once

#include "arch/x86/cpu/acpi.h"
#include "hv/types.h"

/* Keeps the FADT's reset register for arch_reboot(). Boot core. */
void board_init(const struct acpi_info *a);
/* The last step of arch_reboot(), when all is quiet. */
_Noreturn void board_reset(void);
/* The last resort, which needs no device: the CPU shuts down, and a PC resets it. */
_Noreturn void board_triple_fault(void);
/* Reads the clock once for arch_boot_epoch(). Boot core. */
void clock_init(void);
