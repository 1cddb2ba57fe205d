/* The VMCS beside the VMCB (compare.def). Pure; linked into the management guest and host tools,
 * not into the root. */
#pragma once

#include "hv/types.h"

#define COMPARE_NONE (-1)

struct compare {
    const char
        *topic;     /* a heading: the rows up to the next heading; the other members mean nothing */
    int vmcs, vmcb; /* rows of the fields; COMPARE_NONE: there is no such field */
    const char *vmcs_bit, *vmcb_bit; /* a control bit of each; "": the whole fields */
    const char *note; /* how they differ, or why there is none; "": they hold the same */
};

unsigned compare_count(void);
/* NULL beyond. */
const struct compare *compare_row(unsigned n);
