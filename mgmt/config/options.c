#include "hv/options.h"

#include "hv/fmt.h"
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

void options_write(const struct boot_options *o, char out[OPTIONS_TEXT])
{
    const uint8_t *m = o->mac_prefix;
    const char *before = "guarded=";
    size_t n = 0;

    for (size_t i = 0; i < options_number_count; i++) {
        const struct option_number *k = &options_numbers[i];
        int32_t value;

        memcpy(&value, (const char *)o + k->offset, sizeof(value));
        if (value != k->preset)
            n += fmt(out + n, OPTIONS_TEXT - n, "%s=%d ", k->name, value);
    }
    for (unsigned i = 0; i < ABI_NIC_ROLES; i++) {
        unsigned count = (unsigned)min_u64(o->uplinks[i].count, NET_CARD_MAC);

        for (unsigned b = 0; b < count; b++)
            n += fmt(out + n, OPTIONS_TEXT - n, "%s%s%02x%s", b ? "" : options_uplinks[i],
                     b ? ":" : "=", o->uplinks[i].bytes[b], b + 1 < count ? "" : " ");
    }
    if (!bytes_are_zero(m, sizeof(o->mac_prefix)))
        n += fmt(out + n, OPTIONS_TEXT - n, "mac_prefix=%02x:%02x:%02x:%02x:%02x ", m[0], m[1],
                 m[2], m[3], m[4]);
    for (unsigned i = 0; i < OPTIONS_GUARDED; i++) {
        const uint8_t *g = o->guarded[i];

        if (bytes_are_zero(g, 4))
            continue;
        n += fmt(out + n, OPTIONS_TEXT - n, "%s%u.%u.%u.%u", before, g[0], g[1], g[2], g[3]);
        before = ",";
    }
    while (n && out[n - 1] == ' ')
        n--;
    out[n] = 0;
}
