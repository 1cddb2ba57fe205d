/* Guests by load, live. */
#include "mgmt/bhctl/contexts.h"
#include "mgmt/bhctl/top_rows.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ROWS_MAX   (TOP_HOSTS_MAX * TOP_GUESTS_MAX)
#define PAGE_BYTES 65536u
#define DELAY_S    2u
#define LOOK_MS    200
#define AGAIN_MS   300
#define PATIENCE_S 15   /* the management guest restarts in less than a second */
#define LIMIT_MS   3000 /* for each answer of one of several appliances */

/* An appliance. */
struct watched {
    struct options options; /* with the appliance's name */
    struct api api;
    struct top_host host;
    struct top_sample samples[3]; /* two, and one in preparation */
};

struct top {
    const struct options *options;
    struct watched hosts[TOP_HOSTS_MAX];
    char names[TOP_HOSTS_MAX][URL_MAX];
    unsigned count;
    enum top_key key;
    uint64_t left; /* how many times to show; UINT64_MAX: until the user quits */
    int64_t delay_ms;
    int64_t seen_ms; /* time of the last successful sample; 0: none */
    bool live, shown;
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
static json_t *get(struct top *t, struct api *a, const char *path, int *status)
{
    CURLcode transfer = CURLE_OK;
    struct reply r;
    json_t *all = NULL;

    *status = api_try(a, "GET", path, NULL, 0, &r, &transfer);
    if (*status == EXIT_OK && t->patient && !a->pin_failed &&
        (transfer != CURLE_OK || r.status == 503)) {
        t->lost = true;
        *status = EXIT_UNREACHABLE;
    }
    if (*status == EXIT_OK)
        *status = api_transfer(a, transfer);
    if (*status == EXIT_OK && r.status != 404) {
        *status = api_judge(a, &r);
        if (*status == EXIT_OK && !(all = api_json(&r)))
            *status = EXIT_UNREACHABLE;
    }
    reply_clear(&r);
    return all;
}

static int look(struct top *t, struct api *a, struct top_sample *s)
{
    json_t *list, *host, *summary;
    size_t i;
    int rc;

    *s = (struct top_sample){.uptime_ms = 0};
    list = get(t, a, "/v1/guests", &rc);
    json_array_foreach(json_object_get(list, "guests"), i, summary)
    {
        char path[PATH_MAX_BYTES];
        json_t *g;

        if (rc != EXIT_OK || s->guest_count == TOP_GUESTS_MAX ||
            !url_path(path, sizeof(path), "/v1/guests/%s", text_of(summary, "name")))
            break;
        g = get(t, a, path, &rc);
        if (g)
            take_guest(&s->guests[s->guest_count++], g);
        json_decref(g);
    }
    json_decref(list);
    if (rc != EXIT_OK)
        return rc;
    /* Last, so that its time is the closest to all of them. */
    host = get(t, a, "/v1/host", &rc);
    if (host)
        take_host(s, host);
    json_decref(host);
    return rc;
}

/* ---- showing it ---- */

/* The guests of all appliances that have answered, in order. */
static unsigned compare(const struct top *t, struct top_row *rows)
{
    unsigned n = 0;

    for (unsigned i = 0; i < t->count; i++) {
        const struct top_host *h = &t->hosts[i].host;
        unsigned more = h->now && !h->lost ? top_compare(h->before, h->now, rows + n) : 0;

        for (; more > 0; more--)
            rows[n++].host = h->name;
    }
    top_sort(rows, n, t->key);
    return n;
}

static int show(const struct top *t)
{
    static char page[PAGE_BYTES];
    static struct top_row rows[ROWS_MAX];
    struct top_host hosts[TOP_HOSTS_MAX];
    unsigned n = compare(t, rows), columns = 0, height = 0;

    for (unsigned i = 0; i < t->count; i++)
        hosts[i] = t->hosts[i].host;
    if (t->live)
        term_size(&columns, &height);
    /* The last row stays empty: a newline there would scroll. */
    top_tell(page, sizeof(page), hosts, t->count, rows, n, t->key, columns,
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
    static struct top_row rows[ROWS_MAX];
    unsigned n = compare(t, rows);
    json_t *list = json_array();

    for (unsigned i = 0; i < n; i++) {
        const struct top_guest *g = rows[i].guest;

        json_t *row =
            json_pack("{s:s, s:s, s:I, s:I, s:f, s:f, s:I, s:I}", "name", g->name, "state",
                      g->state, "core", (json_int_t)g->core, "vcpus", (json_int_t)g->vcpus,
                      "cpu_percent", rows[i].cpu, "exits_per_second", rows[i].exits, "memory",
                      (json_int_t)g->memory, "restarts", (json_int_t)g->restarts);

        if (rows[i].host)
            (void)json_object_set_new(row, "host", json_string(rows[i].host));
        (void)json_array_append_new(list, row);
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
            if (keys[i].key == key && t->shown) {
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

/* *w becomes lost or gets a new sample. EXIT_OK, or it has complained. */
static int look_at(struct top *t, struct watched *w)
{
    struct top_sample *next = w->samples;
    int rc;

    while (next == w->host.now || next == w->host.before)
        next++;
    t->lost = false;
    rc = look(t, &w->api, next);
    w->host.lost = t->lost;
    if (t->lost || rc != EXIT_OK)
        return t->lost ? EXIT_OK : rc;
    w->host.before = w->host.now;
    w->host.now = next;
    return EXIT_OK;
}

/* While its management guest restarts, the last page of a single appliance stays. */
static int look_again(struct top *t)
{
    int rc = EXIT_OK;

    if (t->count > 1) {
        t->patient = true;
        for (unsigned i = 0; i < t->count && rc == EXIT_OK && !term_stopped(); i++)
            rc = look_at(t, &t->hosts[i]);
        t->lost = false;
        return rc;
    }
    do {
        t->patient = t->seen_ms && clock_ms() < t->seen_ms + t->delay_ms + PATIENCE_S * 1000;
        rc = look_at(t, &t->hosts[0]);
        if (t->lost)
            say_lost(t);
    } while (t->lost && wait(t, clock_ms() + AGAIN_MS));
    if (!t->lost)
        t->seen_ms = clock_ms();
    return rc;
}

static int run(struct top *t)
{
    bool json = options_have(t->options, OPTION_JSON);
    int rc = look_again(t);

    while (rc == EXIT_OK && t->left > 0 && wait(t, clock_ms() + t->delay_ms)) {
        rc = look_again(t);
        if (t->lost)
            break; /* the user has quit in the meantime */
        if (rc == EXIT_OK)
            rc = json ? show_json(t) : show(t);
        t->shown = true;
        t->left -= t->left != UINT64_MAX;
    }
    return rc;
}

/* ---- which appliances ---- */

static int add_host(struct top *t, const char *name, size_t n)
{
    if (t->count == TOP_HOSTS_MAX || n >= URL_MAX)
        return complain(EXIT_USAGE, "top shows at most %u appliances", TOP_HOSTS_MAX);
    (void)snprintf(t->names[t->count], URL_MAX, "%.*s", (int)n, name);
    t->count++;
    return EXIT_OK;
}

static int find_all(struct top *t)
{
    json_t *all = contexts_load(), *c;
    size_t i;
    int rc = all ? EXIT_OK : EXIT_USAGE;

    json_array_foreach(json_object_get(all, "contexts"), i, c)
    {
        if (rc == EXIT_OK)
            rc = add_host(t, text_of(c, "name"), strlen(text_of(c, "name")));
    }
    json_decref(all);
    if (rc == EXIT_OK && !t->count)
        rc = complain(EXIT_USAGE, "--all: there are no contexts");
    return rc;
}

/* By --host A,B or --all; else the one that every command has. */
static int find_hosts(struct top *t)
{
    const char *list = t->options->value[OPTION_HOST];
    int rc = EXIT_OK;

    if (options_have(t->options, OPTION_ALL))
        return list ? complain(EXIT_USAGE, "--all and --host exclude each other") : find_all(t);
    while (list && *list && rc == EXIT_OK) {
        size_t n = strcspn(list, ",");

        if (n)
            rc = add_host(t, list, n);
        list += n + (list[n] != 0);
    }
    return rc;
}

static int open_hosts(struct top *t)
{
    bool several;
    int rc = find_hosts(t);

    several = t->count > 1;
    if (rc == EXIT_OK && !t->count)
        t->count = 1;
    for (unsigned i = 0; i < t->count && rc == EXIT_OK; i++) {
        struct watched *w = &t->hosts[i];

        w->options = *t->options;
        if (t->names[i][0])
            w->options.value[OPTION_HOST] = t->names[i];
        rc = api_open(&w->api, &w->options);
        if (several) {
            w->host.name = t->names[i];
            w->api.limit_ms = LIMIT_MS;
        }
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

static int watch(struct top *t)
{
    int rc;

    term_catch();
    if (t->left == UINT64_MAX && isatty(STDOUT_FILENO) && !options_have(t->options, OPTION_JSON))
        t->live = term_raw(true);
    if (t->left == UINT64_MAX && !t->live)
        t->left = 1;
    if (t->live)
        term_page_begin();
    rc = run(t);
    term_restore();
    return rc;
}

int command_top(struct api *a)
{
    static struct top t;
    int rc;

    t = (struct top){.options = a->options, .key = TOP_CPU, .left = UINT64_MAX};
    rc = read_options(&t, a->options);
    if (rc == EXIT_OK)
        rc = open_hosts(&t);
    if (rc == EXIT_OK)
        rc = watch(&t);
    for (unsigned i = 0; i < t.count; i++)
        api_close(&t.hosts[i].api);
    return rc;
}
