/* The present state as a guests.json. */
#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/api_call.h"

static void put_devices(struct json_out *j, uint32_t devices)
{
    json_array(j, "devices");
    for (unsigned i = 0; config_device_name(i); i++)
        if (devices >> i & 1)
            json_str(j, NULL, config_device_name(i));
    json_end(j);
}

static void put_modules(struct json_out *j, const struct abi_guest *g)
{
    json_array(j, "modules");
    for (unsigned i = 0; i < g->config.module_count && i < ARRAY_LEN(g->config.modules); i++) {
        json_object(j, NULL);
        json_str(j, "file", g->config.modules[i].file);
        json_str(j, "args", g->config.modules[i].args);
        json_end(j);
    }
    json_end(j);
}

static void put_guest(struct json_out *j, const struct abi_guest *g)
{
    json_object(j, NULL);
    json_str(j, "name", g->config.name);
    json_str(j, "image", g->config.image);
    json_str(j, "kind", config_kind_name(g->config.kind));
    json_str(j, "cmdline", g->config.cmdline);
    json_u64(j, "memory", g->config.memory);
    json_u64(j, "core", g->core);
    json_u64(j, "weight", g->config.weight);
    json_u64(j, "slice_us", g->config.slice_us);
    json_u64(j, "budget_us", g->config.budget_us);
    json_u64(j, "period_us", g->config.period_us);
    json_u64(j, "guaranteed_us", g->config.guaranteed_us);
    json_str(j, "restart", config_restart_name(g->config.restart));
    json_u64(j, "restart_limit", g->config.restart_limit);
    json_u64(j, "watchdog_ms", g->config.watchdog_ms);
    json_str(j, "paused_clock", config_paused_clock_name(g->config.paused_clock));
    json_str(j, "exit_profile", config_exit_profile_name(g->config.exit_profile));
    put_devices(j, g->config.devices);
    if (g->config.devices & DEV_NET)
        put_net(j, &g->config.net);
    put_modules(j, g);
    json_end(j);
}

static void put_ip(struct json_out *j, const char *name, const uint8_t ip[4], const char *tail)
{
    char text[32];

    (void)fmt(text, sizeof(text), "%u.%u.%u.%u%s", ip[0], ip[1], ip[2], ip[3], tail);
    json_str(j, name, text);
}

static void put_address(struct json_out *j, const struct abi_host *h)
{
    char prefix[8];
    unsigned bits = 0;

    if (!h->static_ip) {
        json_str(j, "address", "dhcp");
        return;
    }
    for (unsigned i = 0; i < 32; i++)
        bits += h->netmask[i / 8] >> (7 - i % 8) & 1;
    (void)fmt(prefix, sizeof(prefix), "/%u", bits);
    put_ip(j, "address", h->ip, prefix);
    if (h->gateway[0])
        put_ip(j, "gateway", h->gateway, "");
}

static void put_hex(struct json_out *j, const char *name, const uint8_t *bytes, size_t n)
{
    char text[2 * ABI_SHA256_SIZE + 1];

    for (size_t i = 0; i < n; i++)
        (void)fmt(text + 2 * i, 3, "%02x", bytes[i]);
    json_str(j, name, text);
}

static void put_auth(struct json_out *j, const struct abi_management *m)
{
    static const char *const roles[ABI_ROLES] = {"none", "read", "operate", "admin"};

    if (m->auth == ABI_AUTH_NONE)
        json_str(j, "auth", "none");
    if (m->auth != ABI_AUTH_TOKENS)
        return;
    json_object(j, "auth");
    json_array(j, "tokens");
    for (unsigned i = 0; i < m->token_count && i < ABI_TOKENS_MAX; i++) {
        const struct abi_token *t = &m->tokens[i];

        json_object(j, NULL);
        json_str(j, "name", t->name);
        json_str(j, "role", roles[t->role < ABI_ROLES ? t->role : 0]);
        put_hex(j, "salt", t->salt, sizeof(t->salt));
        put_hex(j, "sha256", t->sha256, sizeof(t->sha256));
        json_end(j);
    }
    json_end(j);
    json_end(j);
}

static void put_service(struct json_out *j, const struct abi_management *m)
{
    static const char *const http[] = {"redirect", "plain", "off"};

    put_auth(j, m);
    json_str(j, "http", http[m->http < ARRAY_LEN(http) ? m->http : 0]);
    json_u64(j, "https_port", m->https_port);
    if (m->certificate[0]) {
        json_str(j, "certificate", m->certificate);
        json_str(j, "key", m->key);
    }
    json_str(j, "hostname", m->hostname);
    if (m->ntp[0])
        json_str(j, "ntp", m->ntp);
    if (m->syslog_server[0]) {
        json_object(j, "syslog");
        put_ip(j, "server", m->syslog_server, "");
        json_u64(j, "port", m->syslog_port);
        json_bool(j, "consoles", m->syslog_consoles);
        json_end(j);
    }
    json_bool(j, "reachable_from_guests", m->reachable_from_guests);
}

static void put_management(struct json_out *j, const struct abi_host *h, const struct abi_guest *g)
{
    json_object(j, "management");
    put_address(j, h);
    json_u64(j, "core", g->core);
    json_u64(j, "memory", g->config.memory);
    json_u64(j, "weight", g->config.weight);
    json_u64(j, "slice_us", g->config.slice_us);
    json_u64(j, "budget_us", g->config.budget_us);
    json_u64(j, "period_us", g->config.period_us);
    put_service(j, &h->management);
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
