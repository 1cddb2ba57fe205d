#include "mgmt/listen.h"

#include "hv/types.h"
#include "lwip/priv/altcp_priv.h"
#include "lwip/priv/tcp_priv.h"
#include "mgmt/include/lwip_hooks.h"

/* If lwIP has no room for a new connection, it drops the oldest one below the new one's priority:
 * half-open ones and those that we have closed, never one in use. So a SYN flood costs connections
 * in use nothing, and there is no backlog to fill. */
#define HALF_OPEN_PRIORITY    TCP_PRIO_MIN
#define NEW_PRIORITY          (TCP_PRIO_MIN + 1)

/* A client that vanished silently is noticed after half a minute. */
#define KEEPALIVE_IDLE_MS     15000u
#define KEEPALIVE_INTERVAL_MS 5000u
#define KEEPALIVE_PROBES      3u

#define OPTION_END            0u
#define OPTION_NONE           1u
#define OPTION_MSS            2u
#define MSS_LENGTH            4u
#define NO_MSS                UINT16_MAX

_Static_assert(MEMP_NUM_TCP_PCB_LISTEN >= 2, "HTTP and HTTPS");

static tcp_accept_fn altcp_takes; /* altcp's own, which it does not export */

static err_t on_syn(u8_t id, struct tcp_pcb_listen *listener, struct tcp_pcb *pcb)
{
    (void)id;
    (void)listener;
    pcb->prio = HALF_OPEN_PRIORITY;
    return ERR_OK;
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
    /* lwIP calls this if it has no room for a connection. altcp would allocate a pcb for it, which
     * would leak. */
    if (!pcb)
        return ERR_MEM;
    tcp_setprio(pcb, TCP_PRIO_NORMAL);
    ip_set_option(pcb, SOF_KEEPALIVE);
    pcb->keep_idle = KEEPALIVE_IDLE_MS;
    pcb->keep_intvl = KEEPALIVE_INTERVAL_MS;
    pcb->keep_cnt = KEEPALIVE_PROBES;
    return altcp_takes(arg, pcb, err);
}

struct altcp_pcb *listen_start(struct altcp_pcb *pcb, altcp_accept_fn accept)
{
    static const struct tcp_ext_arg_callbacks callbacks = {.passive_open = on_syn};
    static bool has_id;
    static u8_t id;
    struct altcp_pcb *listening = altcp_listen(pcb), *lowest = listening;
    struct tcp_pcb_listen *tcp;

    if (!listening)
        return NULL;
    if (!has_id)
        id = tcp_ext_arg_alloc_id();
    has_id = true;
    while (lowest->inner_conn)
        lowest = lowest->inner_conn;
    tcp = lowest->state;
    altcp_takes = tcp->accept;
    tcp_accept((struct tcp_pcb *)tcp, on_accept);
    tcp_setprio((struct tcp_pcb *)tcp, NEW_PRIORITY);
    tcp_ext_arg_set_callbacks((struct tcp_pcb *)tcp, id, &callbacks);
    altcp_accept(listening, accept);
    return listening;
}

/* The options of a segment, possibly split over two places. */
struct options {
    const u8_t *first, *rest;
    u16_t first_len, len;
};

static u8_t option_byte(const struct options *o, u16_t i)
{
    return i < o->first_len || !o->rest ? o->first[i] : o->rest[i - o->first_len];
}

/* The smallest segment size in the options, as lwIP reads them: the last one counts there. NO_MSS:
 * none; 0: these are not valid options (lwIP would read on behind them). */
static u16_t find_mss(const struct options *o)
{
    u16_t least = NO_MSS;

    for (u16_t i = 0; i < o->len;) {
        u8_t kind = option_byte(o, i), n;
        u16_t mss;

        if (kind == OPTION_END)
            break;
        if (kind == OPTION_NONE) {
            i++;
            continue;
        }
        n = i + 1 < o->len ? option_byte(o, (u16_t)(i + 1)) : 0;
        if (n < 2 || i + n > o->len)
            return 0;
        if (kind == OPTION_MSS && n == MSS_LENGTH) {
            mss = (u16_t)(option_byte(o, (u16_t)(i + 2)) << 8 | option_byte(o, (u16_t)(i + 3)));
            least = LWIP_MIN(least, mss);
        }
        i = (u16_t)(i + n);
    }
    return least;
}

