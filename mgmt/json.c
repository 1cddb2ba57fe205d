#include "mgmt/json.h"

#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/utf8.h"

#define COLUMNS 100u

void json_begin(struct json_out *j, char *buf, size_t size, bool text)
{
    *j = (struct json_out){.buf = buf, .size = size, .text = text};
}

/* Short things, in pieces that may overlap: a call of memcpy() takes longer. */
static inline void copy(char *to, const char *s, size_t n)
{
    if (n >= 8) {
        for (size_t i = 0; i < n - 8; i += 8)
            put_le64(to + i, get_le64(s + i));
        put_le64(to + n - 8, get_le64(s + n - 8));
    } else if (n >= 4) {
        put_le32(to, get_le32(s));
        put_le32(to + n - 4, get_le32(s + n - 4));
    } else {
        while (n--)
            to[n] = s[n];
    }
}

void json_raw(struct json_out *j, const char *s, size_t n)
{
    char *to = j->buf + j->len;

    if (n > j->size - j->len) {
        j->overflow = true;
        return;
    }
    j->len += n;
    if (n == 1)
        *to = *s;
    else
        memcpy(to, s, n);
}

/* Inlined, so that the compiler knows a literal's length. */
static inline __attribute__((always_inline)) void put(struct json_out *j, const char *s)
{
    json_raw(j, s, __builtin_strlen(s));
}

void json_printf(struct json_out *j, const char *format, ...)
{
    char line[256];
    va_list ap;
    size_t n;

    va_start(ap, format);
    n = fmt_v(line, sizeof(line), format, ap);
    va_end(ap);
    json_raw(j, line, n < sizeof(line) ? n : sizeof(line) - 1);
}

/* A character of `len` bytes that cannot be written as it is; 0: a byte that belongs to none. */
static void put_special(struct json_out *j, const uint8_t *s, size_t len)
{
    if (len == 0)
        put(j, "\xef\xbf\xbd"); /* U+FFFD */
    else if (s[0] == '"' || s[0] == '\\')
        json_printf(j, "\\%c", s[0]);
    else if (s[0] == '\n')
        put(j, "\\n");
    else if (s[0] == '\r')
        put(j, "\\r");
    else if (s[0] == '\t')
        put(j, "\\t");
    else
        json_printf(j, "\\u%04x", s[len - 1]); /* C1's second byte is its code */
}

static bool is_plain(uint8_t c)
{
    return c >= ' ' && c < 0x7f && c != '"' && c != '\\';
}

#define EACH(byte) (0x0101010101010101ull * (byte))

/* 0: none of the eight bytes is 0, provided that none exceeds 0x80. */
static inline uint64_t zeros(uint64_t v)
{
    return (v - EACH(1)) & EACH(0x80);
}

/* Do eight bytes need no escape? */
static inline bool are_plain(uint64_t v)
{
    return !(((v | (v - EACH(' ')) | (v + EACH(1))) & EACH(0x80)) | zeros(v ^ EACH('"')) |
             zeros(v ^ EACH('\\')));
}

/* The last eight bytes at `s`, or all if there are fewer: some are then in it twice. n > 0. */
static inline uint64_t last_bytes(const uint8_t *s, size_t n)
{
    if (n >= 8)
        return get_le64(s + n - 8);
    if (n >= 4)
        return get_le32(s) | (uint64_t)get_le32(s + n - 4) << 32;
    return s[0] | (uint64_t)s[n / 2] << 8 | (uint64_t)s[n - 1] << 16 | EACH('.') << 24;
}

/* How many bytes at `s` need no escape. Eight at a time: most of an answer is such text. */
static size_t plain_run(const uint8_t *s, size_t n)
{
    size_t i = 0;

    while (n - i >= 8 && are_plain(get_le64(s + i)))
        i += 8;
    while (i < n && is_plain(s[i]))
        i++;
    return i;
}

/* The same question for all of them, which is what most strings are. */
static inline bool is_all_plain(const uint8_t *s, size_t n)
{
    for (size_t i = 0; i + 8 < n; i += 8)
        if (!are_plain(get_le64(s + i)))
            return false;
    return n == 0 || are_plain(last_bytes(s, n));
}

static void put_escaped(struct json_out *j, const uint8_t *s, size_t n)
{
    size_t begin = 0, i = 0;

    while ((i += plain_run(s + i, n - i)) < n) {
        size_t len = utf8_length(s + i, n - i);

        if (len && s[i] != '"' && s[i] != '\\' && !utf8_is_control(s + i, len)) {
            i += len;
            continue;
        }
        json_raw(j, (const char *)s + begin, i - begin);
        put_special(j, s + i, len);
        i += len ? len : 1;
        begin = i;
    }
    json_raw(j, (const char *)s + begin, n - begin);
}

