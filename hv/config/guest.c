#include "hv/config/parse.h"

#include "hv/fmt.h"
#include "hv/job.h"
#include "hv/lib.h"

#define MANAGEMENT_NAME "mgmt"

static const char *const restarts[] = {
    [RESTART_NEVER] = "never",
    [RESTART_ON_FAILURE] = "on-failure",
    [RESTART_ALWAYS] = "always",
};
static const char *const paused_clocks[] = {
    [PAUSED_CLOCK_STOPS] = "stops",
    [PAUSED_CLOCK_RUNS] = "runs",
};
static const char *const exit_profiles[ABI_EXIT_PROFILES] = {
    [ABI_EXITS_DEFAULT] = "default",
    [ABI_EXITS_LEAST] = "least",
    [ABI_EXITS_MOST] = "most",
};
static const char *const kinds[] = {
    [KIND_AUTO] = "auto",
    [KIND_FLAT] = "flat",
};
static const char *const devices[] = {"uart", "pic", "pit", "rtc", "reset", "exit", "net"};
_Static_assert(1u << ARRAY_LEN(devices) == DEV_ALL + 1, "every device has a name");

const char *config_restart_name(uint32_t n)
{
    return n < ARRAY_LEN(restarts) ? restarts[n] : NULL;
}

const char *config_paused_clock_name(uint32_t n)
{
    return n < ARRAY_LEN(paused_clocks) ? paused_clocks[n] : NULL;
}

const char *config_exit_profile_name(uint32_t n)
{
    return n < ARRAY_LEN(exit_profiles) ? exit_profiles[n] : NULL;
}

const char *config_kind_name(uint32_t n)
{
    return n < ARRAY_LEN(kinds) ? kinds[n] : NULL;
}

const char *config_device_name(uint32_t n)
{
    return n < ARRAY_LEN(devices) ? devices[n] : NULL;
}

static void parse_devices(struct parser *p, const struct field *f, int t, void *object)
{
    struct guest_config *g = object;
    const jsmntok_t *k = &p->json.tokens[t];
    uint32_t chosen = 0;

    if (k->type != JSMN_ARRAY) {
        config_error_at(p, t, f->name, "must be a list of device names");
        return;
    }
    for (int i = 0, at = t + 1; i < k->size; i++, at = json_skip(&p->json, at)) {
        size_t n = 0;

        while (n < ARRAY_LEN(devices) && !json_is(&p->json, at, devices[n]))
            n++;
        if (n == ARRAY_LEN(devices)) {
            config_error_at(p, at, f->name, "devices are uart, pic, pit, rtc, reset, exit and net");
            return;
        }
        chosen |= 1u << n;
    }
    g->devices = chosen;
}

static const struct field module_fields[] = {
    {"file", config_parse_file, offsetof(struct config_module, file),
     sizeof(((struct config_module *)0)->file), 0, 0, NULL},
    {"args", config_parse_text, offsetof(struct config_module, args),
     sizeof(((struct config_module *)0)->args), 0, 0, NULL},
};

static void parse_modules(struct parser *p, const struct field *f, int t, void *object)
{
    struct guest_config *g = object;
    const jsmntok_t *k = &p->json.tokens[t];
    size_t len = strlen(p->path);

    if (k->type != JSMN_ARRAY || k->size > CONFIG_MODULES_MAX) {
        config_error_at(p, t, f->name, "must be a list of at most 8 modules");
        return;
    }
    for (int i = 0, at = t + 1; i < k->size; i++, at = json_skip(&p->json, at)) {
        struct config_module *m = &g->modules[i];

        if (p->json.tokens[at].type != JSMN_OBJECT) {
            config_error_at(p, at, f->name, "a module is {\"file\": ..., \"args\": ...}");
            return;
        }
        (void)fmt(p->path + len, sizeof(p->path) - len, "modules[%d].", i);
        config_parse_object(p, at, module_fields, ARRAY_LEN(module_fields), m);
        if (!m->file[0])
            config_error_at(p, at, "file", "is missing");
        p->path[len] = 0;
    }
    g->module_count = (unsigned)k->size;
}

