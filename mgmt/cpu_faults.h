/* The faults of the CPU through which a guest could learn of others, in words. */
#pragma once

#include "hv/abi/control.h"
#include "mgmt/json.h"

/* "microcode" and "cpu_faults", in the object that is open. */
void put_cpu_faults(struct json_out *j, const struct abi_host *h);
