/* Shared by decode_vmcb*.c only. */
#pragma once

#include "arch/x86/inspect/decode_format.h"
#include "hv/types.h"

struct vmcb_context {
    bool known; /* the exit code is known */
    uint32_t exit_code;
    struct decode_context decode; /* for the formats that VMCS and VMCB have in common */
};

/* The format of a row (enum vmcb_row); NULL: none. They may set members of c->decode that the
 * format needs. */
const struct decode_format *decode_vmcb_exit(unsigned row, struct vmcb_context *c);
const struct decode_format *decode_vmcb_state(unsigned row, struct vmcb_context *c);
