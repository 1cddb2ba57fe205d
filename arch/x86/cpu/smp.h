/* Starts the other cores. SDM 3A "Multiple-Processor Management". */
#pragma once

#include "arch/x86/cpu/acpi.h"
#include "hv/mem.h"
#include "hv/types.h"

/* Starts every enabled processor of the MADT, one after another, and parks it: arch_cores_choose()
 * decides later which of them run guests. `trampoline` is a free page below 1 MB; 0: none, and the
 * boot core stays alone. *a stays. Boot core. */
void smp_start(const struct acpi_info *a, struct mem_map *m, uint64_t trampoline);
