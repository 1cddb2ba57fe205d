#include "mgmt/config/config.h"

#include "mgmt/config/parse.h"
#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/words.h"

static const struct field top_fields[] = {
#define TOP_PART(name, member, kind, least, most, preset, words, ...)                              \
    FIELD(config, #name, member, kind, least, most, words)
#define TOP(name, member, kind, least, most, preset, words, ...)                                   \
    FIELD(config, #name, member, kind, least, most, words)
#include "hv/config_fields.def"
};

void config_default(struct config *c)
{
    memset(c, 0, sizeof(*c));
#define TOP(name, member, kind, least, most, preset, ...) c->member = preset;
#include "hv/config_fields.def"
    c->management = (struct management_config){
#define MANAGEMENT(name, member, kind, least, most, preset, ...) .member = preset,
#define SYSLOG(name, member, kind, least, most, preset, ...)     .member = preset,
#include "hv/config_fields.def"
    };
}

/* Splits the text; false: that failed and was reported. */
static bool split(struct parser *p, const char *text, size_t len, void *scratch,
                  size_t scratch_size)
{
    struct config_error out = {.line = 1, .column = 1};
    struct json_error e;

    if (len > CONFIG_TEXT_MAX) {
        (void)str_copy(out.text, sizeof(out.text), "the configuration exceeds 256 KiB");
    } else if (json_parse(&p->json, text, len, scratch, scratch_size / sizeof(jsmntok_t), &e) < 0) {
        out.line = e.line;
        out.column = e.column;
        (void)str_copy(out.text, sizeof(out.text), e.text);
    } else {
        return true;
    }
    p->errors++;
    p->report(p->ctx, &out);
    return false;
}

/* Is it an address that the configuration gives to another machine? */
static bool is_taken(const struct management_config *m, const struct net_address *a)
{
    const uint8_t *of[] = {m->static_ip ? m->ip : NULL, m->gateway, m->service.syslog_server};

    for (size_t i = 0; i < ARRAY_LEN(of); i++)
        if (of[i] && config_net_address_is_ipv4(a, of[i]))
            return true;
    return false;
}

static bool takes_anothers(struct parser *p, const struct guest_config *g)
{
    struct config_error e = {.line = g->line, .column = 1};
    char text[CONFIG_ADDRESS_TEXT];

    for (unsigned i = 0; g->net.uplink && i < g->net.address_count; i++) {
        if (!is_taken(&p->config->management, &g->net.addresses[i]))
            continue;
        config_net_address_text(&g->net.addresses[i], text);
        (void)fmt(e.field, sizeof(e.field), "guests[%u].net.addresses", g->index);
        (void)fmt(e.pointer, sizeof(e.pointer), "/guests/%u/net/addresses", g->index);
        (void)fmt(e.text, sizeof(e.text),
                  "%s of guest \"%s\" is management's, its gateway's or the syslog server's", text,
                  g->name);
        p->errors++;
        p->report(p->ctx, &e);
        return true;
    }
    return false;
}

/* Checks what depends on "management". */
static void check_addresses(struct parser *p, struct config *c)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < c->guest_count; i++)
        if (!takes_anothers(p, &c->guests[i]))
            memmove(&c->guests[kept++], &c->guests[i], sizeof(c->guests[i]));
    c->guest_count = kept;
}

int config_parse(const char *text, size_t len, void *scratch, size_t scratch_size, struct config *c,
                 config_report *report, void *ctx)
{
    struct parser p = {.config = c, .report = report, .ctx = ctx};

    config_default(c);
    if (!split(&p, text, len, scratch, scratch_size))
        return p.errors;
    if (p.json.tokens[0].type != JSMN_OBJECT)
        config_error_at(&p, 0, "", "the configuration is an object: {\"guests\": [...]}");
    else
        config_parse_object(&p, 0, top_fields, ARRAY_LEN(top_fields), c);
    check_addresses(&p, c);
    config_parse_shared(&p);
    return p.errors;
}

int config_parse_guest(const char *text, size_t len, void *scratch, size_t scratch_size,
                       struct guest_config *g, config_report *report, void *ctx)
{
    struct parser p = {.report = report, .ctx = ctx};

    if (split(&p, text, len, scratch, scratch_size))
        (void)config_parse_guest_object(&p, 0, g);
    return p.errors;
}
