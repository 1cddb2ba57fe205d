#include "mgmt/server.h"

#include "hv/fmt.h"
#include "lwip/altcp_tcp.h"
#include "mgmt/connection.h"
#include "mgmt/listen.h"
#include "mgmt/port.h"
#include "mgmt/tls.h"
#include "mgmt/terminal.h"
#include "mgmt/upload.h"

#include <string.h>

#define PORT              80u
#define POLL_HALF_SECONDS 2
/* For one request to arrive whole, and for a client to take its answer; between two requests. */
#define REQUEST_MS        10000u
#define IDLE_MS           30000u
#define WAIT_MS           1000u
#define DELETION_MS       20000u /* of large memory in a little time */
/* After a refusal in the middle of a body: what is still on its way is thrown away, so that the
 * answer is not lost with a reset connection. */
#define LINGER_MS         2000u

/* Streams are looked at four times a second, and leave room for other clients. */
#define STREAMS_MAX       8u
#define KEEP_ALIVE_MS     15000u
#define CHUNK_HEAD        8u /* "00000a\r\n" */
#define CHUNK_MAX         (32u << 10)

static struct connection connections[SERVER_CONNECTIONS];
static const struct api_view *view;

static void advance(struct connection *c);

void connection_enter(struct connection *c, enum phase p)
{
    c->phase = p;
    c->since = port_ms();
}

static void release(struct connection *c)
{
    if (c->pending)
        pbuf_free(c->pending);
    upload_abort(&c->upload);
    c->pending = NULL;
    if (c->upgraded)
        terminal_free(&c->terminal);
    c->upgraded = false;
    c->pcb = NULL;
    c->phase = PHASE_FREE;
}

static void detach(struct altcp_pcb *pcb)
{
    altcp_arg(pcb, NULL);
    altcp_recv(pcb, NULL);
    altcp_sent(pcb, NULL);
    altcp_err(pcb, NULL);
    altcp_poll(pcb, NULL, 0);
}

/* ERR_ABRT when the connection had to be aborted: lwIP's callbacks must then say so. */
static err_t finish(struct connection *c)
{
    struct altcp_pcb *pcb = c->pcb;

    detach(pcb);
    if (c->tls)
        tls_close_notify(pcb);
    release(c);
    if (altcp_close(pcb) == ERR_OK)
        return ERR_OK;
    altcp_abort(pcb);
    return ERR_ABRT;
}

static uint32_t patience(const struct api_response *r)
{
    return r->wait == API_WAIT_GONE ? DELETION_MS : WAIT_MS;
}

static unsigned count_streams(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < SERVER_CONNECTIONS; i++)
        n += (connections[i].phase == PHASE_SENDING || connections[i].phase == PHASE_STREAMING) &&
             connection_is_stream(&connections[i].response);
    return n;
}

static bool upgrade(struct connection *c)
{
    unsigned guest = c->response.stream.guest;

    return terminal_open(&c->terminal, view, guest, view->guest(guest)->name);
}

static void answer(struct connection *c, bool waited, bool timed_out)
{
    if (connection_is_shut_out(c)) {
        connection_answer_without_api(c);
        return;
    }
    api_handle(view, &c->request, c->body, sizeof(c->body), &c->response, waited, timed_out);
    if (connection_is_stream(&c->response) && count_streams() >= STREAMS_MAX)
        api_error(&c->response, c->body, sizeof(c->body), false, 503, "8 streams are open");
    c->upgraded = c->response.upgrade && upgrade(c);
    if (c->response.upgrade && !c->upgraded)
        api_error(&c->response, c->body, sizeof(c->body), false, 503, "no memory for a terminal");
    if (c->response.wait)
        connection_enter(c, PHASE_WAITING);
    else
        connection_send(c);
}

static void go_on(struct connection *c)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

    /* Where there is no room for it the client goes on by itself after a while. */
    if (altcp_write(c->pcb, text, sizeof(text) - 1, 0) != ERR_OK)
        return;
    c->interim = c->tls ? 0 : sizeof(text) - 1;
    (void)altcp_output(c->pcb);
}

