/*
 * The file of entry trials: text, one trial a line, lines that begin with '#' and empty ones left
 * out. A line is a name, the fields that make a guest which enters, `|`, and the fields that break
 * it, separated by single spaces. A field is ENCODING:CLEAR:SET, hexadecimal without 0x: the bits
 * of CLEAR are cleared, then those of SET are set. Pure.
 */
#pragma once

#include "hv/types.h"

struct trial_file {
    const char *text;
    size_t size, at;
    uint32_t line; /* of what was read last, from 1 */
};

struct trial {
    const char *name; /* not terminated */
    size_t name_length;
    const char *at, *end; /* of the fields that are left to read */
    bool breaking;        /* behind the `|` */
};

struct trial_field {
    uint32_t encoding;
    uint64_t clear, set;
    bool breaking; /* one of those that break the guest */
};

/* The next trial: 1, 0 at the end, -E_FORMAT when the line is not one (the next call goes on behind
 * it). */
int trial_next(struct trial_file *f, struct trial *t) MUST_CHECK;
/* The next field of it: 1, 0 at the end, -E_FORMAT. */
int trial_next_field(struct trial *t, struct trial_field *out) MUST_CHECK;
