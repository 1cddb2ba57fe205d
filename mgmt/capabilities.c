#include "mgmt/capabilities.h"

#include "arch/x86/vmx/vmx.h"
#include "hv/lib.h"

const struct capability capabilities[] = {
    {0x03a, 0, offsetof(struct abi_caps, feature_control)},
    {0x480, 0, offsetof(struct abi_caps, basic)},
    {0x481, 0x48d, offsetof(struct abi_caps, pin)},
    {0x482, 0x48e, offsetof(struct abi_caps, cpu1)},
    {0x48b, 0, offsetof(struct abi_caps, cpu2)},
    {0x492, 0, offsetof(struct abi_caps, cpu3)},
    {0x483, 0x48f, offsetof(struct abi_caps, exit)},
    {0x493, 0, offsetof(struct abi_caps, exit2)},
    {0x484, 0x490, offsetof(struct abi_caps, entry)},
    {0x485, 0, offsetof(struct abi_caps, misc)},
    {0x486, 0, offsetof(struct abi_caps, cr0_fixed0)},
    {0x487, 0, offsetof(struct abi_caps, cr0_fixed1)},
    {0x488, 0, offsetof(struct abi_caps, cr4_fixed0)},
    {0x489, 0, offsetof(struct abi_caps, cr4_fixed1)},
    {0x48a, 0, offsetof(struct abi_caps, vmcs_enum)},
    {0x48c, 0, offsetof(struct abi_caps, ept_vpid)},
    {0x491, 0, offsetof(struct abi_caps, vmfunc)},
};
const unsigned capability_count = ARRAY_LEN(capabilities);

uint64_t capability_value(const struct abi_caps *caps, const struct capability *k)
{
    uint64_t v;

    memcpy(&v, (const uint8_t *)caps + k->offset, sizeof(v));
    return v;
}

uint32_t capability_msr(const struct abi_caps *caps, const struct capability *k)
{
    return k->true_msr && (caps->basic & VMX_BASIC_TRUE_CONTROLS) ? k->true_msr : k->msr;
}

bool capability_set(struct abi_caps *caps, uint32_t msr, uint64_t value)
{
    for (unsigned i = 0; msr && i < capability_count; i++) {
        const struct capability *k = &capabilities[i];

        if (msr != k->msr && msr != k->true_msr)
            continue;
        memcpy((uint8_t *)caps + k->offset, &value, sizeof(value));
        return true;
    }
    return false;
}
