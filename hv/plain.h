/*
 * Makes untrusted text harmless to a terminal: no control characters (C0, DEL and C1, raw or as
 * UTF-8), no escape sequences, nothing that moves the cursor. What becomes of other characters is
 * the caller's choice. ECMA-48 "Control functions". Pure.
 */
#pragma once

#include "hv/types.h"

/* The state between two bytes. All zero: the beginning. */
struct plain {
    uint8_t state;   /* enum plain_state of plain.c */
    uint8_t missing; /* bytes of a UTF-8 sequence that are still to come */
    uint8_t length;  /* bytes of it so far */
    uint8_t bytes[4];
};

/* Writes what to show for a character beyond ASCII and the C1 controls: the code point `c`, whose
 * UTF-8 is in p->bytes; PLAIN_INVALID: what is no character. Returns the number of bytes, at
 * most 4. */
typedef size_t plain_other(const struct plain *p, uint32_t c, char *out);
#define PLAIN_INVALID UINT32_MAX
/* One '?': for unknown terminals. */
size_t plain_ascii(const struct plain *p, uint32_t c, char *out);

/* The most output for one byte: the end of what came before, and itself. */
#define PLAIN_MAX 8u

/* Takes a byte and writes what to show for it; returns the number of bytes. Tabs and line feeds
 * pass unchanged; a line feed also ends any sequence that it interrupts. A carriage return is
 * dropped. */
size_t plain_feed(struct plain *p, plain_other *other, uint8_t byte, char out[PLAIN_MAX]);

/* True: the byte is shown as it is and changes no state, so plain_feed() need not be called. */
static inline bool plain_is_itself(const struct plain *p, uint8_t byte)
{
    return p->state == 0 && (uint8_t)(byte - ' ') < 0x7f - ' ';
}

/* Converts the next n bytes of a text (*p is zero before the first) to one line of ASCII: line
 * feeds and tabs become blanks. Returns the number of bytes in `out`, at most `room`. */
size_t plain_line(struct plain *p, const char *text, size_t n, char *out, size_t room);
