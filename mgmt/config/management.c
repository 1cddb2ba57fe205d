#include "mgmt/config/parse.h"

#include "hv/fmt.h"
#include "hv/lib.h"
#include "hv/options.h"
#include "mgmt/words.h"

/* "10.0.2.15", and with `prefix` also "/24". */
bool config_parse_ip(const char *s, uint8_t ip[4], unsigned *prefix)
{
    for (unsigned i = 0; i < 4; i++) {
        unsigned v = 0, digits = 0;

        while (*s >= '0' && *s <= '9' && digits < 3) {
            v = v * 10 + (unsigned)(*s++ - '0');
            digits++;
        }
        if (digits == 0 || v > 255 || (i < 3 && *s++ != '.'))
            return false;
        ip[i] = (uint8_t)v;
    }
    if (!prefix)
        return *s == 0;
    if (*s++ != '/' || *s < '0' || *s > '9')
        return false;
    *prefix = (unsigned)(*s++ - '0');
    if (*s >= '0' && *s <= '9')
        *prefix = *prefix * 10 + (unsigned)(*s++ - '0');
    return *s == 0 && *prefix >= 1 && *prefix <= 32;
}

static uint32_t ip_number(const uint8_t ip[4])
{
    return (uint32_t)ip[0] << 24 | (uint32_t)ip[1] << 16 | (uint32_t)ip[2] << 8 | ip[3];
}

/* Not "this network", loopback, multicast or reserved (RFC 6890), and not the network's own number
 * or its broadcast address. */
static bool host_address(uint32_t ip, uint32_t mask)
{
    uint32_t first = ip >> 24, host = ip & ~mask;

    if (first == 0 || first == 127 || first >= 224)
        return false;
    return ~mask <= 1 || (host != 0 && host != ~mask);
}

void config_parse_address(struct parser *p, const struct field *f, int t, void *object)
{
    struct management_config *m = object;
    char text[32];
    unsigned prefix;
    uint32_t mask;

    if (json_is(&p->json, t, "dhcp")) {
        m->static_ip = false;
        return;
    }
    if (json_string(&p->json, t, text, sizeof(text)) || !config_parse_ip(text, m->ip, &prefix)) {
        config_error_at(p, t, f->name, "must be \"dhcp\" or an address such as \"10.0.2.15/24\"");
        return;
    }
    mask = UINT32_MAX << (32 - prefix);
    if (!host_address(ip_number(m->ip), mask)) {
        config_error_at(p, t, f->name, "no host can have this address");
        return;
    }
    m->static_ip = true;
    for (unsigned i = 0; i < 4; i++)
        m->netmask[i] = (uint8_t)(mask >> (24 - 8 * i));
}

void config_parse_gateway(struct parser *p, const struct field *f, int t, void *object)
{
    struct management_config *m = object;
    char text[32];

    if (json_string(&p->json, t, text, sizeof(text)) || !config_parse_ip(text, m->gateway, NULL))
        config_error_at(p, t, f->name, "must be an address such as \"10.0.2.2\"");
}

static const struct field management_fields[] = {
#define MANAGEMENT(name, member, kind, least, most, preset, words, ...)                            \
    FIELD(management_config, #name, member, kind, least, most, words)
#define MANAGEMENT_PART(name, member, kind, least, most, preset, words, ...)                       \
    FIELD(management_config, #name, member, kind, least, most, words)
#include "hv/config_fields.def"
};

void config_parse_management(struct parser *p, const struct field *f, int t, void *object)
{
    struct management_config *m = &p->config->management, before = *m;
    int errors = p->errors;
    uint32_t gateway;

    (void)object;
    if (p->json.tokens[t].type != JSMN_OBJECT) {
        config_error_at(p, t, f->name, "must be an object");
        return;
    }
    (void)str_copy(p->path, sizeof(p->path), "management.");
    config_parse_object(p, t, management_fields, ARRAY_LEN(management_fields), m);
    if (m->budget_us > m->period_us)
        config_error_at(p, t, "budget_us", "exceeds period_us");
    /* The root restarts it after two seconds of silence. */
    if (!options_budget_is_enough(m->budget_us, m->period_us))
        config_error_at(p, t, "budget_us", "must be at least a twentieth of period_us");
    gateway = ip_number(m->gateway);
    if (m->static_ip && gateway == ip_number(m->ip))
        config_error_at(p, t, "gateway", "is the address itself");
    if (m->static_ip && gateway && ((gateway ^ ip_number(m->ip)) & ip_number(m->netmask)))
        config_error_at(p, t, "gateway", "is not in the network of the address");
    config_check_service(p, t, &m->service);
    if (p->errors != errors)
        *m = before; /* the machine must stay reachable */
    p->path[0] = 0;
}
