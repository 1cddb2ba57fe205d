/* SOURCES: @vmcsdump */
#include "mgmt/report.h"
#include "mgmt/tools/reader.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static jsmntok_t tokens[READER_TOKENS];
static char out[16u << 20];

static void check(int rc, const struct reader_error *e)
{
    if (rc && (rc != -E_FORMAT || e->line == 0 || e->column == 0 ||
               !memchr(e->text, 0, sizeof(e->text)) || !e->text[0]))
        abort();
}

static void tell(const struct vmcs_file *f)
{
    const struct dump_options o = {.table = f->table, .decode = true, .group = -1};
    const struct dump d = {.options = &o,
                           .vmcs = &f->vmcs,
                           .wanted = f->wanted,
                           .caps = &f->caps,
                           .settled = f->settled,
                           .rows = f->listed,
                           .bitmaps = f->has_bitmaps ? f->bitmaps : NULL};
    struct json_out j;

    for (int text = 0; text <= 1; text++) {
        json_begin(&j, out, sizeof(out), text);
        json_object(&j, NULL);
        dump_fields(&j, &d);
        (void)report_check(&j, f->table, &f->vmcs, &f->caps);
        json_end(&j);
        if (j.overflow || j.depth)
            abort();
    }
}

/* Unlisted fields must be absent. */
static void check_listed(const struct vmcs_file *f)
{
    for (unsigned row = 0; row < ABI_SNAPSHOT_FIELDS; row++)
        if (vmcs_has(&f->vmcs, row) && (row >= f->table->rows || !row_in(f->listed, row)))
            abort();
}

/* Whatever a layout says, only the region is read: the sanitizer sees anything else. */
static void decode(const struct vmcs_layout *layout)
{
    const struct dump_options o = {.decode = true, .group = -1};
    uint8_t *region = malloc(LAYOUT_REGION);
    struct json_out j;

    if (!region)
        abort();
    memset(region, 0x5a, LAYOUT_REGION);
    json_begin(&j, out, sizeof(out), true);
    layout_put_region(&j, layout, region, &o);
    free(region);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct vmcs_file file;
    static struct vmcs_layout layout;
    struct reader_error e;
    struct abi_caps caps;
    struct json j;
    int rc;

    if (reader_json(&j, (const char *)data, size, tokens, READER_TOKENS, &e))
        return 0;
    rc = reader_vmcs(&j, &file, &e);
    check(rc, &e);
    if (rc == 0) {
        check_listed(&file);
        tell(&file);
    }
    rc = reader_layout(&j, &layout, &e);
    check(rc, &e);
    if (rc == 0)
        decode(&layout);
    check(reader_caps(&j, 0, &caps, &e), &e);
    return 0;
}
