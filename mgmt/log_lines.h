/* The hypervisor's log, whose lines begin with the seconds since the machine was switched on. Pure.
 */
#pragma once

#include "hv/types.h"
#include "mgmt/clock.h"

/* The length of "[ seconds.micros] " at the start of a line, and its time; 0: there is none. */
size_t log_stamp(const uint8_t *line, size_t len, uint64_t *us);
/* Writes lines with the wall-clock time (RFC 3339, UTC) in place of their stamps. Writes whole
 * lines only, unless an unfinished one is longer than any of the log's. Returns the bytes written,
 * at most `size`; *used is the number of bytes of `text` in them. */
size_t log_tell(const struct clock *c, const struct abi_host *h, const uint8_t *text, size_t len,
                size_t *used, char *out, size_t size);
