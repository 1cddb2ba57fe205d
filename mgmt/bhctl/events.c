/* What happened to guests: once, or as it happens. */
#include "mgmt/bhctl/bhctl.h"
#include "mgmt/bhctl/sse.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LOOK_MS    200   /* how soon an interrupt is noticed */
#define SILENCE_MS 40000 /* the appliance sends something every 15 s */

struct follower {
    struct stream stream;
    struct sse sse;
    uint64_t next; /* the next event */
    json_t *last;  /* the last event shown; NULL: none yet */
    bool json;
};

static void say_event(const json_t *e)
{
    printf("%5" PRIu64 "  ", number_of(e, "id"));
    say_text(text_of(e, "time"), 27);
    (void)fputs("  ", stdout);
    say_text(text_of(e, "guest"), 12);
    (void)fputs("  ", stdout);
    say_text(text_of(e, "state"), 10);
    (void)fputs("  ", stdout);
    say_text(text_of(e, "by"), 10);
    (void)fputs("  ", stdout);
    say_text(text_of(e, "why"), 0);
    (void)putchar('\n');
}

static void show_event(struct follower *f, json_t *e)
{
    uint64_t id = number_of(e, "id");

    if (id < f->next)
        return;
    if (f->last && id > f->next)
        say_note("%" PRIu64 " events were overwritten before they could be read", id - f->next);
    f->next = id + 1;
    json_decref(f->last);
    f->last = json_incref(e);
    if (f->json) {
        (void)json_dumpf(e, stdout, JSON_COMPACT);
        (void)putchar('\n');
    } else {
        say_event(e);
    }
}

static void take_event(void *ctx, const char *data)
{
    json_t *e = json_loads(data, 0, NULL);

    if (e)
        show_event(ctx, e);
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

/* Asks from the last event on: if it is missing, another boot counts from 1. */
static bool ask(void *ctx, char path[PATH_MAX_BYTES])
{
    const struct follower *f = ctx;

    (void)snprintf(path, PATH_MAX_BYTES, "/v1/events?follow=0&from=%" PRIu64, f->next - 1);
    return f->last != NULL;
}

/* The list continues ours if it begins with the last event shown, or with a later one of the same
 * boot. */
static bool goes_on(const struct follower *f, const json_t *first)
{
    if (number_of(first, "id") != number_of(f->last, "id"))
        return number_of(first, "id") > number_of(f->last, "id") &&
               number_of(first, "uptime_ms") >= number_of(f->last, "uptime_ms");
    return number_of(first, "uptime_ms") == number_of(f->last, "uptime_ms") &&
           strcmp(text_of(first, "guest"), text_of(f->last, "guest")) == 0 &&
           strcmp(text_of(first, "state"), text_of(f->last, "state")) == 0;
}

static int answer(void *ctx, const struct reply *r)
{
    struct follower *f = ctx;
    json_t *all = api_json(r), *list = json_object_get(all, "events"), *e;
    size_t i;

    if (!all)
        return EXIT_UNREACHABLE;
    if (!goes_on(f, json_array_get(list, 0))) {
        say_note("the appliance has restarted, and counts its events from 1 again");
        json_decref(f->last);
        f->last = NULL;
        f->next = 1;
        list = NULL; /* it begins at our place in the other boot */
    }
    json_array_foreach(list, i, e)
    {
        show_event(f, e);
    }
    json_decref(all);
    return say_end();
}

static int follow(struct api *a, uint64_t from)
{
    struct follower f = {.next = from, .json = options_have(a->options, OPTION_JSON)};
    int rc;

    f.sse.take = take_event;
    f.sse.ctx = &f;
    f.stream = (struct stream){.api = a,
                               .where = where,
                               .ask = ask,
                               .answer = answer,
                               .take = take_bytes,
                               .ctx = &f,
                               .silence_ms = SILENCE_MS};
    term_catch();
    rc = stream_open(&f.stream);
    while (rc == EXIT_OK && !term_stopped())
        rc = stream_wait(&f.stream, NULL, 0, LOOK_MS);
    stream_close(&f.stream);
    json_decref(f.last);
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
        /* If asked from a number that does not exist yet, it may answer with all events. */
        json_array_foreach(json_object_get(all, "events"), i, e)
        {
            if (number_of(e, "id") >= from)
                say_event(e);
        }
        rc = say_end();
    }
    json_decref(all);
    return rc;
}
