/* SOURCES: hv/config/config.c hv/config/fields.c hv/config/guest.c hv/config/net.c
 * hv/config/address.c hv/config/management.c hv/config/service.c hv/json.c hv/lib.c hv/fmt.c */
#include "hv/config.h"

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
        if (!c.guests[i].name[0] || !c.guests[i].image[0] || c.guests[i].memory % PAGE_SIZE_2M)
            abort();
    return 0;
}
