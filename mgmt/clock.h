/*
 * The wall clock: one offset to the TSC. It starts from the machine's clock chip at boot and is
 * corrected by SNTP. Everything that reports a time of day asks here. Pure.
 */
#pragma once

#include "hv/abi/control.h"

#define CLOCK_TEXT 28u /* "2026-11-23T21:06:00.123456Z" and its NUL */
#define CLOCK_HTTP 30u /* "Mon, 23 Nov 2026 21:06:00 GMT" and its NUL */

struct clock {
    uint64_t zero_us; /* microseconds since 1970 (UTC) when the TSC was 0; may have wrapped */
    bool synchronised;
};

void clock_init(struct clock *c, const struct abi_host *h);
/* Sets the clock: it is `us` since 1970 at TSC `tsc`. */
void clock_set(struct clock *c, const struct abi_host *h, uint64_t tsc, uint64_t us);
/* False: the clock chip gave no time, and no server has yet. */
bool clock_is_known(const struct clock *c, const struct abi_host *h);
/* Microseconds since 1970 at TSC `tsc`. */
uint64_t clock_us(const struct clock *c, const struct abi_host *h, uint64_t tsc);
/* Microseconds that `ticks` of the TSC take; 0 while its frequency is unknown. */
uint64_t clock_ticks_us(const struct abi_host *h, uint64_t ticks);
/* RFC 9110, section 5.6.7: IMF-fixdate. Years above 9999 become 9999. */
void clock_http(char out[CLOCK_HTTP], uint64_t seconds);
/* RFC 3339, section 5.6, UTC, with microseconds. Years above 9999 become 9999. */
void clock_text(char out[CLOCK_TEXT], uint64_t us);
