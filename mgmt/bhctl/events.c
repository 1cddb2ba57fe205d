/* What became of guests, and the log: at once, or as it comes. */
#include "mgmt/bhctl/bhctl.h"
#include "mgmt/bhctl/sse.h"

#include <inttypes.h>
#include <stdio.h>

#define LOOK_MS    200   /* how soon an interruption is noticed */
#define SILENCE_MS 40000 /* of events: the appliance says something every 15 s */

int command_log(struct api *a)
{
    struct ring g = {.path = NULL};
    uint64_t next;
    json_t *all;
    int rc;

    if (options_have(a->options, OPTION_JSON)) {
        if (options_have(a->options, OPTION_FOLLOW))
            return complain(EXIT_USAGE,
                            "--json and --follow exclude each other: what comes is text");
        all = api_get(a, "/v1/log", &rc);
        json_decref(all);
        return rc;
    }
    if (!options_have(a->options, OPTION_FOLLOW))
        return ring_print(a, "/v1/log", &next, false);
    term_catch();
    rc = ring_open(&g, a, "/v1/log", false);
    while (rc == EXIT_OK && !term_stopped())
        rc = stream_wait(&g.stream, NULL, 0, LOOK_MS);
    stream_close(&g.stream);
    return rc;
}

struct follower {
    struct stream stream;
    struct sse sse;
    uint64_t next;
    bool json;
};

static void say_event(const json_t *e)
{
    printf("%5" PRIu64 "  %-24s  %-12s  %-9s  ", number_of(e, "id"), text_of(e, "time"),
           text_of(e, "guest"), text_of(e, "state"));
    say_text(text_of(e, "why"));
    (void)putchar('\n');
}

static void take_event(void *ctx, const char *data)
{
    struct follower *f = ctx;
    json_t *e = json_loads(data, 0, NULL);

    if (!e)
        return;
    f->next = number_of(e, "id") + 1;
    if (f->json)
        (void)puts(data);
    else
        say_event(e);
    json_decref(e);
}

static int take_bytes(void *ctx, const char *bytes, size_t n)
{
    struct follower *f = ctx;

    sse_feed(&f->sse, bytes, n);
    return say_end();
}

static void where(void *ctx, char path[PATH_MAX_BYTES])
{
    struct follower *f = ctx;

    sse_reset(&f->sse);
    (void)snprintf(path, PATH_MAX_BYTES, "/v1/events?from=%" PRIu64, f->next);
}

static int follow(struct api *a, uint64_t from)
{
    struct follower f = {.next = from, .json = options_have(a->options, OPTION_JSON)};
    int rc;

    f.sse.take = take_event;
    f.sse.ctx = &f;
    f.stream = (struct stream){
        .api = a, .where = where, .take = take_bytes, .ctx = &f, .silence_ms = SILENCE_MS};
    term_catch();
    rc = stream_open(&f.stream);
    while (rc == EXIT_OK && !term_stopped())
        rc = stream_wait(&f.stream, NULL, 0, LOOK_MS);
    stream_close(&f.stream);
    return rc;
}

int command_events(struct api *a)
{
    const char *given = a->options->value[OPTION_FROM];
    char path[PATH_MAX_BYTES];
    uint64_t from = 1;
    json_t *all, *e;
    size_t i;
    int rc;

    if (given && !options_number(given, 1, UINT64_MAX / 16, &from))
        return complain(EXIT_USAGE, "--from: \"%s\" is not the number of an event", given);
    if (options_have(a->options, OPTION_FOLLOW))
        return follow(a, from);
    (void)snprintf(path, sizeof(path), "/v1/events?follow=0&from=%" PRIu64, from);
    all = api_get(a, path, &rc);
    if (all && !options_have(a->options, OPTION_JSON)) {
        json_array_foreach(json_object_get(all, "events"), i, e) say_event(e);
        rc = say_end();
    }
    json_decref(all);
    return rc;
}
