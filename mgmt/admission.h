/*
 * Do another guest's vCPUs fit on the cores? Pure. Guaranteed time is never promised twice. Guests
 * without a guarantee always fit: they share what is left by weight.
 */
#pragma once

#include "mgmt/config/config.h"

struct admission_core {
    uint32_t vcpus;
    uint32_t guaranteed; /* parts per million of its time, for all its vCPUs */
    uint32_t node;       /* NUMA node */
    /* A guest on a thread beside it that must not run beside this one; NULL: none. */
    const char *stranger;
};

/* Fills in c->core and c->cores, one for each vCPU: the cores that the configuration names, or
 * different ones, those with the fewest vCPUs among those where the guarantee fits. Of equal cores
 * the first vCPU gets one of the node with the fewest vCPUs a core, and the others are near it.
 * Errors leave *c alone. -E_NOENT: it names a core that does not exist. -E_NOSPC: it names none,
 * and the machine has fewer cores than it has vCPUs. -E_BUSY: not enough time left; *why has the
 * sum. -E_PERM: a stranger runs beside it on each core that it could have. */
int admission_choose(const struct admission_core *cores, unsigned count, struct guest_config *c,
                     char *why, size_t size) MUST_CHECK;
