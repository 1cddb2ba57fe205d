/*
 * Writes a VMCS or VMCB as JSON or readable text: which fields, and how much about each. Pure.
 */
#pragma once

#include "mgmt/json.h"
#include "mgmt/state.h"

struct dump_options {
    const struct state_table *table; /* NULL: a VMCS */
    bool decode;                     /* bits, meanings, provenance; what the bitmaps say */
    bool oddities;                   /* only fields with something odd about them */
    int group;                       /* enum vmcs_group that the field belongs to; -1: all */
    bool some;                       /* only the rows in `chosen` */
    uint64_t chosen[ABI_SNAPSHOT_FIELDS / 64 + 1];
};

/* What a dump is made from. NULL: unknown. */
struct dump {
    const struct dump_options *options;
    const struct abi_vmcs *vmcs;
    const uint64_t *wanted; /* ABI_CONTROL_WORDS words */
    const struct abi_caps *caps;
    const uint8_t *bitmaps; /* see ABI_BITMAPS_GPA */
    /* Bits of control words that `wanted` and `caps` cover; NULL: all. */
    const uint64_t *settled;
    const uint64_t *rows;       /* a bit for each row about which something is known; NULL: all */
    const uint64_t *unreadable; /* rows that exist but whose value is unknown; NULL: none */
};

static inline const struct state_table *dump_table(const struct dump_options *o)
{
    return o->table ? o->table : &state_vmcs;
}

/* The row of a field, by its name or its key ("0x4002"), `n` bytes. -E_NOENT: none. */
int dump_find_row(const struct state_table *t, const char *s, size_t n);
/* "GUEST_RIP,0x4002". False: *bad (of *length bytes) is not a field of o->table. */
bool dump_choose_fields(struct dump_options *o, const char *list, const char **bad, size_t *length);
/* "control", "read-only", "guest", "host". False: none of these. */
bool dump_choose_group(struct dump_options *o, const char *name);
/* Writes the member "fields", and with decode "bitmaps", of the open object. */
void dump_fields(struct json_out *j, const struct dump *d);
/* For text: one field of a VMCS with each of its bits. `c` may be NULL. False: it has no bits,
 * being only a number or an address. */
bool dump_value(struct json_out *j, const struct vmcs_field *f, uint64_t value,
                const struct decode_context *c);
/* Hexadecimal digits of a VMCS field's value. */
unsigned dump_digits(const struct vmcs_field *f);
