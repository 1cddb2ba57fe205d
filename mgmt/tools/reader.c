#include "mgmt/tools/reader.h"

#include "mgmt/tools/reader_impl.h"

#include <stdio.h>

/* ---- complaints ---- */

int reader_fail(struct reader *r, int t, const char *format, ...)
{
    char what[READER_MESSAGE / 2];
    va_list ap;

    json_place(r->j, r->j->tokens[t].start, &r->e->line, &r->e->column);
    va_start(ap, format);
    (void)vsnprintf(what, sizeof(what), format, ap);
    va_end(ap);
    (void)snprintf(r->e->text, sizeof(r->e->text), "%s%s%s", r->where, *r->where ? ": " : "", what);
    return -E_FORMAT;
}

void reader_show(const struct json *j, int t, char *out, size_t size)
{
    const jsmntok_t *k = &j->tokens[t];

    if (json_string(j, t, out, size) ==
        -E_FORMAT) /* a number, or more than that: as it is written */
        (void)snprintf(out, size, "%.*s", (int)(k->end - k->start), j->text + k->start);
    for (; *out; out++)
        if ((unsigned char)*out < ' ' || (unsigned char)*out >= 0x7f)
            *out = '?';
}

/* ---- values ---- */

int reader_json(struct json *j, const char *text, size_t length, jsmntok_t *tokens, size_t count,
                struct reader_error *e)
{
    struct json_error bad;

    if (json_parse(j, text, length, tokens, count, &bad) > 0)
        return 0;
    e->line = bad.line;
    e->column = bad.column;
    (void)snprintf(e->text, sizeof(e->text), "%s", bad.text);
    return -E_FORMAT;
}

int reader_member(const struct json *j, int object, const char *name)
{
    int t = object + 1;

    for (int i = 0; i < j->tokens[object].size; i++) {
        if (json_is(j, t, name))
            return t + 1;
        t = json_skip(j, t + 1);
    }
    return -E_NOENT;
}

static const char *type_name(int type)
{
    return type == JSMN_OBJECT ? "an object" : type == JSMN_ARRAY ? "an array" : "a string";
}

int reader_need(struct reader *r, int object, const char *name, int type)
{
    int t = reader_member(r->j, object, name);

    if (t < 0)
        return reader_fail(r, object, "\"%s\" is missing", name);
    if ((int)r->j->tokens[t].type != type)
        return reader_fail(r, t, "%s: must be %s", name, type_name(type));
    return t;
}

int reader_objects(struct reader *r, int object, const char *name)
{
    int array = reader_need(r, object, name, JSMN_ARRAY);
    int t = array + 1;

    for (int i = 0; array >= 0 && i < r->j->tokens[array].size; i++) {
        if (r->j->tokens[t].type != JSMN_OBJECT)
            return reader_fail(r, t, "%s[%d]: must be an object", name, i);
        t = json_skip(r->j, t);
    }
    return array;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int reader_hex(struct reader *r, int t, const char *name, unsigned bits, uint64_t *v)
{
    char s[80], shown[32];
    int rc = json_string(r->j, t, s, sizeof(s));
    size_t n = strlen(s);

    *v = 0;
    reader_show(r->j, t, shown, sizeof(shown));
    if (rc || n < 3 || s[0] != '0' || (s[1] | 0x20) != 'x')
        return reader_fail(r, t, "%s: must be a string like \"0x1f\", not %s", name, shown);
    for (size_t i = 2; i < n; i++) {
        int digit = hex_digit(s[i]);

        if (digit < 0)
            return reader_fail(r, t, "%s: \"%s\" is not a hexadecimal number", name, shown);
        if (*v >> 60)
            return reader_fail(r, t, "%s: \"%s\" has more than 64 bits", name, shown);
        *v = *v << 4 | (uint64_t)digit;
    }
    if (bits < 64 && *v >> bits)
        return reader_fail(r, t, "%s: \"%s\" has more than %u bits", name, shown, bits);
    return 0;
}

int reader_need_hex(struct reader *r, int object, const char *name, unsigned bits, uint64_t *v)
{
    int t = reader_member(r->j, object, name);

    *v = 0;
    if (t < 0)
        return reader_fail(r, object, "\"%s\" is missing", name);
    return reader_hex(r, t, name, bits, v);
}

bool reader_is_literal(const struct json *j, int t, const char *s)
{
    const jsmntok_t *k = &j->tokens[t];
    size_t n = strlen(s);

    return k->type == JSMN_PRIMITIVE && (size_t)(k->end - k->start) == n &&
           memcmp(j->text + k->start, s, n) == 0;
}

int reader_root(struct reader *r, const char *what)
{
    char message[READER_NAME];
    int error;

    if (r->j->tokens[0].type != JSMN_OBJECT)
        return reader_fail(r, 0, "must be an object: %s", what);
    error = reader_member(r->j, 0, "error");
    if (error < 0 || r->j->tokens[error].type != JSMN_OBJECT)
        return 0;
    error = reader_member(r->j, error, "message");
    if (error < 0)
        return reader_fail(r, 0, "is an error that the API answered with");
    reader_show(r->j, error, message, sizeof(message));
    return reader_fail(r, 0, "is an error that the API answered with: %s", message);
}

/* ---- the field that an object describes ---- */

static int check_name(struct reader *r, int object, const struct state_table *table,
                      const char *right)
{
    int t = reader_member(r->j, object, "name");
    char name[64];

    if (t < 0 || json_is(r->j, t, right))
        return 0;
    reader_show(r->j, t, name, sizeof(name));
    return reader_fail(r, t, "name: the field with this %s is %s, not %s", table->key, right, name);
}

int reader_field(struct reader *r, const struct state_table *t, int object, int index,
                 uint64_t *listed)
{
    const char *name;
    uint64_t key;
    int row;

    (void)snprintf(r->where, sizeof(r->where), "fields[%d]", index);
    if (reader_need_hex(r, object, t->key, 32, &key))
        return -E_FORMAT;
    row = state_row_by_key(t, (uint32_t)key);
    if (row < 0)
        return reader_fail(r, object, "%s: no field of the %s is 0x%x", t->key, t->name,
                           (unsigned)key);
    name = t->row((unsigned)row).name;
    (void)snprintf(r->where, sizeof(r->where), "fields[%d] (%s)", index, name);
    if (check_name(r, object, t, name))
        return -E_FORMAT;
    if (row_in(listed, (unsigned)row))
        return reader_fail(r, object, "is given twice");
    listed[row / 64] |= 1ull << (row % 64);
    return row;
}
