/*
 * config-check: reports what is wrong with a guests.json, using the appliance's own parser and
 * loaders.
 */
#include "mgmt/config/config.h"
#include "hv/lib.h"
#include "mgmt/load/load.h"
#include "hv/options.h"
#include "third_party.h"
#include "version.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#define SCRATCH_SIZE (1u << 20)

struct bytes {
    uint8_t *data;
    size_t size;
};

static const char *config_file;
static uint64_t scratch[SCRATCH_SIZE / 8];
static struct config config;
static const char *search_dir;

static void report(void *ctx, const struct config_error *e)
{
    (void)ctx;
    fprintf(stderr, "%s:%u:%u: %s%s%s\n", config_file, e->line, e->column, e->field,
            e->field[0] ? ": " : "", e->text);
}

static int read_file(const char *path, struct bytes *out)
{
    FILE *f = fopen(path, "rb");
    long n;

    if (!f)
        return -1;
    if (fseek(f, 0, SEEK_END) || (n = ftell(f)) < 0 || fseek(f, 0, SEEK_SET)) {
        fclose(f);
        return -1;
    }
    out->size = (size_t)n;
    out->data = malloc(out->size + 1);
    if (!out->data || fread(out->data, 1, out->size, f) != out->size) {
        free(out->data);
        out->data = NULL;
        fclose(f);
        return -1;
    }
    fclose(f);
    return 0;
}

static voidpf take(voidpf ctx, uInt count, uInt size)
{
    (void)ctx;
    return calloc(count, size);
}

static void give_back(voidpf ctx, voidpf at)
{
    (void)ctx;
    free(at);
}

/* Unpacks as mkiso.py does. Returns what is wrong, or NULL. */
static const char *unpack(struct bytes *file, uint64_t most)
{
    z_stream z = {
        .zalloc = take,
        .zfree = give_back,
        .next_in = file->data,
        .avail_in = (uInt)file->size,
        .avail_out = (uInt)most,
    };
    uint8_t *out = malloc(most);
    int rc = Z_MEM_ERROR;

    z.next_out = out;
    if (out && inflateInit2(&z, 16 + MAX_WBITS) == Z_OK) {
        rc = inflate(&z, Z_FINISH);
        (void)inflateEnd(&z);
    }
    if (rc != Z_STREAM_END) {
        free(out);
        return rc == Z_MEM_ERROR ? "no memory to unpack it"
               : z.avail_out     ? "begins like a gzip file, but cannot be unpacked"
                                 : "unpacked it has more bytes than the guest has memory";
    }
    free(file->data);
    *file = (struct bytes){out, most - z.avail_out};
    return NULL;
}

/* Next to the configuration, or in the search directory. */
static int read_named(const char *name, struct bytes *out)
{
    char *copy = strdup(config_file), path[4096];
    int rc;

    if (!copy)
        return -1;
    snprintf(path, sizeof(path), "%s/%s", dirname(copy), name);
    free(copy);
    rc = read_file(path, out);
    if (rc && search_dir) {
        snprintf(path, sizeof(path), "%s/%s", search_dir, name);
        rc = read_file(path, out);
    }
    return rc;
}

static int complain(const struct guest_config *g, const char *field, const char *name,
                    const char *what)
{
    fprintf(stderr, "%s:%u: guest %s: %s \"%s\": %s\n", config_file, g->line, g->name, field, name,
            what);
    return 1;
}

static int check_load(const struct guest_config *g, const struct load_request *r)
{
    static struct load_plan plan;
    struct load_error e;

    if (load_guest(r, &plan, &e))
        return complain(g, "image", g->image, e.text);
    printf("guest %s: %s, %s, %lu MiB\n", g->name, g->image, plan.start.kind,
           (unsigned long)(g->memory >> 20));
    return 0;
}

