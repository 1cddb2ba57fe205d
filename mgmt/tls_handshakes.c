#include "mgmt/tls_handshakes.h"

#include "altcp_tls_mbedtls_structs.h"
#include "lwip/opt.h"
#include "mgmt/connection.h"
#include "mgmt/port.h"
#include "mgmt/server.h"
#include "mgmt/tls.h"

/* How long a client may be silent, and how long all of it may take. */
#define SILENT_MS         10000u
#define ALL_MS            20000u
/* A client that is silent for this long gives its place to the next, if none is free. */
#define FAIR_MS           2000u
/* Nobody shall wait longer for others: more than can be computed in that time are refused at once.
 */
#define QUEUE_MS          6000u
/* A first message and what comes with it: a record has at most 16 KiB. */
#define HELD_MAX          16u /* buffers */
/* After a step, others get this part of its time: so they are heard, and refused, while it lasts.
 */
#define REST_SHIFT        5
#define POLL_HALF_SECONDS 2

static struct handshake {
    struct altcp_pcb *pcb; /* NULL: free */
    /* TLS's own receiver, which computes; before it comes our queue. */
    altcp_recv_fn compute;
    struct pbuf *held;        /* what has arrived and is not computed yet */
    bool has_ended;           /* behind that, the client's end */
    bool begun;               /* it has been computed once */
    bool refused;             /* done, but no connection is free */
    uint32_t accepted, since; /* since: of the client's last word */
} handshakes[TLS_HANDSHAKES_MAX];

static struct api_tls *counters;
/* What the first step of a handshake takes here, which is by far the longest: a mean. */
static uint32_t cost_ms;
static uint32_t rest_until;

static void forget(struct handshake *h)
{
    if (h->held)
        pbuf_free(h->held);
    *h = (struct handshake){0};
}

static void detach(struct altcp_pcb *pcb)
{
    altcp_arg(pcb, NULL);
    altcp_recv(pcb, NULL);
    altcp_err(pcb, NULL);
    altcp_poll(pcb, NULL, 0);
    pcb->connected = NULL;
}

static void on_error(void *arg, err_t err)
{
    struct handshake *h = arg;

    (void)err;
    if (!h->refused)
        counters->handshake_failures++;
    /* After a failure its last words are still on their way: not at others' expense. */
    altcp_setprio(h->pcb, TCP_PRIO_MIN);
    forget(h); /* lwIP has freed the pcb, or is about to */
}

static void drop(struct handshake *h)
{
    struct altcp_pcb *pcb = h->pcb;

    detach(pcb);
    counters->handshake_failures++;
    forget(h);
    altcp_abort(pcb);
}

/* Does it wait for its client, not for us? */
static bool is_waiting(const struct handshake *h)
{
    return !h->held && !h->has_ended;
}

static bool is_late(const struct handshake *h, uint32_t now)
{
    return (is_waiting(h) && now - h->since > SILENT_MS) || now - h->accepted > ALL_MS;
}

static err_t on_poll(void *arg, struct altcp_pcb *pcb)
{
    struct handshake *h = arg;

    (void)pcb;
    if (h->refused || !is_late(h, port_ms()))
        return ERR_OK;
    drop(h);
    return ERR_ABRT;
}

/* Discards data for a refused connection. */
static err_t on_recv(void *arg, struct altcp_pcb *pcb, struct pbuf *p, err_t err)
{
    (void)arg;
    (void)err;
    if (p) {
        altcp_recved(pcb, p->tot_len);
        pbuf_free(p);
    }
    return ERR_OK;
}

/* TLS's connection to TCP gets what arrives directly from now on. */
static void leave_queue(const struct handshake *h)
{
    if (h->pcb->inner_conn)
        altcp_recv(h->pcb->inner_conn, h->compute);
}

/* The handshake is done; altcp_tls calls this for a server too. The connection must not be closed
 * here. */
static err_t on_connected(void *arg, struct altcp_pcb *pcb, err_t err)
{
    struct handshake *h = arg;

    (void)err;
    counters->handshakes++;
    pcb->connected = NULL;
    leave_queue(h);
    if (server_adopt(pcb, true))
        forget(h);
    else
        h->refused = true;
    return ERR_OK;
}

static struct handshake *find(const struct altcp_pcb *pcb)
{
    for (struct handshake *h = handshakes; h < handshakes + TLS_HANDSHAKES_MAX; h++)
        if (h->pcb == pcb)
            return h;
    return NULL;
}

/* From TCP: keeps what arrives until its turn comes. */
static err_t on_bytes(void *arg, struct altcp_pcb *inner, struct pbuf *p, err_t err)
{
    struct handshake *h = find(arg);

    (void)inner;
    (void)err;
    if (!h) { /* it is about to be closed */
        if (p)
            pbuf_free(p);
        return ERR_OK;
    }
    h->since = port_ms();
    if (!p) {
        h->has_ended = true;
        return ERR_OK;
    }
    if (h->held)
        pbuf_cat(h->held, p);
    else
        h->held = p;
    if (pbuf_clen(h->held) <= HELD_MAX)
        return ERR_OK;
    drop(h);
    return ERR_ABRT;
}

