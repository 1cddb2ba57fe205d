/* The machine, and its state as a configuration. */
#include "mgmt/bhctl/bhctl.h"
#include "mgmt/bhctl/format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void say_core(const json_t *k, uint64_t hz)
{
    uint64_t busy = number_of(k, "busy_ticks"), idle = number_of(k, "idle_ticks");
    char load[FORMAT_MAX], late[FORMAT_MAX];

    format_percent(load, busy, busy + idle);
    format_ticks(late, number_of(k, "slice_late_max_ticks"), hz);
    say_field("core",
              "%" PRIu64 " (APIC id %" PRIu64 ", package %" PRIu64 ", node %" PRIu64
              "): %s busy, vCPUs: %" PRIu64 ", slices ended: %" PRIu64 ", at most %s late",
              number_of(k, "id"), number_of(k, "apic_id"), number_of(k, "package"),
              number_of(k, "node"), load, number_of(k, "vcpus"), number_of(k, "slice_ends"), late);
}

static void say_topology(const json_t *t)
{
    size_t unused = json_array_size(json_object_get(t, "unused_threads"));

    say_field("threads",
              "%" PRIu64 " of %" PRIu64 " run guests (smt %s); packages: %" PRIu64
              ", physical cores: %" PRIu64 ", nodes: %" PRIu64,
              number_of(t, "threads") - unused, number_of(t, "threads"), text_of(t, "smt"),
              number_of(t, "packages"), number_of(t, "physical_cores"), number_of(t, "nodes"));
}

static void say_memory(const json_t *m)
{
    static const char *const parts[] = {"guests", "regions", "images",   "modules",     "host",
                                        "shared", "tables",  "reserved", "largest_free"};
    char total[FORMAT_MAX], part[FORMAT_MAX];

    format_bytes(total, number_of(m, "total"));
    format_bytes(part, number_of(m, "free"));
    say_field("memory", "%s, %s free", total, part);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        format_bytes(part, number_of(m, parts[i]));
        say_field("", "%10s %s", part, i + 1 < ARRAY_LEN(parts) ? parts[i] : "largest free piece");
    }
}

static void say_cpu(const json_t *h)
{
    const json_t *revision = json_object_get(h, "vmcs_revision");

    if (json_is_string(revision))
        say_field("cpu", "%s, signature %s, VMCS revision %s", text_of(h, "cpu"),
                  text_of(h, "cpu_signature"), json_string_value(revision));
    else
        say_field("cpu", "%s, signature %s, %s", text_of(h, "cpu"), text_of(h, "cpu_signature"),
                  text_of(h, "virtualization"));
}

/* Those that concern this CPU. */
static void say_cpu_faults(const json_t *faults)
{
    const json_t *f;
    bool first = true;
    size_t i;

    json_array_foreach(faults, i, f)
    {
        if (strcmp(text_of(f, "status"), "not-affected") == 0)
            continue;
        say_field(first ? "cpu faults" : "", "%s: %s, %s", text_of(f, "name"), text_of(f, "status"),
                  text_of(f, "note"));
        first = false;
    }
}

static void say_card(const json_t *n)
{
    char users[2 * FORMAT_MAX] = "", link[FORMAT_MAX] = "link down";
    const json_t *role;
    size_t i;

    json_array_foreach(json_object_get(n, "roles"), i, role)
    {
        size_t length = strlen(users);

        (void)snprintf(users + length, sizeof(users) - length, "%s%s", i ? " and " : ", for ",
                       json_is_string(role) ? json_string_value(role) : "");
    }
    if (json_is_true(json_object_get(n, "link_up")))
        (void)snprintf(link, sizeof(link), "link up, %" PRIu64 " Mbit/s", number_of(n, "mbits"));
    if (users[0])
        say_field("card", "%s at %s, %s, driver %s%s, interrupts %s, %s", text_of(n, "name"),
                  text_of(n, "pci"), text_of(n, "mac"), text_of(n, "driver"), users,
                  text_of(n, "interrupt"), link);
    else
        say_field("card", "%s at %s, %s, driver %s, not used", text_of(n, "name"),
                  text_of(n, "pci"), text_of(n, "mac"), text_of(n, "driver"));
}

