/*
 * vmcsdump: explains saved VMCSs and single values without an appliance, with the appliance's own
 * pure code.
 */
#include "mgmt/tools/vmcsdump.h"

#include "hv/lib.h"
#include "third_party.h"
#include "version.h"

#include <stdio.h>

enum option {
    OPTION_GROUP = 1u << 0,
    OPTION_FIELDS = 1u << 1,
    OPTION_ODDITIES = 1u << 2,
    OPTION_NO_DECODE = 1u << 3,
    OPTION_VOLATILE = 1u << 4,
    OPTION_CORE = 1u << 5,
    OPTION_EXIT = 1u << 6,
    OPTIONS_DUMP = OPTION_GROUP | OPTION_FIELDS | OPTION_ODDITIES | OPTION_NO_DECODE,
};

static const struct option_name {
    const char *name;
    bool has_value;
    unsigned option;
} options[] = {
    {"--group", true, OPTION_GROUP},        {"--fields", true, OPTION_FIELDS},
    {"--oddities", false, OPTION_ODDITIES}, {"--no-decode", false, OPTION_NO_DECODE},
    {"--volatile", false, OPTION_VOLATILE}, {"--core", true, OPTION_CORE},
    {"--exit", true, OPTION_EXIT},
};

static const struct command {
    const char *name, *usage;
    int (*run)(const struct arguments *a);
    unsigned least, most, options;
} commands[] = {
    {"dump", "FILE [--group G] [--fields A,B] [--oddities] [--no-decode]", command_dump, 1, 1,
     OPTIONS_DUMP},
    {"diff", "FILE FILE [--volatile]", command_diff, 2, 2, OPTION_VOLATILE},
    {"raw", "PAGE LAYOUT [--group G] [--fields A,B] [--oddities] [--no-decode]", command_raw, 2, 2,
     OPTIONS_DUMP},
    {"vmcb", "PAGE [--group G] [--fields A,B] [--oddities] [--no-decode]", command_vmcb, 1, 1,
     OPTIONS_DUMP},
    {"check", "FILE [CAPABILITIES [--core N]]", command_check, 1, 2, OPTION_CORE},
    {"field", "ENCODING|NAME VALUE [--exit REASON]", command_field, 2, 2, OPTION_EXIT},
    {"exit", "REASON [QUALIFICATION]", command_exit, 1, 2, 0},
    {"msr", "MSR VALUE", command_msr, 2, 2, 0},
};

static int help(void)
{
    puts("usage: vmcsdump COMMAND ...");
    for (unsigned i = 0; i < ARRAY_LEN(commands); i++)
        printf("  vmcsdump %s %s\n", commands[i].name, commands[i].usage);
    puts("\n"
         "Explains Intel's VMCS and AMD's VMCB on any computer, without the appliance:\n"
         "  dump   a saved answer of GET /v1/guests/NAME/vcpus/N/vmcs?decode=1, or vmcb, or a\n"
         "         snapshot; without decode=1 there, why bits are what they are, and the bitmaps, "
         "are\n"
         "         not in the file\n"
         "  diff   what differs between two of them, of what only a set-up changes; with\n"
         "         --volatile, of everything\n"
         "  raw    a VMCS region of 4096 bytes, with a saved answer of GET /v1/vmx/layout from\n"
         "         the same CPU model\n"
         "  vmcb   a VMCB of 4096 bytes as it lies in memory: its layout is the same on all CPUs\n"
         "  check  which checks of a VM entry it would fail, on the CPU of a saved answer of\n"
         "         GET /v1/vmx/capabilities; without one, on every CPU\n"
         "  field  each bit of a field's value: vmcsdump field 0x4002 0xb5a06dfa\n"
         "  exit   an exit reason, by number or name, and its exit qualification\n"
         "  msr    a capability MSR, by number or name\n"
         "\n"
         "FILE may be - for standard input. --group is control, read-only, guest or host;\n"
         "--oddities shows the fields with an unusual value; numbers are\n"
         "decimal, or hexadecimal with 0x.\n"
         "Exit status: 0 all well, 1 something differs or fails a check, 2 wrong usage or input.");
    return EXIT_OK;
}

