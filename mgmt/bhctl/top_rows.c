#include "mgmt/bhctl/top_rows.h"

#include "mgmt/bhctl/format.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const key_names[TOP_KEYS] = {"cpu", "exits", "memory", "name"};

bool top_key_named(const char *name, enum top_key *key)
{
    for (unsigned i = 0; i < TOP_KEYS; i++) {
        *key = i;
        if (strcmp(key_names[i], name) == 0)
            return true;
    }
    return false;
}

static uint64_t since(uint64_t before, uint64_t now)
{
    return now >= before ? now - before : now;
}

static const struct top_guest *find(const struct top_sample *s, const struct top_guest *g)
{
    for (unsigned i = 0; s && i < s->guest_count; i++)
        if (strcmp(s->guests[i].name, g->name) == 0)
            return &s->guests[i];
    return NULL;
}

unsigned top_compare(const struct top_sample *before, const struct top_sample *now,
                     struct top_row rows[TOP_GUESTS_MAX])
{
    /* A clock that went back belongs to another boot. */
    if (before && before->uptime_ms > now->uptime_ms)
        before = NULL;
    for (unsigned i = 0; i < now->guest_count; i++) {
        static const struct top_guest nothing;
        const struct top_guest *g = &now->guests[i], *old = find(before, g);
        double ms = (double)(now->uptime_ms - (before ? before->uptime_ms : 0));
        double ticks = ms / 1000 * (double)now->tsc_hz;

        if (!old)
            old = &nothing;
        rows[i] = (struct top_row){.guest = g};
        if (ticks > 0) {
            rows[i].cpu = 100 * (double)since(old->run_ticks, g->run_ticks) / ticks;
            /* Run time is counted at the end of a slice, so some may be older. */
            if (rows[i].cpu > 100 * (double)g->vcpus)
                rows[i].cpu = 100 * (double)g->vcpus;
            rows[i].exits = 1000 * (double)since(old->exits, g->exits) / ms;
        }
    }
    return now->guest_count;
}

static int by_name(const void *a, const void *b)
{
    const struct top_row *x = a, *y = b;

    int order = strcmp(x->guest->name, y->guest->name);

    return order || !x->host ? order : strcmp(x->host, y->host);
}

static int descending(double x, double y, const void *a, const void *b)
{
    return x > y ? -1 : x < y ? 1 : by_name(a, b);
}

static int by_cpu(const void *a, const void *b)
{
    return descending(((const struct top_row *)a)->cpu, ((const struct top_row *)b)->cpu, a, b);
}

static int by_exits(const void *a, const void *b)
{
    return descending(((const struct top_row *)a)->exits, ((const struct top_row *)b)->exits, a, b);
}

static int by_memory(const void *a, const void *b)
{
    return descending((double)((const struct top_row *)a)->guest->memory,
                      (double)((const struct top_row *)b)->guest->memory, a, b);
}

void top_sort(struct top_row *rows, unsigned n, enum top_key key)
{
    static int (*const orders[TOP_KEYS])(const void *, const void *) = {
        [TOP_CPU] = by_cpu,
        [TOP_EXITS] = by_exits,
        [TOP_MEMORY] = by_memory,
        [TOP_NAME] = by_name,
    };

    qsort(rows, n, sizeof(*rows), orders[key]);
}

struct page {
    char *buf;
    size_t size, length;
    unsigned width, height, lines;
};

static void line(struct page *p, const char *format, ...) PRINTF(2, 3);

static void line(struct page *p, const char *format, ...)
{
    char text[512];
    va_list ap;
    size_t n;

    if (p->lines == p->height)
        return;
    p->lines++;
    va_start(ap, format);
    (void)vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    format_clean(text, "");
    n = strlen(text);
    if (p->width && n > p->width)
        n = p->width;
    while (n > 0 && text[n - 1] == ' ')
        n--;
    if (p->length + n + 2 > p->size)
        return;
    memcpy(p->buf + p->length, text, n);
    p->length += n;
    p->buf[p->length++] = '\n';
    p->buf[p->length] = 0;
}

