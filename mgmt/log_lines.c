#include "mgmt/log_lines.h"

#include "hv/lib.h"

#define SECOND_US 1000000u
#define DIGITS    6u    /* of the fraction of a second */
#define LINE_MOST 1024u /* the log's own lines are shorter; longer text comes in parts */

size_t log_stamp(const uint8_t *line, size_t len, uint64_t *us)
{
    uint64_t seconds = 0, micros = 0;
    unsigned digits = 0;
    size_t i = 1;

    if (len == 0 || line[0] != '[')
        return 0;
    while (i < len && line[i] == ' ')
        i++;
    for (; i < len && line[i] >= '0' && line[i] <= '9' && digits < 12; i++, digits++)
        seconds = seconds * 10 + (uint64_t)(line[i] - '0');
    if (digits == 0 || i + DIGITS + 3 > len || line[i++] != '.')
        return 0;
    for (digits = 0; digits < DIGITS && line[i] >= '0' && line[i] <= '9'; i++, digits++)
        micros = micros * 10 + (uint64_t)(line[i] - '0');
    if (digits != DIGITS || line[i] != ']' || line[i + 1] != ' ')
        return 0;
    *us = seconds * SECOND_US + micros;
    return i + 2;
}

/* The length of a text's first line with its end; 0: the line is unfinished. */
static size_t line_length(const uint8_t *text, size_t len)
{
    size_t n = 0;

    while (n < len && n < LINE_MOST)
        if (text[n++] == '\n')
            return n;
    return n == LINE_MOST ? n : 0;
}

size_t log_tell(const struct clock *c, const struct abi_host *h, const uint8_t *text, size_t len,
                size_t *used, char *out, size_t size)
{
    size_t n = 0, line;

    for (*used = 0; (line = line_length(text + *used, len - *used)) > 0; *used += line) {
        uint64_t us;
        size_t stamp = log_stamp(text + *used, line, &us);

        if (size - n < line + CLOCK_TEXT)
            break;
        if (stamp) {
            clock_text(out + n, clock_us(c, h, 0) + us);
            n += CLOCK_TEXT - 1;
            out[n++] = ' ';
        }
        memcpy(out + n, text + *used + stamp, line - stamp);
        n += line - stamp;
    }
    return n;
}
