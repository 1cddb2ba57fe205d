/* Entry trials of the second backend, which is an object of its own. */
#pragma once

#include "hv/vcpu.h"

/* `set_up` makes the vCPU; 0, or an error. */
void vmrun_trials(struct vcpu *v, int (*set_up)(struct vcpu *v));