/* `n` bytes of pending's first buffer have been used; the client may send more when all have. */
static void use_pending(struct connection *c, size_t n)
{
    struct pbuf *p = c->pending;

    c->used = (u16_t)(c->used + n);
    if (c->used < p->len)
        return;
    c->pending = p->next;
    if (c->pending)
        pbuf_ref(c->pending);
    altcp_recved(c->pcb, p->len);
    pbuf_free(p);
    c->used = 0;
}

/* Feeds what has been received to the parser until a request is complete. */
static void parse_pending(struct connection *c)
{
    while (c->phase == PHASE_READING && c->pending) {
        struct pbuf *p = c->pending;
        size_t n =
            http_feed(&c->request, (const char *)p->payload + c->used, (size_t)(p->len - c->used));

        if (!c->started || c->request.streaming)
            connection_enter(c, PHASE_READING); /* an upload lasts as long as it goes on */
        c->started = true;
        use_pending(c, n);
        if (c->request.state == HTTP_READY) {
            c->close = !c->request.keep_alive;
            answer(c, false, false);
        } else if (c->request.state == HTTP_BAD) {
            connection_refuse_request(c);
        } else if (!c->pending && http_take_continue(&c->request)) {
            go_on(c);
        }
    }
}

/* The same for a terminal, that takes what it has room for. */
static void feed_terminal(struct connection *c)
{
    while (c->pending) {
        const struct pbuf *p = c->pending;
        size_t left = (size_t)(p->len - c->used);
        size_t n = terminal_feed(&c->terminal, (const uint8_t *)p->payload + c->used, left);

        use_pending(c, n);
        if (n < left)
            break;
    }
    if (c->ended && !c->pending)
        terminal_hang_up(&c->terminal);
}

static void advance(struct connection *c)
{
    if (c->upgraded)
        feed_terminal(c);
    else
        parse_pending(c);
}

/* The next frames; a client that says nothing for long is asked whether it is there. */
static size_t next_frames(struct connection *c, char *buf, size_t size)
{
    size_t n = terminal_write(&c->terminal, buf, size);

    if (n || port_ms() - c->since <= KEEP_ALIVE_MS)
        return n;
    terminal_ping(&c->terminal);
    return terminal_write(&c->terminal, buf, size);
}

/* What is new goes out once the last part is acknowledged. */
static void stream(struct connection *c)
{
    struct api_stream *s = &c->response.stream;
    size_t n = c->upgraded ? next_frames(c, c->body + CHUNK_HEAD, CHUNK_MAX)
                           : s->more(view, s, c->body + CHUNK_HEAD, CHUNK_MAX);

    if (n == 0 && s->sse && port_ms() - c->since > KEEP_ALIVE_MS)
        n = fmt(c->body + CHUNK_HEAD, CHUNK_MAX, ":\n\n");
    if (n == 0)
        return;
    c->head_len = 0;
    c->content = c->body + CHUNK_HEAD;
    if (c->chunked) {
        char head[CHUNK_HEAD + 1];

        (void)fmt(head, sizeof(head), "%06zx\r\n", n);
        memcpy(c->body, head, CHUNK_HEAD);
        memcpy(c->body + CHUNK_HEAD + n, "\r\n", 2);
        c->content = c->body;
        n = CHUNK_HEAD + n + 2;
    }
    connection_begin_sending(c, n);
}

static err_t linger(struct connection *c)
{
    if (c->pending) {
        altcp_recved(c->pcb, (u16_t)(c->pending->tot_len - c->used));
        pbuf_free(c->pending);
        c->pending = NULL;
    }
    /* Below TLS it must not be shut: altcp_tls takes it for granted that what it says can go out.
     */
    if (c->tls)
        tls_close_notify(c->pcb);
    else if (altcp_shutdown(c->pcb, 0, 1) != ERR_OK)
        return finish(c);
    connection_enter(c, PHASE_LINGERING);
    return ERR_OK;
}

