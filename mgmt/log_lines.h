/* The hypervisor's log, whose lines begin with the seconds since the machine was switched on. Pure.
 */
#pragma once

#include "hv/types.h"
#include "mgmt/clock.h"

/* The length of "[ seconds.micros] " at the start of a line, and the time it tells; 0: there is
 * none. */
size_t log_stamp(const uint8_t *line, size_t len, uint64_t *us);
/* Writes lines with the wall-clock time (RFC 3339, UTC) in the place of their stamps: whole lines,
 * and an unfinished one only when it is longer than any of the log's. Returns the bytes written,
 * at most `size`, and in *used how many of `text` are in them. */
size_t log_tell(const struct clock *c, const struct abi_host *h, const uint8_t *text, size_t len,
                size_t *used, char *out, size_t size);
