#include "mgmt/server.h"

#include "lwip/altcp_tcp.h"
#include "lwip/netif.h"
#include "mgmt/answer.h"
#include "mgmt/connection.h"
#include "mgmt/listen.h"
#include "mgmt/places.h"
#include "mgmt/port.h"
#include "mgmt/route.h"
#include "mgmt/tls.h"

#define PORT              80u
#define POLL_HALF_SECONDS 2
/* The time for one request to arrive completely, and for a client to take its answer; between two
 * requests. */
#define REQUEST_MS        CONNECTION_MS
#define IDLE_MS           30000u
#define WAIT_MS           1000u
#define UNPACKING_MS      60000u /* a large kernel in an emulator */
#define DELETION_MS       20000u /* clearing large memory with little CPU time */
/* After a refusal in the middle of a body, what is still on its way is discarded, so that the
 * answer is not lost with a reset connection. */
#define LINGER_MS         2000u

/* A client without a token gets its answer within this time, or not at all. */
#define TOKENLESS_MS      30000u
/* A record that TLS cannot read stays in the queue. */
#define UNREAD_POLLS      3u

static const struct api_view *view;

static uint32_t patience(const struct api_response *r)
{
    return r->wait == API_WAIT_UNPACKED ? UNPACKING_MS
           : r->wait == API_WAIT_GONE   ? DELETION_MS
                                        : WAIT_MS;
}

static void go_on(struct connection *c)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

    /* If there is no room for it, the client continues by itself after a while. */
    if (altcp_write(c->pcb, text, sizeof(text) - 1, 0) != ERR_OK)
        return;
    c->interim = c->tls ? 0 : sizeof(text) - 1;
    (void)altcp_output(c->pcb);
}

static void feed(struct connection *c)
{
    struct pbuf *p = c->pending;
    size_t n =
        http_feed(&c->request, (const char *)p->payload + c->used, (size_t)(p->len - c->used));

    if (!c->started)
        c->begun = port_ms();
    if (!c->started || c->request.streaming)
        connection_enter(c, PHASE_READING); /* an upload lasts while it progresses */
    c->started = true;
    connection_use(c, n);
}

/* Answers to what only looks are collected. What changes something may take long: the answers
 * before it go out first. */
static bool is_next(struct connection *c)
{
    bool look = c->request.method == HTTP_GET || c->request.method == HTTP_HEAD;

    return look || !connection_flush(c);
}

/* Feeds received data to the parser until a request is complete and its answer on its way. */
static void parse_pending(struct connection *c)
{
    while (c->phase == PHASE_READING && (c->pending || c->request.state == HTTP_READY)) {
        if (c->request.state != HTTP_READY)
            feed(c);
        if (c->request.state == HTTP_READY && is_next(c)) {
            c->close = !c->request.keep_alive;
            answer(c, false, false);
        } else if (c->request.state == HTTP_BAD) {
            connection_refuse_request(c);
        }
    }
    if (c->phase == PHASE_READING && !connection_flush(c) && http_take_continue(&c->request))
        go_on(c);
}

static void advance(struct connection *c)
{
    if (c->upgraded)
        answer_feed_terminal(c);
    else
        parse_pending(c);
}

static err_t linger(struct connection *c)
{
    if (c->pending)
        altcp_recved(c->pcb, (u16_t)(c->pending->tot_len - c->used));
    places_drop_all(c);
    /* Not below TLS: altcp_tls takes it for granted that it can still send. */
    if (c->tls)
        tls_close_notify(c->pcb);
    else if (altcp_shutdown(c->pcb, 0, 1) != ERR_OK)
        return places_finish(c);
    connection_enter(c, PHASE_LINGERING);
    return ERR_OK;
}

/* Has the whole answer left our buffers? TLS copies its input: then it has left once TCP has the
 * records. */
static bool is_sent(const struct connection *c)
{
    size_t total = c->head_len + c->body_len;

    return c->tls ? c->queued == total && tls_unsent(c->pcb) == 0 : c->acked == total;
}

