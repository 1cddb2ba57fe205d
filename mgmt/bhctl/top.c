/* Guests by load, live. */
#include "mgmt/bhctl/bhctl.h"
#include "mgmt/bhctl/top_rows.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PAGE_BYTES 16384u
#define DELAY_S    2u
#define LOOK_MS    200
#define AGAIN_MS   300
#define PATIENCE_S 15 /* the management guest restarts in less than a second */

struct top {
    struct api *api;
    struct top_sample samples[3];          /* two, and one in preparation */
    const struct top_sample *before, *now; /* NULL: not yet */
    enum top_key key;
    uint64_t left; /* how many times to show; UINT64_MAX: until the user quits */
    int64_t delay_ms;
    int64_t seen_ms; /* time of the last successful sample; 0: none */
    bool live;
    bool patient; /* a failed sample is not reported: */
    bool lost;    /* it failed because there was no answer */
};

/* ---- sampling ---- */

static uint64_t sum(json_t *exits)
{
    uint64_t n = 0;
    const char *name;
    json_t *value;

    json_object_foreach(exits, name, value) n += (uint64_t)json_integer_value(value);
    return n;
}

static void take_guest(struct top_guest *g, const json_t *from)
{
    const json_t *v;
    size_t i;

    (void)snprintf(g->name, sizeof(g->name), "%s", text_of(from, "name"));
    (void)snprintf(g->state, sizeof(g->state), "%s", text_of(from, "state"));
    g->memory = number_of(json_object_get(from, "configuration"), "memory");
    g->restarts = number_of(from, "restarts");
    g->core = number_of(json_array_get(json_object_get(from, "vcpus"), 0), "core");
    g->vcpus = json_array_size(json_object_get(from, "vcpus"));
    g->run_ticks = g->exits = 0;
    json_array_foreach(json_object_get(from, "vcpus"), i, v)
    {
        g->run_ticks += number_of(v, "run_ticks");
        g->exits += sum(json_object_get(v, "exits"));
    }
}

static void take_host(struct top_sample *s, const json_t *h)
{
    const json_t *memory = json_object_get(h, "memory"), *core;
    size_t i;

    s->uptime_ms = number_of(h, "uptime_ms");
    s->memory_total = number_of(memory, "total");
    s->memory_free = number_of(memory, "free");
    json_array_foreach(json_object_get(h, "cores"), i, core)
    {
        s->tsc_hz = number_of(core, "tsc_hz");
        if (i < TOP_CORES_MAX)
            s->cores[s->core_count++] = (struct top_core){
                .busy = number_of(core, "busy_ticks"),
                .idle = number_of(core, "idle_ticks"),
            };
    }
}

/* GETs without complaining about 404: a guest may go between two requests. */
static json_t *get(struct top *t, const char *path, int *status)
{
    CURLcode transfer = CURLE_OK;
    struct reply r;
    json_t *all = NULL;

    *status = api_try(t->api, "GET", path, NULL, 0, &r, &transfer);
    if (*status == EXIT_OK && t->patient && !t->api->pin_failed &&
        (transfer != CURLE_OK || r.status == 503)) {
        t->lost = true;
        *status = EXIT_UNREACHABLE;
    }
    if (*status == EXIT_OK)
        *status = api_transfer(t->api, transfer);
    if (*status == EXIT_OK && r.status != 404) {
        *status = api_judge(t->api, &r);
        if (*status == EXIT_OK && !(all = api_json(&r)))
            *status = EXIT_UNREACHABLE;
    }
    reply_clear(&r);
    return all;
}

static int look(struct top *t, struct top_sample *s)
{
    json_t *list, *host, *summary;
    size_t i;
    int rc;

    *s = (struct top_sample){.uptime_ms = 0};
    list = get(t, "/v1/guests", &rc);
    json_array_foreach(json_object_get(list, "guests"), i, summary)
    {
        char path[PATH_MAX_BYTES];
        json_t *g;

        if (rc != EXIT_OK || s->guest_count == TOP_GUESTS_MAX ||
            !url_path(path, sizeof(path), "/v1/guests/%s", text_of(summary, "name")))
            break;
        g = get(t, path, &rc);
        if (g)
            take_guest(&s->guests[s->guest_count++], g);
        json_decref(g);
    }
    json_decref(list);
    if (rc != EXIT_OK)
        return rc;
    /* Last, so that its time is the closest to all of them. */
    host = get(t, "/v1/host", &rc);
    if (host)
        take_host(s, host);
    json_decref(host);
    return rc;
}

/* ---- showing it ---- */

static int show(const struct top *t)
{
    static char page[PAGE_BYTES];
    struct top_row rows[TOP_GUESTS_MAX];
    unsigned n = top_compare(t->before, t->now, rows), columns = 0, height = 0;

    top_sort(rows, n, t->key);
    if (t->live)
        term_size(&columns, &height);
    /* The last row stays empty: a newline there would scroll. */
    top_tell(page, sizeof(page), t->before, t->now, rows, n, t->key, columns,
             height > 1 ? height - 1 : height);
    if (!t->live) {
        (void)fputs(page, stdout);
        return say_end();
    }
    /* From the top left; clears the rest of each line and the screen below. */
    (void)fputs("\033[H", stdout);
    for (const char *p = page; *p; p++) {
        if (*p == '\n')
            (void)fputs("\033[K", stdout);
        (void)putchar(*p);
    }
    (void)fputs("\033[J", stdout);
    return say_end();
}