static int check_guest(const struct guest_config *g)
{
    struct load_request r = {
        .module_count = g->module_count,
        .kind = g->kind,
        .tsc_hz = 1000000000,
        .memory = g->memory,
        .devices = g->devices,
        .mmio_slots = load_mmio_slots(g),
        .vcpus = g->vcpus,
        .name = g->name,
    };
    struct bytes files[1 + CONFIG_MODULES_MAX] = {{0}};
    int bad = 0;

    if (read_named(g->image, &files[0]))
        return complain(g, "image", g->image, "no such file");
    if (g->kind != KIND_FLAT && files[0].size > 2 && memcmp(files[0].data, "\x1f\x8b", 2) == 0) {
        const char *why = unpack(&files[0], g->memory);

        if (why) {
            free(files[0].data);
            return complain(g, "image", g->image, why);
        }
    }
    r.image =
        (struct load_blob){files[0].data, files[0].size, g->cmdline, g->argv0 ? g->image : NULL};
    for (unsigned i = 0; i < g->module_count; i++) {
        const struct config_module *m = &g->modules[i];

        if (read_named(m->file, &files[1 + i]))
            bad += complain(g, "module", m->file, "no such file");
        r.modules[i] = (struct load_blob){files[1 + i].data, files[1 + i].size, m->args,
                                          g->argv0 ? m->file : NULL};
    }
    if (!bad)
        bad = check_load(g, &r);
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        free(files[i].data);
    return bad;
}

/* Checks that a file of the management service exists. */
static int check_named(const char *field, const char *name)
{
    struct bytes file;

    if (!name[0])
        return 0;
    if (read_named(name, &file)) {
        fprintf(stderr, "%s: management.%s: \"%s\": no such file\n", config_file, field, name);
        return 1;
    }
    free(file.data);
    return 0;
}

static int usage(FILE *to)
{
    fputs(
        "usage: config-check [--search DIR] GUESTS.JSON, config-check --command-line GUESTS.JSON,\n"
        "       config-check --version\n"
        "Checks a Bulkhead configuration and every image and module that it names.\n"
        "Paths are relative to the configuration; DIR is searched after that.\n"
        "--command-line: instead prints the part that belongs on the kernel's command line.\n"
        "Exit status: 0 all well, 1 errors (on standard error), 2 usage or unreadable file.\n",
        to);
    return to == stdout ? 0 : 2;
}

static void ignore(void *ctx, const struct config_error *e)
{
    (void)ctx;
    (void)e;
}

/* Does not report errors: the appliance does, and it uses the rest of a configuration with
 * mistakes. */
static int print_command_line(const struct bytes *text)
{
    char line[OPTIONS_TEXT];
    struct boot_options o;

    (void)config_parse((const char *)text->data, text->size, scratch, sizeof(scratch), &config,
                       ignore, NULL);
    config_options(&config, &o);
    options_write(&o, line);
    puts(line);
    return 0;
}

int main(int argc, char **argv)
{
    struct config *c = &config;
    bool command_line = false;
    struct bytes text;
    int bad;

    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return usage(stdout);
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("config-check %s (%s)\n%s", BULKHEAD_VERSION, BULKHEAD_BUILD_ID, THIRD_PARTY_TEXT);
        return 0;
    }
    if (argc == 4 && strcmp(argv[1], "--search") == 0) {
        search_dir = argv[2];
        config_file = argv[3];
    } else if (argc == 3 && strcmp(argv[1], "--command-line") == 0) {
        command_line = true;
        config_file = argv[2];
    } else if (argc == 2 && argv[1][0] != '-') {
        config_file = argv[1];
    } else {
        return usage(stderr);
    }
    if (read_file(config_file, &text)) {
        perror(config_file);
        return 2;
    }
    if (command_line)
        return print_command_line(&text);
    bad =
        config_parse((const char *)text.data, text.size, scratch, sizeof(scratch), c, report, NULL);
    for (unsigned i = 0; i < c->guest_count; i++)
        bad += check_guest(&c->guests[i]);
    bad += check_named("certificate", c->management.service.certificate);
    bad += check_named("key", c->management.service.key);
    free(text.data);
    printf("%s: %u guest%s, %d error%s\n", config_file, c->guest_count,
           c->guest_count == 1 ? "" : "s", bad, bad == 1 ? "" : "s");
    return bad ? 1 : 0;
}
