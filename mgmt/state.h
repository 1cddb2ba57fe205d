/*
 * The kinds of state that a snapshot can hold, VMCS or VMCB, as one interface: dumps, differences,
 * checks and changes are the same code for both. Pure.
 */
#pragma once

#include "arch/x86/inspect/decode.h"
#include "arch/x86/inspect/decode_bitmap.h"
#include "arch/x86/inspect/entry_check.h"
#include "arch/x86/inspect/decode_fields.h"

/* A row of the table, that is, a field. */
struct state_row {
    uint32_t key;       /* a VMCS field's encoding, a VMCB field's offset */
    unsigned bits;      /* of a value: 8 to 64 */
    const char *name;   /* "GUEST_RIP" */
    const char *width;  /* "64", "natural" */
    const char *reason; /* why it belongs elsewhere, or another remark; "" */
    /* enum vmcs_group: what its encoding or its area says, and what it really is. */
    unsigned place, belongs;
    unsigned volatility; /* enum vmcs_volatility */
    const char *absence; /* why it can be absent; "" */
};

/* Why a bit of a control word is what it is. */
struct state_origin {
    bool wanted, effective;
    const char *forced_by; /* what left no choice; NULL: nothing did */
    bool changeable;       /* while the guest runs */
};

struct state_table {
    uint32_t kind;         /* enum abi_state_kind */
    const char *name;      /* "VMCS" */
    const char *path;      /* the API's word for it: "vmcs" */
    const char *extension; /* "VT-x" */
    const char *key;       /* what a key is: "encoding" */
    int key_digits;
    const char *manual; /* "SDM" */
    const char
        *misfit[2]; /* before and behind the group that the key says: "encoded as a ", " field:" */
    unsigned rows, controls, rules;
    /* What the CPU looks up for ports and MSRs, and the rows that point there. */
    const struct exit_maps *maps;
    uint16_t map_rows[3];
    struct state_row (*row)(unsigned row);
    /* Like vmcs_decode() and vmcs_decode_line(), with the meaning taken from the other fields. */
    unsigned (*decode)(unsigned row, uint64_t value, const struct abi_vmcs *all, decode_emit emit,
                       void *arg);
    size_t (*line)(unsigned row, uint64_t value, const struct abi_vmcs *all, char *text,
                   size_t size);
    /* The row's index in abi_vcpu.wanted; -1: not a control word. */
    int (*control)(unsigned row);
    /* The row of a control word, and the API's name for it: "pin_controls". */
    unsigned (*control_row)(unsigned control);
    const char *const *control_names;
    /* A bit of a control word by its name; -1: none. */
    int (*control_bit)(unsigned row, const char *name);
    /* The name of a bit; NULL: not defined. */
    const char *(*control_bit_name)(unsigned row, unsigned bit);
    struct state_origin (*origin)(unsigned row, unsigned bit, uint64_t word, uint64_t wanted,
                                  const struct abi_caps *caps);
    /* The checks of an entry; see vmcs_entry_check(). */
    unsigned (*check)(const struct abi_vmcs *v, const struct abi_caps *caps,
                      void (*failed)(void *arg, const struct entry_rule_failure *f), void *arg);
    /* An exit by its counter (abi_vcpu.exits) or its whole reason; "UNDEFINED": there is none. */
    const char *(*exit_name)(uint32_t reason);
    bool (*exit_of_counter)(uint32_t counter, uint32_t *reason);
};

extern const struct state_table state_vmcs, state_vmcb;

/* By enum abi_state_kind; VMCS for those that are not known. */
const struct state_table *state_of(uint32_t kind);

/* The name of what a counter of abi_vcpu.exits counts. */
const char *state_counter_name(const struct state_table *t, uint32_t counter);

/* A row by the field's key; -E_NOENT: none. */
int state_row_by_key(const struct state_table *t, uint32_t key);
/* Hexadecimal digits of a field's value. */
unsigned state_digits(const struct state_row *r);
