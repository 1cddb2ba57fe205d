/* The present state as a guests.json. */
#include "hv/lib.h"
#include "mgmt/api_call.h"
#include "mgmt/put_config.h"

static void put_guest(struct json_out *j, struct abi_guest *g)
{
    g->config.core = (int)g->core; /* even if the root chose it */
    json_object(j, NULL);
    put_guest_fields(j, &g->config, NULL);
    json_end(j);
}

/* Writes what is in force: the kernel's command line overrides guests.json. */
static void put_management(struct call *c, struct json_out *j, const struct abi_guest *g)
{
    struct management_config m = c->v->config->management;

    m.core = (int)g->core;
    m.memory = g->config.memory;
    m.weight = g->config.weight;
    m.slice_us = g->config.slice_us;
    m.budget_us = g->config.budget_us;
    m.period_us = g->config.period_us;
    m.requests_us = (uint32_t)c->v->host->options.requests_us;
    json_object(j, "management");
    put_management_fields(j, &m);
    json_end(j);
}

static void put_mac_prefix(struct json_out *j, const struct boot_options *o)
{
    if (!bytes_are_zero(o->mac_prefix, sizeof(o->mac_prefix)))
        put_mac(j, "mac_prefix", o->mac_prefix, sizeof(o->mac_prefix));
}

void get_config(struct call *c, char *const *arg)
{
    struct json_out *j = call_begin(c);
    struct abi_guest g;

    (void)arg;
    json_object(j, NULL);
    json_array(j, "guests");
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++)
        if (call_copy_guest(c, i, &g) && !(g.flags & ABI_GUEST_MANAGEMENT) &&
            g.state != ABI_GUEST_DELETING)
            put_guest(j, &g);
    json_end(j);
    if (call_copy_guest(c, c->v->host->self, &g))
        put_management(c, j, &g);
    json_str(j, "nx_large", c->v->host->options.nx_large ? "auto" : "off");
    json_u64(j, "panic_reboot_s", (uint64_t)c->v->host->options.panic_reboot_s);
    put_mac_prefix(j, &c->v->host->options);
    json_end(j);
}
