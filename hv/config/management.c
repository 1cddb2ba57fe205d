#include "hv/config/parse.h"

#include "hv/fmt.h"
#include "hv/lib.h"

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

static void parse_address(struct parser *p, const struct field *f, int t, void *object)
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

static void parse_gateway(struct parser *p, const struct field *f, int t, void *object)
{
    struct management_config *m = object;
    char text[32];

    if (json_string(&p->json, t, text, sizeof(text)) || !config_parse_ip(text, m->gateway, NULL))
        config_error_at(p, t, f->name, "must be an address such as \"10.0.2.2\"");
}

/* Of its time the management guest needs some often, or it seems dead (ABI_HEARTBEAT_MS). */
#define PERIOD_MAX   1000000
#define BUDGET_SHARE 20u

static const struct field management_fields[] = {
    {"address", parse_address, 0, 0, 0, 0, NULL},
    {"gateway", parse_gateway, 0, 0, 0, 0, NULL},
    {"core", config_parse_number, AT(management_config, core), 0, CORE_MAX, NULL},
    {"memory", config_parse_memory, AT(management_config, memory), 0, 0, NULL},
    {"weight", config_parse_number, AT(management_config, weight), 1, 1000, NULL},
    {"slice_us", config_parse_number, AT(management_config, slice_us), 100, 1000000, NULL},
    {"budget_us", config_parse_number, AT(management_config, budget_us), 500, 10000000, NULL},
    {"period_us", config_parse_number, AT(management_config, period_us), 1000, PERIOD_MAX, NULL},
    {"requests_us", config_parse_number, AT(management_config, requests_us), 5, 50, NULL},
    {"auth", config_parse_auth, 0, 0, 0, 0, NULL},
    {"http", config_parse_choice, AT(management_config, service.http), 0, ABI_HTTP_OFF,
     config_http_names},
    {"certificate", config_parse_file, AT(management_config, service.certificate), 0, 0, NULL},
    {"key", config_parse_file, AT(management_config, service.key), 0, 0, NULL},
    {"hostname", config_parse_text, AT(management_config, service.hostname), 0, 0, NULL},
    {"ntp", config_parse_text, AT(management_config, service.ntp), 0, 0, NULL},
    {"https_port", config_parse_https_port, 0, 0, 1, UINT16_MAX, NULL},
    {"syslog", config_parse_syslog, 0, 0, 0, 0, NULL},
    {"reachable_from_guests", config_parse_switch,
     AT(management_config, service.reachable_from_guests), 0, 0, NULL},
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
    /* The root starts it anew when it is silent for two seconds. */
    if (m->budget_us * BUDGET_SHARE < m->period_us)
        config_error_at(p, t, "budget_us", "must be at least a twentieth of period_us");
    gateway = ip_number(m->gateway);
    if (m->static_ip && gateway == ip_number(m->ip))
        config_error_at(p, t, "gateway", "is the address itself");
    if (m->static_ip && gateway && ((gateway ^ ip_number(m->ip)) & ip_number(m->netmask)))
        config_error_at(p, t, "gateway", "is not in the network of the address");
    config_check_service(p, t, &m->service);
    if (p->errors != errors)
        *m = before; /* a machine must stay reachable */
    p->path[0] = 0;
}
