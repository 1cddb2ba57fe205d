#include "mgmt/layout.h"

#include "arch/x86/inspect/decode.h"
#include "hv/lib.h"
#include "mgmt/words.h"

#define REVISION_MASK 0x7fffffffu
#define SHADOW_SHIFT  31
#define ABORT_OFFSET  4u

const char *layout_stored_name(unsigned stored)
{
    return words_say(words_stored, stored);
}

uint32_t layout_revision(const uint8_t *region)
{
    return get_le32(region) & REVISION_MASK;
}

void layout_put_region(struct json_out *j, const struct vmcs_layout *layout, const uint8_t *region,
                       const struct dump_options *o)
{
    static struct abi_vmcs values; /* too large for the stack */
    uint64_t unreadable[ABI_SNAPSHOT_FIELDS / 64 + 1] = {0};
    struct dump d = {.options = o, .vmcs = &values, .unreadable = unreadable};
    uint32_t abort = get_le32(region + ABORT_OFFSET);

    memset(&values, 0, sizeof(values));
    for (unsigned row = 0; row < VMCS_ROWS; row++) {
        const struct layout_field *f = &layout->field[row];
        uint64_t v = 0;

        if (f->stored == ABI_STORED_VERBATIM && f->size <= sizeof(v)) {
            memcpy(&v, region + f->offset, f->size);
            vmcs_set(&values, row, v);
        } else if (f->tried) {
            unreadable[row / 64] |= 1ull << (row % 64);
        }
    }
    json_hex(j, "revision", layout_revision(region), 1);
    json_bool(j, "shadow", get_le32(region) >> SHADOW_SHIFT);
    json_hex(j, "vmx_abort", abort, 1);
    if (abort)
        json_str(j, "vmx_abort_meaning", vmx_abort_name(abort));
    dump_fields(j, &d);
}
