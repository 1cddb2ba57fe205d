/* Which member of struct abi_caps each capability MSR is. Pure. */
#pragma once

#include "hv/abi/control.h"

/* SDM 3D appendix A: the TRUE MSRs have other numbers. */
struct capability {
    uint16_t msr, true_msr; /* true_msr 0: there is only one */
    uint16_t offset;        /* in struct abi_caps */
};

extern const struct capability capabilities[];
extern const unsigned capability_count;

uint64_t capability_value(const struct abi_caps *caps, const struct capability *k);
/* The MSR that the value was read from. */
uint32_t capability_msr(const struct abi_caps *caps, const struct capability *k);
/* The other way round. False: no capability MSR has this number. */
bool capability_set(struct abi_caps *caps, uint32_t msr, uint64_t value);
