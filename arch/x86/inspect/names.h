/* Names of exit reasons and VM-instruction errors, as the SDM calls them. Pure; linked into the
 * management guest too. */
#pragma once

#include "hv/types.h"

/* The name of the basic exit reason (bits 15:0): "EPT_VIOLATION"; "UNDEFINED" for numbers the SDM
 * does not define. */
const char *vmx_exit_reason_name(uint32_t reason);
/* SDM 3C "VM Instruction Error Numbers": "VM entry with invalid control field(s)". */
const char *vmx_instruction_error_name(uint32_t error);
