#include "hv/config.h"

#include "hv/fmt.h"
#include "hv/json.h"
#include "hv/lib.h"

#define MB         (1ull << 20)
#define MEMORY_MIN (2 * MB)
#define MEMORY_MAX (3072 * MB)
#define CORE_MAX   63

struct parser {
    struct json json;
    struct config *config;
    void (*report)(void *ctx, const struct config_error *e);
    void *ctx;
    int errors;
    char path[48]; /* "guests[1].", what comes before a field's name */
};

/* One member of an object: parse(p, token, destination). */
struct field {
    const char *name;
    void (*parse)(struct parser *p, const struct field *f, int t, void *object);
    size_t offset, size;
    int64_t min, max;
};

static void error(struct parser *p, int t, const char *field, const char *text)
{
    struct config_error e = {0};

    json_place(&p->json, t >= 0 ? p->json.tokens[t].start : 0, &e.line, &e.column);
    (void)fmt(e.field, sizeof(e.field), "%s%s", p->path, field);
    (void)str_copy(e.text, sizeof(e.text), text);
    p->errors++;
    p->report(p->ctx, &e);
}

static void parse_text(struct parser *p, const struct field *f, int t, void *object)
{
    char text[64];

    if (json_string(&p->json, t, (char *)object + f->offset, f->size) == 0)
        return;
    (void)fmt(text, sizeof(text), "must be a string of at most %zu bytes", f->size - 1);
    error(p, t, f->name, text);
}

static void parse_number(struct parser *p, const struct field *f, int t, void *object)
{
    char text[80];
    int64_t v;

    if (json_integer(&p->json, t, f->min, f->max, &v)) {
        (void)fmt(text, sizeof(text), "must be a whole number from %ld to %ld", (long)f->min,
                  (long)f->max);
        error(p, t, f->name, text);
        return;
    }
    if (f->size == sizeof(int32_t)) {
        int32_t narrow = (int32_t)v;

        memcpy((char *)object + f->offset, &narrow, sizeof(narrow));
    } else {
        memcpy((char *)object + f->offset, &v, sizeof(v));
    }
}

static void parse_memory(struct parser *p, const struct field *f, int t, void *object)
{
    static const char *const allowed =
        "must be 2M to 3G, a multiple of 2 MB: a number of bytes, or a string such as \"16M\"";
    char text[24];
    uint64_t v = 0, unit = 1;
    int64_t plain;

    if (json_integer(&p->json, t, 0, INT64_MAX, &plain) == 0) {
        v = (uint64_t)plain;
    } else if (json_string(&p->json, t, text, sizeof(text)) == 0) {
        size_t i = 0;

        while (text[i] >= '0' && text[i] <= '9' && i < 10)
            v = v * 10 + (uint64_t)(text[i++] - '0');
        if (i > 0 && text[i] && !text[i + 1])
            unit = text[i] == 'K' ? 1024 : text[i] == 'M' ? MB : text[i] == 'G' ? 1024 * MB : 0;
        else
            unit = 0;
    }
    if (v == 0 || unit == 0 || v > MEMORY_MAX / unit || v * unit < MEMORY_MIN ||
        v * unit % PAGE_SIZE_2M) {
        error(p, t, f->name, allowed);
        return;
    }
    v *= unit;
    memcpy((char *)object + f->offset, &v, sizeof(v));
}

/* One of `names`, stored as its index. */
static void parse_choice(struct parser *p, const struct field *f, int t, void *object,
                         const char *const *names, size_t count)
{
    char text[96] = "must be ";

    for (uint32_t i = 0; i < count; i++) {
        size_t n = strlen(text);

        if (json_is(&p->json, t, names[i])) {
            memcpy((char *)object + f->offset, &i, sizeof(i));
            return;
        }
        (void)fmt(text + n, sizeof(text) - n, "%s\"%s\"",
                  i == 0           ? ""
                  : i + 1 == count ? " or "
                                   : ", ",
                  names[i]);
    }
    error(p, t, f->name, text);
}

