/* The permission maps: which ports and MSRs exit. APM vol. 2 "I/O Intercepts", "MSR Intercepts".
 * Pure.
 */
#pragma once

#include "hv/types.h"

#define IOPM_SIZE  0x3000u
#define MSRPM_SIZE 0x2000u
#define MAPS_SIZE  (MSRPM_SIZE + IOPM_SIZE)

/* Every MSR exits except the guest's own ones. */
void msrpm_make(uint8_t map[MSRPM_SIZE]);
