/* What this machine's VT-x can do, core by core. */
#include "mgmt/api_call.h"
#include "mgmt/capabilities.h"

static void put_msr(struct json_out *j, const struct abi_caps *caps, const struct abi_caps *boot,
                    const struct capability *k, bool decode)
{
    uint64_t value = capability_value(caps, k);

    capability_put(j, capability_msr(caps, k), value, value != capability_value(boot, k), decode);
}

/* Cores are nearly always alike: values equal to core 0's are not repeated in words. */
static void put_core(struct json_out *j, const struct call *c, unsigned id, bool decode)
{
    const struct abi_caps *caps = &c->v->caps[id], *boot = &c->v->caps[0];
    unsigned differences = 0;

    for (unsigned i = 0; i < capability_count; i++)
        differences +=
            capability_value(caps, &capabilities[i]) != capability_value(boot, &capabilities[i]);
    json_object(j, NULL);
    json_u64(j, "core", id);
    json_bool(j, "vmx", caps->present);
    json_bool(j, "inside_a_hypervisor", caps->hypervisor);
    json_u64(j, "differences_from_core_0", differences);
    if (caps->present) {
        json_u64(j, "physical_address_bits", caps->address_widths & 0xff);
        json_u64(j, "linear_address_bits", caps->address_widths >> 8 & 0xff);
    }
    json_array(j, "msrs");
    for (unsigned i = 0; caps->present && i < capability_count; i++)
        if (!j->text || id == 0 ||
            capability_value(caps, &capabilities[i]) != capability_value(boot, &capabilities[i]))
            put_msr(j, caps, boot, &capabilities[i], decode && (id == 0 || differences));
    json_end(j);
    json_end(j);
}

void get_capabilities(struct call *c, char *const *arg)
{
    (void)arg;
    call_put_capabilities(c, put_core);
}
