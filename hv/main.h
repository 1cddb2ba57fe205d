/* Entry from arch/x86: long mode, own page tables, console working, ACPI read, all cores found and
 * parked. Boot core. */
#pragma once

#include "hv/mem.h"
#include "hv/types.h"

struct boot_info {
    struct mem_map
        *memory; /* firmware's map with the kernel, modules and firmware tables already marked */
    uint64_t entry_tsc;  /* TSC at kernel entry */
    const char *cmdline; /* kernel command line from grub.cfg */
};

_Noreturn void hv_main(const struct boot_info *b);