/* ---- which ones ---- */

/* How many first steps can be computed in the time that a client may wait. */
static uint32_t queue_limit(void)
{
    uint32_t n = cost_ms ? QUEUE_MS / cost_ms : TLS_HANDSHAKES_MAX;

    return n ? n : 1;
}

static uint32_t queue_length(void)
{
    uint32_t n = 0;

    for (struct handshake *h = handshakes; h < handshakes + TLS_HANDSHAKES_MAX; h++)
        n += h->pcb && !h->begun;
    return n;
}

/* The place for a client, whose owner may have to leave it; NULL: none. */
static struct handshake *find_place(void)
{
    struct handshake *place = NULL;
    uint32_t now = port_ms();
    bool full = queue_length() >= queue_limit();

    for (struct handshake *h = handshakes; h < handshakes + TLS_HANDSHAKES_MAX; h++)
        if (!h->pcb && !full)
            return h;
    for (struct handshake *h = handshakes; h < handshakes + TLS_HANDSHAKES_MAX; h++)
        if (h->pcb && !h->refused && is_waiting(h) && now - h->since > FAIR_MS &&
            (!place || now - h->since > now - place->since))
            place = h;
    return place;
}

err_t tls_handshakes_accept(void *arg, struct altcp_pcb *pcb, err_t err)
{
    struct handshake *h = find_place();

    (void)arg;
    (void)err;
    if (!h) {
        counters->handshake_failures++;
        altcp_abort(pcb);
        return ERR_ABRT;
    }
    if (h->pcb)
        drop(h);
    *h = (struct handshake){.pcb = pcb, .accepted = port_ms(), .since = port_ms()};
    h->compute = pcb->inner_conn->recv;
    altcp_recv(pcb->inner_conn, on_bytes);
    altcp_arg(pcb, h);
    altcp_recv(pcb, on_recv);
    altcp_err(pcb, on_error);
    altcp_poll(pcb, on_poll, POLL_HALF_SECONDS);
    altcp_nagle_disable(pcb);
    pcb->connected = on_connected;
    return ERR_OK;
}

/* Those that have begun go first: what they still need is short. Among others, the oldest. */
static bool is_before(const struct handshake *a, const struct handshake *b)
{
    return a->begun != b->begun ? a->begun : (int32_t)(a->since - b->since) < 0;
}

static struct handshake *next(void)
{
    struct handshake *found = NULL;

    for (struct handshake *h = handshakes; h < handshakes + TLS_HANDSHAKES_MAX; h++)
        if (h->pcb && !h->refused && !is_waiting(h) && (!found || is_before(h, found)))
            found = h;
    return found;
}

/* ---- steps ---- */

static void drop_newest(void)
{
    struct handshake *newest = NULL;

    for (struct handshake *h = handshakes; h < handshakes + TLS_HANDSHAKES_MAX; h++)
        if (h->pcb && !h->begun && (!newest || (int32_t)(h->accepted - newest->accepted) >= 0))
            newest = h;
    if (newest)
        drop(newest);
}

/* If it takes longer than was known when the queue was filled, its end is refused now. */
static void learn_cost(uint32_t ms)
{
    cost_ms = cost_ms ? (3 * cost_ms + ms) / 4 : ms;
    while (queue_length() > queue_limit())
        drop_newest();
}

static void compute(struct handshake *h)
{
    struct altcp_pcb *pcb = h->pcb, *inner = pcb->inner_conn;
    struct pbuf *held = h->held;
    bool first = !h->begun;
    uint32_t begun = port_ms(), took;

    h->begun = true;
    h->held = NULL;
    if (h->has_ended && held) /* altcp_tls knows how to keep an end behind bytes */
        ((altcp_mbedtls_state_t *)pcb->state)->flags |= ALTCP_MBEDTLS_FLAGS_RX_CLOSE_QUEUED;
    h->has_ended = false;
    /* It frees them, and may end the connection: then the place is free. */
    (void)h->compute(pcb, inner, held, ERR_OK);
    if (h->pcb == pcb)
        h->since = port_ms();
    took = port_ms() - begun;
    rest_until = port_ms() + (took >> REST_SHIFT);
    if (first && held)
        learn_cost(took);
}

static void refuse(struct handshake *h)
{
    struct altcp_pcb *pcb = h->pcb;

    forget(h);
    detach(pcb);
    server_refuse(pcb);
    tls_close_notify(pcb);
    (void)connection_close(pcb);
}

bool tls_handshakes_poll(void)
{
    struct handshake *h = next();

    if (h && (int32_t)(port_ms() - rest_until) >= 0)
        compute(h);
    for (h = handshakes; h < handshakes + TLS_HANDSHAKES_MAX; h++)
        if (h->pcb && h->refused)
            refuse(h);
    return next() && (int32_t)(port_ms() - rest_until) >= 0;
}

void tls_handshakes_start(struct api_tls *c)
{
    counters = c;
}
