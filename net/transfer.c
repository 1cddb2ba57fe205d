#include "net/transfer.h"

#include "hv/lib.h"
#include "net/segment.h"

enum { IDLE, PLAIN, WHOLE, CUT };

/* Most frames are finished: they do not set up what the others need. */
#define RARE __attribute__((noinline))

/* What a receiver is told: made new of what was checked, and nothing else. `g` NULL: not a segment.
 */
static struct net_offload told(const struct net_offload *o, const struct net_segment *g)
{
    struct net_offload t = {.flags = NET_NEEDS_CSUM,
                            .csum_start = o->csum_start,
                            .csum_offset = o->csum_offset,
                            .num_buffers = 1};

    if (g) {
        t.gso_type = o->gso_type;
        t.gso_size = o->gso_size;
        t.header_len = g->payload;
    }
    return t;
}

/* The checksum is completed in a step of its own. */
static RARE enum net_drop begin_partial(struct vswitch *s, unsigned port, uint8_t *frame,
                                        size_t len, const struct net_offload *o, uint64_t now,
                                        struct net_transfer *t)
{
    const struct net_offload with = told(o, NULL);

    if (segment_is_partial(frame, len, o) && (switch_takes(s, port, frame) & NET_TAKES_CSUM))
        return switch_input_partial(s, port, frame, len, &with, now);
    if (!segment_complete(frame, len, o))
        return NET_DROP_MALFORMED;
    t->state = PLAIN;
    return NET_PASSED;
}

static RARE enum net_drop begin_segment(struct vswitch *s, unsigned port, const uint8_t *frame,
                                        size_t len, const struct net_offload *o, uint64_t now,
                                        struct net_transfer *t)
{
    struct switch_port *p;
    enum net_drop why;

    if (len > NET_SEGMENT_MAX || !segment_take(frame, len, o, &t->segment))
        return NET_DROP_MALFORMED;
    why = switch_aim(s, port, frame, len, now, &t->port, &t->life);
    if (why)
        return why;
    p = switch_hold(s, t->port, t->life);
    if (!p)
        return NET_PASSED; /* it has just gone */
    t->whole = NULL;
    if (p->offloads && !(net_needed(o) & ~p->offloads->takes(p->ctx)))
        t->whole = p->offloads->borrow(p->ctx);
    switch_let_go(p);
    t->state = t->whole ? WHOLE : CUT;
    t->done = 0;
    return NET_PASSED;
}

/* False: that was the last step. */
static bool copy_some(const struct switch_port *p, const uint8_t *frame, size_t len,
                      const struct net_offload *o, struct net_transfer *t)
{
    const struct net_offload with = told(o, &t->segment);
    size_t n = min_u64(len - t->done, TRANSFER_STEP);

    memcpy(t->whole + t->done, frame + t->done, n);
    t->done += n;
    if (t->done < len)
        return true;
    p->offloads->give(p->ctx, t->whole, len, &with);
    return false;
}

static bool cut_one(const struct switch_port *p, const uint8_t *frame, size_t len,
                    const struct net_offload *o, struct net_transfer *t)
{
    size_t n = segment_cut(frame, len, &t->segment, o->gso_size, t->done++, t->scratch);

    if (n)
        p->deliver(p->ctx, t->scratch, n, NULL);
    return n && t->segment.payload + t->done * o->gso_size < len;
}

static RARE void go_on(struct vswitch *s, const uint8_t *frame, size_t len,
                       const struct net_offload *o, struct net_transfer *t)
{
    /* If the receiver has gone, so has its memory. */
    struct switch_port *p = switch_hold(s, t->port, t->life);
    bool more =
        p && (t->state == WHOLE ? copy_some(p, frame, len, o, t) : cut_one(p, frame, len, o, t));

    if (p)
        switch_let_go(p);
    if (!more)
        t->state = IDLE;
}

enum net_drop transfer_step(struct vswitch *s, unsigned port, uint8_t *frame, size_t len,
                            const struct net_offload *o, uint64_t now, struct net_transfer *t)
{
    switch (t->state) {
    case IDLE:
        if (o->gso_type != NET_GSO_NONE)
            return begin_segment(s, port, frame, len, o, now, t);
        if (o->flags & NET_NEEDS_CSUM)
            return begin_partial(s, port, frame, len, o, now, t);
        return switch_input(s, port, frame, len, now);
    case PLAIN:
        t->state = IDLE;
        return switch_input(s, port, frame, len, now);
    default:
        go_on(s, frame, len, o, t);
        return NET_PASSED;
    }
}

void transfer_cancel(struct vswitch *s, struct net_transfer *t)
{
    struct switch_port *p = t->state == WHOLE ? switch_hold(s, t->port, t->life) : NULL;

    if (p) {
        p->offloads->give(p->ctx, t->whole, 0, NULL);
        switch_let_go(p);
    }
    t->state = IDLE;
}
