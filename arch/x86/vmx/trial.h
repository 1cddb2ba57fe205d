/* Whether the CPU processes posted interrupts as the SDM has it. */
#pragma once

#include "hv/types.h"

/* Tries it with a guest of a few instructions, which ends by itself, if the CPU claims to have
 * them. Boot core, in VMX root operation, before a VMCS is current. */
bool vmx_posts(void);
