/* What this machine's VT-x can do, core by core. */
#include "arch/x86/vmx/decode.h"
#include "arch/x86/vmx/vmx.h"
#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/api_call.h"

#define CAPABILITY_INDENT 13u

/* SDM 3D appendix A: the TRUE MSRs have other numbers. */
static const struct capability {
    uint16_t msr, true_msr; /* true_msr 0: there is only one */
    uint16_t offset;        /* in struct abi_caps */
} capabilities[] = {
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

static uint64_t value_of(const struct abi_caps *caps, const struct capability *k)
{
    uint64_t v;

    memcpy(&v, (const uint8_t *)caps + k->offset, sizeof(v));
    return v;
}

static uint32_t msr_of(const struct abi_caps *caps, const struct capability *k)
{
    return k->true_msr && (caps->basic & VMX_BASIC_TRUE_CONTROLS) ? k->true_msr : k->msr;
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
        json_wrapped(j, CAPABILITY_INDENT, p->meaning);
        return;
    }
    json_object(j, NULL);
    json_str(j, "bits", bits);
    json_str(j, "name", p->name);
    json_hex(j, "value", p->value, 1);
    json_str(j, "meaning", p->meaning);
    json_end(j);
}

static void put_msr(struct json_out *j, const struct abi_caps *caps, const struct abi_caps *boot,
                    const struct capability *k, bool decode)
{
    uint32_t msr = msr_of(caps, k);
    uint64_t value = value_of(caps, k);
    const char *name = vmx_msr_name(msr);
    bool differs = value != value_of(boot, k);

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

/* Cores are alike nearly always: what is like core 0 is not said twice in words. */
static void put_core(struct json_out *j, const struct call *c, unsigned id, bool decode)
{
    const struct abi_caps *caps = &c->v->caps[id], *boot = &c->v->caps[0];
    unsigned differences = 0;

    for (unsigned i = 0; i < ARRAY_LEN(capabilities); i++)
        differences += value_of(caps, &capabilities[i]) != value_of(boot, &capabilities[i]);
    json_object(j, NULL);
    json_u64(j, "core", id);
    json_bool(j, "vmx", caps->present);
    json_bool(j, "inside_a_hypervisor", caps->hypervisor);
    json_u64(j, "differences_from_core_0", differences);
    json_array(j, "msrs");
    for (unsigned i = 0; caps->present && i < ARRAY_LEN(capabilities); i++)
        if (!j->text || id == 0 ||
            value_of(caps, &capabilities[i]) != value_of(boot, &capabilities[i]))
            put_msr(j, caps, boot, &capabilities[i], decode && (id == 0 || differences));
    json_end(j);
    json_end(j);
}

void get_capabilities(struct call *c, char *const *arg)
{
    const struct abi_host *h = c->v->host;
    bool decode = c->text;
    struct json_out *j;

    (void)arg;
    if (!call_query_bool(c, "decode", &decode))
        return;
    j = call_begin(c);
    json_object(j, NULL);
    json_str(j, "cpu", h->cpu_brand);
    json_hex(j, "cpu_signature", h->cpu_signature, 1);
    json_hex(j, "vmcs_revision", h->vmcs_revision, 1);
    json_array(j, "cores");
    for (unsigned i = 0; i < h->core_count && i < ABI_CORES_MAX; i++)
        put_core(j, c, i, decode);
    json_end(j);
    json_end(j);
}
