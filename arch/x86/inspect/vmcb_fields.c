#include "arch/x86/inspect/vmcb_fields.h"

#include "hv/lib.h"

static const struct vmcb_field table[] = {
#define VMCB_FIELD(offset, bytes, name, exists, group, volatility, reason)                         \
    {offset, bytes, VMCB_IF_##exists, VMCS_GROUP_##group, VMCS_VOLATILITY_##volatility,            \
     #name,  reason},
#include "arch/x86/inspect/vmcb_fields.def"
#undef VMCB_FIELD
};

#define VMCB_FIELD(offset, bytes, name, exists, group, volatility, reason)                         \
    _Static_assert((bytes) >= 1 && (bytes) <= 8 && (offset) <= VMCB_SIZE - 8,                      \
                   "eight bytes can be read at every offset");
#include "arch/x86/inspect/vmcb_fields.def"
#undef VMCB_FIELD

static const struct caps_bit conditions[] = {
#define VMCB_CONDITION(name, word, bit, text)                                                      \
    [VMCB_IF_##name] = {offsetof(struct abi_caps, word), bit},
#include "arch/x86/inspect/vmcb_fields.def"
#undef VMCB_CONDITION
};

const struct vmcb_field *vmcb_field(unsigned row)
{
    return row < ARRAY_LEN(table) ? &table[row] : NULL;
}

bool vmcb_field_exists(const struct vmcb_field *f, const struct abi_caps *caps)
{
    return f->condition == VMCB_IF_ALWAYS || caps_have(caps, &conditions[f->condition]);
}

void vmcb_make_plan(struct vmcb_plan *p, const struct abi_caps *caps)
{
    memset(p, 0, sizeof(*p));
    for (unsigned row = 0; row < VMCB_ROWS; row++) {
        const struct vmcb_field *f = &table[row];

        if (!vmcb_field_exists(f, caps))
            continue;
        p->present[row / 64] |= 1ull << (row % 64);
        p->field[p->count].row = (uint16_t)row;
        p->field[p->count].offset = f->offset;
        p->field[p->count++].mask = ~0ull >> (64 - 8 * f->bytes);
    }
}

void vmcb_read_planned(const struct vmcb_plan *p, const void *vmcb, struct abi_vmcs *out)
{
    memcpy(out->present, p->present, sizeof(out->present));
    for (unsigned i = 0; i < p->count; i++) {
        uint64_t value;

        memcpy(&value, (const uint8_t *)vmcb + p->field[i].offset, sizeof(value));
        out->value[p->field[i].row] = value & p->field[i].mask;
    }
}
