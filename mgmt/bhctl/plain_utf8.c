#include "mgmt/bhctl/plain_utf8.h"

#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

struct range {
    uint32_t first, last;
};

/* Invisible characters, and those that change how others look: Unicode's bidirectional and
 * invisible format characters, line separators, surrogates, tags. */
static bool is_special(uint32_t c)
{
    static const struct range ranges[] = {
        {0xad, 0xad},     {0x61c, 0x61c},   {0x180e, 0x180e},   {0x200b, 0x200f},
        {0x2028, 0x202e}, {0x2060, 0x206f}, {0xd800, 0xdfff},   {0xfeff, 0xfeff},
        {0xfff9, 0xfffb}, {0xfffe, 0xffff}, {0xe0000, 0xe0fff},
    };

    for (size_t i = 0; i < ARRAY_LEN(ranges); i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return true;
    return false;
}

size_t plain_utf8(const struct plain *p, uint32_t c, char *out)
{
    bool shown = c != PLAIN_INVALID && !is_special(c);
    size_t n = shown ? p->length : sizeof(REPLACEMENT) - 1;

    memcpy(out, shown ? (const void *)p->bytes : REPLACEMENT, n);
    return n;
}
