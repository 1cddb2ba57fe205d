/* Guests: the list, the state of one, and the actions on it. */
#include "mgmt/bhctl/bhctl.h"
#include "mgmt/bhctl/format.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH(a, path, ...)                                                                         \
    (url_path(path, sizeof(path), __VA_ARGS__)                                                     \
         ? EXIT_OK                                                                                 \
         : complain(EXIT_USAGE, "\"%s\" cannot be a name", (a)->options->arg[0]))

void say_guests(const json_t *all)
{
    const json_t *g;
    size_t i;

    printf("%-16s %-10s %10s %5s  %s\n", "NAME", "STATE", "MEMORY", "CORE", "WHY");
    json_array_foreach(json_object_get(all, "guests"), i, g)
    {
        char memory[FORMAT_MAX];

        format_bytes(memory, number_of(g, "memory"));
        say_text(text_of(g, "name"), 16);
        (void)putchar(' ');
        say_text(text_of(g, "state"), 10);
        printf(" %10s %5" PRIu64 "  ", memory, number_of(g, "core"));
        say_text(text_of(g, *text_of(g, "why") ? "why" : "stuck"), 0);
        (void)putchar('\n');
    }
}

int command_guests(struct api *a)
{
    int rc;
    json_t *all = api_get(a, "/v1/guests", &rc);

    if (all && !options_have(a->options, OPTION_JSON)) {
        say_guests(all);
        rc = say_end();
    }
    json_decref(all);
    return rc;
}

/* What a guest's answer means. */
struct machine {
    uint64_t hz;       /* of its ticks; 0: unknown */
    const char *state; /* the command that shows a vCPU's: vmcs or vmcb */
};

static void say_exit(const json_t *e)
{
    if (!json_is_object(e))
        return;
    say_field("last exit", "%s at RIP %s, qualification %s: %s", text_of(e, "reason"),
              text_of(e, "rip"), text_of(e, "qualification"), text_of(e, "outcome"));
}

struct count {
    const char *name;
    uint64_t n;
};

static int by_number(const void *a, const void *b)
{
    const struct count *x = a, *y = b;

    return x->n != y->n ? (x->n < y->n ? 1 : -1) : strcmp(x->name, y->name);
}

static void say_exits(json_t *exits)
{
    struct count counts[128];
    unsigned n = 0;
    const char *name;
    json_t *value;

    json_object_foreach(exits, name, value)
    {
        if (n < ARRAY_LEN(counts))
            counts[n++] = (struct count){name, (uint64_t)json_integer_value(value)};
    }
    qsort(counts, n, sizeof(counts[0]), by_number);
    for (unsigned i = 0; i < n; i++)
        say_field(i ? "" : "exits", "%12" PRIu64 " %s", counts[i].n, counts[i].name);
}

static void say_vcpu(const json_t *v, bool several, uint64_t hz)
{
    const json_t *unclaimed = json_object_get(v, "unclaimed_memory");
    const char *activity = text_of(v, "activity");
    char ran[FORMAT_MAX], waited[FORMAT_MAX];
    bool active = strcmp(activity, "active") == 0 || !*activity;

    if (several)
        say_field("vCPU", "%" PRIu64, number_of(v, "id"));
    say_field("core", "%" PRIu64 "%s%s", number_of(v, "core"), active ? "" : ", ",
              active ? "" : activity);
    format_ticks(ran, number_of(v, "run_ticks"), hz);
    format_ticks(waited, number_of(v, "wait_ticks"), hz);
    say_field("ran", "%s, waited %s for the core", ran, waited);
    say_field("entries", "%" PRIu64 ", interrupts %" PRIu64, number_of(v, "entries"),
              number_of(v, "interrupts"));
    if (number_of(unclaimed, "reads") || number_of(unclaimed, "writes"))
        say_field("no memory", "reads: %" PRIu64 ", writes: %" PRIu64 ", the last at %s",
                  number_of(unclaimed, "reads"), number_of(unclaimed, "writes"),
                  text_of(unclaimed, "address"));
    say_exits(json_object_get(v, "exits"));
    say_exit(json_object_get(v, "last_exit"));
}

static void say_devices(const json_t *c)
{
    char list[128] = "";
    const json_t *d;
    size_t i, n = 0;

    json_array_foreach(json_object_get(c, "devices"), i, d)
    {
        if (n < sizeof(list))
            n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s", i ? " " : "",
                                  json_is_string(d) ? json_string_value(d) : "?");
    }
    say_field("devices", "%s", list);
}