/* ---- the position of a segment ---- */

/* Bytes of sequence space from `from` to `to`; negative: `to` is before it. */
static int32_t distance(u32_t from, u32_t to)
{
    return (int32_t)(to - from);
}

bool listen_is_near(const struct listen_place *p, u32_t seqno, u16_t data, bool fin)
{
    u32_t end = seqno + data;
    int32_t from_next = distance(p->next, seqno), past_edge;

    if (from_next < -LISTEN_FAR || from_next > LISTEN_FAR)
        return false;
    /* Nothing in it is new: lwIP takes its acknowledgement, and acknowledges again what has come. A
     * client that has ended the connection repeats its end until we acknowledge it. */
    if (distance(end + fin, p->next) >= 0)
        return true;
    /* Nothing fits a closed window: a probe of it is answered, and not taken. */
    past_edge = distance(p->next + p->window, end + fin);
    if (p->window && data + fin > 0 && past_edge > 0 && distance(p->next, end + fin) > 0)
        return false;
    /* There is only one end, and nothing behind it. */
    if (p->has_fin && (distance(p->fin, end) > 0 || (fin && end != p->fin)))
        return false;
    return !fin || distance(end, p->queued) <= 0;
}

static struct listen_place place_of(const struct tcp_pcb *pcb)
{
    struct listen_place p = {.next = pcb->rcv_nxt, .window = pcb->rcv_wnd, .queued = pcb->rcv_nxt};

    for (const struct tcp_seg *s = pcb->ooseq; s; s = s->next) {
        p.queued = s->tcphdr->seqno + s->len;
        if (TCPH_FLAGS(s->tcphdr) & TCP_FIN) {
            p.has_fin = true;
            p.fin = p.queued;
        }
    }
    return p;
}

/* lwIP asserts what follows from a segment's numbers, and compares them so that two that are half
 * the sequence space apart are both before and after each other. So lwIP only gets segments around
 * the window that the client can have meant. Segments that start or reset a connection are compared
 * with one number only. */
static bool is_in_place(const struct tcp_pcb *pcb, const struct tcp_hdr *h, u16_t data)
{
    u8_t flags = TCPH_FLAGS(h);
    struct listen_place p;

    if (pcb->state == LISTEN || pcb->state == TIME_WAIT || flags & TCP_RST)
        return true;
    if (flags & TCP_SYN)
        return !(flags & TCP_ACK) || pcb->state != SYN_RCVD;
    p = place_of(pcb);
    return listen_is_near(&p, h->seqno, data, flags & TCP_FIN);
}

/* lwIP obeys this option in every segment, and takes a window that is closed at first for an open
 * one. Queued data must fit a segment (lwIP asserts it), and TLS handshake messages must fit the
 * queue (see tls.c). So the size is only accepted at the beginning, and must not be tiny. */
err_t listen_check(const struct tcp_pcb *pcb, const struct tcp_hdr *h, u16_t len, u16_t first_len,
                   const u8_t *rest, u16_t data)
{
    const struct options o = {(const u8_t *)(h + 1), rest, first_len, len};
    bool begins = (TCPH_FLAGS(h) & TCP_SYN) && !(TCPH_FLAGS(h) & TCP_ACK);
    u16_t mss;

    if (begins && (pcb->state == LISTEN || pcb->state == SYN_RCVD) && h->wnd < 2 * LISTEN_MSS_LEAST)
        return ERR_VAL;
    if (!is_in_place(pcb, h, data))
        return ERR_VAL;
    if (len == 0)
        return ERR_OK;
    mss = find_mss(&o);
    return mss == NO_MSS || (begins && mss >= LISTEN_MSS_LEAST) ? ERR_OK : ERR_VAL;
}

void listen_before_timers(void)
{
    for (struct tcp_pcb *pcb = tcp_active_pcbs; pcb; pcb = pcb->next) {
        if (!pcb->persist_backoff || (pcb->unsent && !pcb->unacked))
            continue;
        pcb->persist_backoff = 0;
        if (pcb->unacked && pcb->rtime < 0)
            pcb->rtime = 0;
    }
}