static void lead_text(struct json_out *j, struct json_name name)
{
    unsigned d = j->depth;

    if (d > 0 && !j->same_line)
        json_printf(j, "%s%*s", j->len ? "\n" : "", (int)(2 * (d - 1)), "");
    j->same_line = false;
    if (name.text)
        json_printf(j, "%s:", name.text);
    else if (d > 0)
        put(j, "-");
}

/* Writes everything before a value: comma or line break, indentation, name. */
JSON_INLINE void lead(struct json_out *j, struct json_name name)
{
    unsigned d = j->depth;
    char *to = j->buf + j->len;

    if (j->text) {
        lead_text(j, name);
        return;
    }
    if (j->size - j->len < (name.text ? name.length + 4 : 1)) { /* ,"name": */
        j->overflow = true;
        return;
    }
    if (d > 0 && j->some[d - 1])
        *to++ = ',';
    if (d > 0)
        j->some[d - 1] = true;
    if (name.text) {
        *to++ = '"';
        copy(to, name.text, name.length);
        to += name.length;
        *to++ = '"';
        *to++ = ':';
    }
    j->len = (size_t)(to - j->buf);
}

/* The same for a value on the same line. */
JSON_INLINE void lead_value(struct json_out *j, struct json_name name)
{
    lead(j, name);
    if (j->text && j->depth > 0)
        put(j, " ");
}

void json_put_open(struct json_out *j, struct json_name name, bool array)
{
    lead(j, name);
    if (!j->text) {
        put(j, array ? "[" : "{");
    } else if (!name.text && j->depth > 0 && !array) {
        put(j, " ");
        j->same_line = true;
    }
    if (j->depth == JSON_DEPTH) {
        j->overflow = true;
        return;
    }
    j->some[j->depth] = false;
    j->array[j->depth] = array;
    j->start[j->depth] = j->len;
    j->depth++;
}

void json_end(struct json_out *j)
{
    if (j->depth == 0)
        return;
    j->depth--;
    if (!j->text)
        put(j, j->array[j->depth] ? "]" : "}");
    else if (j->depth > 0 && j->len == j->start[j->depth])
        put(j, j->same_line ? "none" : " none");
    j->same_line = false;
    if (j->depth == 0)
        put(j, "\n");
}

void json_put_word(struct json_out *j, struct json_name name, const char *value, size_t n)
{
    char *to;

    lead_value(j, name);
    if (j->text) {
        json_raw(j, value, n);
        return;
    }
    to = j->buf + j->len;
    if (n + 2 > j->size - j->len) {
        j->overflow = true;
        return;
    }
    *to = '"';
    copy(to + 1, value, n);
    to[n + 1] = '"';
    j->len += n + 2;
}

void json_put_bytes(struct json_out *j, struct json_name name, const uint8_t *bytes, size_t n)
{
    if (j->text || is_all_plain(bytes, n)) {
        json_put_word(j, name, (const char *)bytes, n);
        return;
    }
    lead_value(j, name);
    put(j, "\"");
    put_escaped(j, bytes, n);
    put(j, "\"");
}

void json_put_u64(struct json_out *j, struct json_name name, uint64_t value)
{
    char text[20];

    lead_value(j, name);
    json_raw(j, text, (size_t)(fmt_digits(text, value, 1, ' ') - text));
}

/* Eight hexadecimal digits at once, a byte each, the most significant one first in memory. */
static inline uint64_t hex_digits(uint32_t value)
{
    uint64_t v = value;

    v = (v | v << 16) & 0x0000ffff0000ffffull;
    v = (v | v << 8) & 0x00ff00ff00ff00ffull;
    v = (v | v << 4) & EACH(0xf);
    v += EACH('0') + ((v + EACH(6)) >> 4 & EACH(1)) * ('a' - '0' - 10);
    return __builtin_bswap64(v);
}

void json_put_hex(struct json_out *j, struct json_name name, uint64_t value, unsigned digits)
{
    unsigned n = (63 - (unsigned)__builtin_clzll(value | 1)) / 4 + 1;
    char text[2 + 16], *at;

    if (n < digits)
        n = digits < 16 ? digits : 16;
    if (n > 8)
        put_le64(text + 2, hex_digits((uint32_t)(value >> 32)));
    put_le64(text + 10, hex_digits((uint32_t)value));
    at = text + 16 - n;
    at[0] = '0';
    at[1] = 'x';
    json_put_word(j, name, at, 2 + n);
}

void json_put_literal(struct json_out *j, struct json_name name, const char *text, size_t n)
{
    lead_value(j, name);
    json_raw(j, text, n);
}

void json_wrapped(struct json_out *j, unsigned indent, const char *s)
{
    unsigned column = COLUMNS;

    while (*s) {
        unsigned n = 0;

        while (s[n] && s[n] != ' ')
            n++;
        if (column + 1 + n > COLUMNS) {
            json_printf(j, "\n%*s", (int)indent, "");
            column = indent;
        } else {
            json_raw(j, " ", 1);
            column++;
        }
        json_raw(j, s, n);
        column += n;
        for (s += n; *s == ' '; s++)
            ;
    }
}
