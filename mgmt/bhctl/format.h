/* Numbers for people. Pure. */
#pragma once

#include "hv/types.h"

#define FORMAT_MAX 32u

/* "4 MiB", "1.5 GiB", "600 B": exact if that is short. */
void format_bytes(char buf[FORMAT_MAX], uint64_t bytes);
/* Replaces with '?' what a terminal would obey, and what is not UTF-8: ASCII control characters not
 * in `kept`, and whatever hv/plain.h does not let through. */
void format_clean(char *text, const char *kept);
/* "3 s", "2 min 5 s", "1 d 2 h". */
void format_seconds(char buf[FORMAT_MAX], uint64_t seconds);
/* "15.8 us"; "316 ticks" without a frequency (0). */
void format_ticks(char buf[FORMAT_MAX], uint64_t ticks, uint64_t hz);
/* part of whole, "12.3 %"; "0.0 %" if whole is 0. */
void format_percent(char buf[FORMAT_MAX], uint64_t part, uint64_t whole);
/* A line of at most `width` columns: "name [####    ]  42 %  1.0 MiB". Cut if necessary. */
void format_progress(char *buf, size_t size, const char *name, uint64_t done, uint64_t total,
                     unsigned width);
