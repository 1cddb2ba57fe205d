/* What known faults of CPUs ask of the root. By CPUID.1:EAX. Pure. */
#pragma once

#include "hv/types.h"

/* Without stepping, type and reserved bits: family and model. */
#define SIGNATURE_FAMILY_MASK 0x0ff00f00u
#define SIGNATURE_STEPPINGS   0x0fff0fffu /* family, model, stepping */
#define SIGNATURE_FAMILY_10H  0x00100f00u /* AMD's alone */

/* C1eOnCmpHalt, SmiOnCmpHalt in MSRC001_0055 */
#define INT_PENDING_C1E       (3ull << 27)

/* AMD, "Revision Guide for AMD Family 10h Processors", erratum 400: in C1E, to which firmware lets
 * the chipset go once all cores are in HLT, the local APIC's timer stands still: it would not wake
 * them. True: INT_PENDING_C1E has to be cleared. */
static inline bool erratum_c1e_stops_the_timer(uint32_t signature)
{
    return (signature & SIGNATURE_FAMILY_MASK) == SIGNATURE_FAMILY_10H;
}

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