/* Whether all of the answer has left our buffers. TLS copies what it is given, and does not say how
 * much of it was acknowledged. */
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
    if (c->upgraded || (c->response.stream.more && c->request.method != HTTP_HEAD && !c->ended)) {
        connection_enter(c, PHASE_STREAMING);
        stream(c);
        return ERR_OK;
    }
    if (c->close && c->request.state == HTTP_BAD && !c->ended)
        return linger(c);
    if (c->close)
        return finish(c);
    http_next(&c->request);
    c->started = false;
    connection_enter(c, PHASE_READING);
    advance(c);
    return c->phase == PHASE_READING && c->ended ? finish(c) : ERR_OK;
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
    if (!p) { /* what it has asked for until now is still answered */
        c->ended = true;
        c->since = port_ms();
        if (c->upgraded)
            advance(c);
        return c->phase == PHASE_READING || c->phase == PHASE_LINGERING ||
                       (c->phase == PHASE_STREAMING && !c->upgraded)
                   ? finish(c)
                   : ERR_OK;
    }
    if (c->pending)
        pbuf_cat(c->pending, p);
    else
        c->pending = p;
    advance(c);
    return ERR_OK;
}

static void on_error(void *arg, err_t err)
{
    (void)err;
    release(arg); /* lwIP has freed the pcb */
}

static err_t on_poll(void *arg, struct altcp_pcb *pcb)
{
    struct connection *c = arg;
    uint32_t age = port_ms() - c->since;

    (void)pcb;
    switch (c->phase) {
    case PHASE_READING:
        if (c->started && age > REQUEST_MS)
            connection_refuse(c, 408, "the request did not arrive within 10 seconds");
        else if (!c->started && age > IDLE_MS)
            return finish(c);
        break;
    case PHASE_SENDING:
        if (age > REQUEST_MS) {
            detach(c->pcb);
            altcp_abort(c->pcb);
            release(c);
            return ERR_ABRT;
        }
        connection_push(c);
        break;
    case PHASE_LINGERING:
        if (age > LINGER_MS)
            return finish(c);
        break;
    default:
        break;
    }
    return ERR_OK;
}

static struct connection *free_connection(void)
{
    for (unsigned i = 0; i < SERVER_CONNECTIONS; i++)
        if (connections[i].phase == PHASE_FREE)
            return &connections[i];
    return NULL;
}

/* Who slows whom down: one IPv4 address, or the upper half of an IPv6 one. */
static uint64_t client_of(const ip_addr_t *ip)
{
    if (IP_IS_V6(ip))
        return (uint64_t)ip_2_ip6(ip)->addr[1] << 32 | ip_2_ip6(ip)->addr[0];
    return ip_2_ip4(ip)->addr;
}

void server_refuse(struct altcp_pcb *pcb)
{
    static const char busy[] =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        "Content-Length: 92\r\nConnection: close\r\n\r\n"
        "{\"error\":{\"status\":503,\"reason\":\"Service Unavailable\","
        "\"message\":\"16 connections are open\"}}\n";

    (void)altcp_write(pcb, busy, sizeof(busy) - 1, 0);
}

bool server_adopt(struct altcp_pcb *pcb, bool tls)
{
    struct connection *c = free_connection();

    if (!c)
        return false;
    c->pcb = pcb;
    c->pending = NULL;
    c->used = 0;
    c->tls = tls;
    c->close = c->started = c->ended = false;
    c->interim = 0;
    c->view = view;
    c->upload.view = view;
    c->upload.active = false;
    http_init(&c->request, connection_is_shut_out(c) ? NULL : &upload_sink, &c->upload);
    c->request.client = client_of(altcp_get_ip(pcb, 0));
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
        (void)altcp_close(pcb);
    }
    return ERR_OK;
}

void server_poll(void)
{
    for (unsigned i = 0; i < SERVER_CONNECTIONS; i++) {
        struct connection *c = &connections[i];

        if (c->upgraded)
            advance(c);
        if (c->phase == PHASE_STREAMING)
            stream(c);
        if (c->upgraded && c->phase == PHASE_STREAMING &&
            terminal_is_over(&c->terminal, port_ms() - c->since > REQUEST_MS))
            (void)finish(c);
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
    if (v->host->management.http == ABI_HTTP_OFF)
        return;
    pcb = altcp_tcp_new_ip_type(IPADDR_TYPE_ANY);
    if (!pcb || altcp_bind(pcb, IP_ANY_TYPE, PORT) != ERR_OK)
        mgmt_die("no TCP port");
    if (!listen_start(pcb, on_accept))
        mgmt_die("no memory to listen");
}
