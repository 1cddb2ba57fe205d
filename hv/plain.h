/*
 * Text of strangers, as something that can do nothing to a terminal: no control characters (C0, DEL
 * and C1, raw or as UTF-8), no escape sequences, nothing that moves the cursor or turns the
 * direction of writing. ECMA-48 "Control functions"; Unicode 15 chapter 23 "Special Areas and
 * Format Characters". Pure.
 */
#pragma once

#include "hv/types.h"

enum plain_set {
    PLAIN_ASCII, /* one '?' for each other character: for terminals that nobody knows */
    PLAIN_UTF8,  /* other characters as they are, U+FFFD for what is none */
};

/* Between two bytes. All zero: the beginning. */
struct plain {
    uint8_t state;   /* enum plain_state of plain.c */
    uint8_t missing; /* bytes of a UTF-8 sequence that are still to come */
    uint8_t length;  /* bytes of it so far */
    uint8_t bytes[4];
};

/* What one byte can lead to at most: the end of what was there, and itself. */
#define PLAIN_MAX 8u

/* Takes a byte and writes what is to be shown of it: how many bytes. A tab and a line feed come
 * through as they are; a line feed also ends whatever sequence it is in. A carriage return is
 * dropped. */
size_t plain_feed(struct plain *p, enum plain_set set, uint8_t byte, char out[PLAIN_MAX]);

/* True: the byte is shown as it is and changes nothing, so that plain_feed() need not be asked. */
static inline bool plain_is_itself(const struct plain *p, uint8_t byte)
{
    return p->state == 0 && (uint8_t)(byte - ' ') < 0x7f - ' ';
}

/* The next n bytes of a text, of which *p is zero before the first: how many bytes of `out` they
 * became, at most `room`. In one line: line feeds and tabs become blanks. Always ASCII. */
size_t plain_line(struct plain *p, const char *text, size_t n, char *out, size_t room);
