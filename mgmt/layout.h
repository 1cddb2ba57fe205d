/*
 * Where a CPU keeps the VMCS fields in the region, and a region read with that layout. Pure.
 */
#pragma once

#include "mgmt/dump.h"

#define LAYOUT_REGION 4096u
#define LAYOUT_DATA   8u /* revision identifier and VMX-abort indicator come before it */

struct vmcs_layout {
    uint32_t revision; /* bits 30:0 of a region's first four bytes */
    struct layout_field {
        uint16_t offset, size; /* bytes; size 0: not found */
        uint8_t stored;        /* enum abi_stored */
        bool tried;            /* the field exists and can be written */
    } field[VMCS_ROWS];
};

/* "not found", "verbatim", "transformed" */
const char *layout_stored_name(unsigned stored);
/* `region` has LAYOUT_REGION bytes. */
uint32_t layout_revision(const uint8_t *region);
/* Writes the members "revision", "shadow", "vmx_abort" and those of dump_fields() into the open
 * object, for a region of LAYOUT_REGION bytes with the layout's revision. */
void layout_put_region(struct json_out *j, const struct vmcs_layout *layout, const uint8_t *region,
                       const struct dump_options *o);
