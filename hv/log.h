/*
 * The hypervisor's log: a byte ring (mapped read-only into the management guest) that is also
 * written to the serial line and the screen. Any core may call, and none waits for another: each
 * core has a queue of its own, which core 0 empties (log_poll()). Never called on the VM-exit hot
 * path.
 *
 * What guests print goes to the serial line too, see hv/serial_line.h: log_source() says where it
 * is, and log_console_grew() that there is more of it.
 */
#pragma once

#include "hv/abi/control.h"
#include "hv/serial_line.h"
#include "hv/types.h"

struct guest;

/* One line, without a trailing newline; the ring and the console get "[seconds.micros] core N:
 * text\n". */
void log_info(const char *format, ...) PRINTF(1, 2);
/* The same, for something an operator should act on; the line says "warning: ". */
void log_warn(const char *format, ...) PRINTF(1, 2);
/* The same, "guest NAME: " before it: on the serial line it comes behind what the guest printed
 * before. Its owning core, or whoever makes it. A guest and who acts on it can cause many of them:
 * each guest has LOG_ABOUT_RATE bytes a second, LOG_ABOUT_BURST at once; a line beyond is lost, and
 * the next one says how many were. */
void log_guest(const struct guest *g, const char *format, ...) PRINTF(2, 3);
void log_guest_warn(const struct guest *g, const char *format, ...) PRINTF(2, 3);
#define LOG_ABOUT_RATE  256u
#define LOG_ABOUT_BURST 8192u
/* A line of the management guest's, any n bytes: shown as plain text, "mgmt: " before it. That
 * guest has LOG_MANAGEMENT_RATE bytes a second, LOG_MANAGEMENT_BURST at once: -E_AGAIN, and the
 * line is lost and counted. Its core. */
int log_management(const char *text, size_t n) MUST_CHECK;
#define LOG_MANAGEMENT_RATE  4096u
#define LOG_MANAGEMENT_BURST 16384u
/* As log_info(), of what the management guest asked for, from the same budget. Its core. */
void log_on_behalf(const char *format, ...) PRINTF(1, 2);
/* A line for the serial line and the screen alone: the ring never has it. Boot core, before
 * log_start(). */
void log_secret(const char *text);

/* From now on nobody waits for the serial line, and other cores may call. What guests' consoles
 * lose on it is counted in lost_bytes, by number. Boot core; -E_NOMEM. */
int log_start(uint64_t lost_bytes[ABI_GUESTS_MAX]) MUST_CHECK;
/* Core 0, again and again: a bounded step of what is to be done. Returns when to call again
 * (absolute ticks; NEVER: a kick says so). */
uint64_t log_poll(void);
/* Would log_poll() do anything? Core 0. */
bool log_is_due(uint64_t now);
/* After a panic: what still waits goes out at once. No other core runs. */
void log_flush(void);

/* The guest of this number prints into `ring`; and it is gone. One core at a time. */
void log_source_open(unsigned number, const char *name, const struct abi_ring *ring);
void log_source_close(unsigned number);
/* The caller's guest has printed something. */
void log_console_grew(void);

/* The ring, ABI_LOG_RING_SIZE + one page, page-aligned. */
struct abi_ring *log_ring(void);
