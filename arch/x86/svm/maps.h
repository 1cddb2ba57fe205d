/* The permission maps: which ports and MSRs exit. APM vol. 2 "I/O Intercepts", "MSR Intercepts".
 * Pure.
 */
#pragma once

#include "hv/types.h"

#define IOPM_SIZE  0x3000u
#define MSRPM_SIZE 0x2000u

/* Everything exits except the guest's own MSRs. */
void msrpm_make(uint8_t map[MSRPM_SIZE]);
/* True if the access exits. */
bool msrpm_exits(const uint8_t map[MSRPM_SIZE], uint32_t msr, bool write);
