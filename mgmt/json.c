#include "mgmt/json.h"

#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/utf8.h"

#define COLUMNS 100u

void json_begin(struct json_out *j, char *buf, size_t size, bool text)
{
    *j = (struct json_out){.buf = buf, .size = size, .text = text};
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
static uint64_t zeros(uint64_t v)
{
    return (v - EACH(1)) & EACH(0x80);
}

/* How many bytes at `s` need no escape. Eight at a time: most of an answer is such text. */
static size_t plain_run(const uint8_t *s, size_t n)
{
    size_t i = 0;
    uint64_t v;

    for (; n - i >= sizeof(v); i += sizeof(v)) {
        memcpy(&v, s + i, sizeof(v));
        if (((v | (v - EACH(' ')) | (v + EACH(1))) & EACH(0x80)) | zeros(v ^ EACH('"')) |
            zeros(v ^ EACH('\\')))
            break;
    }
    while (i < n && is_plain(s[i]))
        i++;
    return i;
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

static void lead_text(struct json_out *j, const char *name)
{
    unsigned d = j->depth;

    if (d > 0 && !j->same_line)
        json_printf(j, "%s%*s", j->len ? "\n" : "", (int)(2 * (d - 1)), "");
    j->same_line = false;
    if (name)
        json_printf(j, "%s:", name);
    else if (d > 0)
        put(j, "-");
}

/* Names are short and need no escapes. */
static void put_name(struct json_out *j, const char *name)
{
    char *to = j->buf + j->len, *end = j->buf + j->size;

    if (end - to < 3) {
        j->overflow = true;
        return;
    }
    *to++ = '"';
    while (*name && end - to > 2)
        *to++ = *name++;
    j->overflow |= *name != 0;
    *to++ = '"';
    *to++ = ':';
    j->len = (size_t)(to - j->buf);
}

/* Writes everything before a value: comma or line break, indentation, name. */
static void lead(struct json_out *j, const char *name)
{
    unsigned d = j->depth;

    if (j->text) {
        lead_text(j, name);
        return;
    }
    if (d > 0 && j->some[d - 1])
        put(j, ",");
    if (d > 0)
        j->some[d - 1] = true;
    if (name)
        put_name(j, name);
}

/* The same for a value on the same line. */
static void lead_value(struct json_out *j, const char *name)
{
    lead(j, name);
    if (j->text && j->depth > 0)
        put(j, " ");
}

static void open(struct json_out *j, const char *name, bool array)
{
    lead(j, name);
    if (!j->text) {
        put(j, array ? "[" : "{");
    } else if (!name && j->depth > 0 && !array) {
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

void json_object(struct json_out *j, const char *name)
{
    open(j, name, false);
}

void json_array(struct json_out *j, const char *name)
{
    open(j, name, true);
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

void json_bytes(struct json_out *j, const char *name, const uint8_t *bytes, size_t n)
{
    lead_value(j, name);
    if (j->text) {
        json_raw(j, (const char *)bytes, n);
        return;
    }
    put(j, "\"");
    put_escaped(j, bytes, n);
    put(j, "\"");
}

void json_str(struct json_out *j, const char *name, const char *value)
{
    json_bytes(j, name, (const uint8_t *)value, strlen(value));
}

void json_u64(struct json_out *j, const char *name, uint64_t value)
{
    char text[20];

    lead_value(j, name);
    json_raw(j, text, (size_t)(fmt_digits(text, value, 1, ' ') - text));
}

void json_hex(struct json_out *j, const char *name, uint64_t value, unsigned digits)
{
    char text[1 + 2 + 16 + 1], *at = text + sizeof(text), *least;

    *--at = '"';
    least = at - (digits < 16 ? digits : 16);
    do {
        *--at = "0123456789abcdef"[value & 15];
        value >>= 4;
    } while (value || at > least);
    *--at = 'x';
    *--at = '0';
    *--at = '"';
    lead_value(j, name);
    if (j->text)
        json_raw(j, at + 1, (size_t)(text + sizeof(text) - at) - 2);
    else
        json_raw(j, at, (size_t)(text + sizeof(text) - at));
}

void json_bool(struct json_out *j, const char *name, bool value)
{
    lead_value(j, name);
    put(j, value ? "true" : "false");
}

void json_null(struct json_out *j, const char *name)
{
    lead_value(j, name);
    put(j, "null");
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
