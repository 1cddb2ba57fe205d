#include "hv/plain.h"

#define ESC           0x1bu
#define CAN           0x18u
#define SUB           0x1au
#define BEL           0x07u
#define DEL           0x7fu
#define CONTINUATION  0x80u
#define C1_DCS        0x90u
#define C1_SOS        0x98u
#define C1_CSI        0x9bu
#define C1_ST         0x9cu
#define C1_OSC        0x9du
#define C1_PM         0x9eu
#define C1_APC        0x9fu
#define FIRST_AFTER_C 0xa0u /* the first code point after the C1 controls */

enum plain_state {
    PLAIN_GROUND, /* plain_is_itself() knows that this is 0 */
    PLAIN_ESCAPE, /* after ESC: intermediate bytes, up to the last byte */
    PLAIN_CSI,    /* in a control sequence: up to its last byte */
    PLAIN_STRING, /* in a control string: up to its terminator */
    PLAIN_CHAR,   /* in a UTF-8 sequence */
};

size_t plain_ascii(const struct plain *p, uint32_t c, char *out)
{
    (void)p;
    (void)c;
    out[0] = '?';
    return 1;
}

/* A C1 control, in any encoding, may open a sequence. */
static void take_c1(struct plain *p, uint32_t c)
{
    if (c == C1_CSI)
        p->state = PLAIN_CSI;
    else if (c == C1_DCS || c == C1_SOS || c == C1_OSC || c == C1_PM || c == C1_APC)
        p->state = PLAIN_STRING;
    else
        p->state = PLAIN_GROUND;
}

/* The same controls after an ESC. */
static void take_escape(struct plain *p, uint8_t byte)
{
    if (byte >= '@' && byte <= '_')
        take_c1(p, byte + (C1_DCS - 'P'));
    else if (byte > '/') /* else: an intermediate byte, more follow */
        p->state = PLAIN_GROUND;
}

/* In a sequence: shows nothing. False: the byte does not belong to it. */
static bool take_sequence(struct plain *p, uint8_t byte)
{
    if (byte == ESC) {
        p->state = PLAIN_ESCAPE; /* perhaps the first half of a string's terminator */
        return true;
    }
    if (byte == CAN || byte == SUB) {
        p->state = PLAIN_GROUND;
        return true;
    }
    if (p->state == PLAIN_STRING) {
        if (byte == BEL || byte == C1_ST)
            p->state = PLAIN_GROUND;
        return true;
    }
    if (byte < ' ' || byte == DEL)
        return true;
    if (byte >= CONTINUATION) {
        p->state = PLAIN_GROUND;
        return false;
    }
    if (p->state == PLAIN_ESCAPE)
        take_escape(p, byte);
    else if (byte >= '@')
        p->state = PLAIN_GROUND;
    return true;
}

/* A UTF-8 sequence is complete. */
static size_t take_character(struct plain *p, plain_other *other, char *out)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t c = p->bytes[0] & (0x7fu >> p->length);

    p->state = PLAIN_GROUND;
    for (unsigned i = 1; i < p->length; i++)
        c = c << 6 | (p->bytes[i] & 0x3fu);
    if (c < least[p->length] || c > 0x10ffff)
        return other(p, PLAIN_INVALID, out);
    if (c < FIRST_AFTER_C) {
        take_c1(p, c);
        return 0;
    }
    return other(p, c, out);
}

/* A non-ASCII byte while no sequence is open. */
static size_t begin_character(struct plain *p, plain_other *other, uint8_t byte, char *out)
{
    if (byte < FIRST_AFTER_C) { /* a C1 control of an 8-bit terminal */
        take_c1(p, byte);
        return 0;
    }
    if (byte < 0xc2 || byte > 0xf4)
        return other(p, PLAIN_INVALID, out);
    p->state = PLAIN_CHAR;
    p->bytes[0] = byte;
    p->length = 1;
    p->missing = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    return 0;
}

static size_t feed_ground(struct plain *p, plain_other *other, uint8_t byte, char *out)
{
    if (byte >= CONTINUATION)
        return begin_character(p, other, byte, out);
    if (byte == ESC)
        p->state = PLAIN_ESCAPE;
    if ((byte < ' ' && byte != '\t' && byte != '\n') || byte == DEL)
        return 0;
    out[0] = (char)byte;
    return 1;
}

size_t plain_feed(struct plain *p, plain_other *other, uint8_t byte, char out[PLAIN_MAX])
{
    size_t n = 0;

    if (p->state == PLAIN_CHAR) {
        if ((byte & 0xc0) == CONTINUATION) {
            p->bytes[p->length++] = byte;
            return --p->missing ? 0 : take_character(p, other, out);
        }
        n = other(p, PLAIN_INVALID, out); /* it was cut short */
        p->state = PLAIN_GROUND;
    } else if (byte == '\n') {
        p->state = PLAIN_GROUND;
    } else if (p->state != PLAIN_GROUND && take_sequence(p, byte)) {
        return 0;
    }
    return n + feed_ground(p, other, byte, out + n);
}

size_t plain_line(struct plain *p, const char *text, size_t n, char *out, size_t room)
{
    char shown[PLAIN_MAX];
    size_t used = 0;

    for (size_t i = 0; i < n && used < room; i++) {
        size_t count;

        if (plain_is_itself(p, (uint8_t)text[i])) {
            out[used++] = text[i];
            continue;
        }
        count = plain_feed(p, plain_ascii, (uint8_t)text[i], shown);
        for (size_t k = 0; k < count && used < room; k++)
            out[used++] = shown[k] < ' ' ? ' ' : shown[k];
    }
    return used;
}