/* Prints the card, and what the switch refused. */
static void say_network(const json_t *g)
{
    const json_t *n = json_object_get(g, "network");
    const json_t *net = json_object_get(json_object_get(g, "configuration"), "net"), *count;
    const char *reason;

    if (!json_is_object(n))
        return;
    say_field("network", "%s%s%s, %s", text_of(net, "network"),
              json_is_false(json_object_get(net, "uplink")) ? " without uplink" : "",
              json_is_object(net) ? "" : "the uplink", text_of(n, "mac"));
    if (number_of(n, "queue_pairs") > 1)
        say_field("queue pairs", "%" PRIu64 ", %" PRIu64 " used", number_of(n, "queue_pairs"),
                  number_of(n, "queue_pairs_used"));
    say_field("frames", "%" PRIu64 " sent, %" PRIu64 " received, %" PRIu64 " lost",
              number_of(n, "sent"), number_of(n, "received"), number_of(n, "dropped"));
    json_object_foreach(json_object_get(n, "refused"), reason, count)
    {
        say_field("refused", "%" PRIu64 " %s",
                  json_is_integer(count) ? (uint64_t)json_integer_value(count) : 0, reason);
    }
}

/* What to look at. */
static void say_crash(const json_t *g, const struct machine *m)
{
    const char *name = text_of(g, "name");

    say_field("to look at", "bhctl console %s; bhctl %s %s --exits; bhctl %s %s --snapshots", name,
              m->state, name, m->state, name);
    if (json_is_true(json_object_get(json_object_get(g, "configuration"), "memory_dump")))
        say_field("", "bhctl dump %s FILE, and gdb KERNEL FILE", name);
}

static void say_guest(const json_t *g, const struct machine *m)
{
    const json_t *c = json_object_get(g, "configuration"), *v;
    char memory[FORMAT_MAX];
    size_t i;

    format_bytes(memory, number_of(c, "memory"));
    say_field("name", "%s%s", text_of(g, "name"),
              json_is_true(json_object_get(g, "management")) ? " (the management guest)" : "");
    say_field("state", "%s%s%s", text_of(g, "state"), *text_of(g, "why") ? ": " : "",
              text_of(g, "why"));
    if (strcmp(text_of(g, "state"), "crashed") == 0)
        say_crash(g, m);
    if (*text_of(g, "stuck"))
        say_field("stuck", "%s", text_of(g, "stuck"));
    if (number_of(g, "exit_code"))
        say_field("exit code", "%" PRIu64, number_of(g, "exit_code"));
    say_field("image", "%s (%s)", text_of(c, "image"), text_of(c, "kind"));
    if (*text_of(c, "cmdline"))
        say_field("cmdline", "%s", text_of(c, "cmdline"));
    say_field("memory", "%s", memory);
    say_field("restart", "%s, restarted %" PRIu64 " times", text_of(c, "restart"),
              number_of(g, "restarts"));
    if (number_of(c, "watchdog_ms"))
        say_field("watchdog", "%" PRIu64 " ms", number_of(c, "watchdog_ms"));
    if (number_of(g, "short_lives"))
        say_field("short lives", "%" PRIu64 " in a row", number_of(g, "short_lives"));
    say_field("weight", "%" PRIu64 ", slices of %" PRIu64 " us", number_of(c, "weight"),
              number_of(c, "slice_us"));
    if (number_of(c, "budget_us"))
        say_field("budget", "%" PRIu64 " of %" PRIu64 " us", number_of(c, "budget_us"),
                  number_of(c, "period_us"));
    if (number_of(c, "guaranteed_us"))
        say_field("guarantee", "%" PRIu64 " of %" PRIu64 " us", number_of(c, "guaranteed_us"),
                  number_of(c, "period_us"));
    say_field("exit profile", "%s", text_of(c, "exit_profile"));
    say_devices(c);
    say_network(g);
    json_array_foreach(json_object_get(g, "vcpus"), i, v)
    {
        say_vcpu(v, json_array_size(json_object_get(g, "vcpus")) > 1, m->hz);
    }
}

static struct machine ask_machine(struct api *a)
{
    struct machine m = {.state = "vmcs"};
    CURLcode transfer = CURLE_OK;
    json_t *host = NULL;
    struct reply r;

    if (api_try(a, "GET", "/v1/host", NULL, 0, &r, &transfer) == EXIT_OK && transfer == CURLE_OK &&
        r.status == 200)
        host = json_loadb(r.body, r.length, 0, NULL);
    m.hz = number_of(json_object_get(host, "tsc"), "hz");
    if (strcmp(text_of(host, "virtualization"), "AMD-V") == 0)
        m.state = "vmcb";
    json_decref(host);
    reply_clear(&r);
    return m;
}

int command_status(struct api *a)
{
    char path[PATH_MAX_BYTES];
    json_t *g;
    int rc;

    if (!a->options->arg_count)
        return command_overview(a);
    rc = PATH(a, path, "/v1/guests/%s", a->options->arg[0]);
    g = rc == EXIT_OK ? api_get(a, path, &rc) : NULL;

    if (g && !options_have(a->options, OPTION_JSON)) {
        struct machine m = ask_machine(a);

        say_guest(g, &m);
        rc = say_end();
    }
    json_decref(g);
    return rc;
}

