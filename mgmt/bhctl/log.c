/* The hypervisor's log: once, or line by line as it grows. */
#include "mgmt/bhctl/bhctl.h"
#include "mgmt/bhctl/format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_MS    200   /* how soon an interrupt is noticed */
#define LINE_BYTES 1024u /* longer lines are shown in pieces */

struct log {
    struct ring ring;
    char line[LINE_BYTES];
    size_t length;
    bool json;
};

/* "[   2.880223] core 0: text"; false: a line of another form. */
static bool take_apart(const char *line, double *seconds, unsigned long *core, const char **text)
{
    char *end, *rest;

    if (line[0] != '[')
        return false;
    *seconds = strtod(line + 1, &end);
    if (end == line + 1 || strncmp(end, "] core ", 7) != 0)
        return false;
    *core = strtoul(end + 7, &rest, 10);
    if (rest == end + 7 || strncmp(rest, ": ", 2) != 0)
        return false;
    *text = rest + 2;
    return true;
}

/* Text that is not UTF-8 is read as Latin-1, like the API does. */
static json_t *string_of(const char *text)
{
    char utf8[2 * LINE_BYTES];
    size_t n = 0;
    json_t *s = json_string(text);

    for (; !s && *text; text++) {
        if ((unsigned char)*text >= 0x80)
            utf8[n++] = (char)(0xc0 | (unsigned char)*text >> 6);
        utf8[n++] = (unsigned char)*text >= 0x80 ? (char)(0x80 | (*text & 0x3f)) : *text;
    }
    return s ? s : json_stringn(utf8, n);
}

static void show_json(const char *line)
{
    const char *text = line;
    json_t *e = json_object();
    unsigned long core;
    double seconds;

    if (take_apart(line, &seconds, &core, &text)) {
        (void)json_object_set_new(e, "seconds", json_real(seconds));
        (void)json_object_set_new(e, "core", json_integer((json_int_t)core));
    }
    (void)json_object_set_new(e, "text", string_of(text));
    (void)json_dumpf(e, stdout, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(e);
}

static void end_line(struct log *l)
{
    l->line[l->length] = 0;
    l->length = 0;
    if (l->json) {
        show_json(l->line);
    } else {
        format_clean(l->line, "\t");
        (void)fputs(l->line, stdout);
    }
    (void)putchar('\n');
}

static void show(struct ring *g, const char *bytes, size_t n)
{
    struct log *l = container_of(g, struct log, ring);

    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == '\n' || l->length + 1 == sizeof(l->line))
            end_line(l);
        if (bytes[i] != '\n')
            l->line[l->length++] = bytes[i] ? bytes[i] : '?';
    }
}

static int follow(struct api *a)
{
    struct log l = {.ring.show = show, .json = options_have(a->options, OPTION_JSON)};
    int rc;

    term_catch();
    rc = ring_open(&l.ring, a, "/v1/log", false);
    while (rc == EXIT_OK && !term_stopped())
        rc = stream_wait(&l.ring.stream, NULL, 0, LOOK_MS);
    stream_close(&l.ring.stream);
    return rc;
}

int command_log(struct api *a)
{
    json_t *all;
    int rc;

    if (options_have(a->options, OPTION_FOLLOW))
        return follow(a);
    if (!options_have(a->options, OPTION_JSON))
        return ring_print(a, "/v1/log");
    all = api_get(a, "/v1/log", &rc);
    json_decref(all);
    return rc;
}
