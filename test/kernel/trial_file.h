/*
 * The file of entry trials: text, one trial per line; empty lines and lines that begin with '#' are
 * skipped. A line is a name, the fields that make a guest that enters, `|`, and the fields that
 * break it, separated by single spaces. A field is ENCODING:CLEAR:SET, hexadecimal without 0x: the
 * bits of CLEAR are cleared, then those of SET are set. Pure.
 */
#pragma once

#include "hv/types.h"

struct trial_file {
    const char *text;
    size_t size, at;
    uint32_t line; /* of the line read last, from 1 */
};

struct trial {
    const char *name; /* not terminated */
    size_t name_length;
    const char *at, *end; /* of the fields still to be read */
    bool breaking;        /* after the `|` */
};

struct trial_field {
    uint32_t encoding;
    uint64_t clear, set;
    bool breaking; /* one of the fields that break the guest */
};

/* Reads the next trial: 1, 0 at the end, -E_FORMAT if the line is invalid (the next call continues
 * after it). */
int trial_next(struct trial_file *f, struct trial *t) MUST_CHECK;
/* Reads its next field: 1, 0 at the end, -E_FORMAT. */
int trial_next_field(struct trial *t, struct trial_field *out) MUST_CHECK;
