#include "arch/x86/inspect/fields.h"
#include "arch/x86/vmx/caps.h"
#include "arch/x86/vmx/vmx.h"

#define SAME(encoding)    ((encoding) >> 10 & 3)
#define CONTROL(encoding) VMCS_GROUP_CONTROL
#define GUEST(encoding)   VMCS_GROUP_GUEST
#define HOST(encoding)    VMCS_GROUP_HOST

static const struct vmcs_field table[] = {
#define VMCS_FIELD(encoding, name, exists, group, volatility, reason)                              \
    {encoding, VMCS_IF_##exists, group(encoding), VMCS_VOLATILITY_##volatility, #name, reason},
#include "arch/x86/inspect/fields.def"
#undef VMCS_FIELD
};

static const struct caps_bit conditions[VMCS_CONDITIONS][2] = {
#define CAN_SET(word, bit)                                                                         \
    {                                                                                              \
        offsetof(struct abi_caps, word), (uint64_t)(bit) << 32                                     \
    }
#define HAS(word, bit)                                                                             \
    {                                                                                              \
        offsetof(struct abi_caps, word), bit                                                       \
    }
#define VMCS_CONDITION(name, text, ...) [VMCS_IF_##name] = {__VA_ARGS__},
#include "arch/x86/inspect/fields.def"
#undef VMCS_CONDITION
};

const struct vmcs_field *vmcs_field(unsigned row)
{
    return row < ARRAY_LEN(table) ? &table[row] : NULL;
}

bool vmcs_field_exists(const struct vmcs_field *f, const struct abi_caps *c)
{
    const struct caps_bit *any;

    if (f->condition >= VMCS_CONDITIONS)
        return false;
    any = conditions[f->condition];
    if (f->condition == VMCS_IF_CR3_TARGETS)
        return vmcs_encoded_index(f->encoding) - vmcs_encoded_index(VMCS_CR3_TARGET_VALUE_0) <
               vmx_cr3_targets(c);
    return f->condition == VMCS_IF_ALWAYS || caps_have(c, &any[0]) || caps_have(c, &any[1]);
}
