/* The exit codes of SVM (vmexit_codes.def), as the APM calls them. Pure; linked into the management
 * guest too. */
#pragma once

#include "hv/types.h"

/* The APM's name without VMEXIT_: "CPUID", "CR0_READ"; "UNDEFINED" for codes that the APM does not
 * define. Bits 31:0 of the code count. */
const char *vmexit_name(uint64_t code);
/* When it happens; "" for undefined codes. */
const char *vmexit_when(uint64_t code);
/* The code that abi_svm_exit() counts in this counter; false: no code of its own. */
bool vmexit_of_counter(uint32_t counter, uint32_t *code);
