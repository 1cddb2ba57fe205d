#include "mgmt/put_config.h"

#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/words.h"

/* A row of hv/config_fields.def: writes that member of an object. */
struct row {
    const char *name;
    void (*put)(struct json_out *j, const struct row *r, const void *object);
    size_t offset, size;
    const char *const *words;
};

#define ROW(type, name, member, kind, words)                                                       \
    {name, put_##kind, offsetof(struct type, member), sizeof(((struct type *)0)->member), words},

void put_mac(struct json_out *j, const char *name, const uint8_t *mac, size_t bytes)
{
    char text[18] = "";

    for (size_t i = 0, n = 0; i < bytes && n < sizeof(text); i++)
        n += (size_t)fmt(text + n, sizeof(text) - n, "%s%02x", i ? ":" : "", mac[i]);
    json_str(j, name, text);
}

static void put_rows(struct json_out *j, const struct row *rows, size_t count, const void *object)
{
    for (size_t i = 0; i < count; i++)
        rows[i].put(j, &rows[i], object);
}

static const void *at(const struct row *r, const void *object)
{
    return (const char *)object + r->offset;
}

static uint64_t number_at(const struct row *r, const void *object)
{
    uint64_t v = 0;

    memcpy(&v, at(r, object), r->size);
    return v;
}

/* ---- by kind ---- */

static void put_number(struct json_out *j, const struct row *r, const void *object)
{
    json_u64(j, r->name, number_at(r, object));
}

static void put_memory(struct json_out *j, const struct row *r, const void *object)
{
    put_number(j, r, object);
}

/* Leaves out -1. */
static void put_core(struct json_out *j, const struct row *r, const void *object)
{
    if ((int32_t)number_at(r, object) >= 0)
        put_number(j, r, object);
}

static void put_cores(struct json_out *j, const struct row *r, const void *object)
{
    const struct guest_config *g = object;

    json_array(j, r->name);
    for (unsigned i = 0; i < g->core_count && i < ARRAY_LEN(g->cores); i++)
        json_u64(j, NULL, g->cores[i]);
    json_end(j);
}

static void put_switch(struct json_out *j, const struct row *r, const void *object)
{
    json_bool(j, r->name, number_at(r, object));
}

static void put_choice(struct json_out *j, const struct row *r, const void *object)
{
    json_str(j, r->name, words_say(r->words, number_at(r, object)));
}

static void put_flags(struct json_out *j, const struct row *r, const void *object)
{
    uint64_t flags = number_at(r, object);

    json_array(j, r->name);
    for (unsigned i = 0; r->words[i]; i++)
        if (flags >> i & 1)
            json_str(j, NULL, r->words[i]);
    json_end(j);
}

static void put_text(struct json_out *j, const struct row *r, const void *object)
{
    json_str(j, r->name, at(r, object));
}

static void put_file(struct json_out *j, const struct row *r, const void *object)
{
    const char *name = at(r, object);

    if (name[0])
        json_str(j, r->name, name);
}

static void put_host(struct json_out *j, const struct row *r, const void *object)
{
    put_file(j, r, object);
}

static void put_bytes(struct json_out *j, const struct row *r, const void *object)
{
    char text[2 * TOKEN_SHA256_SIZE + 1] = "";

    for (size_t i = 0; i < r->size && i < TOKEN_SHA256_SIZE; i++)
        (void)fmt(text + 2 * i, 3, "%02x", ((const uint8_t *)at(r, object))[i]);
    json_str(j, r->name, text);
}

/* ---- a guest ---- */

static void put_addresses(struct json_out *j, const struct row *r, const void *object)
{
    const struct net_config *n = object;
    char text[CONFIG_ADDRESS_TEXT];

    json_array(j, r->name);
    for (unsigned i = 0; i < n->address_count && i < NET_ADDRESSES_MAX; i++) {
        config_net_address_text(&n->addresses[i], text);
        json_str(j, NULL, text);
    }
    json_end(j);
}

static const struct row net_rows[] = {
#define NET(name, kind, least, most, preset, words, ...) ROW(net_config, #name, name, kind, words)
#include "hv/config_fields.def"
};

static void put_net(struct json_out *j, const struct row *r, const void *object)
{
    const struct guest_config *g = object;

    if (!(g->devices & DEV_NET) || !g->net.network[0]) /* management's card has no more fields */
        return;
    json_object(j, r->name);
    put_rows(j, net_rows, ARRAY_LEN(net_rows), &g->net);
    json_end(j);
}

static const struct row module_rows[] = {
#define MODULE(name, kind, least, most, preset, words, ...)                                        \
    ROW(config_module, #name, name, kind, words)
#include "hv/config_fields.def"
};

static void put_modules(struct json_out *j, const struct row *r, const void *object)
{
    const struct guest_config *g = object;

    json_array(j, r->name);
    for (unsigned i = 0; i < g->module_count && i < ARRAY_LEN(g->modules); i++) {
        json_object(j, NULL);
        put_rows(j, module_rows, ARRAY_LEN(module_rows), &g->modules[i]);
        json_end(j);
    }
    json_end(j);
}

static const struct row disk_rows[] = {
#define DISK(name, kind, least, most, preset, words, ...) ROW(config_disk, #name, name, kind, words)
#include "hv/config_fields.def"
};

static void put_disks(struct json_out *j, const struct row *r, const void *object)
{
    const struct guest_config *g = object;

    json_array(j, r->name);
    for (unsigned i = 0; i < g->disk_count && i < ARRAY_LEN(g->disks); i++) {
        json_object(j, NULL);
        put_rows(j, disk_rows, ARRAY_LEN(disk_rows), &g->disks[i]);
        json_end(j);
    }
    json_end(j);
}

static const struct row guest_rows[] = {
#define GUEST(name, kind, least, most, preset, words, ...)                                         \
    ROW(guest_config, #name, name, kind, words)
#include "hv/config_fields.def"
};

void put_guest_fields(struct json_out *j, const struct guest_config *g, const char *kind)
{
    for (size_t i = 0; i < ARRAY_LEN(guest_rows); i++) {
        const struct row *r = &guest_rows[i];

        if (kind && r->offset == offsetof(struct guest_config, kind))
            json_str(j, r->name, kind);
        else
            r->put(j, r, g);
    }
}

/* ---- memory between guests ---- */

static void put_size(struct json_out *j, const struct row *r, const void *object)
{
    put_number(j, r, object);
}

static void put_peers(struct json_out *j, const struct row *r, const void *object)
{
    const struct config_shared *s = object;

    json_array(j, r->name);
    for (unsigned i = 0; i < s->peer_count && i < CONFIG_PEERS_MAX; i++)
        json_str(j, NULL, s->peers[i]);
    json_end(j);
}

static const struct row shared_rows[] = {
#define SHARED(name, kind, least, most, preset, words, ...)                                        \
    ROW(config_shared, #name, name, kind, words)
#include "hv/config_fields.def"
};

void put_shared_fields(struct json_out *j, const struct config_shared *s)
{
    put_rows(j, shared_rows, ARRAY_LEN(shared_rows), s);
}

/* ---- management ---- */

void put_ip(struct json_out *j, const char *name, const uint8_t ip[4], const char *tail)
{
    char text[32];

    (void)fmt(text, sizeof(text), "%u.%u.%u.%u%s", ip[0], ip[1], ip[2], ip[3], tail);
    json_str(j, name, text);
}

static void put_address(struct json_out *j, const struct row *r, const void *object)
{
    const struct management_config *m = object;
    char prefix[8];
    unsigned bits = 0;

    if (!m->static_ip) {
        json_str(j, r->name, "dhcp");
        return;
    }
    for (unsigned i = 0; i < 32; i++)
        bits += m->netmask[i / 8] >> (7 - i % 8) & 1;
    (void)fmt(prefix, sizeof(prefix), "/%u", bits);
    put_ip(j, r->name, m->ip, prefix);
}

static void put_gateway(struct json_out *j, const struct row *r, const void *object)
{
    const struct management_config *m = object;

    if (m->static_ip && m->gateway[0])
        put_ip(j, r->name, m->gateway, "");
}

static const struct row token_rows[] = {
#define TOKEN(name, kind, least, most, preset, words, ...)                                         \
    ROW(service_token, #name, name, kind, words)
#include "hv/config_fields.def"
};

static void put_auth(struct json_out *j, const struct row *r, const void *object)
{
    const struct service_config *m = &((const struct management_config *)object)->service;

    if (m->auth == AUTH_NONE)
        json_str(j, r->name, "none");
    if (m->auth != AUTH_TOKENS)
        return;
    json_object(j, r->name);
    json_array(j, "tokens");
    for (unsigned i = 0; i < m->token_count && i < SERVICE_TOKENS_MAX; i++) {
        json_object(j, NULL);
        put_rows(j, token_rows, ARRAY_LEN(token_rows), &m->tokens[i]);
        json_end(j);
    }
    json_end(j);
    json_end(j);
}

static void put_server(struct json_out *j, const struct row *r, const void *object)
{
    put_ip(j, r->name, at(r, object), "");
}

static const struct row syslog_rows[] = {
#define SYSLOG(name, member, kind, least, most, preset, words, ...)                                \
    ROW(management_config, #name, member, kind, words)
#include "hv/config_fields.def"
};

static void put_syslog(struct json_out *j, const struct row *r, const void *object)
{
    const struct management_config *m = object;

    if (!m->service.syslog_server[0])
        return;
    json_object(j, r->name);
    put_rows(j, syslog_rows, ARRAY_LEN(syslog_rows), m);
    json_end(j);
}

static const struct row management_rows[] = {
#define MANAGEMENT(name, member, kind, least, most, preset, words, ...)                            \
    ROW(management_config, #name, member, kind, words)
#define MANAGEMENT_PART(name, member, kind, least, most, preset, words, ...)                       \
    ROW(management_config, #name, member, kind, words)
#include "hv/config_fields.def"
};

void put_management_fields(struct json_out *j, const struct management_config *m)
{
    put_rows(j, management_rows, ARRAY_LEN(management_rows), m);
}

static const struct row top_rows[] = {
#define TOP(name, member, kind, least, most, preset, words, ...)                                   \
    ROW(config, #name, member, kind, words)
#include "hv/config_fields.def"
};

void put_top_fields(struct json_out *j, const struct config *c)
{
    put_rows(j, top_rows, ARRAY_LEN(top_rows), c);
}

static void put_card(struct json_out *j, const struct row *r, const void *object)
{
    const struct net_card_name *n = at(r, object);
    const uint8_t *b = n->bytes;
    char place[CONFIG_CARD_TEXT];

    if (n->count == NET_CARD_INDEX)
        json_u64(j, r->name, b[0]);
    else if (n->count == NET_CARD_MAC)
        put_mac(j, r->name, b, NET_CARD_MAC);
    if (n->count != NET_CARD_PLACE)
        return;
    (void)fmt(place, sizeof(place), "%04x:%02x:%02x.%u", b[0], b[1], b[2], b[3]);
    json_str(j, r->name, place);
}

static const struct row uplink_rows[] = {
#define UPLINK(name, member, kind, least, most, preset, words, ...)                                \
    ROW(config, #name, member, kind, words)
#include "hv/config_fields.def"
};

void put_uplinks(struct json_out *j, const struct config *c)
{
    if (!c->uplinks[0].count && !c->uplinks[1].count)
        return;
    json_object(j, "uplinks");
    put_rows(j, uplink_rows, ARRAY_LEN(uplink_rows), c);
    json_end(j);
}
