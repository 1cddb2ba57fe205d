/*
 * The target of a request: its forms (RFC 9112, section 3.2), and what it names (RFC 3986). Pure.
 */
#pragma once

#include "hv/types.h"

#define TARGET_MAX        256u /* bytes */
#define TARGET_SEGMENTS   8u
#define TARGET_PARAMETERS 16u

struct target {
    char text[TARGET_MAX + 1];
    char *segments[TARGET_SEGMENTS]; /* decoded; empty ones are left out */
    unsigned segment_count;          /* TARGET_SEGMENTS + 1: more */
    struct {
        const char *name, *value; /* decoded */
    } parameters[TARGET_PARAMETERS];
    unsigned parameter_count;
};

/* Brings the absolute form into that of a path, in place; its authority then replaces `host`.
 * Other forms stay as they are. NULL, or what is wrong. */
const char *target_resolve(char *target, char *host, size_t host_size);
/* Takes a path and its query apart: first into pieces, then each piece is decoded. NULL, or what
 * is wrong. */
const char *target_parse(struct target *t, const char *text);
/* The value of a parameter, or NULL. */
const char *target_value(const struct target *t, const char *name);
/* The first parameter that is not among `known`, a list of words; or NULL. */
const char *target_stranger(const struct target *t, const char *known);
