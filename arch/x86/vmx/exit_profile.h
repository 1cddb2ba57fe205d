/*
 * Exit profiles: what a guest's control words are between the fewest exits that isolation allows
 * and every exit there is. Only bits that isolation does not rest on are among them. Pure.
 */
#pragma once

#include "arch/x86/vmx/vmx.h"
#include "hv/abi/control.h"

#define EXIT_PROFILE_CPU1                                                                          \
    (CPU1_HLT_EXITING | CPU1_INVLPG_EXITING | CPU1_RDTSC_EXITING | CPU1_CR3_LOAD_EXITING |         \
     CPU1_CR3_STORE_EXITING | CPU1_MOV_DR_EXITING | CPU1_PAUSE_EXITING)
#define EXIT_PROFILE_CPU2 (CPU2_RDRAND_EXITING | CPU2_RDSEED_EXITING)

/* The profile as a change of control words. Bits that the CPU does not have are among them. */
static inline struct abi_controls exit_profile(enum abi_exit_profile p)
{
    struct abi_controls k = {0};

    k.mask[ABI_CONTROL_CPU1] = EXIT_PROFILE_CPU1;
    k.mask[ABI_CONTROL_CPU2] = EXIT_PROFILE_CPU2;
    if (p == ABI_EXITS_MOST) {
        k.value[ABI_CONTROL_CPU1] = EXIT_PROFILE_CPU1;
        k.value[ABI_CONTROL_CPU2] = EXIT_PROFILE_CPU2;
    } else if (p == ABI_EXITS_DEFAULT) {
        k.value[ABI_CONTROL_CPU1] = CPU1_HLT_EXITING;
    }
    return k;
}
