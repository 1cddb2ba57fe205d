#include "mgmt/bhctl/format.h"

#include "mgmt/bhctl/plain_utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void format_bytes(char buf[FORMAT_MAX], uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    unsigned unit = 0;
    uint64_t whole = bytes, tenth;

    while (whole >= 1024 && unit + 1 < ARRAY_LEN(units)) {
        whole >>= 10;
        unit++;
    }
    /* Tenths, rounded down: never shows more than there is. */
    tenth = unit ? ((bytes >> (10 * (unit - 1))) & 1023) * 10 / 1024 : 0;
    if (tenth && whole < 100)
        (void)snprintf(buf, FORMAT_MAX, "%" PRIu64 ".%" PRIu64 " %s", whole, tenth, units[unit]);
    else
        (void)snprintf(buf, FORMAT_MAX, "%" PRIu64 " %s", whole, units[unit]);
}

/* The length in bytes of the first character; 0: it must not be shown. */
static size_t character(const char *text)
{
    struct plain p = {0};
    char shown[PLAIN_MAX];

    for (size_t i = 0; text[i]; i++) {
        size_t n = plain_feed(&p, plain_utf8, (uint8_t)text[i], shown);

        if (n)
            return n == i + 1 && memcmp(shown, text, n) == 0 ? n : 0;
        if ((text[i] & 0x80) == 0)
            break;
    }
    return 0;
}

void format_clean(char *text, const char *kept)
{
    while (*text) {
        bool control = (*text > 0 && *text < ' ') || *text == 0x7f;
        size_t n = control ? strchr(kept, *text) != NULL : character(text);

        if (n == 0)
            *text = '?';
        text += n ? n : 1;
    }
}

void format_seconds(char buf[FORMAT_MAX], uint64_t s)
{
    if (s < 60)
        (void)snprintf(buf, FORMAT_MAX, "%" PRIu64 " s", s);
    else if (s < 3600)
        (void)snprintf(buf, FORMAT_MAX, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
    else if (s < 86400)
        (void)snprintf(buf, FORMAT_MAX, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s / 60 % 60);
    else
        (void)snprintf(buf, FORMAT_MAX, "%" PRIu64 " d %" PRIu64 " h", s / 86400, s / 3600 % 24);
}

void format_ticks(char buf[FORMAT_MAX], uint64_t ticks, uint64_t hz)
{
    double s = hz ? (double)ticks / (double)hz : 0;

    if (!hz)
        (void)snprintf(buf, FORMAT_MAX, "%" PRIu64 " ticks", ticks);
    else if (s < 0.001)
        (void)snprintf(buf, FORMAT_MAX, "%.1f us", 1e6 * s);
    else if (s < 1)
        (void)snprintf(buf, FORMAT_MAX, "%.1f ms", 1e3 * s);
    else if (s < 60)
        (void)snprintf(buf, FORMAT_MAX, "%.1f s", s);
    else
        format_seconds(buf, ticks / hz);
}

void format_percent(char buf[FORMAT_MAX], uint64_t part, uint64_t whole)
{
    (void)snprintf(buf, FORMAT_MAX, "%.1f %%", whole ? 100.0 * (double)part / (double)whole : 0.0);
}

void format_progress(char *buf, size_t size, const char *name, uint64_t done, uint64_t total,
                     unsigned width)
{
    char amount[FORMAT_MAX], tail[64], bar[65];
    unsigned percent = total ? (unsigned)((double)done * 100 / (double)total) : 100;
    size_t fixed, room, filled;

    format_bytes(amount, done);
    (void)snprintf(tail, sizeof(tail), "%3u %%  %-10s", percent, amount);
    fixed = strlen(name) + strlen(tail) + 4;
    room = width > fixed ? width - fixed : 0;
    if (room >= sizeof(bar))
        room = sizeof(bar) - 1;
    filled = percent > 100 ? room : room * percent / 100;
    memset(bar, ' ', room);
    memset(bar, '#', filled);
    bar[room] = 0;
    if (room >= 5)
        (void)snprintf(buf, size, "%s [%s] %s", name, bar, tail);
    else
        (void)snprintf(buf, size < width + 1 ? size : width + 1, "%s %s", name, tail);
}
