/* Reading a byte ring of the control ABI while it is written. Pure. */
#pragma once

#include "hv/abi/control.h"

/* Bytes [*from, end) of a ring into the start of `out`, at most `size`; *from is moved up to what
 * is still there. */
size_t ring_copy(const struct abi_ring *r, uint64_t *from, uint8_t *out, size_t size);
