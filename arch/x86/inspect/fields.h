/*
 * The table of all VMCS fields (fields.def). Pure, and linked into the management guest too: no
 * dependency on the rest of the root.
 */
#pragma once

#include "hv/abi/control.h"
#include "hv/types.h"

/* VMCS_<NAME>: the encoding of each field. */
enum vmcs_encoding {
#define VMCS_FIELD(encoding, name, exists, group, volatility, reason) VMCS_##name = encoding,
#include "arch/x86/inspect/fields.def"
#undef VMCS_FIELD
    VMCS_ENCODING_END
};

/* VMCS_ROW_<NAME>: the row of each field, its index in struct abi_vmcs. */
enum vmcs_row {
#define VMCS_FIELD(encoding, name, exists, group, volatility, reason) VMCS_ROW_##name,
#include "arch/x86/inspect/fields.def"
#undef VMCS_FIELD
    VMCS_ROWS
};
_Static_assert(VMCS_ROWS <= ABI_SNAPSHOT_FIELDS, "every field has its place in a snapshot");

/* Bits 11:10 and 14:13 of an encoding. */
enum vmcs_group { VMCS_GROUP_CONTROL, VMCS_GROUP_READ_ONLY, VMCS_GROUP_GUEST, VMCS_GROUP_HOST };
enum vmcs_width { VMCS_WIDTH_16, VMCS_WIDTH_64, VMCS_WIDTH_32, VMCS_WIDTH_NATURAL };

enum vmcs_volatility {
    VMCS_VOLATILITY_SETUP,
    VMCS_VOLATILITY_ENTRY,
    VMCS_VOLATILITY_EXIT,
    VMCS_VOLATILITY_RUN,
};

enum vmcs_condition {
#define VMCS_CONDITION(name, ...) VMCS_IF_##name,
#include "arch/x86/inspect/fields.def"
#undef VMCS_CONDITION
    VMCS_CONDITIONS
};

struct vmcs_field {
    uint16_t encoding;
    uint8_t condition;  /* enum vmcs_condition */
    uint8_t group;      /* enum vmcs_group: what it really belongs to */
    uint8_t volatility; /* enum vmcs_volatility */
    const char *name;   /* "GUEST_RIP" */
    const char *reason; /* why it really belongs elsewhere, or another remark; "" */
};

/* Row `row`, 0..VMCS_ROWS-1; NULL beyond. */
const struct vmcs_field *vmcs_field(unsigned row);

static inline enum vmcs_group vmcs_encoded_group(uint32_t encoding)
{
    return (enum vmcs_group)(encoding >> 10 & 3);
}

static inline enum vmcs_width vmcs_encoded_width(uint32_t encoding)
{
    return (enum vmcs_width)(encoding >> 13 & 3);
}

static inline unsigned vmcs_encoded_index(uint32_t encoding)
{
    return encoding >> 1 & 0x1ff;
}

/* A bit of a core's capabilities. */
struct caps_bit {
    uint16_t word; /* offset in struct abi_caps */
    uint64_t bit;
};

static inline bool caps_have(const struct abi_caps *c, const struct caps_bit *b)
{
    return *(const uint64_t *)(const void *)((const char *)c + b->word) & b->bit;
}

/* True if a CPU with these capabilities has the field. */
bool vmcs_field_exists(const struct vmcs_field *f, const struct abi_caps *caps);
