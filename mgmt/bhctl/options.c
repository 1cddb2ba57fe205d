#include "mgmt/bhctl/options.h"

#include "mgmt/config/presets.h"
#include "mgmt/words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* An option that is not a field's. */
#define TOLD(name_, letter_, value_, help_)                                                        \
    {                                                                                              \
        .name = name_, .letter = letter_, .value = value_, .help = help_                           \
    }

static const struct option_spec specs[OPTIONS] = {
    [OPTION_HOST] =
        TOLD("host", 0, "A", "the appliance: a context (see contexts), or HOST[:PORT] over HTTPS"),
    [OPTION_URL] = TOLD(
        "url", 0, "URL",
        "the appliance (BULKHEAD_URL, or the current context; default https://127.0.0.1:8443)"),
    [OPTION_TOKEN] =
        TOLD("token", 0, "T", "the token (BULKHEAD_TOKEN keeps it off the command line)"),
    [OPTION_TOKEN_FILE] = TOLD("token-file", 0, "FILE", "the token is the first line of FILE"),
    [OPTION_CACERT] = TOLD("cacert", 0, "FILE", "trust the certificates in FILE (PEM)"),
    [OPTION_FINGERPRINT] =
        TOLD("fingerprint", 0, "SHA256",
             "trust the certificate with this fingerprint, see the console (BULKHEAD_FINGERPRINT)"),
    [OPTION_INSECURE] = TOLD("insecure", 'k', NULL, "trust every certificate"),
    [OPTION_JSON] = TOLD("json", 0, NULL, "print the API's JSON"),
    [OPTION_HELP] = TOLD("help", 'h', NULL, "show this help"),
    [OPTION_VERSION] = TOLD("version", 0, NULL, "show the version"),
    [OPTION_NAME] = TOLD("name", 0, "NAME", "its name: a-z, 0-9 and '-'"),
    [OPTION_MODULE] = TOLD("module", 0, "FILE", "a module; for Linux the initrd; at most 8"),
    [OPTION_MODULE_ARGS] = TOLD("module-args", 0, "TEXT", "arguments of the module before it"),
    [OPTION_IMAGE] =
        TOLD("image", 0, "IMAGE", "instead of FILE: an existing image, uploaded or on the ISO"),
    [OPTION_MODULE_IMAGE] =
        TOLD("module-image", 0, "IMAGE", "an existing image as a module, like --image"),
    [OPTION_DISK] = TOLD("disk", 0, "FILE", "a virtio disk with the file's contents; up to 4"),
    [OPTION_DISK_IMAGE] =
        TOLD("disk-image", 0, "IMAGE", "an existing image as a disk, like --image"),
    [OPTION_DISK_READONLY] =
        TOLD("disk-readonly", 0, NULL, "the guest cannot write the disk before it"),
    [OPTION_DISK_MB] =
        TOLD("disk-mb", 0, "N", "the size of the disk before it in MiB, if its file is smaller"),
    [OPTION_ROLE] = TOLD("role", 0, "ROLE", "read, operate or admin"),
    [OPTION_VCPU] = TOLD("vcpu", 0, "N", "of this vCPU, numbered from 0; by default 0"),
    [OPTION_FIELDS] =
        TOLD("fields", 0, "LIST", "only these, by name or encoding: GUEST_RIP,0x4002"),
    [OPTION_GROUP] = TOLD("group", 0, "G", "only control, read-only, guest or host"),
    [OPTION_ODDITIES] = TOLD("oddities", 0, NULL, "only fields with an unusual value"),
    [OPTION_NO_DECODE] = TOLD("no-decode", 0, NULL, "values without their meaning"),
    [OPTION_SNAPSHOT] = TOLD("snapshot", 0, "N", "a kept snapshot instead of the present state"),
    [OPTION_SNAPSHOTS] = TOLD("snapshots", 0, NULL, "list the kept snapshots"),
    [OPTION_KEEP] = TOLD("keep", 0, NULL, "take a snapshot, show it and keep it"),
    [OPTION_DIFF] = TOLD("diff", 0, "N", "what has changed since snapshot N"),
    [OPTION_TO] = TOLD("to", 0, "N", "with --diff: until snapshot N instead of now"),
    [OPTION_VOLATILE] = TOLD("volatile", 0, NULL, "with --diff: also what guest and CPU change"),
    [OPTION_CHECK] = TOLD("check", 0, NULL, "would it enter? the SDM's checks of a VM entry"),
    [OPTION_EXITS] = TOLD("exits", 0, NULL, "the last VM exits, and what causes most of them"),
    [OPTION_FORMAT] = TOLD("format", 0, "F", "text or json (as --json)"),
    [OPTION_FOLLOW] = TOLD("follow", 'f', NULL, "continue with new output until interrupted"),
    [OPTION_FROM] = TOLD("from", 0, "N", "from event N on"),
    [OPTION_NEW] = TOLD("new", 0, NULL, "without its earlier output"),
    [OPTION_QUIET] = TOLD("quiet", 0, "S",
                          "after a pipe's end: leave after S seconds without output; by default 2"),
    [OPTION_RAW] = TOLD("raw", 0, NULL, "its output unfiltered; by default only on a terminal"),
    [OPTION_FILTER] =
        TOLD("filter", 0, NULL, "its output as plain text; by default only into pipes and files"),
    [OPTION_COUNT] = TOLD("count", 'n', "N", "show N times, then end"),
    [OPTION_DELAY] = TOLD("delay", 'd', "S", "seconds between two tables, 1 to 3600; by default 2"),
    [OPTION_SORT] = TOLD("sort", 0, "BY", "cpu, exits, memory or name"),
    [OPTION_IMAGES] =
        TOLD("images", 0, NULL, "also delete the uploaded images that no other guest uses"),
    [OPTION_DELETE] = TOLD("delete", 0, "IMAGE", "delete an uploaded image instead"),
    [OPTION_YES] = TOLD("yes", 'y', NULL, "do not ask"),
    [OPTION_KEEP_GUEST] =
        TOLD("keep", 0, NULL, "stop the guest at the end, but keep it and its images"),
    [OPTION_PROMETHEUS] = TOLD("prometheus", 0, "FILE",
                               "write all of them to FILE as targets (file_sd); -: print them"),
    [OPTION_ALL] = TOLD("all", 'a', NULL, "all appliances that have a context"),
    [OPTION_PATIENCE] =
        TOLD("patience", 0, "S", "how long the appliance may give no answer; by default 30"),
    [OPTION_DETACH] = TOLD("detach", 0, NULL, "print its name once it has started, and leave it"),
#define GUEST(name, kind, least, most, preset, words, option, value, help, more)                   \
    [OPTION_GUEST_##                                                                               \
        name] = {option, 0, value, help, words, "/" #name, #kind, PRESET_##kind(preset)},
#define NET(name, kind, least, most, preset, words, option, value, help, more)                     \
    [OPTION_NET_##                                                                                 \
        name] = {option, 0, value, help, words, "/net/" #name, #kind, PRESET_##kind(preset)},
#include "hv/config_fields.def"
};

const struct option_spec *option_spec(enum option_id id)
{
    return &specs[id];
}

void option_help(enum option_id id, char *buf, size_t size)
{
    static const char off[] = "false: ";
    const struct option_spec *s = &specs[id];
    const char *help = s->help;
    size_t n;

    /* A switch's help describes its off state, and its option turns it off. */
    if (strncmp(help, off, strlen(off)) == 0)
        help += strlen(off);
    n = (size_t)snprintf(buf, size, "%s", help);
    for (size_t i = 0; s->words && s->words[i] && n < size; i++)
        n += (size_t)snprintf(buf + n, size - n, "%s%s", i ? "," : "; of ", s->words[i]);
    if (!s->kind || n >= size)
        return;
    if (strcmp(s->kind, "number") == 0)
        (void)snprintf(buf + n, size - n, "; by default %" PRId64, s->preset);
    else if (strcmp(s->kind, "memory") == 0)
        (void)snprintf(buf + n, size - n, "; by default %" PRId64 "M", s->preset >> 20);
    else if (strcmp(s->kind, "choice") == 0)
        (void)snprintf(buf + n, size - n, "; by default %s", s->words[s->preset]);
    else if (s->text && *s->text)
        (void)snprintf(buf + n, size - n, "; by default %s", s->text);
}

bool option_is_allowed(uint64_t allowed, enum option_id id)
{
    if (id == OPTION_FIELDS_OF_GUESTS || !specs[id].name)
        return false;
    return allowed &
           OPTION_BIT(id > OPTION_FIELDS_OF_GUESTS ? (unsigned)OPTION_FIELDS_OF_GUESTS : id);
}

/* The allowed option with this spelling, or OPTIONS. */
static enum option_id find(uint64_t allowed, const char *text, size_t n)
{
    for (unsigned i = 0; i < OPTIONS; i++) {
        const struct option_spec *s = &specs[i];

        if (!option_is_allowed(allowed, i))
            continue;
        if (text[1] != '-' && n == 2 && s->letter == text[1])
            return i;
        if (text[1] == '-' && strlen(s->name) == n - 2 && strncmp(s->name, text + 2, n - 2) == 0)
            return i;
    }
    return OPTIONS;
}

/* A module or a disk, by its file or as an image. */
static bool attach(struct attached_option *list, unsigned *count, unsigned most, const char *what,
                   struct attached_option given, char *why)
{
    if (*count == most) {
        (void)snprintf(why, OPTIONS_WHY_MAX, "a guest has at most %u %s", most, what);
        return false;
    }
    list[(*count)++] = given;
    return true;
}

static bool note_attached(struct options *o, enum option_id id, const char *value, char *why)
{
    const struct attached_option file = {.file = value}, image = {.image = value};
    bool of_disk = id == OPTION_DISK_READONLY || id == OPTION_DISK_MB;

    switch (id) {
    case OPTION_MODULE:
    case OPTION_MODULE_IMAGE:
        return attach(o->modules, &o->module_count, OPTIONS_MODULES_MAX, "modules",
                      id == OPTION_MODULE ? file : image, why);
    case OPTION_DISK:
    case OPTION_DISK_IMAGE:
        return attach(o->disks, &o->disk_count, OPTIONS_DISKS_MAX, "disks",
                      id == OPTION_DISK ? file : image, why);
    default:
        break;
    }
    if (of_disk ? !o->disk_count : !o->module_count) {
        (void)snprintf(why, OPTIONS_WHY_MAX, "--%s comes after its --%s or --%s-image",
                       specs[id].name, of_disk ? "disk" : "module", of_disk ? "disk" : "module");
        return false;
    }
    if (id == OPTION_MODULE_ARGS)
        o->modules[o->module_count - 1].args = value;
    else if (id == OPTION_DISK_MB)
        o->disks[o->disk_count - 1].mb = value;
    else
        o->disks[o->disk_count - 1].readonly = value;
    return true;
}

/* argv[*i] is an option; its value may be part of it or the next argument. */
static bool parse_option(struct options *o, int argc, char *const *argv, int *i, char *why)
{
    const char *given = argv[*i], *equals = given[1] == '-' ? strchr(given, '=') : NULL;
    const char *value = equals ? equals + 1 : NULL;
    size_t n = equals ? (size_t)(equals - given) : strlen(given);
    uint64_t global = OPTION_BIT(OPTIONS_GLOBAL) - 1;
    enum option_id id;

    /* "-n1" */
    if (given[1] != '-' && n > 2) {
        value = given + 2;
        n = 2;
    }
    id = find(global | (o->command ? o->command->options : 0), given, n);
    if (id == OPTIONS && !o->command) {
        (void)snprintf(why, OPTIONS_WHY_MAX, "there is no option %.*s before a command", (int)n,
                       given);
        return false;
    }
    if (id == OPTIONS) {
        (void)snprintf(why, OPTIONS_WHY_MAX, "%s has no option %.*s", o->command->name, (int)n,
                       given);
        return false;
    }
    if (!specs[id].value && value) {
        (void)snprintf(why, OPTIONS_WHY_MAX, "--%s takes no value", specs[id].name);
        return false;
    }
    if (specs[id].value && !value && *i + 1 == argc) {
        (void)snprintf(why, OPTIONS_WHY_MAX, "--%s needs a value", specs[id].name);
        return false;
    }
    if (specs[id].value && !value)
        value = argv[++*i];
    if (id < OPTION_FIELDS_OF_GUESTS)
        o->given |= OPTION_BIT(id);
    else if (!value)
        value = "";
    o->value[id] = value;
    if (id < OPTION_FIELDS_OF_GUESTS && (OPTIONS_ATTACHED & OPTION_BIT(id)))
        return note_attached(o, id, value ? value : "", why);
    return true;
}

static const struct command_spec *find_command(const struct command_spec *commands, unsigned count,
                                               const char *name)
{
    for (unsigned i = 0; i < count; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* What other tools call our commands. */
static const struct {
    const char *theirs, *ours;
} habits[] = {
    {"ps", "guests"},          {"ls", "guests"},
    {"list", "guests"},        {"rm", "delete"},
    {"remove", "delete"},      {"destroy", "delete"},
    {"undefine", "delete"},    {"create", "deploy"},
    {"define", "deploy"},      {"shutdown", "stop"},
    {"kill", "stop"},          {"poweroff", "stop"},
    {"restart", "reset"},      {"suspend", "pause"},
    {"unpause", "resume"},     {"attach", "console"},
    {"logs", "console"},       {"terminal", "console"},
    {"exec", "run"},           {"inspect", "status"},
    {"show", "status"},        {"dominfo", "status"},
    {"stats", "top"},          {"info", "host"},
    {"version", "--version"},  {"upload", "deploy"},
    {"dmesg", "log"},          {"rmi", "images --delete"},
    {"login", "contexts add"}, {"help", "--help"},
};

/* What may have been meant by a word that is no command; or NULL. */
static const char *meant(const struct command_spec *commands, unsigned count, const char *text)
{
    size_t n = strlen(text);

    for (unsigned i = 0; i < ARRAY_LEN(habits); i++)
        if (strcmp(habits[i].theirs, text) == 0)
            return habits[i].ours;
    for (unsigned i = 0; i < count && n > 2; i++) {
        size_t length = strlen(commands[i].name);

        if (strncmp(commands[i].name, text, n < length ? n : length) == 0)
            return commands[i].name;
    }
    return NULL;
}

static bool parse_argument(struct options *o, const struct command_spec *commands, unsigned count,
                           const char *text, char *why)
{
    if (!o->command) {
        o->command = find_command(commands, count, text);
        if (!o->command) {
            const char *ours = meant(commands, count, text);

            (void)snprintf(why, OPTIONS_WHY_MAX, "there is no command \"%s\"%s%s%s", text,
                           ours ? "; did you mean \"bhctl " : "", ours ? ours : "",
                           ours ? "\"?" : "");
        }
        return o->command != NULL;
    }
    if (o->arg_count == o->command->most) {
        (void)snprintf(why, OPTIONS_WHY_MAX, "\"%s\" is one argument too many", text);
        return false;
    }
    o->arg[o->arg_count++] = text;
    return true;
}

bool options_parse(struct options *o, const struct command_spec *commands, unsigned count, int argc,
                   char *const *argv, char why[OPTIONS_WHY_MAX])
{
    bool ended = false;

    *o = (struct options){.command = NULL};
    for (int i = 1; i < argc; i++) {
        if (!ended && strcmp(argv[i], "--") == 0) {
            ended = true;
            if (o->command && options_take_line(o->command)) {
                o->line = argv + i + 1;
                o->line_count = (unsigned)(argc - i - 1);
                break;
            }
        } else if (!ended && argv[i][0] == '-' && argv[i][1]) {
            if (!parse_option(o, argc, argv, &i, why))
                return false;
        } else if (!parse_argument(o, commands, count, argv[i], why)) {
            return false;
        }
    }
    if (options_have(o, OPTION_HELP) || options_have(o, OPTION_VERSION))
        return true;
    if (!o->command) {
        (void)snprintf(why, OPTIONS_WHY_MAX, "a command is missing");
        return false;
    }
    if (o->arg_count < o->command->least) {
        (void)snprintf(why, OPTIONS_WHY_MAX, "%s needs %s", o->command->name, o->command->args);
        return false;
    }
    return true;
}

bool options_number(const char *text, uint64_t min, uint64_t max, uint64_t *v)
{
    *v = 0;
    if (!*text)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(*v, 10u, v) ||
            __builtin_add_overflow(*v, (uint64_t)(*text - '0'), v))
            return false;
    }
    return *v >= min && *v <= max;
}

void options_usage(const struct command_spec *k, char *buf, size_t size)
{
    (void)snprintf(buf, size, "bhctl %s [OPTION...]%s%s", k->name, *k->args ? " " : "", k->args);
}
