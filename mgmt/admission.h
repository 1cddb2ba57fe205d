/*
 * Does another guest fit on a core? Pure. Guaranteed time is never promised twice. Guests without a
 * guarantee always fit: they share what is left by weight.
 */
#pragma once

#include "mgmt/config/config.h"

struct admission_core {
    uint32_t vcpus;
    uint32_t guaranteed; /* parts per million of its time, for all its guests */
};

/* The core the guest asks for, or the core with the fewest vCPUs among those where its guarantee
 * fits. -E_NOENT: no such core. -E_BUSY: not enough time left; *why has the sum. */
int admission_choose(const struct admission_core *cores, unsigned count,
                     const struct guest_config *c, unsigned *core, char *why,
                     size_t size) MUST_CHECK;
