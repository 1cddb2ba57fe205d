/* "net" of a guest, and checks across all guests. */
#include "mgmt/config/parse.h"

#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/words.h"

#define MAC_TEXT 15u /* "02:42:48:00:00" and its NUL */

void config_parse_addresses(struct parser *p, const struct field *f, int t, void *object)
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
                            "must be addresses of one host each, without a prefix length, such as "
                            "\"10.0.2.20\" or \"fd00::20\"");
            return;
        }
        if (!config_net_lists(c, &a))
            c->addresses[c->address_count++] = a;
    }
}

static const struct field net_fields[] = {
#define NET(name, kind, least, most, preset, words, ...)                                           \
    FIELD(net_config, #name, name, kind, least, most, words)
#include "hv/config_fields.def"
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

/* ---- Ethernet addresses ---- */

/* Five bytes with colons between them. */
static bool parse_prefix(const char *s, uint8_t prefix[5])
{
    if (strlen(s) != MAC_TEXT - 1)
        return false;
    for (unsigned i = 0; i < 5; i++, s += 3) {
        if (config_hex_digit(s[0]) < 0 || config_hex_digit(s[1]) < 0 || s[2] != (i < 4 ? ':' : 0))
            return false;
        prefix[i] = (uint8_t)(config_hex_digit(s[0]) << 4 | config_hex_digit(s[1]));
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

/* ---- the host's network cards ---- */

/* Bytes in hexadecimal where `form` has x, with the characters between them as there. */
static bool take_bytes(const char *s, const char *form, uint8_t *out)
{
    for (*out = 0; *form; form++, s++) {
        int digit = config_hex_digit(*s);

        if (*form != 'x' && *s != *form)
            return false;
        if (*form == 'x' && digit < 0)
            return false;
        if (*form == 'x')
            *out = (uint8_t)(*out << 4 | digit);
        else if (*form == ':' || *form == '.')
            *++out = 0;
    }
    return *s == 0;
}

static bool take_place(const char *s, struct net_card_name *n)
{
    uint8_t *b = n->bytes;

    n->count = NET_CARD_PLACE;
    b[0] = 0;
    return (take_bytes(s, "00xx:xx:xx.x", b) || take_bytes(s, "xx:xx.x", b + 1)) && b[2] < 32 &&
           b[3] < 8;
}

static bool take_card(const char *s, struct net_card_name *n)
{
    if (take_place(s, n))
        return true;
    n->count = NET_CARD_MAC;
    return take_bytes(s, "xx:xx:xx:xx:xx:xx", n->bytes);
}

void config_parse_card(struct parser *p, const struct field *f, int t, void *object)
{
    struct net_card_name read = {.count = NET_CARD_INDEX};
    char text[CONFIG_CARD_TEXT];
    int64_t index;

    if (json_integer(&p->json, t, 0, ABI_NICS_MAX - 1, &index) == 0)
        read.bytes[0] = (uint8_t)index;
    else if (json_string(&p->json, t, text, sizeof(text)) || !take_card(text, &read)) {
        config_error_at(p, t, f->name,
                        "must be a network card's place such as \"0000:00:03.0\", its Ethernet "
                        "address such as \"52:54:00:12:34:56\", or its index from 0 to 7");
        return;
    }
    memcpy((char *)object + f->offset, &read, sizeof(read));
}

static const struct field uplink_fields[] = {
#define UPLINK(name, member, kind, least, most, preset, words, ...)                                \
    FIELD(config, #name, member, kind, least, most, words)
#include "hv/config_fields.def"
};

void config_parse_uplinks(struct parser *p, const struct field *f, int t, void *object)
{
    if (p->json.tokens[t].type != JSMN_OBJECT) {
        config_error_at(p, t, f->name, "must be an object such as {\"guests\": \"0000:00:03.0\"}");
        return;
    }
    (void)str_copy(p->path, sizeof(p->path), "uplinks.");
    config_parse_object(p, t, uplink_fields, ARRAY_LEN(uplink_fields), object);
    p->path[0] = 0;
}