int command_action(struct api *a)
{
    const char *action = a->options->command->name;
    char path[PATH_MAX_BYTES], body[64];
    struct reply r = {.body = NULL};
    int rc = PATH(a, path, "/v1/guests/%s/actions", a->options->arg[0]);

    if (rc != EXIT_OK)
        return rc;
    (void)snprintf(body, sizeof(body), "{\"action\": \"%s\"}", action);
    rc = api_call(a, "POST", path, body, strlen(body), &r);
    if (rc == EXIT_OK && options_have(a->options, OPTION_JSON))
        rc = reply_print(&r);
    reply_clear(&r);
    return rc;
}

/* ---- deletion ---- */

/* Deletes the uploads that only this guest uses, by an earlier GET /v1/images. */
static int delete_images_of(struct api *a, const json_t *all, const char *guest)
{
    const json_t *image;
    size_t i;
    int rc = EXIT_OK;

    json_array_foreach(json_object_get(all, "images"), i, image)
    {
        const json_t *users = json_object_get(image, "used_by");
        const char *user = json_string_value(json_array_get(users, 0));
        char path[PATH_MAX_BYTES];
        struct reply r;

        if (strcmp(text_of(image, "source"), "upload") != 0 || json_array_size(users) != 1 ||
            !user || strcmp(user, guest) != 0)
            continue;
        if (!url_path(path, sizeof(path), "/v1/images/%s", text_of(image, "name")))
            continue;
        if (api_call(a, "DELETE", path, NULL, 0, &r) != EXIT_OK)
            rc = EXIT_REFUSED;
        reply_clear(&r);
    }
    return rc;
}

int command_delete(struct api *a)
{
    const char *name = a->options->arg[0];
    char path[PATH_MAX_BYTES];
    struct reply r = {.body = NULL};
    json_t *images = NULL;
    int rc = PATH(a, path, "/v1/guests/%s", name);

    if (rc == EXIT_OK && options_have(a->options, OPTION_IMAGES)) {
        rc = api_call(a, "GET", "/v1/images", NULL, 0, &r);
        if (rc == EXIT_OK && !(images = api_json(&r)))
            rc = EXIT_UNREACHABLE;
        reply_clear(&r);
    }
    if (rc == EXIT_OK)
        rc = api_call(a, "DELETE", path, NULL, 0, &r);
    if (rc == EXIT_OK && options_have(a->options, OPTION_JSON))
        rc = reply_print(&r);
    if (rc == EXIT_OK && r.status == 202)
        (void)fprintf(stderr, "%s is deleted; its memory is still being scrubbed\n", name);
    if (rc == EXIT_OK && images)
        rc = delete_images_of(a, images, name);
    reply_clear(&r);
    json_decref(images);
    return rc;
}

int command_images(struct api *a)
{
    const char *gone = a->options->value[OPTION_DELETE];
    char path[PATH_MAX_BYTES];
    json_t *all;
    const json_t *image;
    size_t i;
    int rc;

    if (gone) {
        struct reply r = {.body = NULL};

        if (!url_path(path, sizeof(path), "/v1/images/%s", gone))
            return complain(EXIT_USAGE, "--delete: \"%s\" cannot be a name", gone);
        rc = api_call(a, "DELETE", path, NULL, 0, &r);
        reply_clear(&r);
        return rc;
    }
    all = api_get(a, "/v1/images", &rc);
    if (!all)
        return rc;
    if (!options_have(a->options, OPTION_JSON))
        printf("%-32s %10s %-7s %-12s  %s\n", "NAME", "SIZE", "SOURCE", "SHA-256", "USED BY");
    json_array_foreach(json_object_get(all, "images"), i, image)
    {
        const json_t *user;
        char size[FORMAT_MAX], hash[13];
        size_t u;

        if (options_have(a->options, OPTION_JSON))
            break;
        format_bytes(size, number_of(image, "size"));
        (void)snprintf(hash, sizeof(hash), "%s",
                       *text_of(image, "sha256") ? text_of(image, "sha256") : "-");
        say_text(text_of(image, "name"), 32);
        printf(" %10s ", size);
        say_text(text_of(image, "source"), 7);
        (void)putchar(' ');
        say_text(hash, 12);
        (void)putchar(' ');
        json_array_foreach(json_object_get(image, "used_by"), u, user)
        {
            (void)putchar(' ');
            say_text(json_is_string(user) ? json_string_value(user) : "", 0);
        }
        (void)putchar('\n');
    }
    json_decref(all);
    return rc == EXIT_OK ? say_end() : rc;
}
