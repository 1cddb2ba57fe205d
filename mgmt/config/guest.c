#include "mgmt/config/parse.h"

#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/words.h"

static const struct field module_fields[] = {
#define MODULE(name, kind, least, most, preset, words, ...)                                        \
    FIELD(config_module, #name, name, kind, least, most, words)
#include "hv/config_fields.def"
};

void config_parse_modules(struct parser *p, const struct field *f, int t, void *object)
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

static const struct field disk_fields[] = {
#define DISK(name, kind, least, most, preset, words, ...)                                          \
    FIELD(config_disk, #name, name, kind, least, most, words)
#include "hv/config_fields.def"
};

void config_parse_disks(struct parser *p, const struct field *f, int t, void *object)
{
    struct guest_config *g = object;
    const jsmntok_t *k = &p->json.tokens[t];
    size_t len = strlen(p->path);

    if (k->type != JSMN_ARRAY || k->size > CONFIG_DISKS_MAX) {
        config_error_at(p, t, f->name, "must be a list of at most 4 disks");
        return;
    }
    for (int i = 0, at = t + 1; i < k->size; i++, at = json_skip(&p->json, at)) {
        if (p->json.tokens[at].type != JSMN_OBJECT) {
            config_error_at(p, at, f->name, "a disk is {\"file\": ..., \"readonly\": ...}");
            return;
        }
        (void)fmt(p->path + len, sizeof(p->path) - len, "disks[%d].", i);
        config_parse_object(p, at, disk_fields, ARRAY_LEN(disk_fields), &g->disks[i]);
        if (!g->disks[i].file[0])
            config_error_at(p, at, "file", "is missing");
        p->path[len] = 0;
    }
    g->disk_count = (unsigned)k->size;
}

static const struct field guest_fields[] = {
#define GUEST(name, kind, least, most, preset, words, ...)                                         \
    FIELD(guest_config, #name, name, kind, least, most, words)
#include "hv/config_fields.def"
};

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

/* `core` is short for a list of one. */
static void check_cores(struct parser *p, int t, struct guest_config *g)
{
    char text[128];

    if (g->core_count && g->core >= 0 && g->core != g->cores[0])
        config_error_at(p, t, "core", "is not the first of cores");
    if (g->core_count)
        g->core = g->cores[0];
    if (g->core < 0 || g->vcpus <= max_u64(g->core_count, 1))
        return;
    (void)fmt(text, sizeof(text), "%u, but %s %u core%s: name one for each vCPU; they may repeat",
              g->vcpus, g->core_count ? "cores names" : "core names",
              g->core_count ? g->core_count : 1, g->core_count > 1 ? "s" : "");
    config_error_at(p, t, "vcpus", text);
}

static void check_guest(struct parser *p, int t, struct guest_config *g)
{
    if (!config_name_is_good(g->name))
        config_error_at(p, t, "name",
                        g->name[0] ? "must consist of a-z, 0-9 and '-', and not begin with '-'"
                                   : "is missing");
    else if (strcmp(g->name, CONFIG_MANAGEMENT_NAME) == 0)
        config_error_at(p, t, "name", "\"mgmt\" is the management guest");
    for (unsigned i = 0; p->config && i < p->config->guest_count; i++)
        if (g->name[0] && strcmp(p->config->guests[i].name, g->name) == 0)
            config_error_at(p, t, "name", "another guest has this name");
    if (!g->image[0])
        config_error_at(p, t, "image", "is missing");
    check_addresses(p, t, g);
    check_cores(p, t, g);
    if (g->budget_us && g->budget_us > g->period_us)
        config_error_at(p, t, "budget_us", "exceeds period_us");
    if (g->guaranteed_us > config_guarantee_most(g))
        config_error_at(p, t, "guaranteed_us",
                        g->budget_us ? "exceeds budget_us" : "exceeds period_us");
}

void config_default_guest(struct guest_config *g)
{
    *g = (struct guest_config){
#define GUEST(name, kind, least, most, preset, ...) .name = preset,
#include "hv/config_fields.def"
    };
    g->net = (struct net_config){
#define NET(name, kind, least, most, preset, ...) .name = preset,
#include "hv/config_fields.def"
    };
}

/* What a guest's vCPUs on a core are guaranteed of it. */
static uint64_t share_of(const struct guest_config *g, unsigned core)
{
    uint64_t sum = 0;

    for (unsigned i = 0; g->core >= 0 && i < g->vcpus; i++)
        if (config_core(g, i) == core)
            sum += config_share(g);
    return sum;
}

/* mgmt/admission.h decides; this reports it early. False: too much of the core is guaranteed. */
static bool check_share(struct parser *p, int t, const struct guest_config *g, unsigned core)
{
    uint64_t sum = share_of(g, core);
    char text[128];

    for (unsigned i = 0; i < p->config->guest_count; i++)
        sum += share_of(&p->config->guests[i], core);
    if (sum <= CONFIG_GUARANTEED_MOST)
        return true;
    (void)fmt(text, sizeof(text),
              "with the guests before it %lu.%lu %% of core %u are guaranteed; %u %% can be",
              sum * 100 / CONFIG_CORE_WHOLE, sum * 1000 / CONFIG_CORE_WHOLE % 10, core,
              CONFIG_GUARANTEED_MOST / (CONFIG_CORE_WHOLE / 100));
    config_error_at(p, t, "guaranteed_us", text);
    return false;
}

static void check_shares(struct parser *p, int t, const struct guest_config *g)
{
    if (g->core < 0 || !g->guaranteed_us)
        return;
    for (unsigned i = 0; i < g->vcpus; i++)
        if (!check_share(p, t, g, config_core(g, i)))
            return;
}

/* Its image, modules and disks: so many files. */
static unsigned files_of(const struct guest_config *g)
{
    return 1 + g->module_count + g->disk_count;
}

static const char *file_of(const struct guest_config *g, unsigned n)
{
    if (n > g->module_count)
        return g->disks[n - 1 - g->module_count].file;
    return n == 0 ? g->image : g->modules[n - 1].file;
}

/* Is this the name's first use, before file n of guest g? */
static bool is_new_file(const struct config *c, const struct guest_config *g, unsigned n)
{
    const char *name = file_of(g, n);

    for (unsigned k = 0; k < n; k++)
        if (strcmp(file_of(g, k), name) == 0)
            return false;
    for (unsigned i = 0; i < c->guest_count && &c->guests[i] != g; i++)
        for (unsigned k = 0; k < files_of(&c->guests[i]); k++)
            if (strcmp(file_of(&c->guests[i], k), name) == 0)
                return false;
    return true;
}

static void check_files(struct parser *p, int t, const struct guest_config *g)
{
    struct config *c = p->config;
    unsigned added = 0;
    char text[128];

    for (unsigned k = 0; k < files_of(g); k++)
        added += is_new_file(c, g, k);
    if (c->file_count + added <= CONFIG_FILES_MAX) {
        c->file_count += added;
        return;
    }
    (void)fmt(text, sizeof(text), "its files make %u in all; a boot loader passes on at most %u",
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
    if ((g->devices & DEV_ON_PCI) || g->disk_count)
        g->devices |= DEV_PCI;
    check_guest(p, t, g);
    if (p->config && p->errors == before)
        check_shares(p, t, g);
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