static void parse_restart(struct parser *p, const struct field *f, int t, void *object)
{
    static const char *const names[] = {
        [RESTART_NEVER] = "never",
        [RESTART_ON_FAILURE] = "on-failure",
        [RESTART_ALWAYS] = "always",
    };

    _Static_assert(sizeof(enum config_restart) == sizeof(uint32_t), "stored by its index");
    parse_choice(p, f, t, object, names, ARRAY_LEN(names));
}

static void parse_paused_clock(struct parser *p, const struct field *f, int t, void *object)
{
    static const char *const names[] = {
        [PAUSED_CLOCK_STOPS] = "stops",
        [PAUSED_CLOCK_RUNS] = "runs",
    };

    _Static_assert(sizeof(enum config_paused_clock) == sizeof(uint32_t), "stored by its index");
    parse_choice(p, f, t, object, names, ARRAY_LEN(names));
}

static void parse_exit_profile(struct parser *p, const struct field *f, int t, void *object)
{
    static const char *const names[ABI_EXIT_PROFILES] = {
        [ABI_EXITS_DEFAULT] = "default",
        [ABI_EXITS_LEAST] = "least",
        [ABI_EXITS_MOST] = "most",
    };

    _Static_assert(sizeof(enum abi_exit_profile) == sizeof(uint32_t), "stored by its index");
    parse_choice(p, f, t, object, names, ARRAY_LEN(names));
}

static void parse_devices(struct parser *p, const struct field *f, int t, void *object)
{
    static const char *const names[] = {"uart", "pic", "pit", "rtc", "reset", "exit", "net"};
    struct guest_config *g = object;
    const jsmntok_t *k = &p->json.tokens[t];
    uint32_t devices = 0;

    if (k->type != JSMN_ARRAY) {
        error(p, t, f->name, "must be a list of device names");
        return;
    }
    for (int i = 0, at = t + 1; i < k->size; i++, at = json_skip(&p->json, at)) {
        size_t n = 0;

        while (n < ARRAY_LEN(names) && !json_is(&p->json, at, names[n]))
            n++;
        if (n == ARRAY_LEN(names)) {
            error(p, at, f->name, "devices are uart, pic, pit, rtc, reset, exit and net");
            return;
        }
        devices |= 1u << n;
    }
    g->devices = devices;
}

static void parse_object(struct parser *p, int t, const struct field *fields, size_t count,
                         void *object);

static const struct field module_fields[] = {
    {"file", parse_text, offsetof(struct config_module, file),
     sizeof(((struct config_module *)0)->file), 0, 0},
    {"args", parse_text, offsetof(struct config_module, args),
     sizeof(((struct config_module *)0)->args), 0, 0},
};

static void parse_modules(struct parser *p, const struct field *f, int t, void *object)
{
    struct guest_config *g = object;
    const jsmntok_t *k = &p->json.tokens[t];
    size_t len = strlen(p->path);

    if (k->type != JSMN_ARRAY || k->size > CONFIG_MODULES_MAX) {
        error(p, t, f->name, "must be a list of at most 8 modules");
        return;
    }
    for (int i = 0, at = t + 1; i < k->size; i++, at = json_skip(&p->json, at)) {
        struct config_module *m = &g->modules[i];

        if (p->json.tokens[at].type != JSMN_OBJECT) {
            error(p, at, f->name, "a module is {\"file\": ..., \"args\": ...}");
            return;
        }
        (void)fmt(p->path + len, sizeof(p->path) - len, "modules[%d].", i);
        parse_object(p, at, module_fields, ARRAY_LEN(module_fields), m);
        if (!m->file[0])
            error(p, at, "file", "is missing");
        p->path[len] = 0;
    }
    g->module_count = (unsigned)k->size;
}

#define AT(type, member) offsetof(struct type, member), sizeof(((struct type *)0)->member)

