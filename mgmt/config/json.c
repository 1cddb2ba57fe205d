#define JSON_WITH_JSMN
#include "mgmt/config/json.h"

#include "hv/lib.h"
#include "mgmt/utf8.h"

#define DEPTH_MAX 16

static const char *bytes(const struct json *j, int t)
{
    return j->text + j->tokens[t].start;
}

static size_t size_of(const struct json *j, int t)
{
    return (size_t)(j->tokens[t].end - j->tokens[t].start);
}

void json_place(const struct json *j, int offset, uint32_t *line, uint32_t *column)
{
    *line = *column = 1;
    for (int i = 0; i < offset && (size_t)i < j->length; i++) {
        (*column)++;
        if (j->text[i] == '\n') {
            (*line)++;
            *column = 1;
        }
    }
}

static int fail(const struct json *j, struct json_error *e, int offset, const char *text)
{
    json_place(j, offset, &e->line, &e->column);
    e->text = text;
    return -E_FORMAT;
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_number(const char *s, size_t n)
{
    size_t i = 0;

    if (i < n && s[i] == '-')
        i++;
    if (i == n || !digit(s[i]))
        return false;
    if (s[i] == '0')
        i++;
    else
        while (i < n && digit(s[i]))
            i++;
    if (i < n && s[i] == '.') {
        i++;
        if (i == n || !digit(s[i]))
            return false;
        while (i < n && digit(s[i]))
            i++;
    }
    if (i < n && (s[i] == 'e' || s[i] == 'E')) {
        i++;
        if (i < n && (s[i] == '+' || s[i] == '-'))
            i++;
        if (i == n || !digit(s[i]))
            return false;
        while (i < n && digit(s[i]))
            i++;
    }
    return i == n;
}

static bool is_literal(const char *s, size_t n)
{
    return (n == 4 && (memcmp(s, "true", 4) == 0 || memcmp(s, "null", 4) == 0)) ||
           (n == 5 && memcmp(s, "false", 5) == 0);
}

/* ---- strings ---- */

static int hex(char c)
{
    if (digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The four digits of \uXXXX, or -1. */
static int32_t four_digits(const char *s, size_t n)
{
    int32_t v = 0;

    if (n < 4)
        return -1;
    for (unsigned i = 0; i < 4; i++) {
        int h = hex(s[i]);

        if (h < 0)
            return -1;
        v = v * 16 + h;
    }
    return v;
}

static bool is_surrogate(int32_t v, int32_t first)
{
    return v >= first && v < first + 0x400;
}

#define HIGH_SURROGATE 0xd800
#define LOW_SURROGATE  0xdc00

/* What follows \u at *s, of `n` bytes: a character, or the first half of one and the escape of the
 * second. Returns the number of bytes, or 0 if it is neither (RFC 8259, section 7). */
static size_t take_unicode(const char *s, size_t n, uint32_t *code)
{
    int32_t high = four_digits(s, n), low;

    if (high < 0 || is_surrogate(high, LOW_SURROGATE))
        return 0;
    *code = (uint32_t)high;
    if (!is_surrogate(high, HIGH_SURROGATE))
        return 4;
    if (n < 10 || s[4] != '\\' || s[5] != 'u')
        return 0;
    low = four_digits(s + 6, n - 6);
    if (!is_surrogate(low, LOW_SURROGATE))
        return 0;
    *code = 0x10000 + ((uint32_t)(high - HIGH_SURROGATE) << 10) + (uint32_t)(low - LOW_SURROGATE);
    return 10;
}

static char escaped(char c)
{
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return c; /* jsmn lets only " \ and / pass besides */
    }
}

/* One character of a string as UTF-8. */
struct piece {
    char bytes[UTF8_MAX];
    size_t len;
    size_t used;     /* bytes of the text; 0: malformed */
    const char *why; /* if malformed */
};

static struct piece piece_at(const char *s, size_t n)
{
    struct piece p = {.len = 1, .used = 1};
    uint32_t code;

    if (s[0] != '\\') {
        p.len = p.used = utf8_length((const uint8_t *)s, n);
        memcpy(p.bytes, s, p.len);
        if (p.used == 1 && (uint8_t)s[0] < ' ') {
            p.used = 0;
            p.why = "a control character in a string: write an escape";
        } else if (!p.used) {
            p.why = "a string is not UTF-8";
        }
        return p;
    }
    p.used = 2;
    p.bytes[0] = n > 1 ? escaped(s[1]) : 0;
    if (n > 1 && s[1] == 'u') {
        size_t digits = take_unicode(s + 2, n - 2, &code);

        p.used = digits ? 2 + digits : 0;
        p.why = "half of a character: \\ud800 to \\udfff come in pairs";
        if (digits)
            p.len = utf8_put(code, p.bytes);
    }
    return p;
}

static bool same_string(const struct json *j, int a, int b)
{
    const char *s = bytes(j, a), *t = bytes(j, b);
    size_t n = size_of(j, a), m = size_of(j, b);

    while (n > 0 && m > 0) {
        struct piece p = piece_at(s, n), q = piece_at(t, m);

        if (!p.used || !q.used || p.len != q.len || memcmp(p.bytes, q.bytes, p.len) != 0)
            return false;
        s += p.used;
        n -= p.used;
        t += q.used;
        m -= q.used;
    }
    return n == m;
}

bool json_is(const struct json *j, int t, const char *s)
{
    const char *at = bytes(j, t);
    size_t n = size_of(j, t), left = strlen(s);

    if (j->tokens[t].type != JSMN_STRING)
        return false;
    while (n > 0) {
        struct piece p = piece_at(at, n);

        if (!p.used || p.len > left || memcmp(p.bytes, s, p.len) != 0)
            return false;
        at += p.used;
        n -= p.used;
        s += p.len;
        left -= p.len;
    }
    return left == 0;
}

int json_string(const struct json *j, int t, char *out, size_t size)
{
    const char *s = bytes(j, t);
    size_t n = size_of(j, t), len = 0;
    int rc = j->tokens[t].type == JSMN_STRING ? 0 : -E_FORMAT;

    while (rc == 0 && n > 0) {
        struct piece p = piece_at(s, n);

        if (!p.used)
            rc = -E_FORMAT;
        else if (p.bytes[0] == 0)
            rc = -E_INVAL;
        else if (p.len >= size - len)
            rc = -E_NOSPC;
        if (rc)
            break;
        memcpy(out + len, p.bytes, p.len);
        len += p.len;
        s += p.used;
        n -= p.used;
    }
    out[len] = 0;
    return rc;
}

static int check_string(const struct json *j, int t, struct json_error *e)
{
    size_t n = size_of(j, t);

    for (size_t i = 0; i < n;) {
        struct piece p = piece_at(bytes(j, t) + i, n - i);

        if (!p.used)
            return fail(j, e, j->tokens[t].start + (int)i, p.why);
        i += p.used;
    }
    return 0;
}

/* ---- structure ---- */

int json_skip(const struct json *j, int t)
{
    int end = j->tokens[t].end;

    for (t++; t < j->count && j->tokens[t].start < end; t++)
        ;
    return t;
}

static int check_object(const struct json *j, int t, struct json_error *e)
{
    int key = t + 1;

    for (int i = 0; i < j->tokens[t].size; i++) {
        if (key >= j->count || j->tokens[key].type != JSMN_STRING || j->tokens[key].size != 1)
            return fail(j, e, j->tokens[key < j->count ? key : t].start,
                        "an object's members are \"name\": value");
        for (int other = t + 1; other < key; other = json_skip(j, other + 1))
            if (same_string(j, other, key))
                return fail(j, e, j->tokens[key].start, "this name is given twice");
        key = json_skip(j, key + 1);
    }
    return 0;
}

static int check_token(const struct json *j, int t, struct json_error *e)
{
    const jsmntok_t *k = &j->tokens[t];
    int depth = 0;

    for (int p = k->parent; p >= 0; p = j->tokens[p].parent)
        if (++depth > 2 * DEPTH_MAX)
            return fail(j, e, k->start, "nested too deeply");
    switch (k->type) {
    case JSMN_PRIMITIVE:
        if (is_number(bytes(j, t), size_of(j, t)) || is_literal(bytes(j, t), size_of(j, t)))
            return 0;
        return fail(j, e, k->start, "neither a number nor true, false or null");
    case JSMN_STRING:
        return check_string(j, t, e);
    case JSMN_OBJECT:
        return check_object(j, t, e);
    default:
        return 0;
    }
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* jsmn accepts a text that ends too early or continues in places: between two values there must be
 * exactly one comma. */
static int check_separators(const struct json *j, struct json_error *e)
{
    enum { VALUE, SEPARATOR } want = VALUE;
    bool after_comma = false;

    for (size_t i = 0; i < j->length; i++) {
        char c = j->text[i];

        if (is_space(c))
            continue;
        if (c == ',' || c == ':') {
            if (want == VALUE)
                return fail(j, e, (int)i, "a value is missing here");
            want = VALUE;
            after_comma = true;
            continue;
        }
        if (c == '}' || c == ']') {
            if (want == VALUE && after_comma)
                return fail(j, e, (int)i, "a value is missing here");
            want = SEPARATOR;
            after_comma = false;
            continue;
        }
        if (want == SEPARATOR)
            return fail(j, e, (int)i, "a comma or the end is missing here");
        after_comma = false;
        if (c == '{' || c == '[')
            continue;
        want = SEPARATOR;
        if (c == '"') {
            for (i++; i < j->length && j->text[i] != '"'; i++)
                if (j->text[i] == '\\')
                    i++;
        } else {
            while (i + 1 < j->length && !is_space(j->text[i + 1]) && j->text[i + 1] != ',' &&
                   j->text[i + 1] != '}' && j->text[i + 1] != ']' && j->text[i + 1] != ':')
                i++;
        }
    }
    return 0;
}

int json_parse(struct json *j, const char *text, size_t length, jsmntok_t *tokens,
               size_t token_count, struct json_error *e)
{
    jsmn_parser p;
    int n, rc;

    *j = (struct json){.text = text, .length = length, .tokens = tokens};
    *e = (struct json_error){1, 1, ""};
    for (size_t i = 0; i < length; i++)
        if (text[i] == 0)
            return fail(j, e, (int)i, "a NUL byte");
    jsmn_init(&p);
    n = jsmn_parse(&p, text, length, tokens,
                   token_count > INT32_MAX ? INT32_MAX : (unsigned)token_count);
    if (n == JSMN_ERROR_NOMEM) {
        (void)fail(j, e, (int)p.pos, "too many values");
        return -E_NOSPC;
    }
    if (n == JSMN_ERROR_PART)
        return fail(j, e, (int)length, "the text ends too early");
    if (n < 0)
        return fail(j, e, (int)p.pos,
                    p.pos < length && text[p.pos] == '\''
                        ? "not JSON: strings and names are in double quotes"
                        : "not JSON");
    if (n == 0)
        return fail(j, e, 0, "empty");
    j->count = n;
    if (json_skip(j, 0) != n)
        return fail(j, e, tokens[json_skip(j, 0)].start, "text after the end");
    rc = check_separators(j, e);
    for (int t = 0; rc == 0 && t < n; t++)
        rc = check_token(j, t, e);
    return rc ? rc : n;
}

int json_integer(const struct json *j, int t, int64_t min, int64_t max, int64_t *out)
{
    const char *s = bytes(j, t);
    size_t n = size_of(j, t), i = 0;
    bool negative = n > 0 && s[0] == '-';
    int64_t v = 0;

    if (j->tokens[t].type != JSMN_PRIMITIVE || n == (size_t)negative)
        return -E_FORMAT;
    for (i = negative; i < n; i++) {
        if (!digit(s[i]))
            return -E_FORMAT;
        if (v > (INT64_MAX - 9) / 10)
            return -E_RANGE;
        v = v * 10 + (s[i] - '0');
    }
    if (negative)
        v = -v;
    if (v < min || v > max)
        return -E_RANGE;
    *out = v;
    return 0;
}
