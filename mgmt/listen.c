#include "mgmt/listen.h"

#include "hv/types.h"
#include "lwip/priv/altcp_priv.h"
#include "lwip/priv/tcp_priv.h"
#include "mgmt/include/lwip_hooks.h"

/* When lwIP has no place for a new connection it gives up the oldest of those below the new one's
 * priority: half-open ones and those that we have closed, never one in use. So a flood of SYNs
 * costs none of them anything, and there is no backlog that it could fill. */
#define HALF_OPEN_PRIORITY    TCP_PRIO_MIN
#define NEW_PRIORITY          (TCP_PRIO_MIN + 1)

/* Who has gone without a word is missed after half a minute. */
#define KEEPALIVE_IDLE_MS     15000u
#define KEEPALIVE_INTERVAL_MS 5000u
#define KEEPALIVE_PROBES      3u

#define OPTION_END            0u
#define OPTION_NONE           1u
#define OPTION_MSS            2u
#define MSS_LENGTH            4u
#define NO_MSS                UINT16_MAX

_Static_assert(MEMP_NUM_TCP_PCB_LISTEN >= 2, "HTTP and HTTPS");

static tcp_accept_fn altcp_takes; /* altcp's own, which it shows to nobody */

static err_t on_syn(u8_t id, struct tcp_pcb_listen *listener, struct tcp_pcb *pcb)
{
    (void)id;
    (void)listener;
    pcb->prio = HALF_OPEN_PRIORITY;
    return ERR_OK;
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
    /* lwIP says so when it has no place for a connection. altcp would make a pcb of its own for
     * it, which nobody would free. */
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

/* The options of a segment, which may be in two places. */
struct options {
    const u8_t *first, *rest;
    u16_t first_len, len;
};

static u8_t option_byte(const struct options *o, u16_t i)
{
    return i < o->first_len || !o->rest ? o->first[i] : o->rest[i - o->first_len];
}

/* The least size of a segment that the options say, as lwIP reads them: the last one counts there.
 * NO_MSS: none. */
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
            break;
        if (kind == OPTION_MSS && n == MSS_LENGTH) {
            mss = (u16_t)(option_byte(o, (u16_t)(i + 2)) << 8 | option_byte(o, (u16_t)(i + 3)));
            least = LWIP_MIN(least, mss);
        }
        i = (u16_t)(i + n);
    }
    return least;
}

/* lwIP obeys this option in every segment, and takes a window that is closed at first for an open
 * one. What is queued already must fit a segment (lwIP asserts it); and what a TLS handshake says
 * must fit the queue (see tls.c). So the size is said once, at the beginning, and is not tiny. */
err_t listen_check(const struct tcp_pcb *pcb, const struct tcp_hdr *h, u16_t len, u16_t first_len,
                   const u8_t *rest)
{
    const struct options o = {(const u8_t *)(h + 1), rest, first_len, len};
    bool begins = (TCPH_FLAGS(h) & TCP_SYN) && !(TCPH_FLAGS(h) & TCP_ACK);
    u16_t mss;

    if (begins && (pcb->state == LISTEN || pcb->state == SYN_RCVD) && h->wnd < 2 * LISTEN_MSS_LEAST)
        return ERR_VAL;
    if (len == 0)
        return ERR_OK;
    mss = find_mss(&o);
    return mss == NO_MSS || (begins && mss >= LISTEN_MSS_LEAST) ? ERR_OK : ERR_VAL;
}
