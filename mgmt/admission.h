/*
 * May another guest come onto a core? Pure. Guaranteed time is never promised twice; guests without
 * a guarantee always fit, they share what is left by weight.
 */
#pragma once

#include "hv/config.h"

struct admission_core {
    uint32_t vcpus;
    uint32_t guaranteed; /* parts per million of its time, of all guests on it */
};

/* The core the guest asks for, or of those on which its guarantee fits the one with the fewest
 * vCPUs. -E_NOENT: no such core; -E_BUSY: not enough time left, and *why says the sum. */
int admission_choose(const struct admission_core *cores, unsigned count,
                     const struct guest_config *c, unsigned *core, char *why,
                     size_t size) MUST_CHECK;
