/*
 * Writes JSON, or the same structure as readable text ("name: value", indented). Pure. Writes into
 * the caller's buffer; what does not fit sets `overflow`.
 */
#pragma once

#include "hv/types.h"

#define JSON_DEPTH 8

struct json_out {
    char *buf;
    size_t size, len;
    bool overflow, text;
    unsigned depth;
    bool some[JSON_DEPTH]; /* a member was written at this depth */
    bool array[JSON_DEPTH];
    size_t start[JSON_DEPTH]; /* of the text inside this depth */
    bool same_line;           /* text: the next member follows the dash of its object */
};

void json_begin(struct json_out *j, char *buf, size_t size, bool text);
/* The name of a member with its length, which the compiler knows of a literal: hence the functions
 * in two layers. */
struct json_name {
    const char *text; /* NULL: none */
    size_t length;
};

#define JSON_INLINE static inline __attribute__((always_inline))

JSON_INLINE struct json_name json_name(const char *text)
{
    return (struct json_name){text, text ? __builtin_strlen(text) : 0};
}

void json_put_open(struct json_out *j, struct json_name name, bool array);
void json_put_word(struct json_out *j, struct json_name name, const char *value, size_t n);
void json_put_bytes(struct json_out *j, struct json_name name, const uint8_t *bytes, size_t n);
void json_put_u64(struct json_out *j, struct json_name name, uint64_t value);
void json_put_hex(struct json_out *j, struct json_name name, uint64_t value, unsigned digits);
void json_put_literal(struct json_out *j, struct json_name name, const char *text, size_t n);

/* `name` NULL: an element of an array, or the outermost value. Names need no escapes. */
JSON_INLINE void json_object(struct json_out *j, const char *name)
{
    json_put_open(j, json_name(name), false);
}

JSON_INLINE void json_array(struct json_out *j, const char *name)
{
    json_put_open(j, json_name(name), true);
}

void json_end(struct json_out *j);

/* Arbitrary bytes: those that are not UTF-8 become U+FFFD, and control characters are escaped. */
JSON_INLINE void json_bytes(struct json_out *j, const char *name, const uint8_t *bytes, size_t n)
{
    json_put_bytes(j, json_name(name), bytes, n);
}

JSON_INLINE void json_str(struct json_out *j, const char *name, const char *value)
{
    json_put_bytes(j, json_name(name), (const uint8_t *)value, __builtin_strlen(value));
}

/* A string of our own that needs no escapes. */
JSON_INLINE void json_word(struct json_out *j, const char *name, const char *value)
{
    json_put_word(j, json_name(name), value, __builtin_strlen(value));
}

JSON_INLINE void json_u64(struct json_out *j, const char *name, uint64_t value)
{
    json_put_u64(j, json_name(name), value);
}

/* "0x1f", at least `digits` digits. */
JSON_INLINE void json_hex(struct json_out *j, const char *name, uint64_t value, unsigned digits)
{
    json_put_hex(j, json_name(name), value, digits);
}

JSON_INLINE void json_bool(struct json_out *j, const char *name, bool value)
{
    json_put_literal(j, json_name(name), value ? "true" : "false", value ? 4 : 5);
}

JSON_INLINE void json_null(struct json_out *j, const char *name)
{
    json_put_literal(j, json_name(name), "null", 4);
}

/* Raw text, no escaping, no separators. */
void json_raw(struct json_out *j, const char *s, size_t n);
void json_printf(struct json_out *j, const char *format, ...) PRINTF(2, 3);
/* For text: words wrapped onto lines of their own, indented, at most 100 columns. */
void json_wrapped(struct json_out *j, unsigned indent, const char *s);
