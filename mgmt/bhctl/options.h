/* Parses bhctl's command line. Pure. */
#pragma once

#include "hv/types.h"

#define OPTIONS_ARGS_MAX    2u
#define OPTIONS_MODULES_MAX 8u
#define OPTIONS_DISKS_MAX   4u
#define OPTIONS_WHY_MAX     200u

enum option_id {
    /* for all commands */
    OPTION_HOST,
    OPTION_URL,
    OPTION_TOKEN,
    OPTION_TOKEN_FILE,
    OPTION_CACERT,
    OPTION_FINGERPRINT,
    OPTION_INSECURE,
    OPTION_JSON,
    OPTION_HELP,
    OPTION_VERSION,
    OPTIONS_GLOBAL, /* how many there are */
    /* deploy, hash-token */
    OPTION_NAME = OPTIONS_GLOBAL,
    OPTION_MODULE,
    OPTION_MODULE_ARGS,
    OPTION_IMAGE,
    OPTION_MODULE_IMAGE,
    OPTION_DISK,
    OPTION_DISK_IMAGE,
    OPTION_DISK_READONLY,
    OPTION_DISK_MB,
    OPTION_ROLE,
    /* vmcs */
    OPTION_VCPU,
    OPTION_FIELDS,
    OPTION_GROUP,
    OPTION_ODDITIES,
    OPTION_NO_DECODE,
    OPTION_SNAPSHOT,
    OPTION_SNAPSHOTS,
    OPTION_KEEP,
    OPTION_DIFF,
    OPTION_TO,
    OPTION_VOLATILE,
    OPTION_CHECK,
    OPTION_EXITS,
    OPTION_FORMAT,
    /* others */
    OPTION_FOLLOW,
    OPTION_FROM,
    OPTION_NEW,
    OPTION_QUIET,
    OPTION_RAW,
    OPTION_FILTER,
    OPTION_COUNT,
    OPTION_DELAY,
    OPTION_SORT,
    OPTION_IMAGES,
    OPTION_DELETE,
    OPTION_YES,
    OPTION_KEEP_GUEST,
    OPTION_DETACH,
    OPTION_PATIENCE,
    OPTION_PROMETHEUS,
    OPTION_ALL,
    OPTION_LINE,             /* no option: what follows "--" is a command line */
    OPTION_FIELDS_OF_GUESTS, /* stands for all that follow, which are allowed together */
/* The fields of a guest's entry: rows of hv/config_fields.def, including those without an option.
 */
#define GUEST(name, ...) OPTION_GUEST_##name,
#define NET(name, ...)   OPTION_NET_##name,
#include "hv/config_fields.def"
    OPTIONS
};

#define OPTION_BIT(o) (1ull << (o))
_Static_assert(OPTION_FIELDS_OF_GUESTS < 64, "a bit each");

/* Those for modules and disks, which may be repeated. */
#define OPTIONS_ATTACHED                                                                           \
    (OPTION_BIT(OPTION_MODULE) | OPTION_BIT(OPTION_MODULE_IMAGE) |                                 \
     OPTION_BIT(OPTION_MODULE_ARGS) | OPTION_BIT(OPTION_DISK) | OPTION_BIT(OPTION_DISK_IMAGE) |    \
     OPTION_BIT(OPTION_DISK_READONLY) | OPTION_BIT(OPTION_DISK_MB))

struct option_spec {
    const char *name;  /* without "--"; NULL: there is no such option */
    char letter;       /* of the short form, or 0 */
    const char *value; /* its name in --help; NULL: the option takes no value */
    const char *help;
    const char *const *words; /* its values, if they are fixed words; or NULL */
    const char *pointer;      /* for a field: its place in a guest's entry; else NULL */
    const char *kind;         /* for a field: see hv/config_fields.def; else NULL */
    int64_t preset;           /* for a field that is a number or one of `words`: its default */
    const char *text;         /* for a field that is a text: the same */
};

struct command_spec {
    const char *name;
    const char *args; /* for the usage line: "NAME", or "" */
    unsigned least, most;
    uint64_t options; /* OPTION_BIT()s, besides those for all commands */
    const char *summary;
    const char *help; /* more sentences, or NULL */
};

/* A module or a disk: one of `file` and `image` is NULL, and so may be the others. */
struct attached_option {
    const char *file, *image;
    const char *args;          /* a module's */
    const char *readonly, *mb; /* a disk's */
};

/* Points into argv. */
struct options {
    const struct command_spec *command; /* NULL: none was given */
    uint64_t given;
    /* The last value, if an option is repeated. A field's option without a value has "". */
    const char *value[OPTIONS];
    const char *arg[OPTIONS_ARGS_MAX];
    unsigned arg_count;
    char *const *line; /* the words after "--", with OPTION_LINE */
    unsigned line_count;
    struct attached_option modules[OPTIONS_MODULES_MAX], disks[OPTIONS_DISKS_MAX];
    unsigned module_count, disk_count;
};

/* Does a command line follow "--"? */
static inline bool options_take_line(const struct command_spec *k)
{
    return k->options & OPTION_BIT(OPTION_LINE);
}

static inline bool options_have(const struct options *o, enum option_id id)
{
    return o->value[id] || (id < OPTION_FIELDS_OF_GUESTS && (o->given & OPTION_BIT(id)));
}

/* Writes the option's help, with its values and its default. */
void option_help(enum option_id id, char *buf, size_t size);

/* Does this option exist, and is it in `allowed`? */
bool option_is_allowed(uint64_t allowed, enum option_id id);
const struct option_spec *option_spec(enum option_id id);

/* Parses argv[1..argc). Options may stand before and after the command, "--" ends them. False:
 * `why` says what is wrong; o->command is set if it was already known. With --help or --version
 * nothing is required. */
bool options_parse(struct options *o, const struct command_spec *commands, unsigned count, int argc,
                   char *const *argv, char why[OPTIONS_WHY_MAX]) MUST_CHECK;

/* A whole number in min..max, decimal. */
bool options_number(const char *text, uint64_t min, uint64_t max, uint64_t *v) MUST_CHECK;

/* The usage line of a command: "bhctl status [OPTION...] NAME". */
void options_usage(const struct command_spec *k, char *buf, size_t size);
