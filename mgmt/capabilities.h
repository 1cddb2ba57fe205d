/* The capability MSRs: their members in struct abi_caps and what their bits mean. Pure. */
#pragma once

#include "hv/abi/control.h"
#include "mgmt/json.h"

/* SDM 3D appendix A: the TRUE MSRs have other numbers. */
struct capability {
    uint16_t msr, true_msr; /* 0: there is only one */
    uint16_t offset;        /* in struct abi_caps */
};

extern const struct capability capabilities[];
extern const unsigned capability_count;

uint64_t capability_value(const struct abi_caps *caps, const struct capability *k);
/* The MSR that the value was read from. */
uint32_t capability_msr(const struct abi_caps *caps, const struct capability *k);
/* The reverse. False: no capability MSR has this number. */
bool capability_set(struct abi_caps *caps, uint32_t msr, uint64_t value);
/* Writes the MSR as an object of the open array; `differs`: from core 0's. */
void capability_put(struct json_out *j, uint32_t msr, uint64_t value, bool differs, bool decode);
