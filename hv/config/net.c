/* "net" of a guest, and what concerns all of them. */
#include "hv/config/parse.h"

#include "hv/fmt.h"
#include "hv/lib.h"

#define DEFAULT_NETWORK "default"
#define MAC_TEXT        15u /* "02:42:48:00:00" and its end */

static const char *const allowed[] = {"any-address", "router-advertisements", "dhcp-server",
                                      "vlan-tags"};
_Static_assert((1u << ARRAY_LEN(allowed)) - 1 == NET_ALLOW_ALL, "each has a name");

static const char *const drops[NET_DROPS] = {
    [NET_PASSED] = "passed",
    [NET_DROP_MALFORMED] = "malformed",
    [NET_DROP_SOURCE] = "source",
    [NET_DROP_RESERVED] = "reserved",
    [NET_DROP_DESTINATION] = "destination",
    [NET_DROP_TAG] = "vlan-tag",
    [NET_DROP_HIDDEN] = "hidden",
    [NET_DROP_ARP] = "arp",
    [NET_DROP_ND] = "neighbour-discovery",
    [NET_DROP_ROUTER] = "router-advertisement",
    [NET_DROP_DHCP] = "dhcp",
    [NET_DROP_ADDRESS] = "ip-source",
    [NET_DROP_RATE] = "rate",
};

const char *config_net_allow_name(uint32_t n)
{
    return n < ARRAY_LEN(allowed) ? allowed[n] : NULL;
}

const char *config_net_drop_name(uint32_t n)
{
    return n < NET_DROPS ? drops[n] : NULL;
}

void config_default_net(struct net_config *n)
{
    *n = (struct net_config){.uplink = 1, .broadcasts_per_second = NET_BROADCASTS};
    (void)str_copy(n->network, sizeof(n->network), DEFAULT_NETWORK);
}

static void parse_allow(struct parser *p, const struct field *f, int t, void *object)
{
    struct net_config *c = object;
    const jsmntok_t *k = &p->json.tokens[t];

    if (k->type != JSMN_ARRAY) {
        config_error_at(p, t, f->name, "must be a list");
        return;
    }
    for (int i = 0, at = t + 1; i < k->size; i++, at = json_skip(&p->json, at)) {
        size_t n = 0;

        while (n < ARRAY_LEN(allowed) && !json_is(&p->json, at, allowed[n]))
            n++;
        if (n == ARRAY_LEN(allowed)) {
            config_error_at(p, at, f->name,
                            "may have any-address, router-advertisements, dhcp-server and "
                            "vlan-tags");
            return;
        }
        c->allow |= 1u << n;
    }
}

static bool is_listed(const struct net_config *c, const struct net_address *a)
{
    for (unsigned i = 0; i < c->address_count; i++)
        if (memcmp(&c->addresses[i], a, sizeof(*a)) == 0)
            return true;
    return false;
}

static void parse_addresses(struct parser *p, const struct field *f, int t, void *object)
{
    struct net_config *c = object;
    const jsmntok_t *k = &p->json.tokens[t];
    char text[CONFIG_ADDRESS_TEXT];

    if (k->type != JSMN_ARRAY || k->size > (int)NET_ADDRESSES_MAX) {
        config_error_at(p, t, f->name, "must be a list of at most 8 addresses");
        return;
    }
    for (int i = 0, at = t + 1; i < k->size; i++, at = json_skip(&p->json, at)) {
        struct net_address a;

        if (json_string(&p->json, at, text, sizeof(text)) || !config_parse_net_address(text, &a) ||
            !config_net_address_is_good(&a)) {
            config_error_at(p, at, f->name,
                            "an address is of one host, without a prefix length: \"10.0.2.20\" or "
                            "\"fd00::20\"");
            return;
        }
        if (!is_listed(c, &a))
            c->addresses[c->address_count++] = a;
    }
}

static const struct field net_fields[] = {
    {"network", config_parse_text, AT(net_config, network), 0, 0, NULL},
    {"uplink", config_parse_switch, AT(net_config, uplink), 0, 0, NULL},
    {"addresses", parse_addresses, 0, 0, 0, 0, NULL},
    {"allow", parse_allow, 0, 0, 0, 0, NULL},
    {"broadcasts_per_second", config_parse_number, AT(net_config, broadcasts_per_second), 1,
     NET_BROADCASTS_MAX, NULL},
};

void config_parse_net(struct parser *p, const struct field *f, int t, void *object)
{
    struct guest_config *g = object;
    size_t len = strlen(p->path);

    if (p->json.tokens[t].type != JSMN_OBJECT) {
        config_error_at(p, t, f->name, "must be an object such as {\"network\": \"plant\"}");
        return;
    }
    (void)str_copy(p->path + len, sizeof(p->path) - len, "net.");
    config_parse_object(p, t, net_fields, ARRAY_LEN(net_fields), &g->net);
    if (!config_name_is_good(g->net.network))
        config_error_at(p, t, "network",
                        "must consist of a-z, 0-9 and '-', and not begin with '-'");
    p->path[len] = 0;
    g->net_given = 1;
}

bool config_net_is_good(const struct net_config *c)
{
    for (size_t i = 0; c->network[i]; i++)
        if (i + 1 == sizeof(c->network))
            return false;
    if (!config_name_is_good(c->network) || (c->allow & ~NET_ALLOW_ALL) || c->uplink > 1 ||
        c->broadcasts_per_second == 0 || c->broadcasts_per_second > NET_BROADCASTS_MAX ||
        c->address_count > NET_ADDRESSES_MAX)
        return false;
    for (unsigned i = 0; i < c->address_count; i++)
        if (!config_net_address_is_good(&c->addresses[i]))
            return false;
    return true;
}

/* ---- what does not go together ---- */

bool config_net_clashes(const struct net_config *a, const struct net_config *b,
                        struct net_address *which)
{
    if (strcmp(a->network, b->network) != 0 && !(a->uplink && b->uplink))
        return false;
    for (unsigned i = 0; i < a->address_count; i++) {
        *which = a->addresses[i];
        if (is_listed(b, which))
            return true;
    }
    return false;
}

/* ---- Ethernet addresses ---- */

static int nibble(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Five bytes with colons between them. */
static bool parse_prefix(const char *s, uint8_t prefix[5])
{
    if (strlen(s) != MAC_TEXT - 1)
        return false;
    for (unsigned i = 0; i < 5; i++, s += 3) {
        if (nibble(s[0]) < 0 || nibble(s[1]) < 0 || s[2] != (i < 4 ? ':' : 0))
            return false;
        prefix[i] = (uint8_t)(nibble(s[0]) << 4 | nibble(s[1]));
    }
    return (prefix[0] & 3) == 2;
}

void config_parse_mac_prefix(struct parser *p, const struct field *f, int t, void *object)
{
    struct config *c = object;
    char text[MAC_TEXT];
    uint8_t prefix[5];

    if (json_string(&p->json, t, text, sizeof(text)) || !parse_prefix(text, prefix)) {
        config_error_at(p, t, f->name,
                        "must be five bytes such as \"02:42:48:00:00\", the second digit 2, 6, a "
                        "or e (locally administered)");
        return;
    }
    memcpy(c->mac_prefix, prefix, sizeof(c->mac_prefix));
}