static int show_json(const struct top *t)
{
    struct top_row rows[TOP_GUESTS_MAX];
    unsigned n = top_compare(t->before, t->now, rows);
    json_t *list = json_array();

    top_sort(rows, n, t->key);
    for (unsigned i = 0; i < n; i++) {
        const struct top_guest *g = rows[i].guest;

        (void)json_array_append_new(
            list, json_pack("{s:s, s:s, s:I, s:I, s:f, s:f, s:I, s:I}", "name", g->name, "state",
                            g->state, "core", (json_int_t)g->core, "vcpus", (json_int_t)g->vcpus,
                            "cpu_percent", rows[i].cpu, "exits_per_second", rows[i].exits, "memory",
                            (json_int_t)g->memory, "restarts", (json_int_t)g->restarts));
    }
    (void)json_dumpf(list, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    (void)putchar('\n');
    json_decref(list);
    return say_end();
}

/* Handles keys until `until`. False: the user quits. */
static bool wait(struct top *t, int64_t until)
{
    static const struct {
        char key;
        enum top_key sort;
    } keys[] = {{'c', TOP_CPU}, {'e', TOP_EXITS}, {'m', TOP_MEMORY}, {'n', TOP_NAME}};

    while (!term_stopped() && !say_nobody_reads() && clock_ms() < until) {
        struct pollfd in = {.fd = t->live ? STDIN_FILENO : -1, .events = POLLIN};
        int64_t left = until - clock_ms();
        char key;

        if (poll(&in, 1, left < LOOK_MS ? (int)left : LOOK_MS) <= 0)
            continue;
        if (read(STDIN_FILENO, &key, 1) != 1 || key == 'q')
            return false;
        for (size_t i = 0; i < ARRAY_LEN(keys); i++)
            if (keys[i].key == key && t->before) {
                t->key = keys[i].sort;
                (void)show(t);
            }
    }
    return !term_stopped() && !say_nobody_reads();
}

/* In the row below the page, until the next page is shown. */
static void say_lost(const struct top *t)
{
    unsigned columns, rows;

    if (!t->live)
        return;
    term_size(&columns, &rows);
    (void)printf("\033[%u;1H\033[K%.*s", rows, (int)columns - 1, "no answer: asking again");
    (void)fflush(stdout);
}

/* While the management guest restarts, the last page stays. */
static int look_again(struct top *t)
{
    struct top_sample *next = t->samples;
    int rc;

    while (next == t->now || next == t->before)
        next++;
    do {
        t->patient = t->seen_ms && clock_ms() < t->seen_ms + t->delay_ms + PATIENCE_S * 1000;
        t->lost = false;
        rc = look(t, next);
        if (t->lost)
            say_lost(t);
    } while (t->lost && wait(t, clock_ms() + AGAIN_MS));
    if (t->lost)
        return EXIT_OK;
    t->seen_ms = clock_ms();
    t->before = t->now;
    t->now = next;
    return rc;
}

static int run(struct top *t)
{
    bool json = options_have(t->api->options, OPTION_JSON);
    int rc = look_again(t);

    while (rc == EXIT_OK && t->left > 0 && wait(t, clock_ms() + t->delay_ms)) {
        rc = look_again(t);
        if (t->lost)
            break; /* the user has quit in the meantime */
        if (rc == EXIT_OK)
            rc = json ? show_json(t) : show(t);
        t->left -= t->left != UINT64_MAX;
    }
    return rc;
}

static int read_options(struct top *t, const struct options *o)
{
    const char *count = o->value[OPTION_COUNT], *delay = o->value[OPTION_DELAY];
    const char *sort = o->value[OPTION_SORT];
    uint64_t seconds = DELAY_S;

    if (count && !options_number(count, 1, 1000000000, &t->left))
        return complain(EXIT_USAGE, "--count: \"%s\" is not a number of times", count);
    if (delay && !options_number(delay, 1, 3600, &seconds))
        return complain(EXIT_USAGE, "--delay: \"%s\" is not 1 to 3600 seconds", delay);
    if (sort && !top_key_named(sort, &t->key))
        return complain(EXIT_USAGE, "--sort: \"%s\" must be cpu, exits, memory or name", sort);
    t->delay_ms = (int64_t)seconds * 1000;
    return EXIT_OK;
}

int command_top(struct api *a)
{
    static struct top t;
    int rc;

    t = (struct top){.api = a, .key = TOP_CPU, .left = UINT64_MAX};
    rc = read_options(&t, a->options);
    if (rc != EXIT_OK)
        return rc;
    term_catch();
    if (t.left == UINT64_MAX && isatty(STDOUT_FILENO) && !options_have(a->options, OPTION_JSON))
        t.live = term_raw(true);
    if (t.left == UINT64_MAX && !t.live)
        t.left = 1;
    if (t.live)
        term_page_begin();
    rc = run(&t);
    term_restore();
    return rc;
}