/* At most half of a low terminal's lines: the others are for the guests. */
static void tell_cores(struct page *p, const struct top_sample *before,
                       const struct top_sample *now)
{
    char text[256];
    size_t n = 0;

    for (unsigned i = 0; i < now->core_count; i++) {
        static const struct top_core nothing;
        const struct top_core *old =
            before && i < before->core_count ? &before->cores[i] : &nothing;
        uint64_t busy = since(old->busy, now->cores[i].busy);
        uint64_t idle = since(old->idle, now->cores[i].idle);
        char load[FORMAT_MAX];

        if (n == 0 && i && p->lines >= p->height / 2) {
            line(p, "       and %u more", now->core_count - i);
            break;
        }
        format_percent(load, busy, busy + idle);
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%u %7s", n ? "   " : "cores  ", i,
                              load);
        if (i + 1 == now->core_count || i % 5 == 4) {
            line(p, "%s", text);
            n = 0;
        }
    }
}

/* "2", or "2+3" if it has three more vCPUs, wherever they are. */
static void say_place(char core[FORMAT_MAX], const struct top_guest *g)
{
    if (g->vcpus > 1)
        (void)snprintf(core, FORMAT_MAX, "%" PRIu64 "+%" PRIu64, g->core, g->vcpus - 1);
    else
        (void)snprintf(core, FORMAT_MAX, "%" PRIu64, g->core);
}

/* An appliance on its own: memory, and each core. */
static void tell_one(struct page *p, const struct top_host *h, enum top_key key)
{
    const struct top_sample *before = h->before, *now = h->now;
    char up[FORMAT_MAX], total[FORMAT_MAX], free_memory[FORMAT_MAX];

    if (before && before->uptime_ms > now->uptime_ms)
        before = NULL;
    format_seconds(up, now->uptime_ms / 1000);
    format_bytes(total, now->memory_total);
    format_bytes(free_memory, now->memory_free);
    line(p, "up %s, %s of %s free, by %s", up, free_memory, total, key_names[key]);
    tell_cores(p, before, now);
    line(p, "%s", "");
}

/* One of several: a line. */
static void tell_host(struct page *p, const struct top_host *h)
{
    char up[FORMAT_MAX], total[FORMAT_MAX], free_memory[FORMAT_MAX], load[FORMAT_MAX];
    const struct top_sample *now = h->now, *before = h->before;
    uint64_t busy = 0, idle = 0;

    if (h->lost || !now) {
        line(p, "%-16s no answer", h->name);
        return;
    }
    if (before && before->uptime_ms > now->uptime_ms)
        before = NULL;
    for (unsigned i = 0; i < now->core_count; i++) {
        bool known = before && i < before->core_count;

        busy += since(known ? before->cores[i].busy : 0, now->cores[i].busy);
        idle += since(known ? before->cores[i].idle : 0, now->cores[i].idle);
    }
    format_seconds(up, now->uptime_ms / 1000);
    format_bytes(total, now->memory_total);
    format_bytes(free_memory, now->memory_free);
    format_percent(load, busy, busy + idle);
    line(p, "%-16s up %s, %s of %s free, %u cores %s busy", h->name, up, free_memory, total,
         now->core_count, load);
}

static void tell_guest(struct page *p, const struct top_row *row)
{
    const struct top_guest *g = row->guest;
    char memory[FORMAT_MAX], core[FORMAT_MAX], host[40] = "";

    format_bytes(memory, g->memory);
    say_place(core, g);
    if (row->host)
        (void)snprintf(host, sizeof(host), "%-16s ", row->host);
    line(p, "%s%-16s %-10s %5s %8.1f %11.0f %10s %9" PRIu64, host, g->name, g->state, core,
         row->cpu, row->exits, memory, g->restarts);
}

void top_tell(char *buf, size_t size, const struct top_host *hosts, unsigned host_count,
              const struct top_row *rows, unsigned n, enum top_key key, unsigned width,
              unsigned height)
{
    struct page p = {
        .buf = buf, .size = size, .width = width, .height = height ? height : UINT32_MAX};
    bool several = hosts[0].name != NULL;

    buf[0] = 0;
    for (unsigned i = 0; i < host_count && several; i++)
        tell_host(&p, &hosts[i]);
    if (several)
        line(&p, "by %s", key_names[key]);
    else
        tell_one(&p, &hosts[0], key);
    line(&p, "%s%-16s %-10s %5s %8s %11s %10s %9s", several ? "HOST             " : "", "GUEST",
         "STATE", "CORE", "CPU %", "EXITS/S", "MEMORY", "RESTARTS");
    for (unsigned i = 0; i < n; i++)
        tell_guest(&p, &rows[i]);
}