static err_t on_sent(void *arg, struct altcp_pcb *pcb, u16_t len)
{
    struct connection *c = arg;
    u16_t interim = len < c->interim ? len : c->interim;

    (void)pcb;
    c->interim = (u16_t)(c->interim - interim);
    if (c->phase != PHASE_SENDING)
        return ERR_OK;
    c->acked += (u16_t)(len - interim);
    c->since = port_ms();
    if (!is_sent(c)) {
        connection_push(c);
        return ERR_OK;
    }
    c->head_len = 0;
    if (!c->owed &&
        (c->upgraded || (c->response.stream.more && c->request.method != HTTP_HEAD && !c->ended))) {
        connection_enter(c, PHASE_STREAMING);
        return answer_go_on(c);
    }
    if (!c->owed && c->close)
        return c->request.state == HTTP_BAD && !c->ended ? linger(c) : places_finish(c);
    if (c->owed)
        connection_enter(c, PHASE_READING);
    else
        connection_next(c);
    c->owed = false;
    advance(c);
    return c->phase == PHASE_READING && c->ended ? places_finish(c) : ERR_OK;
}

static err_t on_recv(void *arg, struct altcp_pcb *pcb, struct pbuf *p, err_t err)
{
    struct connection *c = arg;

    (void)pcb;
    (void)err;
    if (p && c->phase == PHASE_LINGERING) {
        altcp_recved(c->pcb, p->tot_len);
        pbuf_free(p);
        return ERR_OK;
    }
    if (!p) { /* everything requested so far is still answered */
        c->ended = true;
        c->since = port_ms();
        if (c->upgraded)
            advance(c);
        return c->phase == PHASE_READING || c->phase == PHASE_LINGERING ||
                       (c->phase == PHASE_STREAMING && !c->upgraded)
                   ? places_finish(c)
                   : ERR_OK;
    }
    places_hold(c, p);
    advance(c);
    return places_shed() == c ? ERR_ABRT : ERR_OK;
}

static void on_error(void *arg, err_t err)
{
    (void)err;
    places_release(arg); /* lwIP has freed the pcb */
}

/* The client takes its answer too slowly, or not at all. */
static bool is_stuck(const struct connection *c, uint32_t now)
{
    return now - c->since > REQUEST_MS || (int32_t)(now - c->until) > 0 ||
           (!c->known && now - c->begun > TOKENLESS_MS);
}

/* After an unreadable record altcp_tls continues as if nothing had happened. */
static bool is_broken(struct connection *c)
{
    c->unread = c->tls && tls_unread(c->pcb) ? (uint8_t)(c->unread + 1) : 0;
    return c->unread >= UNREAD_POLLS;
}

static err_t on_poll(void *arg, struct altcp_pcb *pcb)
{
    struct connection *c = arg;
    uint32_t now = port_ms(), age = now - c->since;

    (void)pcb;
    if (is_broken(c) || (c->phase == PHASE_SENDING && is_stuck(c, now))) {
        places_cut(c);
        return ERR_ABRT;
    }
    if (c->phase == PHASE_SENDING)
        connection_push(c);
    else if (c->phase == PHASE_READING && c->started && age > REQUEST_MS)
        connection_refuse(c, 408, "the request did not arrive within 10 seconds");
    else if ((c->phase == PHASE_READING && !c->started && age > IDLE_MS) ||
             (c->phase == PHASE_LINGERING && age > LINGER_MS))
        return places_finish(c);
    return ERR_OK;
}

/* In our own network an address is a host; elsewhere half an address is a network. */
static bool is_near(const ip6_addr_t *ip)
{
    for (unsigned i = 0; i < LWIP_IPV6_NUM_ADDRESSES; i++)
        if (ip6_addr_isvalid(netif_ip6_addr_state(netif_default, i)) &&
            ip6_addr_netcmp_zoneless(ip, netif_ip6_addr(netif_default, i)))
            return true;
    return ip6_addr_islinklocal(ip);
}

