/* Keeps what is logged as a warning, in place of the log. A program includes it once, after cmocka.
 */
#pragma once

#include <stdio.h>

static struct {
    char line[40][400];
    unsigned count;
} told;

void log_warn(const char *format, ...)
{
    va_list ap;

    assert_true(told.count < ARRAY_LEN(told.line));
    va_start(ap, format);
    assert_true(vsnprintf(told.line[told.count++], sizeof(told.line[0]), format, ap) <
                (int)sizeof(told.line[0]));
    va_end(ap);
}
