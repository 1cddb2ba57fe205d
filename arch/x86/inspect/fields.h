/*
 * The table of all VMCS fields (fields.def). Pure, and linked into the management guest too: no
 * dependency on the rest of the root.
 */
#pragma once

#include "hv/abi/control.h"
#include "hv/types.h"

struct abi_caps;

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

static inline bool vmcs_has(const struct abi_vmcs *v, unsigned row)
{
    return v->present[row / 64] >> (row % 64) & 1;
}

static inline void vmcs_set(struct abi_vmcs *v, unsigned row, uint64_t value)
{
    v->present[row / 64] |= 1ull << (row % 64);
    v->value[row] = value;
}

static inline void vmcs_set_absent(struct abi_vmcs *v, unsigned row)
{
    v->present[row / 64] &= ~(1ull << (row % 64));
    v->value[row] = 0;
}

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
#define VMCS_CONDITION(name, missing) VMCS_IF_##name,
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

unsigned vmcs_field_count(void);
/* Row `row`, 0..vmcs_field_count()-1; NULL beyond. */
const struct vmcs_field *vmcs_field(unsigned row);
/* NULL: none. */
const struct vmcs_field *vmcs_field_by_name(const char *name);
const struct vmcs_field *vmcs_field_by_encoding(uint32_t encoding);

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

/* "control", "read-only", "guest", "host". */
const char *vmcs_group_name(enum vmcs_group group);
/* "16", "64", "32", "natural". */
const char *vmcs_width_name(enum vmcs_width width);
/* "setup", "entry", "exit", "run". */
const char *vmcs_volatility_name(enum vmcs_volatility volatility);

/* True if a CPU with these capabilities has the field. */
bool vmcs_field_exists(const struct vmcs_field *f, const struct abi_caps *caps);
/* Why a field can be absent: "no VMX-preemption timer (pin-based controls bit 6)"; "" for fields
 * that always exist. */
const char *vmcs_field_absence(const struct vmcs_field *f);
