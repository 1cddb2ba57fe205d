/* What known faults of CPUs ask of the root, by CPUID.1:EAX. What guests could learn through
 * faults: leaks.h. */
#pragma once

#include "hv/abi/cpu_faults.h"
#include "hv/types.h"

#define SIGNATURE_STEPPINGS 0x0fff0fffu /* family, model, stepping */

/* Intel's specification updates, "VMX-Preemption Timer Does Not Count Down at the Rate Specified":
 * 323344 BA86, 322814 AAT59, 322911 AAU65, and Xeon E3-1200 v2. Older CPUs that have it have no
 * unrestricted guest. */
static inline bool erratum_preemption_timer_is_off(uint32_t signature)
{
    switch (signature & SIGNATURE_STEPPINGS) {
    case 0x206e6: /* Xeon 7500 */
    case 0x20652: /* Core i3, i5, i7 of 2010: Clarkdale and Arrandale */
    case 0x20655:
    case 0x306a8:
        return true;
    default:
        return false;
    }
}

/* The microcode revision from which on the TSC-deadline timer of an Intel CPU works although
 * firmware has written IA32_TSC_ADJUST; 0: any. */
uint32_t erratum_deadline_fixed_by(uint32_t signature);

/* Sets the bits that AMD's revision guides and security bulletins ask for, on the calling core of
 * an AMD CPU. */
void errata_fix_core(uint32_t signature);
