#include "arch/x86/inspect/decode_fields.h"

#include "hv/lib.h"

static const char *const vmcs_missing[] = {
#define VMCS_CONDITION(name, text, ...) [VMCS_IF_##name] = text,
#include "arch/x86/inspect/fields.def"
#undef VMCS_CONDITION
};

static const char *const vmcb_missing[] = {
#define VMCB_CONDITION(name, word, bit, text) [VMCB_IF_##name] = text,
#include "arch/x86/inspect/vmcb_fields.def"
#undef VMCB_CONDITION
};

const struct vmcs_field *vmcs_field_by_name(const char *name)
{
    for (unsigned i = 0; i < VMCS_ROWS; i++)
        if (strcmp(vmcs_field(i)->name, name) == 0)
            return vmcs_field(i);
    return NULL;
}

const struct vmcs_field *vmcs_field_by_encoding(uint32_t encoding)
{
    unsigned low = 0, high = VMCS_ROWS;

    while (low < high) {
        unsigned mid = (low + high) / 2;

        if (vmcs_field(mid)->encoding == encoding)
            return vmcs_field(mid);
        if (vmcs_field(mid)->encoding < encoding)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

const struct vmcb_field *vmcb_field_by_offset(uint32_t offset)
{
    unsigned low = 0, high = VMCB_ROWS;

    while (low < high) {
        unsigned mid = (low + high) / 2;

        if (vmcb_field(mid)->offset == offset)
            return vmcb_field(mid);
        if (vmcb_field(mid)->offset < offset)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

const char *vmcs_group_name(enum vmcs_group group)
{
    static const char *const names[] = {"control", "read-only", "guest", "host"};

    return names[(unsigned)group & 3];
}

const char *vmcs_width_name(enum vmcs_width width)
{
    static const char *const names[] = {"16", "64", "32", "natural"};

    return names[(unsigned)width & 3];
}

const char *vmcs_volatility_name(enum vmcs_volatility volatility)
{
    static const char *const names[] = {"setup", "entry", "exit", "run"};

    return names[(unsigned)volatility & 3];
}

const char *vmcs_field_absence(const struct vmcs_field *f)
{
    return f->condition < ARRAY_LEN(vmcs_missing) ? vmcs_missing[f->condition] : "";
}

const char *vmcb_field_absence(const struct vmcb_field *f)
{
    return vmcb_missing[f->condition];
}

void vmcb_read_fields(const void *vmcb, const struct abi_caps *caps, struct abi_vmcs *out)
{
    struct vmcb_plan plan;

    vmcb_make_plan(&plan, caps);
    memset(out, 0, sizeof(*out));
    vmcb_read_planned(&plan, vmcb, out);
}