static const struct field guest_fields[] = {
    {"name", config_parse_text, AT(guest_config, name), 0, 0, NULL},
    {"image", config_parse_file, AT(guest_config, image), 0, 0, NULL},
    {"kind", config_parse_choice, AT(guest_config, kind), 0, ARRAY_LEN(kinds) - 1, kinds},
    {"cmdline", config_parse_text, AT(guest_config, cmdline), 0, 0, NULL},
    {"memory", config_parse_memory, AT(guest_config, memory), 0, 0, NULL},
    {"core", config_parse_number, AT(guest_config, core), 0, CORE_MAX, NULL},
    {"weight", config_parse_number, AT(guest_config, weight), 1, 1000, NULL},
    {"slice_us", config_parse_number, AT(guest_config, slice_us), 100, 1000000, NULL},
    {"budget_us", config_parse_number, AT(guest_config, budget_us), 0, 10000000, NULL},
    {"period_us", config_parse_number, AT(guest_config, period_us), 1000, 10000000, NULL},
    {"guaranteed_us", config_parse_number, AT(guest_config, guaranteed_us), 0, 10000000, NULL},
    {"restart", config_parse_choice, AT(guest_config, restart), 0, ARRAY_LEN(restarts) - 1,
     restarts},
    {"restart_limit", config_parse_number, AT(guest_config, restart_limit), 0, 1000, NULL},
    {"watchdog_ms", config_parse_number, AT(guest_config, watchdog_ms), 0, 3600000, NULL},
    {"paused_clock", config_parse_choice, AT(guest_config, paused_clock), 0,
     ARRAY_LEN(paused_clocks) - 1, paused_clocks},
    {"exit_profile", config_parse_choice, AT(guest_config, exit_profile), 0,
     ARRAY_LEN(exit_profiles) - 1, exit_profiles},
    {"devices", parse_devices, AT(guest_config, devices), 0, 0, NULL},
    {"net", config_parse_net, AT(guest_config, net), 0, 0, NULL},
    {"modules", parse_modules, AT(guest_config, modules), 0, 0, NULL},
};

static uint32_t guarantee_max(const struct guest_config *g)
{
    return g->budget_us ? g->budget_us : g->period_us;
}

static void check_addresses(struct parser *p, int t, const struct guest_config *g)
{
    char text[128], address[CONFIG_ADDRESS_TEXT];
    struct net_address a;

    for (unsigned i = 0; p->config && i < p->config->guest_count; i++) {
        const struct guest_config *other = &p->config->guests[i];

        if (!config_net_clashes(&g->net, &other->net, &a))
            continue;
        config_net_address_text(&a, address);
        (void)fmt(text, sizeof(text), "%s is the address of guest \"%s\" too", address,
                  other->name);
        config_error_at(p, t, "net.addresses", text);
    }
}

static void check_guest(struct parser *p, int t, const struct guest_config *g)
{
    if (!config_name_is_good(g->name))
        config_error_at(p, t, "name",
                        g->name[0] ? "must consist of a-z, 0-9 and '-', and not begin with '-'"
                                   : "is missing");
    else if (strcmp(g->name, MANAGEMENT_NAME) == 0)
        config_error_at(p, t, "name", "\"mgmt\" is the management guest");
    for (unsigned i = 0; p->config && i < p->config->guest_count; i++)
        if (g->name[0] && strcmp(p->config->guests[i].name, g->name) == 0)
            config_error_at(p, t, "name", "another guest has this name");
    if (!g->image[0])
        config_error_at(p, t, "image", "is missing");
    check_addresses(p, t, g);
    if (g->budget_us && g->budget_us > g->period_us)
        config_error_at(p, t, "budget_us", "exceeds period_us");
    if (g->guaranteed_us > guarantee_max(g))
        config_error_at(p, t, "guaranteed_us",
                        g->budget_us ? "exceeds budget_us" : "exceeds period_us");
}

void config_default_guest(struct guest_config *g)
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
    config_default_net(&g->net);
}

/* hv/admission.h decides; here it is told early. */
static void check_core(struct parser *p, int t, const struct guest_config *g)
{
    uint64_t sum = config_share(g);
    char text[128];

    for (unsigned i = 0; i < p->config->guest_count; i++)
        if (p->config->guests[i].core == g->core)
            sum += config_share(&p->config->guests[i]);
    if (g->core < 0 || !g->guaranteed_us || sum <= CONFIG_GUARANTEED_MOST)
        return;
    (void)fmt(text, sizeof(text),
              "with the guests before it %lu.%lu %% of core %d are guaranteed; %u %% can be",
              sum * 100 / CONFIG_CORE_WHOLE, sum * 1000 / CONFIG_CORE_WHOLE % 10, g->core,
              CONFIG_GUARANTEED_MOST / (CONFIG_CORE_WHOLE / 100));
    config_error_at(p, t, "guaranteed_us", text);
}

static const char *file_of(const struct guest_config *g, unsigned n)
{
    return n == 0 ? g->image : g->modules[n - 1].file;
}

/* Was the name there before file n of guest g? */
static bool is_new_file(const struct config *c, const struct guest_config *g, unsigned n)
{
    const char *name = file_of(g, n);

    for (unsigned k = 0; k < n; k++)
        if (strcmp(file_of(g, k), name) == 0)
            return false;
    for (unsigned i = 0; i < c->guest_count && &c->guests[i] != g; i++)
        for (unsigned k = 0; k <= c->guests[i].module_count; k++)
            if (strcmp(file_of(&c->guests[i], k), name) == 0)
                return false;
    return true;
}

