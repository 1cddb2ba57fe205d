/* The stacks of jobs (hv/job.h). */
#pragma once

#include "hv/arch.h"

/* The unmapped page below stack `n`: see struct core_block. */
void *stack_guard(unsigned n);
