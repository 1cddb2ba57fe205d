/* The log and the consoles: byte rings, read once or followed. */
#include "mgmt/bhctl/bhctl.h"

#include <inttypes.h>
#include <stdio.h>

#define SILENCE_MS 20000 /* usual */

/* Checks which bytes of the ring the appliance returned. EXIT_OK, or it has complained. */
static int check(const struct api *a, const struct reply *r)
{
    if (r->has_next && r->next >= r->length)
        return EXIT_OK;
    return complain(EXIT_UNREACHABLE,
                    "%s does not say where its answer ends: is that a Bulkhead appliance?",
                    a->base);
}

static int read_all(struct api *a, const char *path, struct reply *r)
{
    char once[PATH_MAX_BYTES + 16];
    int rc;

    (void)snprintf(once, sizeof(once), "%s?format=text", path);
    rc = api_call(a, "GET", once, NULL, 0, r);
    return rc == EXIT_OK ? check(a, r) : rc;
}

static int print(struct ring *g, const char *bytes, size_t n)
{
    if (g->show)
        g->show(g, bytes, n);
    else
        (void)fwrite(bytes, 1, n, stdout);
    place_take(&g->place, bytes, n);
    return say_end();
}

static void where(void *ctx, char path[PATH_MAX_BYTES])
{
    const struct ring *g = ctx;

    (void)snprintf(path, PATH_MAX_BYTES, "%s?follow=1&from=%" PRIu64, g->path, g->place.next);
}

static bool ask(void *ctx, char path[PATH_MAX_BYTES])
{
    const struct ring *g = ctx;

    (void)snprintf(path, PATH_MAX_BYTES, "%s?format=text&from=%" PRIu64, g->path,
                   place_from(&g->place));
    return true;
}

static int answer(void *ctx, const struct reply *r)
{
    struct ring *g = ctx;
    uint64_t missing;
    size_t known;
    int rc = check(g->stream.api, r);

    if (rc != EXIT_OK)
        return rc;
    switch (place_find(&g->place, r->body, r->length, r->next, &known, &missing)) {
    case PLACE_GOES_ON:
        break;
    case PLACE_GAP:
        if (missing)
            say_note("%" PRIu64 " bytes were overwritten before they could be read", missing);
        else
            say_note("bytes were overwritten before they could be read");
        break;
    case PLACE_ANEW:
        say_note("it starts from the beginning, and so does what follows");
        g->place = (struct place){.next = 0};
        g->stream.lost = true; /* the ring's beginning may be missing from this answer */
        return EXIT_OK;
    }
    return print(g, r->body + known, r->length - known);
}

static int take(void *ctx, const char *bytes, size_t n)
{
    return print(ctx, bytes, n);
}

int ring_print(struct api *a, const char *path)
{
    struct reply r;
    int rc = read_all(a, path, &r);

    if (rc == EXIT_OK) {
        reply_clean(&r);
        (void)fputs(r.body, stdout);
        rc = say_end();
    }
    reply_clear(&r);
    return rc;
}

static void set_up(struct ring *g, struct api *a, const char *path)
{
    g->path = path;
    g->stream.api = a;
    g->stream.where = where;
    g->stream.ask = ask;
    g->stream.answer = answer;
    g->stream.take = take;
    g->stream.ctx = g;
    g->stream.silence_ms = SILENCE_MS;
    /* It exists, so any failure is worth a retry. */
    g->stream.established = true;
}

int ring_begin(struct ring *g, struct api *a, const char *path)
{
    set_up(g, a, path);
    g->stream.lost = true; /* begins by asking for what is there */
    return stream_open(&g->stream);
}

int ring_finish(struct ring *g)
{
    char path[PATH_MAX_BYTES];
    struct reply r;
    int rc;

    (void)ask(g, path);
    rc = api_call(g->stream.api, "GET", path, NULL, 0, &r);
    if (rc == EXIT_OK)
        rc = answer(g, &r);
    reply_clear(&r);
    return rc;
}

int ring_open(struct ring *g, struct api *a, const char *path, bool only_new)
{
    struct reply r;
    int rc = read_all(a, path, &r);

    set_up(g, a, path);
    if (rc == EXIT_OK) {
        g->place.next = r.next - r.length;
        if (only_new)
            place_take(&g->place, r.body, r.length);
        else
            rc = print(g, r.body, r.length);
    }
    reply_clear(&r);
    return rc == EXIT_OK ? stream_open(&g->stream) : rc;
}
