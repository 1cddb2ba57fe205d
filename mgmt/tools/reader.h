/*
 * Reads vmcsdump's input: saved answers of the API, layouts, pages. Everything is checked, and
 * every complaint has a position.
 */
#pragma once

#include "hv/abi/control.h"
#include "mgmt/config/json.h"
#include "mgmt/layout.h"

#define READER_TOKENS  65536u
#define READER_BYTES   (4u << 20)
#define ROW_WORDS      (ABI_SNAPSHOT_FIELDS / 64 + 1)
#define READER_NAME    160u
#define READER_MESSAGE 400u

struct reader_error {
    uint32_t line, column;     /* from 1; 0: no position */
    char text[READER_MESSAGE]; /* "fields[3] (GUEST_RIP): value: more than 64 bits" */
};

/* An answer with a VMCS or VMCB: GET .../vmcs, .../vmcb or a snapshot, decoded or not. */
struct vmcs_file {
    const struct state_table *table; /* which of them */
    struct abi_vmcs vmcs;
    uint64_t listed[ROW_WORDS];          /* rows in the file, with a value or as absent */
    struct abi_caps caps;                /* present 1: from the control words in the file */
    uint64_t wanted[ABI_CONTROL_WORDS];  /* valid if `caps` is present */
    uint64_t settled[ABI_CONTROL_WORDS]; /* bits that `wanted` and `caps` cover */
    bool has_bitmaps;
    uint8_t bitmaps[ABI_BITMAPS_SIZE];
};

/* All return 0, or -E_FORMAT with *e filled. `j` keeps pointing into `text` and `tokens`. */
int reader_json(struct json *j, const char *text, size_t length, jsmntok_t *tokens, size_t count,
                struct reader_error *e) MUST_CHECK;
int reader_vmcs(const struct json *j, struct vmcs_file *out, struct reader_error *e) MUST_CHECK;
int reader_layout(const struct json *j, struct vmcs_layout *out, struct reader_error *e) MUST_CHECK;
/* One core of GET /v1/vmx/capabilities. */
int reader_caps(const struct json *j, unsigned core, struct abi_caps *out,
                struct reader_error *e) MUST_CHECK;

/* The token of a member's value; -E_NOENT. `object` must be an object. */
int reader_member(const struct json *j, int object, const char *name);
/* The token's bytes for display: no control characters, cut to `size`. */
void reader_show(const struct json *j, int t, char *out, size_t size);

static inline bool row_in(const uint64_t *rows, unsigned row)
{
    return rows[row / 64] >> (row % 64) & 1;
}
