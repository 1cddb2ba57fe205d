/*
 * Strict reading of JSON text over jsmn's tokens, with positions for error messages. Pure. jsmn
 * splits; what it is lenient about (numbers, literals, escapes, duplicate keys) is checked here.
 */
#pragma once

#include "hv/types.h"

/* jsmn is one header; json.c alone takes its code from it. */
#ifdef JSON_WITH_JSMN
#define JSMN_STATIC
#else
#define JSMN_HEADER
#endif
#define JSMN_STRICT
#define JSMN_PARENT_LINKS
#include <jsmn.h>

struct json {
    const char *text;
    size_t length;
    const jsmntok_t *tokens;
    int count;
};

struct json_error {
    uint32_t line, column; /* from 1 */
    const char *text;      /* a constant */
};

/* Splits and checks the whole text. The number of tokens, or -E_FORMAT / -E_NOSPC with *e filled.
 */
int json_parse(struct json *j, const char *text, size_t length, jsmntok_t *tokens,
               size_t token_count, struct json_error *e) MUST_CHECK;
/* Line and column of a byte. */
void json_place(const struct json *j, int offset, uint32_t *line, uint32_t *column);
/* The token after `t` and all that it contains. */
int json_skip(const struct json *j, int t);
/* Does the string token have this value? */
bool json_is(const struct json *j, int t, const char *s);
/* The value of a string token, in UTF-8. -E_FORMAT: it is not a string. -E_NOSPC: it does not fit.
 * -E_INVAL: it has a NUL. `out` then holds what comes before. */
int json_string(const struct json *j, int t, char *out, size_t size) MUST_CHECK;
/* A whole number from `min` to `max`. -E_FORMAT: it is not a whole number. -E_RANGE. */
int json_integer(const struct json *j, int t, int64_t min, int64_t max, int64_t *out) MUST_CHECK;
