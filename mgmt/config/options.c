#include "hv/options.h"

#include "hv/lib.h"
#include "mgmt/config/parse.h"

/* By kind, between a member of struct boot_options and one of the configuration. */
#define TO_number(o, c, name)   (o)->name = (int32_t)(c)->name;
#define TO_core(o, c, name)     TO_number(o, c, name)
#define TO_memory(o, c, name)   (o)->name##_mb = (int32_t)((c)->name / MB);
#define FROM_number(o, c, name) (c)->name = (uint32_t)(o)->name;
#define FROM_core(o, c, name)   (c)->name = (o)->name;
#define FROM_memory(o, c, name) (c)->name = (uint32_t)(o)->name##_mb * MB;

void config_options(const struct config *c, struct boot_options *o)
{
    const struct management_config *m = &c->management;

    options_default(o);
#define MANAGEMENT_RUN(name, kind, ...) TO_##kind(o, m, name)
#define TOP_RUN(name, kind, ...)        TO_##kind(o, c, name)
#include "hv/config_fields.def"
    o->reachable_from_guests = m->service.reachable_from_guests;
    o->token = m->service.auth == AUTH_RANDOM;
    o->smt = (int32_t)c->smt;
    o->nx_large = c->nx_large == NX_LARGE_AUTO;
    memcpy(o->mac_prefix, c->mac_prefix, sizeof(o->mac_prefix));
    memcpy(o->uplinks, c->uplinks, sizeof(o->uplinks));
    if (m->static_ip)
        memcpy(o->guarded[0], m->ip, sizeof(m->ip));
    memcpy(o->guarded[1], m->gateway, sizeof(m->gateway));
    memcpy(o->guarded[2], m->service.syslog_server, sizeof(m->service.syslog_server));
}

void config_obey(struct config *c, const struct boot_options *o)
{
    struct management_config *m = &c->management;

#define MANAGEMENT_RUN(name, kind, ...) FROM_##kind(o, m, name)
#define TOP_RUN(name, kind, ...)        FROM_##kind(o, c, name)
#include "hv/config_fields.def"
    c->smt = (enum smt)o->smt;
    c->nx_large = o->nx_large ? NX_LARGE_AUTO : NX_LARGE_OFF;
    memcpy(c->mac_prefix, o->mac_prefix, sizeof(o->mac_prefix));
    memcpy(c->uplinks, o->uplinks, sizeof(o->uplinks));
}
