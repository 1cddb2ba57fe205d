/* The stacks of jobs (hv/job.h). */
#pragma once

#include "hv/arch.h"

/* The page below stack `n`, which is unmapped: see struct core_block. */
void *stack_guard(unsigned n);
