/* UTF-8 (RFC 3629), for all that reads or writes it here. Pure. */
#pragma once

#include "hv/types.h"

#define UTF8_MAX 4u /* bytes of one character */

/* The length of the sequence that begins here, of at most `n` bytes; 0: none. n > 0. */
static inline size_t utf8_length(const uint8_t *s, size_t n)
{
    uint8_t low = 0x80, high = 0xbf;
    size_t len = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

    if (s[0] > 0xf4 || len == 0 || len > n)
        return 0;
    if (s[0] == 0xe0)
        low = 0xa0; /* lower values would be overlong */
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xed)
        high = 0x9f; /* surrogates */
    else if (s[0] == 0xf4)
        high = 0x8f; /* above U+10FFFF */
    if (len > 1 && (s[1] < low || s[1] > high))
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

/* Writes a character, which is no surrogate; returns the number of bytes. */
static inline size_t utf8_put(uint32_t code, char out[UTF8_MAX])
{
    size_t len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

    for (size_t i = len - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(len == 1 ? code : (0xf00u >> len & 0xff) | code);
    return len;
}

/* C0, DEL and C1, as a sequence of `len` bytes: a terminal that shows them would obey them. */
static inline bool utf8_is_control(const uint8_t *s, size_t len)
{
    return s[0] < 0x20 || s[0] == 0x7f || (len == 2 && s[0] == 0xc2 && s[1] < 0xa0);
}
