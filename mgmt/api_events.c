/* GET /v1/events: what happens to guests, as server-sent events (WHATWG HTML, "Server-sent
 * events"). */
#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/actors.h"
#include "mgmt/api_call.h"
#include "mgmt/explain.h"
#include "mgmt/json.h"

#define EVENT_TEXT_MAX 896u /* per event; names and reasons are bounded */

/* The first event still kept with a sequence of at least `from`. */
static bool find_event(const struct api_view *v, uint64_t from, struct abi_event *out)
{
    const struct abi_events *all = v->events;
    uint64_t newest = explain_newest(v);

    if (newest > ABI_EVENTS && from <= newest - ABI_EVENTS)
        from = newest - ABI_EVENTS + 1;
    for (from = max_u64(from, 1); from <= newest; from++) {
        const struct abi_event *e = &all->ring[(from - 1) % ABI_EVENTS];

        if (__atomic_load_n(&e->sequence, __ATOMIC_ACQUIRE) != from)
            continue; /* overwritten in the meantime */
        memcpy(out, e, sizeof(*out));
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (__atomic_load_n(&e->sequence, __ATOMIC_RELAXED) != from)
            continue;
        explain_event(v, out);
        return true;
    }
    return false;
}

static void put_event(struct json_out *j, const struct api_view *v, const struct abi_event *e)
{
    const struct abi_host *h = v->host;
    char time[CLOCK_TEXT];
    uint64_t ran = e->tsc > h->boot_tsc ? e->tsc - h->boot_tsc : 0;

    json_object(j, NULL);
    json_u64(j, "id", e->sequence);
    json_u64(j, "uptime_ms", h->tsc_hz >= 1000 ? ran / (h->tsc_hz / 1000) : 0);
    clock_text(time, clock_us(v->clock, h, e->tsc));
    json_str(j, "time", time);
    json_str(j, "guest", e->name);
    json_str(j, "state", guest_state_name(e->state));
    json_str(j, "why", e->why);
    json_u64(j, "restarts", e->restarts);
    actors_put(j, v, e);
    json_end(j);
}

static size_t more_events(const struct api_view *v, struct api_stream *s, char *buf, size_t size)
{
    struct abi_event e;
    size_t n = 0;

    while (size - n > EVENT_TEXT_MAX && find_event(v, s->next, &e)) {
        struct json_out j;

        n += fmt(buf + n, size - n, "id: %lu\nevent: state\ndata: ", e.sequence);
        json_begin(&j, buf + n, size - n - 1, false);
        put_event(&j, v, &e); /* ends with a newline; the empty line ends the event */
        n += j.len;
        buf[n++] = '\n';
        s->next = e.sequence + 1;
    }
    return n;
}

static void list_events(struct call *c, uint64_t from)
{
    struct json_out *j = call_begin(c);
    struct abi_event e;

    json_object(j, NULL);
    json_array(j, "events");
    for (; find_event(c->v, from, &e); from = e.sequence + 1)
        put_event(j, c->v, &e);
    json_end(j);
    json_end(j);
}

/* A sequence beyond the next event's belongs to another boot. */
static uint64_t begin_at(const struct abi_events *all, uint64_t from)
{
    uint64_t newest = __atomic_load_n(&all->newest, __ATOMIC_ACQUIRE);

    return from > newest + 1 ? 1 : from;
}

void get_events(struct call *c, char *const *arg)
{
    uint64_t from = 1, last;
    bool follow = true;

    (void)arg;
    if (parse_u64(c->r->last_event_id, &last))
        from = last + 1;
    if (!call_query_u64(c, "from", &from) || !call_query_bool(c, "follow", &follow))
        return;
    from = begin_at(c->v->events, from);
    if (!follow) {
        list_events(c, from);
        return;
    }
    call_stream(c, "text/event-stream", more_events, from, 0);
    c->out->stream.sse = true;
}