static struct auth_address client_of(const ip_addr_t *ip)
{
    const ip6_addr_t *six = ip_2_ip6(ip);

    if (!IP_IS_V6(ip))
        return auth_ipv4(ip_2_ip4(ip)->addr);
    return (struct auth_address){.high = (uint64_t)six->addr[1] << 32 | six->addr[0],
                                 .low = is_near(six) ? (uint64_t)six->addr[3] << 32 | six->addr[2]
                                                     : 0};
}

static void take_client(struct http_request *r, const ip_addr_t *ip)
{
    r->client = client_of(ip);
    if (IP_IS_V6(ip))
        address_ipv6(r->from, (const uint8_t *)ip_2_ip6(ip)->addr);
    else
        address_ipv4(r->from, (const uint8_t *)&ip_2_ip4(ip)->addr);
}

void server_refuse(struct altcp_pcb *pcb)
{
    static const char busy[] =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        "Content-Length: 92\r\n" CONNECTION_SAFE_FIELDS "Connection: close\r\n\r\n"
        "{\"error\":{\"status\":503,\"reason\":\"Service Unavailable\","
        "\"message\":\"16 connections are open\"}}\n";

    (void)altcp_write(pcb, busy, sizeof(busy) - 1, 0);
}

bool server_adopt(struct altcp_pcb *pcb, bool tls)
{
    struct connection *c = places_take();

    if (!c)
        return false;
    c->pcb = pcb;
    c->tls = tls;
    c->close = c->started = c->ended = c->known = c->owed = false;
    c->head_len = 0;
    c->role = ROLE_NONE;
    c->interim = 0;
    c->unread = 0;
    c->begun = port_ms();
    c->view = view;
    c->upload.view = view;
    c->upload.active = false;
    http_init(&c->request, connection_is_shut_out(c) ? NULL : &upload_sink, &c->upload);
    take_client(&c->request, altcp_get_ip(pcb, 0));
    connection_enter(c, PHASE_READING);
    altcp_arg(pcb, c);
    altcp_recv(pcb, on_recv);
    altcp_sent(pcb, on_sent);
    altcp_err(pcb, on_error);
    altcp_poll(pcb, on_poll, POLL_HALF_SECONDS);
    altcp_nagle_disable(pcb);
    return true;
}

static err_t on_accept(void *arg, struct altcp_pcb *pcb, err_t err)
{
    (void)arg;
    (void)err;
    if (!server_adopt(pcb, false)) {
        server_refuse(pcb);
        return connection_close(pcb);
    }
    return ERR_OK;
}

void server_starved(void)
{
    places_starved();
}

void server_poll(void)
{
    struct connection *all = places_all();

    audit_poll(view->audit, route_ms(view), view->note);
    for (struct connection *c = all; c < all + SERVER_CONNECTIONS; c++) {
        if (c->upgraded)
            advance(c);
        if (c->phase == PHASE_STREAMING)
            (void)answer_go_on(c);
        if (c->upgraded && c->phase == PHASE_STREAMING &&
            terminal_is_over(&c->terminal, port_ms() - c->since > REQUEST_MS))
            (void)places_finish(c);
        if (c->phase != PHASE_WAITING)
            continue;
        if (api_ready(view, &c->response))
            answer(c, true, false);
        else if (port_ms() - c->since > patience(&c->response))
            answer(c, true, true);
    }
}

void server_start(const struct api_view *v)
{
    struct altcp_pcb *pcb;

    view = v;
    if (v->config->management.service.http == PORT80_OFF)
        return;
    pcb = altcp_tcp_new_ip_type(IPADDR_TYPE_ANY);
    if (!pcb || altcp_bind(pcb, IP_ANY_TYPE, PORT) != ERR_OK)
        mgmt_die("no TCP port");
    if (!listen_start(pcb, on_accept))
        mgmt_die("no memory to listen");
}
