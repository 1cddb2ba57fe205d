/* SOURCES: mgmt/config/config.c mgmt/config/fields.c mgmt/config/guest.c mgmt/config/net.c
 * mgmt/config/shared.c mgmt/config/address.c mgmt/config/management.c mgmt/config/service.c
 * mgmt/config/words.c mgmt/config/options.c hv/options.c hv/guest_config.c mgmt/config/json.c
 * hv/lib.c hv/fmt.c */
/* Any bytes as guests.json, as the body of POST /v1/guests, and as a "checked" configuration from a
 * hostile management guest. */
#include "mgmt/config/config.h"
#include "hv/options.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void report(void *ctx, const struct config_error *e)
{
    int *count = ctx;

    (*count)++;
    if (e->line == 0 || e->column == 0 || !memchr(e->text, 0, sizeof(e->text)))
        abort();
}

static void check_guest(const struct guest_config *g)
{
    if (!memchr(g->name, 0, sizeof(g->name)) || !memchr(g->image, 0, sizeof(g->image)) ||
        !memchr(g->cmdline, 0, sizeof(g->cmdline)) || g->module_count > CONFIG_MODULES_MAX)
        abort();
    for (unsigned i = 0; i < g->module_count; i++)
        if (!memchr(g->modules[i].file, 0, sizeof(g->modules[i].file)) ||
            !memchr(g->modules[i].args, 0, sizeof(g->modules[i].args)))
            abort();
    if (!g->name[0] || !g->image[0] || !g->memory || g->memory % PAGE_SIZE_2M || !g->period_us ||
        g->budget_us > g->period_us || g->guaranteed_us > g->period_us ||
        (g->devices & ~(uint32_t)DEV_ALL))
        abort();
    if (g->restart > RESTART_ALWAYS || g->paused_clock > PAUSED_CLOCK_RUNS ||
        g->exit_profile >= ABI_EXIT_PROFILES || g->kind > KIND_FLAT)
        abort();
}

static void try_guest(const uint8_t *data, size_t size)
{
    static uint64_t scratch[4096];
    static struct guest_config g;
    const char *field;
    int reported = 0;

    if (config_parse_guest((const char *)data, size, scratch, sizeof(scratch), &g, report,
                           &reported) == 0) {
        check_guest(&g);
        if (config_check_guest(&g, &field))
            abort();
    }
    /* The bytes themselves, over a valid configuration. */
    config_default_guest(&g);
    g.name[0] = g.image[0] = 'a';
    memcpy(&g, data, size < sizeof(g) ? size : sizeof(g));
    if (config_check_guest(&g, &field) == 0)
        check_guest(&g);
    else if (!field)
        abort();
}

static void complain(const char *text)
{
    (void)text;
    abort();
}

/* The root accepts any command line made from a configuration, with the intended meaning. */
static void check_command_line(const struct config *c)
{
    struct boot_options written, read;
    char line[OPTIONS_TEXT];

    config_options(c, &written);
    options_write(&written, line);
    options_read(line, &read, complain);
    if (memcmp(&written, &read, offsetof(struct boot_options, guarded)) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint64_t scratch[32768];
    static struct config c;
    int reported = 0;
    int rc =
        config_parse((const char *)data, size, scratch, sizeof(scratch), &c, report, &reported);

    if (rc != reported || c.guest_count > CONFIG_GUESTS_MAX)
        abort();
    for (unsigned i = 0; i < c.guest_count; i++)
        check_guest(&c.guests[i]);
    check_command_line(&c);
    try_guest(data, size);
    return 0;
}
