/*
 * The hypervisor's log: a byte ring (mapped read-only into the management guest) that is also
 * written to the console. Any core may call; a lock orders whole lines. Never called on the VM-exit
 * hot path.
 */
#pragma once

#include "hv/abi/control.h"
#include "hv/types.h"

/* One line, without a trailing newline; the ring and the console get "[seconds.micros] core N:
 * text\n". */
void log_info(const char *format, ...) PRINTF(1, 2);
/* The same, for something an operator should act on; the line says "warning: ". */
void log_warn(const char *format, ...) PRINTF(1, 2);
/* Raw bytes to the serial console alone (guest output, lines with their CR LF); `n` bytes, written
 * under the same lock so that lines never interleave. */
void log_console(const char *s, size_t n);
/* A line for the serial console and the screen alone: the ring never has it. */
void log_secret(const char *line);
/* Core 0, again and again: sends what the console's devices take. Returns when to call again
 * (absolute ticks; NEVER: a kick says so). */
uint64_t log_poll(void);
/* The ring, ABI_LOG_RING_SIZE + one page, page-aligned. */
struct abi_ring *log_ring(void);
