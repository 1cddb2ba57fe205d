/* Byte rings: the hypervisor's log, and the guests' consoles in both directions. */
#include "hv/lib.h"
#include "mgmt/api_call.h"
#include "mgmt/log_lines.h"
#include "mgmt/ring.h"

/* For one request at a time: as much as a ring holds, and the same as lines with the time of day.
 */
static uint8_t bytes[ABI_LOG_RING_SIZE];
static char told[3u * ABI_LOG_RING_SIZE];
_Static_assert(ABI_LOG_RING_SIZE >= ABI_CONSOLE_RING_SIZE, "any ring fits");

static void get_ring(struct call *c, const struct abi_ring *r, bool text_by_default, bool timed)
{
    const uint8_t *text = bytes;
    struct json_out *j;
    uint64_t from = 0;
    size_t n, used;

    if (!call_query_u64(c, "from", &from))
        return;
    if (text_by_default && !call_query(c, "format"))
        c->text = true;
    n = used = ring_copy(r, &from, bytes, sizeof(bytes));
    if (timed) {
        n = log_tell(c->v->clock, c->v->host, bytes, n, &used, told, sizeof(told));
        text = (const uint8_t *)told;
    }
    c->out->has_next = true;
    c->out->next = from + used;
    j = call_begin(c);
    if (c->text) {
        json_raw(j, (const char *)text, n);
        return;
    }
    json_object(j, NULL);
    json_u64(j, "from", from);
    json_u64(j, "next", from + used);
    json_bytes(j, "text", text, n);
    json_end(j);
}

/* What is new from s->next on, which stays unchanged. If the writer was faster the stream ends:
 * otherwise the client would take text with a gap for complete. */
static size_t read_on(const struct abi_ring *r, struct api_stream *s, uint8_t *buf, size_t size)
{
    uint64_t from = s->next;
    size_t n = s->over ? 0 : ring_copy(r, &from, buf, size);

    if (from == s->next)
        return n;
    s->over = true;
    return 0;
}

static size_t more_log(const struct api_view *v, struct api_stream *s, char *buf, size_t size)
{
    size_t n = read_on(v->log, s, (uint8_t *)buf, size);

    s->next += n;
    return n;
}

static size_t more_timed_log(const struct api_view *v, struct api_stream *s, char *buf, size_t size)
{
    size_t n = read_on(v->log, s, bytes, sizeof(bytes)), used;

    n = log_tell(v->clock, v->host, bytes, n, &used, buf, size);
    s->next += used;
    return n;
}

static size_t more_console(const struct api_view *v, struct api_stream *s, char *buf, size_t size)
{
    const struct abi_guest *g = v->guest(s->guest);
    size_t n;

    /* It is deleted, or its number already belongs to another guest. */
    if (!g || g->state == ABI_GUEST_EMPTY || strcmp(g->config.name, s->name) != 0)
        s->over = true;
    n = read_on(v->console(s->guest), s, (uint8_t *)buf, size);
    s->next += n;
    return n;
}

/* ?follow=1: streams what is written. True: the stream is the answer, or the call has failed. */
static bool follows(struct call *c, const struct abi_ring *r,
                    size_t (*more)(const struct api_view *v, struct api_stream *s, char *buf,
                                   size_t size),
                    unsigned guest, const char *name)
{
    bool follow = false;
    uint64_t from = 0;

    if (!call_query_bool(c, "follow", &follow))
        return true;
    if (!follow)
        return false;
    if (!call_query_u64(c, "from", &from))
        return true;
    from = ring_begin(r, from);
    call_stream(c, "text/plain; charset=utf-8", more, from, guest);
    (void)str_copy(c->out->stream.name, sizeof(c->out->stream.name), name);
    c->out->has_next = true; /* for a stream: where it begins */
    c->out->next = from;
    return true;
}

void get_log(struct call *c, char *const *arg)
{
    bool timed = false;

    (void)arg;
    if (!call_query_bool(c, "time", &timed))
        return;
    timed &= clock_is_known(c->v->clock, c->v->host);
    if (!follows(c, c->v->log, timed ? more_timed_log : more_log, 0, ""))
        get_ring(c, c->v->log, false, timed);
}

void get_console(struct call *c, char *const *arg)
{
    struct abi_guest g;
    int number = call_guest(c, arg[0], &g);
    const struct abi_ring *r;

    if (number < 0)
        return;
    r = c->v->console((unsigned)number);
    if (!follows(c, r, more_console, (unsigned)number, g.config.name))
        get_ring(c, r, true, false);
}

void post_console(struct call *c, char *const *arg)
{
    struct json_out *j;
    struct abi_guest g;
    int number = call_guest(c, arg[0], &g);
    int64_t taken;

    if (number < 0)
        return;
    taken = c->v->type((unsigned)number, c->r->body, c->r->body_len);
    if (taken < 0) {
        call_fail(c, 409, "the guest is not running, or has no UART or console");
        return;
    }
    j = call_begin(c);
    json_object(j, NULL);
    json_u64(j, "accepted", (uint64_t)taken);
    json_end(j);
}
