/* vmcsdump's input, output and complaints. */
#include "mgmt/tools/vmcsdump.h"

#include "hv/lib.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define OUTPUT_BYTES (16u << 20)

/* ---- complaints ---- */

int complain(const char *format, ...)
{
    va_list ap;

    (void)fputs("vmcsdump: ", stderr);
    va_start(ap, format);
    (void)vfprintf(stderr, format, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
    return EXIT_WRONG;
}

#define SAVE(what, path)                                                                           \
    "save " what " with: curl -k -H \"Authorization: Bearer TOKEN\" -o FILE "                      \
    "'https://ADDRESS/v1/" path "'"

static int advise(enum input_kind kind)
{
    static const char *const advice[] = {
        [INPUT_VMCS] = SAVE("a VMCS", "guests/NAME/vcpus/N/vmcs?decode=1"),
        [INPUT_LAYOUT] = SAVE("a layout", "vmx/layout"),
        [INPUT_CAPABILITIES] = SAVE("capabilities", "vmx/capabilities"),
        [INPUT_PAGE] = "a raw VMCS region is needed, as it lies in memory: 4096 bytes",
    };

    return complain("%s", advice[kind]);
}

int complain_place(const struct input *in, const struct reader_error *e, enum input_kind kind)
{
    (void)fprintf(stderr, "%s:%u:%u: %s\n", in->name, e->line, e->column, e->text);
    return advise(kind);
}

int complain_kind(const struct input *in, enum input_kind kind, const char *format, ...)
{
    va_list ap;

    (void)fprintf(stderr, "%s: ", in->name);
    va_start(ap, format);
    (void)vfprintf(stderr, format, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
    return advise(kind);
}

/* ---- input ---- */

int input_read(struct input *in, unsigned n, const char *path)
{
    static char texts[ARGUMENTS_MAX][READER_BYTES + 1];
    bool standard = strcmp(path, "-") == 0;
    FILE *f = standard ? stdin : fopen(path, "rb");
    int error;

    in->name = standard ? "standard input" : path;
    in->text = texts[n];
    if (!f)
        return complain("%s: %s", in->name, strerror(errno));
    errno = 0;
    in->length = fread(in->text, 1, READER_BYTES + 1, f);
    error = ferror(f) ? errno : 0;
    if (!standard)
        (void)fclose(f);
    if (error)
        return complain("%s: %s", in->name, strerror(error));
    if (in->length > READER_BYTES)
        return complain("%s: is larger than %u bytes: no answer of the API is", in->name,
                        READER_BYTES);
    return EXIT_OK;
}

int input_json(struct input *in, unsigned n, const char *path, enum input_kind kind)
{
    static jsmntok_t tokens[ARGUMENTS_MAX][READER_TOKENS];
    struct reader_error e;

    if (input_read(in, n, path))
        return EXIT_WRONG;
    if (reader_json(&in->json, in->text, in->length, tokens[n], READER_TOKENS, &e))
        return complain_place(in, &e, kind);
    return EXIT_OK;
}

bool parse_number(const char *s, unsigned bits, uint64_t *v)
{
    bool hexadecimal = s[0] == '0' && (s[1] | 0x20) == 'x';
    uint64_t base = hexadecimal ? 16 : 10;

    *v = 0;
    s += hexadecimal ? 2 : 0;
    if (!*s)
        return false;
    for (; *s; s++) {
        bool digit = *s >= '0' && *s <= '9';
        char c = (char)(*s | 0x20);
        uint64_t d = (uint64_t)(digit ? *s - '0' : c - 'a' + 10);

        if (!digit && (!hexadecimal || c < 'a' || c > 'f'))
            return false;
        if (__builtin_mul_overflow(*v, base, v) || __builtin_add_overflow(*v, d, v))
            return false;
    }
    return bits >= 64 || *v >> bits == 0;
}

/* ---- output ---- */

struct json_out *output_begin(void)
{
    static char buf[OUTPUT_BYTES];
    static struct json_out j;

    json_begin(&j, buf, sizeof(buf), true);
    json_object(&j, NULL);
    return &j;
}

int output_end(struct json_out *j)
{
    size_t lead = 0;

    json_end(j);
    if (j->overflow)
        return complain("the output exceeds %u bytes", OUTPUT_BYTES);
    /* Lists begin with an empty line, to separate them from a heading. */
    while (lead < j->len && j->buf[lead] == '\n')
        lead++;
    (void)fwrite(j->buf + lead, 1, j->len - lead, stdout);
    if (fflush(stdout) || ferror(stdout))
        return complain("standard output: %s", strerror(errno));
    return EXIT_OK;
}

static void put_any(struct json_out *j, const char *name, const struct json *from, int t);

/* Without what the heading leaves out. */
static void put_members(struct json_out *j, const struct json *from, int object, bool registers)
{
    int t = object + 1;

    for (int i = 0; i < from->tokens[object].size; i++) {
        char name[64];

        reader_show(from, t, name, sizeof(name));
        if (j->depth > 1 || (!json_is(from, t, "fields") && !json_is(from, t, "bitmaps") &&
                             (registers || !json_is(from, t, "registers"))))
            put_any(j, name, from, t + 1);
        t = json_skip(from, t + 1);
    }
}

static void put_any(struct json_out *j, const char *name, const struct json *from, int t)
{
    const jsmntok_t *k = &from->tokens[t];
    char value[READER_NAME];

    if ((k->type == JSMN_OBJECT || k->type == JSMN_ARRAY) && j->depth < JSON_DEPTH) {
        if (k->type == JSMN_OBJECT) {
            json_object(j, name);
            put_members(j, from, t, true);
        } else {
            int e = t + 1;

            json_array(j, name);
            for (int i = 0; i < k->size; i++) {
                put_any(j, NULL, from, e);
                e = json_skip(from, e);
            }
        }
        json_end(j);
        return;
    }
    reader_show(from, t, value, sizeof(value));
    json_str(j, name, value);
}

void output_heading(struct json_out *j, const struct json *from, bool registers)
{
    put_members(j, from, 0, registers);
}
