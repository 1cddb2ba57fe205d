/* Shared by the files of the host command vmcsdump only. */
#pragma once

#include "mgmt/json.h"
#include "mgmt/tools/reader.h"

enum { EXIT_OK, EXIT_DIFFERS, EXIT_WRONG }; /* the command's exit status */

#define ARGUMENTS_MAX 2u

/* The parsed command line. */
struct arguments {
    const char *command;
    const char *arg[ARGUMENTS_MAX];
    unsigned count;
    struct dump_options dump;
    const char *fields; /* --fields, or NULL */
    bool all;           /* --volatile */
    unsigned core;
    uint64_t exit_reason; /* --exit; UINT64_MAX: not given */
};

/* A file that was read. */
struct input {
    const char *name; /* for messages */
    char *text;
    size_t length;
    struct json json; /* after input_json() */
};

/* The kinds of files; a complaint says how to get one of this kind. */
enum input_kind { INPUT_VMCS, INPUT_LAYOUT, INPUT_CAPABILITIES, INPUT_PAGE };

/* All print what is wrong and return EXIT_WRONG. */
int complain(const char *format, ...) PRINTF(1, 2);
int complain_place(const struct input *in, const struct reader_error *e, enum input_kind kind);
int complain_kind(const struct input *in, enum input_kind kind, const char *format, ...)
    PRINTF(3, 4);

/* Reads the file (standard input for "-") into place `n` (below ARGUMENTS_MAX). EXIT_OK, or it has
 * complained. */
int input_read(struct input *in, unsigned n, const char *path) MUST_CHECK;
/* The same, and parses it. */
int input_json(struct input *in, unsigned n, const char *path, enum input_kind kind) MUST_CHECK;

/* Begins the text that the command prints. */
struct json_out *output_begin(void);
/* Prints it. EXIT_OK, or it has complained. */
int output_end(struct json_out *j) MUST_CHECK;

/* The members of a saved answer, as the API's text shows them, without "fields" and "bitmaps", and
 * perhaps without "registers". */
void output_heading(struct json_out *j, const struct json *from, bool registers);

/* Parses "0x1f" or "31", at most `bits` bits. False: it is not such a number. */
bool parse_number(const char *s, unsigned bits, uint64_t *v);

/* The commands; each returns the exit status. */
int command_dump(const struct arguments *a);
int command_diff(const struct arguments *a);
int command_raw(const struct arguments *a);
int command_vmcb(const struct arguments *a);
int command_check(const struct arguments *a);
int command_field(const struct arguments *a);
int command_exit(const struct arguments *a);
int command_msr(const struct arguments *a);
