/* Answers without end: kept open, and taken up again where they were lost. */
#include "mgmt/bhctl/bhctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define AGAIN_MS   300
#define GIVE_UP_MS 15000 /* the management guest starts anew in less than a second */
#define SILENCE_MS 20000 /* of a log or a console: usual */

int64_t clock_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static long status_of(CURL *c)
{
    long status = 0;

    (void)curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

static size_t receive(char *bytes, size_t one, size_t n, void *ctx)
{
    struct stream *s = ctx;

    if (status_of(s->curl) != 200)
        return reply_take(bytes, one, n, &s->reply); /* a refusal */
    s->established = true;
    s->silent_ms = clock_ms() + s->silence_ms;
    s->status = s->take(s->ctx, bytes, one * n);
    return s->status == EXIT_OK ? one * n : 0;
}

static int begin(struct stream *s)
{
    char path[PATH_MAX_BYTES];

    reply_clear(&s->reply);
    s->reply.body = calloc(1, 1);
    if (!s->reply.body)
        return complain(EXIT_USAGE, "out of memory");
    s->where(s->ctx, path);
    if (api_prepare(s->api, s->curl, path, &s->reply) != EXIT_OK)
        return EXIT_USAGE;
    (void)curl_easy_setopt(s->curl, CURLOPT_LOW_SPEED_TIME, 0L); /* silence is no failure here */
    (void)curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, receive);
    (void)curl_easy_setopt(s->curl, CURLOPT_WRITEDATA, s);
    s->silent_ms = clock_ms() + s->silence_ms;
    s->under_way = curl_multi_add_handle(s->multi, s->curl) == CURLM_OK;
    return s->under_way ? EXIT_OK : complain(EXIT_USAGE, "libcurl cannot begin a transfer");
}

int stream_open(struct stream *s)
{
    s->multi = curl_multi_init();
    s->curl = curl_easy_init();
    if (!s->multi || !s->curl)
        return complain(EXIT_USAGE, "out of memory");
    return begin(s);
}

void stream_close(struct stream *s)
{
    if (s->under_way)
        (void)curl_multi_remove_handle(s->multi, s->curl);
    if (s->curl)
        curl_easy_cleanup(s->curl);
    if (s->multi)
        (void)curl_multi_cleanup(s->multi);
    reply_clear(&s->reply);
}

/* It has ended, one way or another. */
static int end(struct stream *s, CURLcode rc)
{
    s->reply.status = status_of(s->curl);
    (void)curl_multi_remove_handle(s->multi, s->curl);
    s->under_way = false;
    if (s->status != EXIT_OK)
        return s->status;
    if (rc == CURLE_OK && s->reply.status != 200)
        return api_judge(s->api, &s->reply);
    if (rc == CURLE_OK)
        return complain(EXIT_UNREACHABLE, "%s ends what has no end: is that a Bulkhead appliance?",
                        s->api->base);
    if (s->api->pin_failed || !s->established)
        return api_transfer(s->api, rc);
    /* From the first failure in a row on. */
    if (s->reply.status == 200 || !s->give_up_ms)
        s->give_up_ms = clock_ms() + GIVE_UP_MS;
    if (clock_ms() >= s->give_up_ms)
        return api_transfer(s->api, rc);
    s->again_ms = clock_ms() + AGAIN_MS;
    return EXIT_OK;
}

void stream_expect(struct stream *s, int ms)
{
    if (clock_ms() + ms < s->silent_ms)
        s->silent_ms = clock_ms() + ms;
}

int stream_wait(struct stream *s, struct curl_waitfd *fds, unsigned count, int ms)
{
    const CURLMsg *m;
    int running, left, rc = EXIT_OK;

    if (say_nobody_reads())
        return EXIT_ENOUGH;
    if (!s->under_way && clock_ms() >= s->again_ms)
        rc = begin(s);
    if (rc != EXIT_OK)
        return rc;
    (void)curl_multi_perform(s->multi, &running);
    while (rc == EXIT_OK && (m = curl_multi_info_read(s->multi, &left)) != NULL) {
        if (m->msg != CURLMSG_DONE)
            continue;
        if (m->easy_handle == s->curl)
            rc = end(s, m->data.result);
        else if (s->ended)
            s->ended(s->ctx, m->easy_handle, m->data.result);
    }
    if (rc == EXIT_OK && s->under_way && clock_ms() >= s->silent_ms)
        rc = end(s, CURLE_OPERATION_TIMEDOUT);
    if (rc == EXIT_OK)
        (void)curl_multi_poll(s->multi, fds, count, ms, NULL);
    return rc;
}

/* ---- rings ---- */

static void ring_where(void *ctx, char path[PATH_MAX_BYTES])
{
    struct ring *g = ctx;

    (void)snprintf(path, PATH_MAX_BYTES, "%s?follow=1&from=%llu", g->path,
                   (unsigned long long)g->next);
}

static int ring_take(void *ctx, const char *bytes, size_t n)
{
    struct ring *g = ctx;

    (void)fwrite(bytes, 1, n, stdout);
    g->next += n;
    return say_end();
}

int ring_print(struct api *a, const char *path, uint64_t *next, bool only_new)
{
    char once[PATH_MAX_BYTES + 16];
    struct reply r;
    int rc;

    (void)snprintf(once, sizeof(once), "%s?format=text", path);
    rc = api_call(a, "GET", once, NULL, 0, &r);
    *next = r.next;
    if (rc == EXIT_OK && !only_new) {
        (void)fwrite(r.body, 1, r.length, stdout);
        rc = say_end();
    }
    reply_clear(&r);
    return rc;
}

int ring_open(struct ring *g, struct api *a, const char *path, bool only_new)
{
    int rc = ring_print(a, path, &g->next, only_new);

    g->path = path;
    g->stream.api = a;
    g->stream.where = ring_where;
    g->stream.take = ring_take;
    g->stream.ctx = g;
    g->stream.silence_ms = SILENCE_MS;
    /* It was there a moment ago: whatever happens now is worth another try. */
    g->stream.established = true;
    return rc == EXIT_OK ? stream_open(&g->stream) : rc;
}
