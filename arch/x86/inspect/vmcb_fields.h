/*
 * The table of all VMCB fields (vmcb_fields.def). The layout is public: a field is bytes at an
 * offset, so a VMCB is read as memory. Pure, and linked into the management guest too.
 */
#pragma once

#include "arch/x86/inspect/fields.h"
#include "hv/abi/control.h"
#include "hv/types.h"

#define VMCB_SIZE 4096u

/* VMCB_AT_<NAME>: the offset of each field. */
enum vmcb_offset {
#define VMCB_FIELD(offset, bytes, name, exists, group, volatility, reason) VMCB_AT_##name = offset,
#include "arch/x86/inspect/vmcb_fields.def"
#undef VMCB_FIELD
    VMCB_AT_END = VMCB_SIZE
};

/* VMCB_ROW_<NAME>: the row of each field, its index in struct abi_vmcs. */
enum vmcb_row {
#define VMCB_FIELD(offset, bytes, name, exists, group, volatility, reason) VMCB_ROW_##name,
#include "arch/x86/inspect/vmcb_fields.def"
#undef VMCB_FIELD
    VMCB_ROWS
};
_Static_assert(VMCB_ROWS <= ABI_SNAPSHOT_FIELDS, "every field has its place in a snapshot");

enum vmcb_condition {
#define VMCB_CONDITION(name, word, bit, missing) VMCB_IF_##name,
#include "arch/x86/inspect/vmcb_fields.def"
#undef VMCB_CONDITION
    VMCB_CONDITIONS
};

struct vmcb_field {
    uint16_t offset;
    uint8_t bytes;      /* 1 to 8 */
    uint8_t condition;  /* enum vmcb_condition */
    uint8_t group;      /* enum vmcs_group: what it really belongs to; never VMCS_GROUP_HOST */
    uint8_t volatility; /* enum vmcs_volatility */
    const char *name;   /* "EXITINFO1" */
    const char *reason; /* why it really belongs elsewhere, or another remark; "" */
};

/* Row `row`, 0..VMCB_ROWS-1; NULL beyond. */
const struct vmcb_field *vmcb_field(unsigned row);

/* True if a CPU with these capabilities has the field. */
bool vmcb_field_exists(const struct vmcb_field *f, const struct abi_caps *caps);
/* The fields that a CPU has, so that reading them takes a few instructions each. */
struct vmcb_plan {
    uint64_t present[ARRAY_LEN(((struct abi_vmcs *)0)->present)];
    unsigned count;
    struct {
        uint16_t row, offset;
        uint64_t mask; /* of the eight bytes from there on */
    } field[VMCB_ROWS];
};

void vmcb_make_plan(struct vmcb_plan *p, const struct abi_caps *caps);
/* Reads the VMCB_SIZE bytes at `vmcb`. Values of absent fields stay as they are. */
void vmcb_read_planned(const struct vmcb_plan *p, const void *vmcb, struct abi_vmcs *out);