static void say_host(const json_t *h)
{
    const json_t *network = json_object_get(h, "network"), *core, *part;
    char up[FORMAT_MAX];
    size_t i;

    format_seconds(up, number_of(h, "uptime_ms") / 1000);
    say_field("version", "%s (%s)", text_of(h, "version"), text_of(h, "build_id"));
    json_array_foreach(json_object_get(h, "third_party"), i, part)
    {
        say_field(i ? "" : "with", "%s %s (%s)", text_of(part, "name"), text_of(part, "version"),
                  text_of(part, "package"));
    }
    say_cpu(h);
    say_cpu_faults(json_object_get(h, "cpu_faults"));
    say_field("up", "%s, since %s", up, text_of(h, "boot_time"));
    say_field("time", "%s (%s)", text_of(h, "time"), text_of(h, "time_source"));
    say_topology(json_object_get(h, "topology"));
    json_array_foreach(json_object_get(h, "cores"), i, core)
    {
        say_core(core, number_of(json_object_get(h, "tsc"), "hz"));
    }
    say_memory(json_object_get(h, "memory"));
    say_field("network", "%s, %s, netmask %s", text_of(network, "nic"), text_of(network, "address"),
              text_of(network, "netmask"));
    json_array_foreach(json_object_get(network, "cards"), i, part)
    {
        say_card(part);
    }
}

static void say_summary(const json_t *h)
{
    const json_t *memory = json_object_get(h, "memory"), *cores = json_object_get(h, "cores"),
                 *core;
    char up[FORMAT_MAX], free[FORMAT_MAX], total[FORMAT_MAX], busy[FORMAT_MAX];
    uint64_t run = 0, idle = 0;
    size_t i;

    json_array_foreach(cores, i, core)
    {
        run += number_of(core, "busy_ticks");
        idle += number_of(core, "idle_ticks");
    }
    format_seconds(up, number_of(h, "uptime_ms") / 1000);
    format_bytes(free, number_of(memory, "free"));
    format_bytes(total, number_of(memory, "total"));
    format_percent(busy, run, run + idle);
    say_field("up", "%s", up);
    say_field("cores", "%zu, %s busy since the boot", json_array_size(cores), busy);
    say_field("memory", "%s of %s free", free, total);
    say_field("address", "%s", text_of(json_object_get(h, "network"), "address"));
    (void)putchar('\n');
}

/* With --json both answers, as the members of one object. */
int command_overview(struct api *a)
{
    const char *const paths[] = {"/v1/host", "/v1/guests"};
    json_t *both[ARRAY_LEN(paths)] = {NULL};
    int rc = EXIT_OK;

    for (size_t i = 0; i < ARRAY_LEN(paths) && rc == EXIT_OK; i++) {
        struct reply r = {.body = NULL};

        rc = api_call(a, "GET", paths[i], NULL, 0, &r);
        if (rc == EXIT_OK && !(both[i] = api_json(&r)))
            rc = EXIT_UNREACHABLE;
        reply_clear(&r);
    }
    if (rc == EXIT_OK && options_have(a->options, OPTION_JSON)) {
        json_t *all =
            json_pack("{s:O, s:O}", "host", both[0], "guests", json_object_get(both[1], "guests"));

        (void)json_dumpf(all, stdout, JSON_COMPACT);
        (void)putchar('\n');
        json_decref(all);
    } else if (rc == EXIT_OK) {
        say_summary(both[0]);
        say_guests(both[1]);
    }
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        json_decref(both[i]);
    return rc == EXIT_OK ? say_end() : rc;
}

int command_host(struct api *a)
{
    int rc;
    json_t *h = api_get(a, "/v1/host", &rc);

    if (h && !options_have(a->options, OPTION_JSON)) {
        say_host(h);
        rc = say_end();
    }
    json_decref(h);
    return rc;
}

int command_config(struct api *a)
{
    int rc;
    json_t *c = api_get(a, "/v1/config", &rc);

    /* For a file that people edit: the same, one member per line. */
    if (c && !options_have(a->options, OPTION_JSON)) {
        (void)json_dumpf(c, stdout, JSON_INDENT(4));
        (void)putchar('\n');
        rc = say_end();
    }
    json_decref(c);
    return rc;
}

/* Only "y" and "yes" mean yes. Without a terminal the question cannot be asked. */
static int confirm_reboot(const struct api *a)
{
    char line[16];

    if (options_have(a->options, OPTION_YES))
        return EXIT_OK;
    if (!isatty(STDIN_FILENO))
        return complain(EXIT_USAGE, "reboot: no terminal to ask on: give --yes");
    (void)fprintf(stderr, "Reset the machine, and all guests with it? [y/N] ");
    if (fgets(line, sizeof(line), stdin) &&
        (strcmp(line, "y\n") == 0 || strcmp(line, "yes\n") == 0))
        return EXIT_OK;
    return complain(EXIT_REFUSED, "not done");
}

int command_reboot(struct api *a)
{
    static const char body[] = "{\"action\": \"reboot\"}";
    struct reply r = {.body = NULL};
    int rc = confirm_reboot(a);

    if (rc != EXIT_OK)
        return rc;
    rc = api_call(a, "POST", "/v1/host/actions", body, sizeof(body) - 1, &r);
    if (rc == EXIT_OK && options_have(a->options, OPTION_JSON))
        rc = reply_print(&r);
    reply_clear(&r);
    return rc;
}
