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

static const struct {
    uint16_t word; /* offset in struct abi_caps */
    uint32_t bits; /* 0: always */
    const char *missing;
} conditions[] = {
#define VMCB_CONDITION(name, word, bits, text)                                                     \
    [VMCB_IF_##name] = {offsetof(struct abi_caps, word), bits, text},
#include "arch/x86/inspect/vmcb_fields.def"
#undef VMCB_CONDITION
};

const struct vmcb_field *vmcb_field(unsigned row)
{
    return row < ARRAY_LEN(table) ? &table[row] : NULL;
}

const struct vmcb_field *vmcb_field_by_offset(uint32_t offset)
{
    unsigned low = 0, high = ARRAY_LEN(table);

    while (low < high) {
        unsigned mid = (low + high) / 2;

        if (table[mid].offset == offset)
            return &table[mid];
        if (table[mid].offset < offset)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

bool vmcb_field_exists(const struct vmcb_field *f, const struct abi_caps *caps)
{
    uint64_t word;

    memcpy(&word, (const uint8_t *)caps + conditions[f->condition].word, sizeof(word));
    return !conditions[f->condition].bits || (word & conditions[f->condition].bits);
}

const char *vmcb_field_absence(const struct vmcb_field *f)
{
    return conditions[f->condition].missing;
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

void vmcb_read_fields(const void *vmcb, const struct abi_caps *caps, struct abi_vmcs *out)
{
    struct vmcb_plan plan;

    vmcb_make_plan(&plan, caps);
    memset(out, 0, sizeof(*out));
    vmcb_read_planned(&plan, vmcb, out);
}
