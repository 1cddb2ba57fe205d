/* Reading a byte ring of the control ABI while it is written. Pure. */
#pragma once

#include "hv/abi/control.h"

/* Where a reader that wants to begin at `from` can: there; or at the oldest byte, when that one is
 * gone, or was never there, because the ring is not the one that the reader knew. */
uint64_t ring_begin(const struct abi_ring *r, uint64_t from);
/* Bytes [*from, end) of a ring into the start of `out`, at most `size`; *from is moved as by
 * ring_begin(). */
size_t ring_copy(const struct abi_ring *r, uint64_t *from, uint8_t *out, size_t size);
