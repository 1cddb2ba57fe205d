/* Reads a byte ring of the control ABI while it is written. Pure. */
#pragma once

#include "hv/abi/control.h"

/* Where a reader that wants to begin at `from` can begin: there, or at the oldest byte if that one
 * is gone or never existed, because this is not the ring that the reader knew. */
uint64_t ring_begin(const struct abi_ring *r, uint64_t from);
/* Copies bytes [*from, end) of a ring to `out`, at most `size`; *from is moved as by ring_begin().
 */
size_t ring_copy(const struct abi_ring *r, uint64_t *from, uint8_t *out, size_t size);
