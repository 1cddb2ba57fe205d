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

static bool exists(struct call *c, const char *name)
{
    struct abi_guest g;

    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++)
        if (call_copy_guest(c, i, &g) && g.state != ABI_GUEST_DELETING &&
            strcmp(g.config.name, name) == 0)
            return true;
    return false;
}

/* Those whose peers exist: no others could be in a guests.json. */
static void put_shared(struct call *c, struct json_out *j)
{
    json_array(j, "shared");
    for (unsigned i = 0; i < c->v->config->shared_count; i++) {
        const struct config_shared *s = &c->v->config->shared[i];
        bool all = true;

        for (unsigned k = 0; all && k < s->peer_count; k++)
            all = exists(c, s->peers[k]);
        if (!all)
            continue;
        json_object(j, NULL);
        put_shared_fields(j, s);
        json_end(j);
    }
    json_end(j);
}

static void put_management(struct call *c, struct json_out *j)
{
    struct management_config m = c->v->config->management;
    struct abi_guest g;

    if (!call_copy_guest(c, c->v->host->self, &g))
        return;
    m.core = (int)g.core; /* the root may have chosen others */
    m.memory = g.config.memory;
    json_object(j, "management");
    put_management_fields(j, &m);
    json_end(j);
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
    if (c->v->config->shared_count)
        put_shared(c, j);
    put_management(c, j);
    put_top_fields(j, c->v->config);
    put_uplinks(j, c->v->config);
    if (!bytes_are_zero(c->v->config->mac_prefix, sizeof(c->v->config->mac_prefix)))
        put_mac(j, "mac_prefix", c->v->config->mac_prefix, sizeof(c->v->config->mac_prefix));
    json_end(j);
}
