/* Answers without end: kept open, and resumed where they were lost. */
#include "mgmt/bhctl/bhctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define AGAIN_MS   300
#define POLL_MS    1000
#define GIVE_UP_MS 15000 /* the management guest restarts in less than a second */
#define ANSWER_MS  10000 /* for the answer to ask() */

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

    s->silent_ms = clock_ms() + s->silence_ms;
    if (s->asking || status_of(s->curl) != 200)
        return reply_take(bytes, one, n, &s->reply);
    s->established = s->flowed = true;
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
    s->asking = s->lost && s->ask(s->ctx, path);
    if (!s->asking)
        s->where(s->ctx, path);
    if (api_prepare(s->api, s->curl, path, &s->reply) != EXIT_OK)
        return EXIT_USAGE;
    (void)curl_easy_setopt(s->curl, CURLOPT_LOW_SPEED_TIME, 0L); /* silence is no failure here */
    (void)curl_easy_setopt(s->curl, CURLOPT_WRITEFUNCTION, receive);
    (void)curl_easy_setopt(s->curl, CURLOPT_WRITEDATA, s);
    s->flowed = false;
    s->begun_ms = clock_ms();
    s->silent_ms = s->begun_ms + (s->asking ? ANSWER_MS : s->silence_ms);
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

static bool has_length(CURL *c)
{
    curl_off_t length = -1;

    (void)curl_easy_getinfo(c, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    return length >= 0;
}

/* Ends the stream for good. */
static int fail(const struct stream *s, CURLcode rc)
{
    if (rc != CURLE_OK)
        return api_transfer(s->api, rc);
    if (s->reply.status != 200)
        return api_judge(s->api, &s->reply);
    return complain(EXIT_UNREACHABLE, "%s ends what has no end: is that a Bulkhead appliance?",
                    s->api->base);
}

/* The transfer has ended: the appliance ends a stream that is too slow, and answers 503 if all
 * places are taken, perhaps by this stream's predecessor. */
static int end(struct stream *s, CURLcode rc)
{
    long status = status_of(s->curl);
    bool asked = s->asking, answered = rc == CURLE_OK && status == 200;
    bool endless = !asked && answered && !has_length(s->curl);

    s->reply.status = status;
    (void)curl_multi_remove_handle(s->multi, s->curl);
    s->under_way = s->asking = false;
    if (s->status != EXIT_OK)
        return s->status;
    s->established = s->established || (!asked && status == 200 && !has_length(s->curl));
    if (asked && answered) {
        s->lost = false;
        if (s->polls)
            s->give_up_ms = 0;
        return s->answer(s->ctx, &s->reply);
    }
    if (s->api->pin_failed || !s->established || (rc == CURLE_OK && status != 503 && !endless))
        return fail(s, rc);
    s->lost = true;
    /* Counts from the first failure in a row. */
    if (!s->give_up_ms ||
        (!asked && status == 200 && (s->flowed || clock_ms() >= s->begun_ms + AGAIN_MS)))
        s->give_up_ms = clock_ms() + (s->patience_ms ? s->patience_ms : GIVE_UP_MS);
    if (clock_ms() >= s->give_up_ms)
        return fail(s, rc);
    s->again_ms = (endless ? s->begun_ms : clock_ms()) + (s->polls ? POLL_MS : AGAIN_MS);
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
    if (!s->under_way && clock_ms() >= s->again_ms)
        ms = 0;
    if (rc == EXIT_OK)
        (void)curl_multi_poll(s->multi, fds, count, ms, NULL);
    return rc;
}
