#include "mgmt/capabilities.h"

#include "arch/x86/inspect/decode.h"
#include "arch/x86/vmx/vmx.h"
#include "hv/fmt.h"
#include "hv/lib.h"

#define INDENT 13u

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
    return get_le64((const uint8_t *)caps + k->offset);
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

static void put_bit(void *arg, const struct decode_part *p)
{
    struct json_out *j = arg;
    char bits[8];

    if (p->high == p->low)
        (void)fmt(bits, sizeof(bits), "%u", p->low);
    else
        (void)fmt(bits, sizeof(bits), "%u:%u", p->high, p->low);
    if (j->text) {
        json_printf(j, "\n    %5s  %-40s 0x%lx", bits, p->name, p->value);
        json_wrapped(j, INDENT, p->meaning);
        return;
    }
    json_object(j, NULL);
    json_str(j, "bits", bits);
    json_str(j, "name", p->name);
    json_hex(j, "value", p->value, 1);
    json_str(j, "meaning", p->meaning);
    json_end(j);
}

void capability_put(struct json_out *j, uint32_t msr, uint64_t value, bool differs, bool decode)
{
    const char *name = vmx_msr_name(msr);

    if (j->text) {
        json_printf(j, "\n0x%03x  %-32s 0x%016lx%s", msr, name ? name : "", value,
                    differs ? "  DIFFERS from core 0" : "");
    } else {
        json_object(j, NULL);
        json_hex(j, "msr", msr, 1);
        json_str(j, "name", name ? name : "");
        json_hex(j, "value", value, 16);
        json_bool(j, "differs", differs);
        if (decode)
            json_array(j, "bits");
    }
    if (decode)
        (void)vmx_msr_decode(msr, value, put_bit, j);
    if (!j->text) {
        if (decode)
            json_end(j);
        json_end(j);
    }
}
