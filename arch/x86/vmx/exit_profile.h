/*
 * The control bits of a guest that may change, and exit profiles: from the fewest exits that
 * isolation allows to the most. Pure.
 */
#pragma once

#include "arch/x86/vmx/vmx.h"
#include "hv/abi/control.h"

/* The isolation mask: the bits that may change while a guest runs. Isolation depends on none of
 * them, and every exit that they can cause has a handler. */
#define CHANGEABLE_CPU1                                                                            \
    (CPU1_HLT_EXITING | CPU1_INVLPG_EXITING | CPU1_RDTSC_EXITING | CPU1_CR3_LOAD_EXITING |         \
     CPU1_CR3_STORE_EXITING | CPU1_MOV_DR_EXITING | CPU1_UNCONDITIONAL_IO_EXITING |                \
     CPU1_PAUSE_EXITING | CPU1_USE_TSC_OFFSETTING | CPU1_MONITOR_TRAP_FLAG)
#define CHANGEABLE_CPU2                                                                            \
    (CPU2_ENABLE_RDTSCP | CPU2_RDRAND_EXITING | CPU2_RDSEED_EXITING | CPU2_ENABLE_INVPCID)

static inline uint32_t controls_changeable(unsigned control)
{
    return control == ABI_CONTROL_CPU1   ? CHANGEABLE_CPU1
           : control == ABI_CONTROL_CPU2 ? CHANGEABLE_CPU2
                                         : 0;
}

/* Applies a change to control words. 0; -E_PERM: it changes protected bits; -E_INVAL: the CPU does
 * not allow it (`caps`: the capability MSRs). After an error r->control and r->bits say which. */
static inline int controls_apply(const uint32_t old[ABI_CONTROLS], const struct abi_controls *c,
                                 const uint64_t caps[ABI_CONTROLS], uint32_t words[ABI_CONTROLS],
                                 struct abi_controls_result *r)
{
    r->control = r->bits = 0;
    for (unsigned i = 0; i < ABI_CONTROLS; i++) {
        uint32_t word = (old[i] & ~c->mask[i]) | (c->value[i] & c->mask[i]);
        uint32_t changed = word ^ old[i], kept = changed & ~controls_changeable(i);
        uint32_t cannot =
            changed & ((word & ~(uint32_t)(caps[i] >> 32)) | (~word & (uint32_t)caps[i]));

        words[i] = word;
        if (!kept && !cannot)
            continue;
        r->control = i;
        r->bits = kept ? kept : cannot;
        return kept ? -E_PERM : -E_INVAL;
    }
    return 0;
}

#define EXIT_PROFILE_CPU1                                                                          \
    (CPU1_HLT_EXITING | CPU1_INVLPG_EXITING | CPU1_RDTSC_EXITING | CPU1_CR3_LOAD_EXITING |         \
     CPU1_CR3_STORE_EXITING | CPU1_MOV_DR_EXITING | CPU1_PAUSE_EXITING)
#define EXIT_PROFILE_CPU2 (CPU2_RDRAND_EXITING | CPU2_RDSEED_EXITING)

/* The profile as a change of control words. It may include bits that the CPU does not have. */
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