static const struct field guest_fields[] = {
    {"name", parse_text, AT(guest_config, name), 0, 0},
    {"image", parse_text, AT(guest_config, image), 0, 0},
    {"cmdline", parse_text, AT(guest_config, cmdline), 0, 0},
    {"memory", parse_memory, AT(guest_config, memory), 0, 0},
    {"core", parse_number, AT(guest_config, core), 0, CORE_MAX},
    {"weight", parse_number, AT(guest_config, weight), 1, 1000},
    {"slice_us", parse_number, AT(guest_config, slice_us), 100, 1000000},
    {"budget_us", parse_number, AT(guest_config, budget_us), 0, 10000000},
    {"period_us", parse_number, AT(guest_config, period_us), 1000, 10000000},
    {"restart", parse_restart, AT(guest_config, restart), 0, 0},
    {"restart_limit", parse_number, AT(guest_config, restart_limit), 0, 1000},
    {"paused_clock", parse_paused_clock, AT(guest_config, paused_clock), 0, 0},
    {"exit_profile", parse_exit_profile, AT(guest_config, exit_profile), 0, 0},
    {"devices", parse_devices, AT(guest_config, devices), 0, 0},
    {"modules", parse_modules, AT(guest_config, modules), 0, 0},
};

/* Members of an object; unknown ones are errors. */
static void parse_object(struct parser *p, int t, const struct field *fields, size_t count,
                         void *object)
{
    for (int i = 0, key = t + 1; i < p->json.tokens[t].size;
         i++, key = json_skip(&p->json, key + 1)) {
        size_t n = 0;
        char name[32];

        while (n < count && !json_is(&p->json, key, fields[n].name))
            n++;
        if (n < count) {
            fields[n].parse(p, &fields[n], key + 1, object);
            continue;
        }
        if (json_string(&p->json, key, name, sizeof(name)))
            (void)str_copy(name, sizeof(name), "?");
        error(p, key, name, "there is no such field");
    }
}

static bool good_name(const char *s)
{
    for (size_t i = 0; s[i]; i++) {
        bool letter = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9');

        if (!letter && (s[i] != '-' || i == 0))
            return false;
    }
    return s[0] != 0;
}

static void check_guest(struct parser *p, int t, const struct guest_config *g)
{
    if (!good_name(g->name))
        error(p, t, "name",
              g->name[0] ? "must consist of a-z, 0-9 and '-', and not begin with '-'"
                         : "is missing");
    else if (strcmp(g->name, "mgmt") == 0)
        error(p, t, "name", "\"mgmt\" is the management guest");
    for (unsigned i = 0; i < p->config->guest_count; i++)
        if (g->name[0] && strcmp(p->config->guests[i].name, g->name) == 0)
            error(p, t, "name", "another guest has this name");
    if (!g->image[0])
        error(p, t, "image", "is missing");
    if (g->budget_us && g->budget_us > g->period_us)
        error(p, t, "budget_us", "exceeds period_us");
}

static void default_guest(struct guest_config *g)
{
    *g = (struct guest_config){
        .memory = 16 * MB,
        .core = -1,
        .weight = 100,
        .slice_us = 2000,
        .period_us = 10000,
        .restart = RESTART_NEVER,
        .devices = DEV_DEFAULT,
    };
}

static void parse_guest(struct parser *p, int t, int index)
{
    struct config *c = p->config;
    int before = p->errors;
    struct guest_config *g = &c->guests[c->guest_count];
    uint32_t column;

    (void)fmt(p->path, sizeof(p->path), "guests[%d].", index);
    default_guest(g);
    if (p->json.tokens[t].type != JSMN_OBJECT) {
        error(p, t, "", "a guest is an object");
        return;
    }
    json_place(&p->json, p->json.tokens[t].start, &g->line, &column);
    parse_object(p, t, guest_fields, ARRAY_LEN(guest_fields), g);
    check_guest(p, t, g);
    if (p->errors == before)
        c->guest_count++;
}

static void parse_guests(struct parser *p, const struct field *f, int t, void *object)
{
    const jsmntok_t *k = &p->json.tokens[t];

    (void)object;
    if (k->type != JSMN_ARRAY) {
        error(p, t, f->name, "must be a list of guests");
        return;
    }
    for (int i = 0, at = t + 1; i < k->size; i++, at = json_skip(&p->json, at)) {
        p->path[0] = 0;
        if (p->config->guest_count == CONFIG_GUESTS_MAX) {
            error(p, at, f->name, "too many guests: at most 14");
            return;
        }
        parse_guest(p, at, i);
    }
    p->path[0] = 0;
}

