/* The present state as a guests.json. */
#include "hv/lib.h"
#include "mgmt/api_call.h"
#include "mgmt/put_config.h"

static void put_guest(struct json_out *j, struct abi_guest *g)
{
    g->config.core = (int)g->core; /* also where the root chose */
    json_object(j, NULL);
    put_guest_fields(j, &g->config, NULL);
    json_end(j);
}

static void put_management(struct json_out *j, const struct abi_host *h, const struct abi_guest *g)
{
    struct management_config m = {
        .static_ip = h->static_ip,
        .core = (int)g->core,
        .memory = g->config.memory,
        .weight = g->config.weight,
        .slice_us = g->config.slice_us,
        .budget_us = g->config.budget_us,
        .period_us = g->config.period_us,
        .requests_us = h->requests_us,
        .service = h->management,
    };

    memcpy(m.ip, h->ip, sizeof(m.ip));
    memcpy(m.netmask, h->netmask, sizeof(m.netmask));
    memcpy(m.gateway, h->gateway, sizeof(m.gateway));
    json_object(j, "management");
    put_management_fields(j, &m);
    json_end(j);
}

static void put_mac_prefix(struct json_out *j, const struct abi_host *h)
{
    static const uint8_t none[sizeof(h->mac_prefix)];

    if (memcmp(h->mac_prefix, none, sizeof(none)) != 0)
        put_mac(j, "mac_prefix", h->mac_prefix, sizeof(h->mac_prefix));
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
        put_management(j, c->v->host, &g);
    json_str(j, "nx_large", c->v->host->nx_large_off ? "off" : "auto");
    json_u64(j, "panic_reboot_s", c->v->host->panic_reboot_s);
    put_mac_prefix(j, c->v->host);
    json_end(j);
}
