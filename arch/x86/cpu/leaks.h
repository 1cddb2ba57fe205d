/*
 * Keeps a core's predictors and buffers from telling one guest what another, or the root, has done
 * there: as far as the CPU has means for it that cost little. README.md, "What guests could learn".
 */
#pragma once

#include "hv/abi/cpu_faults.h"

/* As the boot core found it. */
extern struct abi_cpu_faults cpu_faults;

/* Fills it in on the boot core, whose first call it is; then switches on what stays on, on the
 * calling core. */
void leaks_set_up_core(void);
/* The next vCPU that runs on this core is another guest's than the last. */
void leaks_change_guest(void);
void leaks_clear_buffers(void);

/* A run of a vCPU begins: since the last one the core may have touched anything. */
static inline void leaks_begin_run(void)
{
    if (__builtin_expect(cpu_faults.measures & (ABI_MEASURE_L1D | ABI_MEASURE_VERW), 0))
        leaks_clear_buffers();
}
