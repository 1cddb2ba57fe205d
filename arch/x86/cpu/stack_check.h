/* What compilers need for -fstack-protector. */
#pragma once

#include "hv/types.h"

/* Functions put this on the stack and compare it on return (-mstack-protector-guard=global).
 * boot_main() sets it, before other cores run. */
extern uintptr_t __stack_chk_guard;
