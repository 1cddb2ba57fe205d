/*
 * The rows of both tables of fields for those who show them: found by name or number, in words, and
 * the values that a state has for them. Pure; linked into the management guest and host tools, not
 * into the root.
 */
#pragma once

#include "arch/x86/inspect/fields.h"
#include "arch/x86/inspect/vmcb_fields.h"

/* NULL: none. */
const struct vmcs_field *vmcs_field_by_name(const char *name);
const struct vmcs_field *vmcs_field_by_encoding(uint32_t encoding);
/* NULL: no field begins there. */
const struct vmcb_field *vmcb_field_by_offset(uint32_t offset);

/* "control", "read-only", "guest", "host". */
const char *vmcs_group_name(enum vmcs_group group);
/* "16", "64", "32", "natural". */
const char *vmcs_width_name(enum vmcs_width width);
/* "setup", "entry", "exit", "run". */
const char *vmcs_volatility_name(enum vmcs_volatility volatility);
/* Why a field can be absent: "no VMX-preemption timer (pin-based controls bit 6)", "no AVIC (CPUID
 * 8000000A EDX bit 13)"; "" for fields that always exist. */
const char *vmcs_field_absence(const struct vmcs_field *f);
const char *vmcb_field_absence(const struct vmcb_field *f);

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

#define VMCB_SAVE_AREA 0x400u /* the control area is below */

/* The group that its area stands for: the control area for VMCS_GROUP_CONTROL, the save area for
 * VMCS_GROUP_GUEST. */
static inline enum vmcs_group vmcb_area(uint32_t offset)
{
    return offset < VMCB_SAVE_AREA ? VMCS_GROUP_CONTROL : VMCS_GROUP_GUEST;
}

/* Makes a plan and reads the VMCB_SIZE bytes at `vmcb` by it. */
void vmcb_read_fields(const void *vmcb, const struct abi_caps *caps, struct abi_vmcs *out);