static int wrong_usage(const struct command *k)
{
    return complain("usage: vmcsdump %s %s", k->name, k->usage);
}

static int set_option(struct arguments *a, unsigned option, const char *value)
{
    const char *bad;
    uint64_t number;
    size_t n;

    switch (option) {
    case OPTION_GROUP:
        return dump_choose_group(&a->dump, value)
                   ? EXIT_OK
                   : complain("--group: \"%s\" must be control, read-only, guest or host", value);
    case OPTION_FIELDS:
        a->fields = value;
        if (dump_choose_fields(&(struct dump_options){.table = &state_vmcb}, value, &bad, &n) ||
            dump_choose_fields(&(struct dump_options){.table = &state_vmcs}, value, &bad, &n))
            return EXIT_OK;
        return complain("--fields: \"%.*s\" is neither a field's name nor its encoding", (int)n,
                        bad);
    case OPTION_ODDITIES:
        a->dump.oddities = true;
        return EXIT_OK;
    case OPTION_NO_DECODE:
        a->dump.decode = false;
        return EXIT_OK;
    case OPTION_VOLATILE:
        a->all = true;
        return EXIT_OK;
    case OPTION_CORE:
        if (!parse_number(value, 16, &number))
            return complain("--core: \"%s\" is not the number of a core", value);
        a->core = (unsigned)number;
        return EXIT_OK;
    default:
        return parse_number(value, 32, &a->exit_reason)
                   ? EXIT_OK
                   : complain("--exit: \"%s\" is not the number of an exit reason", value);
    }
}

/* argv[*i] is an option; its value may be part of it or the next argument. */
static int parse_option(struct arguments *a, const struct command *k, char **argv, int *i)
{
    const char *given = argv[*i], *equals = strchr(given, '=');
    size_t n = equals ? (size_t)(equals - given) : strlen(given);

    for (unsigned o = 0; o < ARRAY_LEN(options); o++) {
        const struct option_name *p = &options[o];
        const char *value = equals ? equals + 1 : NULL;

        if (!(k->options & p->option) || strlen(p->name) != n || strncmp(p->name, given, n) != 0)
            continue;
        if (p->has_value != !!value && (!p->has_value || !argv[*i + 1])) {
            (void)complain("%s %s", p->name, p->has_value ? "needs a value" : "takes no value");
            return wrong_usage(k);
        }
        if (p->has_value && !value)
            value = argv[++*i];
        return set_option(a, p->option, value);
    }
    (void)complain("%s: there is no option %.*s", k->name, (int)n, given);
    return wrong_usage(k);
}

static int run(const struct command *k, char **argv)
{
    struct arguments a = {
        .command = k->name, .dump = {.decode = true, .group = -1}, .exit_reason = UINT64_MAX};
    unsigned standard = 0;

    for (int i = 0; argv[i]; i++) {
        if (argv[i][0] == '-' && argv[i][1]) {
            if (strcmp(argv[i], "--help") == 0)
                return help();
            if (parse_option(&a, k, argv, &i))
                return EXIT_WRONG;
            continue;
        }
        if (a.count == k->most) {
            (void)complain("%s: \"%s\" is one argument too many", k->name, argv[i]);
            return wrong_usage(k);
        }
        standard += strcmp(argv[i], "-") == 0;
        a.arg[a.count++] = argv[i];
    }
    if (a.count < k->least) {
        (void)complain("%s: an argument is missing", k->name);
        return wrong_usage(k);
    }
    if (standard > 1)
        return complain("%s: only one file can be standard input", k->name);
    return k->run(&a);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)complain("a command is missing; vmcsdump --help lists them");
        return EXIT_WRONG;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)
        return help();
    if (strcmp(argv[1], "--version") == 0) {
        printf("vmcsdump %s (%s)\n%s", BULKHEAD_VERSION, BULKHEAD_BUILD_ID, THIRD_PARTY_TEXT);
        return EXIT_OK;
    }
    for (unsigned i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return run(&commands[i], argv + 2);
    return complain("there is no command \"%s\"; vmcsdump --help lists them", argv[1]);
}
