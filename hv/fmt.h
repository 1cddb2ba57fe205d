/*
 * printf for the root: %c %s %d %u %x %X %p %% with the flags `-` and `0`, width, `.precision`
 * (strings; `*` too) and the lengths l ll z. Pure: no globals, no allocation.
 */
#pragma once

#include "hv/types.h"
#include <stdarg.h>

/* Like vsnprintf: always terminates when size > 0; returns the length the whole text would have. */
size_t fmt_v(char *buf, size_t size, const char *format, va_list ap) PRINTF(3, 0);
size_t fmt(char *buf, size_t size, const char *format, ...) PRINTF(3, 4);

/* Formats one number cheaply: at least `width` digits, padded with `fill`. `at` has room for
 * `width` digits and for at least 20. Not terminated; returns its end. */
char *fmt_digits(char *at, uint64_t v, unsigned width, char fill);
