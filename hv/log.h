/*
 * The hypervisor's log: a byte ring (mapped read-only into the management guest) that is also
 * written to the serial line and the screen. Any core may call, and none waits for another: each
 * core has its own queue, which core 0 empties (log_poll()). Never called on the VM-exit hot path.
 *
 * Guests' output goes to the serial line too, see hv/serial_line.h: log_source_open() says where it
 * is, and log_console_grew() that it has grown.
 */
#pragma once

#include "hv/abi/control.h"
#include "hv/serial_line.h"
#include "hv/types.h"

struct guest;

/* One line, without a trailing newline; the ring and the console get "[seconds.micros] core N:
 * text\n". */
void log_info(const char *format, ...) PRINTF(1, 2);
/* The same with "warning: ", for something an operator should act on. */
void log_warn(const char *format, ...) PRINTF(1, 2);
/* The same with "guest NAME: " before it. On the serial line it follows what the guest printed
 * before. Any core of the guest's, or the core that makes it. A guest or its operator could cause
 * many of these lines, so each guest has LOG_ABOUT_RATE bytes a second and a burst of
 * LOG_ABOUT_BURST; a line beyond that is lost, and the next one says how many were. */
void log_guest(const struct guest *g, const char *format, ...) PRINTF(2, 3);
void log_guest_warn(const struct guest *g, const char *format, ...) PRINTF(2, 3);
#define LOG_ABOUT_RATE  256u
#define LOG_ABOUT_BURST 8192u
/* Converts untrusted text to one line of ASCII, see plain_line(); rests (hv/job.h) on the way. */
size_t log_plain(const char *text, size_t n, char *out, size_t room);

/* A line from the management guest, any n bytes, shown as plain text after "mgmt: ". Its budget is
 * LOG_MANAGEMENT_RATE bytes a second and a burst of LOG_MANAGEMENT_BURST. -E_AGAIN: beyond that,
 * the line is lost and counted. Its core. */
int log_management(const char *text, size_t n) MUST_CHECK;
#define LOG_MANAGEMENT_RATE  4096u
#define LOG_MANAGEMENT_BURST 16384u
/* Like log_info(), for what the management guest requested; from the same budget. Its core. */
void log_on_behalf(const char *format, ...) PRINTF(1, 2);
/* A line for the serial line and the screen alone: it never enters the ring. Boot core, before
 * log_start(). */
void log_secret(const char *text);

/* From now on no core waits for the serial line, and other cores may call. lost_bytes counts, by
 * guest number, the console bytes that never reach it. Boot core; -E_NOMEM. */
int log_start(uint64_t lost_bytes[ABI_GUESTS_MAX]) MUST_CHECK;
/* Does a bounded step of the pending work. Returns when to call again (absolute ticks; NEVER: after
 * a kick). Core 0. */
uint64_t log_poll(void);
/* True if log_poll() has something to do. Core 0. */
bool log_is_due(uint64_t now);
/* After a panic: sends all that still waits, at once. No other core runs. */
void log_flush(void);

/* The guest with this number starts to print into `ring`; it is gone. One core at a time. */
void log_source_open(unsigned number, const char *name, const struct abi_ring *ring);
void log_source_close(unsigned number);
/* A guest on the calling core has printed something. */
void log_console_grew(void);

/* The ring, ABI_LOG_RING_SIZE + one page, page-aligned. */
struct abi_ring *log_ring(void);