/* "10.0.2.15", and with `prefix` also "/24". */
static bool parse_ip(const char *s, uint8_t ip[4], unsigned *prefix)
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
    if (json_string(&p->json, t, text, sizeof(text)) || !parse_ip(text, m->ip, &prefix)) {
        error(p, t, f->name, "must be \"dhcp\" or an address such as \"10.0.2.15/24\"");
        return;
    }
    mask = UINT32_MAX << (32 - prefix);
    if (!host_address(ip_number(m->ip), mask)) {
        error(p, t, f->name, "no host can have this address");
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

    if (json_string(&p->json, t, text, sizeof(text)) || !parse_ip(text, m->gateway, NULL))
        error(p, t, f->name, "must be an address such as \"10.0.2.2\"");
}

static const struct field management_fields[] = {
    {"address", parse_address, 0, 0, 0, 0},
    {"gateway", parse_gateway, 0, 0, 0, 0},
    {"core", parse_number, AT(management_config, core), 0, CORE_MAX},
    {"memory", parse_memory, AT(management_config, memory), 0, 0},
    {"weight", parse_number, AT(management_config, weight), 1, 1000},
    {"slice_us", parse_number, AT(management_config, slice_us), 100, 1000000},
    {"budget_us", parse_number, AT(management_config, budget_us), 500, 10000000},
    {"period_us", parse_number, AT(management_config, period_us), 1000, 10000000},
};

static void parse_management(struct parser *p, const struct field *f, int t, void *object)
{
    struct management_config *m = &p->config->management, before = *m;
    int errors = p->errors;
    uint32_t gateway;

    (void)object;
    if (p->json.tokens[t].type != JSMN_OBJECT) {
        error(p, t, f->name, "must be an object");
        return;
    }
    (void)str_copy(p->path, sizeof(p->path), "management.");
    parse_object(p, t, management_fields, ARRAY_LEN(management_fields), m);
    if (m->budget_us > m->period_us)
        error(p, t, "budget_us", "exceeds period_us");
    gateway = ip_number(m->gateway);
    if (m->static_ip && gateway && ((gateway ^ ip_number(m->ip)) & ip_number(m->netmask)))
        error(p, t, "gateway", "is not in the network of the address");
    if (p->errors != errors)
        *m = before; /* a machine must stay reachable */
    p->path[0] = 0;
}

static const struct field top_fields[] = {
    {"guests", parse_guests, 0, 0, 0, 0},
    {"management", parse_management, 0, 0, 0, 0},
    {"entry_trials", parse_text, AT(config, entry_trials), 0, 0},
};

void config_default(struct config *c)
{
    memset(c, 0, sizeof(*c));
    c->management = (struct management_config){
        .core = -1,
        .memory = 8 * MB,
        .weight = 100,
        .slice_us = 1000,
        .budget_us = 5000,
        .period_us = 10000,
    };
}

int config_parse(const char *text, size_t len, void *scratch, size_t scratch_size, struct config *c,
                 void (*report)(void *ctx, const struct config_error *e), void *ctx)
{
    struct parser p = {.config = c, .report = report, .ctx = ctx};
    struct json_error e;

    config_default(c);
    if (len > CONFIG_TEXT_MAX) {
        const struct config_error too_long = {1, 1, "", "the configuration exceeds 256 KB"};

        report(ctx, &too_long);
        return 1;
    }
    if (json_parse(&p.json, text, len, scratch, scratch_size / sizeof(jsmntok_t), &e) < 0) {
        struct config_error out = {.line = e.line, .column = e.column};

        (void)str_copy(out.text, sizeof(out.text), e.text);
        report(ctx, &out);
        return 1;
    }
    if (p.json.tokens[0].type != JSMN_OBJECT)
        error(&p, 0, "", "the configuration is an object: {\"guests\": [...]}");
    else
        parse_object(&p, 0, top_fields, ARRAY_LEN(top_fields), c);
    return p.errors;
}
