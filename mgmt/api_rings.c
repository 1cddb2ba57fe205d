/* Byte rings: the hypervisor's log, and the guests' consoles in both directions. */
#include "hv/lib.h"
#include "mgmt/api_call.h"
#include "mgmt/ring.h"

static void get_ring(struct call *c, const struct abi_ring *r, bool text_by_default)
{
    static uint8_t bytes[ABI_LOG_RING_SIZE];
    struct json_out *j;
    char value[8];
    uint64_t from = 0;
    size_t n;

    if (!call_query_u64(c, "from", &from))
        return;
    if (text_by_default && !(call_query(c, "format", value, sizeof(value))))
        c->text = true;
    n = ring_copy(r, &from, bytes, sizeof(bytes));
    c->out->has_next = true;
    c->out->next = from + n;
    j = call_begin(c);
    if (c->text) {
        json_raw(j, (const char *)bytes, n);
        return;
    }
    json_object(j, NULL);
    json_u64(j, "from", from);
    json_u64(j, "next", from + n);
    json_bytes(j, "text", bytes, n);
    json_end(j);
}

static size_t more_of(const struct abi_ring *r, struct api_stream *s, char *buf, size_t size)
{
    size_t n = ring_copy(r, &s->next, (uint8_t *)buf, size);

    s->next += n;
    return n;
}

static size_t more_log(const struct api_view *v, struct api_stream *s, char *buf, size_t size)
{
    return more_of(v->log, s, buf, size);
}

static size_t more_console(const struct api_view *v, struct api_stream *s, char *buf, size_t size)
{
    return more_of(v->console(s->guest), s, buf, size);
}

/* ?follow=1: what comes, as it comes. True: that is the answer, or the call has failed. */
static bool follows(struct call *c,
                    size_t (*more)(const struct api_view *v, struct api_stream *s, char *buf,
                                   size_t size),
                    unsigned guest)
{
    bool follow = false;
    uint64_t from = 0;

    if (!call_query_bool(c, "follow", &follow))
        return true;
    if (!follow)
        return false;
    if (call_query_u64(c, "from", &from))
        call_stream(c, "text/plain; charset=utf-8", more, from, guest);
    return true;
}

void get_log(struct call *c, char *const *arg)
{
    (void)arg;
    if (!follows(c, more_log, 0))
        get_ring(c, c->v->log, false);
}

void get_console(struct call *c, char *const *arg)
{
    struct abi_guest g;
    int number = call_guest(c, arg[0], &g);

    if (number >= 0 && !follows(c, more_console, (unsigned)number))
        get_ring(c, c->v->console((unsigned)number), true);
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
        call_fail(c, 409, "the guest is not running, or has no UART");
        return;
    }
    j = call_begin(c);
    json_object(j, NULL);
    json_u64(j, "accepted", (uint64_t)taken);
    json_end(j);
}
