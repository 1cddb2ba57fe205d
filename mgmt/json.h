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
/* `name` NULL: an element of an array, or the outermost value. */
void json_object(struct json_out *j, const char *name);
void json_array(struct json_out *j, const char *name);
void json_end(struct json_out *j);
void json_str(struct json_out *j, const char *name, const char *value);
/* Arbitrary bytes: those that are not UTF-8 become U+FFFD, and control characters are escaped. */
void json_bytes(struct json_out *j, const char *name, const uint8_t *bytes, size_t n);
void json_u64(struct json_out *j, const char *name, uint64_t value);
/* "0x1f", at least `digits` digits. */
void json_hex(struct json_out *j, const char *name, uint64_t value, unsigned digits);
void json_bool(struct json_out *j, const char *name, bool value);
void json_null(struct json_out *j, const char *name);
/* Raw text, no escaping, no separators. */
void json_raw(struct json_out *j, const char *s, size_t n);
void json_printf(struct json_out *j, const char *format, ...) PRINTF(2, 3);
/* For text: words wrapped onto lines of their own, indented, at most 100 columns. */
void json_wrapped(struct json_out *j, unsigned indent, const char *s);
