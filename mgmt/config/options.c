#include "hv/options.h"

#include "hv/config.h"
#include "mgmt/config/parse.h"
#include "hv/lib.h"

void config_options(const struct config *c, struct boot_options *o)
{
    const struct management_config *m = &c->management;

    options_default(o);
    o->core = m->core;
    o->memory_mb = (int32_t)(m->memory / MB);
    o->weight = (int32_t)m->weight;
    o->slice_us = (int32_t)m->slice_us;
    o->budget_us = (int32_t)m->budget_us;
    o->period_us = (int32_t)m->period_us;
    o->requests_us = (int32_t)m->requests_us;
    o->reachable_from_guests = m->service.reachable_from_guests;
    o->token = m->service.auth == ABI_AUTH_RANDOM;
    o->nx_large = c->nx_large == NX_LARGE_AUTO;
    o->panic_reboot_s = (int32_t)c->panic_reboot_s;
    memcpy(o->mac_prefix, c->mac_prefix, sizeof(o->mac_prefix));
    if (m->static_ip)
        memcpy(o->guarded[0], m->ip, sizeof(m->ip));
    memcpy(o->guarded[1], m->gateway, sizeof(m->gateway));
    memcpy(o->guarded[2], m->service.syslog_server, sizeof(m->service.syslog_server));
}
