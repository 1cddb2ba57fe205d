/* bhctl: the command line for Bulkhead's management API. */
#include "mgmt/bhctl/bhctl.h"

#include "third_party.h"
#include "version.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define B(o) OPTION_BIT(OPTION_##o)

#define OPTIONS_OF_STATE                                                                           \
    (B(VCPU) | B(FIELDS) | B(GROUP) | B(ODDITIES) | B(NO_DECODE) | B(SNAPSHOT) | B(SNAPSHOTS) |    \
     B(KEEP) | B(DIFF) | B(TO) | B(VOLATILE) | B(CHECK) | B(EXITS) | B(FORMAT))

static const struct command_spec commands[] = {
    {"guests", "", 0, 0, 0, "all guests", NULL},
    {"status", "[NAME]", 0, 1, 0, "a guest's state, configuration and exits",
     "Without a name: the overview, which is the machine and all guests."},
    {"deploy", "[FILE]", 0, 1, B(NAME) | B(IMAGE) | OPTIONS_ATTACHED | B(FIELDS_OF_GUESTS),
     "upload an image and start a guest from it",
     "Without --name the guest is named after the file: rtos for build/rtos.elf.\n"
     "FILE, modules and disks are uploaded as images named after the guest and the file; if the "
     "guest\n"
     "is refused, they are deleted again. With --image, --module-image and --disk-image nothing "
     "is\n"
     "uploaded: \"bhctl images\" lists what exists. The image is a Linux bzImage, a multiboot "
     "image, an\n"
     "ELF with a PVH note or, with --kind flat, a flat binary."},
    {"run", "[IMAGE] [-- COMMAND LINE]", 0, 1,
     B(NAME) | B(IMAGE) | B(KEEP_GUEST) | B(PATIENCE) | B(DETACH) | B(RAW) | B(FILTER) | B(LINE) |
         OPTIONS_ATTACHED | B(FIELDS_OF_GUESTS),
     "run a guest like a program",
     "IMAGE is a file, or else an image on the appliance. The guest's console goes to standard\n"
     "output and standard input to its console. At its end, and on a signal, the guest and the\n"
     "images that it brought are deleted.\n"
     "Exit status: the low 8 bits of the guest's exit code; 125 the appliance refused, or gave no\n"
     "answer for long; 126 the guest crashed; 127 there is no such image; 128 and a "
     "signal's\n"
     "number after that signal; 2 wrong usage."},
    {"delete", "NAME", 1, 1, B(IMAGES), "delete a guest, running or not",
     "Returns once its memory is scrubbed and freed."},
    {"start", "NAME", 1, 1, 0, "start a guest that has stopped", NULL},
    {"stop", "NAME", 1, 1, 0, "stop a guest", NULL},
    {"pause", "NAME", 1, 1, 0, "pause a guest", NULL},
    {"resume", "NAME", 1, 1, 0, "resume a paused guest", NULL},
    {"reset", "NAME", 1, 1, 0, "restart a guest", NULL},
    {"nmi", "NAME", 1, 1, 0, "send a guest an NMI", NULL},
    {"console", "NAME", 1, 1, B(NEW) | B(QUIET) | B(RAW) | B(FILTER), "a guest's console",
     "On a terminal: its output, and keys go to it; Ctrl-] leaves. Input from a pipe or a file is\n"
     "typed, a newline as Return. With --json: its output so far, once.\n"
     "A guest can control the terminal that shows its output. A pipe or a file, and --filter, get\n"
     "plain text: no control characters, no escape sequences."},
    {"images", "", 0, 0, B(DELETE), "images that guests can be made from", NULL},
    {"vmcs", "NAME", 1, 1, OPTIONS_OF_STATE, "the VMCS of a guest, explained",
     "Its present state, or with --snapshot a kept one. On AMD processors: vmcb."},
    {"vmcb", "NAME", 1, 1, OPTIONS_OF_STATE, "the same on AMD: the VMCB of a guest",
     "Its present state, or with --snapshot a kept one. On Intel processors: vmcs."},
    {"dump", "NAME FILE", 2, 2, 0, "a guest's memory and registers, for gdb",
     "Of a guest that has ended or is paused, and was made with --memory-dump. FILE is an ELF "
     "core\n"
     "file with a thread for each vCPU and the guest's virtual addresses, by the page tables of "
     "the\n"
     "first. Needs the role admin."},
    {"compare", "", 0, 0, B(FORMAT), "the VMCS beside the VMCB",
     "Which field of one holds what a field of the other holds, and how they differ. The same on\n"
     "every machine."},
    {"top", "", 0, 0, B(COUNT) | B(DELAY) | B(SORT) | B(ALL), "guests by load, live",
     "Keys: c, e, m, n sort by CPU, exits, memory, name; q leaves. Without a terminal it is shown\n"
     "once, or N times with -n N. Each table covers the time since the one before; the first\n"
     "appears after one delay. --host A,B or --all shows several appliances in one table."},
    {"events", "", 0, 0, B(FOLLOW) | B(FROM), "what happened to guests",
     "With --follow and --json one object per line."},
    {"log", "", 0, 0, B(FOLLOW), "the hypervisor's log",
     "With --follow and --json one object per line: seconds since power-on, core, text."},
    {"config", "", 0, 0, 0, "a guests.json for the present state", "Needs the role admin."},
    {"host", "", 0, 0, 0, "the machine: cores, memory, network", NULL},
    {"reboot", "", 0, 0, B(YES), "reset the machine",
     "For guests and uploaded images this is a power cut: asks first, unless --yes is given.\n"
     "Needs the role admin. Returns once the appliance has accepted it, a second before the "
     "reset."},
    {"contexts", "[list|add NAME|use NAME|remove NAME]", 0, 2, B(PROMETHEUS),
     "appliances by name, for --host",
     "add takes --url, --token or --token-file, and --fingerprint or --cacert; the first context "
     "is\n"
     "also the current one, which counts without --host, --url and BULKHEAD_URL. use chooses\n"
     "another. They are kept in ~/.config/bulkhead/contexts.json, which only you may read."},
    {"hash-token", "", 0, 0, B(NAME) | B(ROLE), "make a token, and its entry for guests.json",
     "Contacts no appliance. Needs --name and --role. The token itself is shown once and never\n"
     "stored."},
};