static void check_files(struct parser *p, int t, const struct guest_config *g)
{
    struct config *c = p->config;
    unsigned added = 0;
    char text[128];

    for (unsigned k = 0; k <= g->module_count; k++)
        added += is_new_file(c, g, k);
    if (c->file_count + added <= CONFIG_FILES_MAX) {
        c->file_count += added;
        return;
    }
    (void)fmt(text, sizeof(text), "with its files there are %u; a boot loader passes %u on",
              c->file_count + added, CONFIG_FILES_MAX);
    config_error_at(p, t, "modules", text);
}

bool config_parse_guest_object(struct parser *p, int t, struct guest_config *g)
{
    int before = p->errors;
    uint32_t column;

    config_default_guest(g);
    if (p->json.tokens[t].type != JSMN_OBJECT) {
        config_error_at(p, t, "", "a guest is an object");
        return false;
    }
    json_place(&p->json, p->json.tokens[t].start, &g->line, &column);
    config_parse_object(p, t, guest_fields, ARRAY_LEN(guest_fields), g);
    if (g->net_given)
        g->devices |= DEV_NET;
    check_guest(p, t, g);
    if (p->config && p->errors == before)
        check_core(p, t, g);
    if (p->config && p->errors == before)
        check_files(p, t, g);
    return p->errors == before;
}

void config_parse_guests(struct parser *p, const struct field *f, int t, void *object)
{
    const jsmntok_t *k = &p->json.tokens[t];

    (void)object;
    if (k->type != JSMN_ARRAY) {
        config_error_at(p, t, f->name, "must be a list of guests");
        return;
    }
    for (int i = 0, at = t + 1; i < k->size; i++, at = json_skip(&p->json, at)) {
        p->path[0] = 0;
        if (p->config->guest_count == CONFIG_GUESTS_MAX) {
            config_error_at(p, at, f->name, "too many guests: at most 14");
            return;
        }
        (void)fmt(p->path, sizeof(p->path), "guests[%d].", i);
        if (config_parse_guest_object(p, at, &p->config->guests[p->config->guest_count]))
            p->config->guests[p->config->guest_count++].index = (uint32_t)i;
    }
    p->path[0] = 0;
}

/* ---- what another guest wrote ---- */

static bool text_is_good(const char *s, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!s[i])
            return true;
    return false;
}

static bool field_is_good(const struct field *f, const struct guest_config *g)
{
    const char *at = (const char *)g + f->offset;
    uint32_t v;

    if (f->parse == config_parse_text)
        return text_is_good(at, f->size);
    if (f->parse == config_parse_file)
        return text_is_good(at, f->size) && config_file_is_good(at);
    if (f->parse == config_parse_memory)
        return config_memory_is_good(g->memory);
    if (f->parse == parse_devices)
        return (g->devices & ~(uint32_t)DEV_ALL) == 0;
    if (f->parse == config_parse_net)
        return !(g->devices & DEV_NET) || config_net_is_good(&g->net);
    if (f->parse == parse_modules)
        return true; /* below */
    memcpy(&v, at, sizeof(v));
    return ((int32_t)v >= f->min && (int32_t)v <= f->max) ||
           (f->offset == offsetof(struct guest_config, core) && g->core == -1);
}

int config_check_guest(const struct guest_config *g, const char **field)
{
    for (size_t i = 0; i < ARRAY_LEN(guest_fields); i++) {
        *field = guest_fields[i].name;
        job_rest();
        if (!field_is_good(&guest_fields[i], g))
            return -E_INVAL;
    }
    *field = "name";
    if (!config_name_is_good(g->name) || strcmp(g->name, MANAGEMENT_NAME) == 0)
        return -E_INVAL;
    *field = "image";
    if (!g->image[0])
        return -E_INVAL;
    *field = "vcpus";
    if (g->vcpus > ABI_VCPUS_MAX)
        return -E_INVAL;
    *field = "budget_us";
    if (g->budget_us && g->budget_us > g->period_us)
        return -E_INVAL;
    *field = "guaranteed_us";
    if (g->guaranteed_us > guarantee_max(g))
        return -E_INVAL;
    *field = "modules";
    if (g->module_count > CONFIG_MODULES_MAX)
        return -E_INVAL;
    for (unsigned i = 0; i < g->module_count; i++) {
        const struct config_module *m = &g->modules[i];

        job_rest();
        if (!text_is_good(m->file, sizeof(m->file)) || !m->file[0] ||
            !config_file_is_good(m->file) || !text_is_good(m->args, sizeof(m->args)))
            return -E_INVAL;
    }
    return 0;
}
