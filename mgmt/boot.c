#include "mgmt/boot.h"

#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/deploy.h"

#define LINE_MAX 480u /* fits ABI_CALL_LOG */

struct config boot_config;

static void report(void *ctx, const struct config_error *e)
{
    const struct api_view *v = ctx;
    char line[LINE_MAX];

    (void)fmt(line, sizeof(line), "guests.json:%u:%u: %s%s%s", e->line, e->column, e->field,
              e->field[0] ? ": " : "", e->text);
    v->note(line);
}

static void compare(const struct api_view *v)
{
    struct boot_options configured;
    char theirs[OPTIONS_TEXT], ours[OPTIONS_TEXT], line[LINE_MAX];

    config_options(&boot_config, &configured);
    options_write(&v->host->options, theirs);
    options_write(&configured, ours);
    if (strcmp(theirs, ours) == 0)
        return;
    (void)fmt(line, sizeof(line),
              "the kernel's command line says \"%s\", which is in force; guests.json says \"%s\": "
              "make the ISO again",
              theirs, ours);
    v->note(line);
}

bool boot_read(const struct api_view *v, void *scratch, size_t scratch_size)
{
    const struct abi_boot_module *m = deploy_find_module(v->images, CONFIG_MODULE);
    int errors;

    config_default(&boot_config);
    if (!m) {
        config_obey(&boot_config, &v->host->options);
        v->note("no boot module \"" CONFIG_MODULE "\": no guests but the management guest");
        return true;
    }
    errors = config_parse((const char *)v->module_bytes(m), m->size, scratch, scratch_size,
                          &boot_config, report, (void *)(uintptr_t)v);
    compare(v);
    config_obey(&boot_config, &v->host->options);
    return errors == 0;
}

static bool exists(const struct api_view *v, const char *name)
{
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++)
        if (v->guest(i)->state != ABI_GUEST_EMPTY && strcmp(v->guest(i)->config.name, name) == 0)
            return true;
    return false;
}

/* Fits a core that a guest asked for: a machine may have fewer than its configuration assumes. */
static unsigned fit_core(const struct api_view *v, const struct guest_config *g, unsigned core)
{
    unsigned there = core % v->host->core_count;
    char line[LINE_MAX];

    if (there == core)
        return core;
    (void)fmt(line, sizeof(line), "guest %s: no core %u exists: it runs on core %u", g->name, core,
              there);
    v->note(line);
    return there;
}

static void fit_cores(const struct api_view *v, struct guest_config *g)
{
    for (unsigned i = 0; i < g->core_count; i++)
        g->cores[i] = (uint8_t)fit_core(v, g, g->cores[i]);
    if (g->core_count)
        g->core = g->cores[0];
    else if (g->core >= 0)
        g->core = (int)fit_core(v, g, (unsigned)g->core);
}

static void make(const struct api_view *v, const struct guest_config *g, struct abi_create *r)
{
    struct deploy_refusal f = {0};
    struct load_request l;
    char line[LINE_MAX];

    r->config = *g;
    fit_cores(v, &r->config);
    if (deploy_find_files(v, &r->config, &l, &f) && deploy_guest(v, r, &l, &f) >= 0)
        return;
    if (deploy_husk(v, r, f.text) == 0)
        return;
    (void)fmt(line, sizeof(line), "guest %s: %s", g->name, f.text);
    v->note(line);
}

void boot_guests(const struct api_view *v, struct abi_create *request)
{
    if (v->host->configured)
        return;
    for (unsigned i = 0; i < boot_config.guest_count; i++)
        if (!exists(v, boot_config.guests[i].name))
            make(v, &boot_config.guests[i], request);
    (void)v->configured();
}