static int (*const run[ARRAY_LEN(commands)])(struct api *a) = {
    command_guests, command_status,  command_deploy, command_run,      command_delete,
    command_action, command_action,  command_action, command_action,   command_action,
    command_action, command_console, command_images, command_vmcs,     command_vmcs,
    command_dump,   command_compare, command_top,    command_events,   command_log,
    command_config, command_host,    command_reboot, command_contexts, command_hash_token,
};

#define HELP_INDENT  30
#define HELP_WIDTH   100
#define HELP_COMMAND 18

/* Wraps text, with indented continuation lines. */
static void print_wrapped(const char *text)
{
    size_t left = HELP_WIDTH - HELP_INDENT;

    while (strlen(text) > left) {
        size_t n = left;

        while (n && text[n] != ' ')
            n--;
        if (n == 0)
            break;
        printf("%.*s\n%*s", (int)n, text, HELP_INDENT, "");
        text += n + 1;
    }
    puts(text);
}

static void print_option(enum option_id id)
{
    const struct option_spec *s = option_spec(id);
    char left[40], letter[8] = "    ", text[300];

    if (s->letter)
        (void)snprintf(letter, sizeof(letter), "-%c, ", s->letter);
    (void)snprintf(left, sizeof(left), "%s--%s%s%s", letter, s->name, s->value ? " " : "",
                   s->value ? s->value : "");
    printf("  %-27s ", left);
    option_help(id, text, sizeof(text));
    print_wrapped(text);
}

static int help_all(void)
{
    puts("usage: bhctl [OPTION...] COMMAND ...\n"
         "Manages a Bulkhead appliance and its guests.\n");
    for (unsigned i = 0; i < ARRAY_LEN(commands); i++) {
        char left[40];
        int n = snprintf(left, sizeof(left), "%s %s", commands[i].name, commands[i].args);

        /* Arguments that have no room here are in the command's own help. */
        if (n > HELP_COMMAND)
            (void)snprintf(left, sizeof(left), "%s ...", commands[i].name);
        printf("  %-*s %s\n", HELP_COMMAND, left, commands[i].summary);
    }
    puts("\nOptions for all commands, before or after them:");
    for (unsigned i = 0; i < OPTIONS_GLOBAL; i++)
        print_option(i);
    puts("\n\"bhctl COMMAND --help\" explains a command.\n"
         "Exit status: 0 success; 1 the appliance refused; 2 wrong usage, or a local file;\n"
         "3 the appliance cannot be reached or trusted; 4 the token does not allow it.");
    return say_end();
}

static int help_command(const struct command_spec *k)
{
    char usage[120];

    options_usage(k, usage, sizeof(usage));
    printf("usage: %s\n%s\n", usage, k->summary);
    if (k->help)
        puts(k->help);
    if (k->options)
        puts("");
    for (unsigned i = OPTIONS_GLOBAL; i < OPTIONS; i++)
        if (option_is_allowed(k->options, i))
            print_option(i);
    puts("\n\"bhctl --help\" lists the options of all commands.");
    return say_end();
}

static int wrong_usage(const struct options *o, const char *why)
{
    char usage[120];

    (void)complain(EXIT_USAGE, "%s", why);
    if (!o->command) {
        (void)fputs("\"bhctl --help\" lists commands and options.\n", stderr);
        return EXIT_USAGE;
    }
    options_usage(o->command, usage, sizeof(usage));
    (void)fprintf(stderr, "usage: %s\n\"bhctl %s --help\" explains it.\n", usage, o->command->name);
    return EXIT_USAGE;
}

static int command(const struct options *o)
{
    struct api a = {.options = o};
    int rc;

    if (options_have(o, OPTION_HELP))
        return o->command ? help_command(o->command) : help_all();
    if (options_have(o, OPTION_VERSION)) {
        printf("bhctl %s (%s)\n%s", BULKHEAD_VERSION, BULKHEAD_BUILD_ID, THIRD_PARTY_TEXT);
        return say_end();
    }
    if (run[o->command - commands] == command_hash_token ||
        run[o->command - commands] == command_contexts || run[o->command - commands] == command_top)
        return run[o->command - commands](&a);
    rc = api_open(&a, o);
    if (rc == EXIT_OK)
        rc = run[o->command - commands](&a);
    api_close(&a);
    return rc;
}

int main(int argc, char **argv)
{
    struct options o;
    char why[OPTIONS_WHY_MAX];
    int rc;

    /* Terminals get output at once, pipes after each line. */
    (void)setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    /* A missing reader is noticed at each write instead: libcurl masks the signal only during a
     * transfer. */
    (void)signal(SIGPIPE, SIG_IGN);
    if (!options_parse(&o, commands, ARRAY_LEN(commands), argc, argv, why))
        return wrong_usage(&o, why);
    rc = command(&o);
    return rc == EXIT_ENOUGH ? EXIT_OK : rc;
}
