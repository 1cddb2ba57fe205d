/* Shared by reader*.c only. Tokens are indices into json.tokens; for a negative one the complaint
 * has been made. */
#pragma once

#include "arch/x86/inspect/decode_fields.h"
#include "hv/lib.h"
#include "mgmt/tools/reader.h"

#include <stdarg.h>

struct reader {
    const struct json *j;
    struct reader_error *e;
    char where[96]; /* "fields[3] (GUEST_RIP)"; "" at the top level */
};

/* Returns -E_FORMAT. */
int reader_fail(struct reader *r, int t, const char *format, ...) PRINTF(3, 4);
/* Checks that the top level is an object, and not {"error": ...}. */
int reader_root(struct reader *r, const char *what);
/* The token of a required member of this type. */
int reader_need(struct reader *r, int object, const char *name, int type);
/* The same for an array of objects. */
int reader_objects(struct reader *r, int object, const char *name);
/* A string of hexadecimal digits, of at most `bits` bits. */
int reader_hex(struct reader *r, int t, const char *name, unsigned bits, uint64_t *v);
int reader_need_hex(struct reader *r, int object, const char *name, unsigned bits, uint64_t *v);
/* "true", "null", "7" */
bool reader_is_literal(const struct json *j, int t, const char *s);
/* The row that "encoding" or "offset" names, added to `listed`; sets r->where. */
int reader_field(struct reader *r, const struct state_table *t, int object, int index,
                 uint64_t *listed);
