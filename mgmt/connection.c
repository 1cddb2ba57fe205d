#include "mgmt/connection.h"

#include "hv/fmt.h"
#include "lwip/tcpbase.h"
#include "mgmt/places.h"
#include "mgmt/port.h"
#include "mgmt/tls.h"

#include <string.h>

void connection_enter(struct connection *c, enum phase p)
{
    c->phase = p;
    c->since = port_ms();
}

void connection_use(struct connection *c, size_t n)
{
    u16_t len = c->pending->len;

    c->used = (u16_t)(c->used + n);
    if (c->used < len)
        return;
    altcp_recved(c->pcb, len);
    places_drop_first(c);
}

err_t connection_close(struct altcp_pcb *pcb)
{
    /* lwIP waits 25 minutes for a vanished client: this is the first to go when it needs the place.
     */
    altcp_setprio(pcb, TCP_PRIO_MIN);
    if (altcp_close(pcb) == ERR_OK)
        return ERR_OK;
    altcp_abort(pcb);
    return ERR_ABRT;
}

/* Queues at most `n` bytes and returns how many. Small segments may need more of lwIP's queue than
 * it has: then it takes less. TLS records are taken whole, later. */
static size_t queue(struct connection *c, const char *from, size_t n, bool more)
{
    for (; n > 0; n = c->tls ? 0 : n / 2, more = true)
        if (altcp_write(c->pcb, from, (u16_t)n, more ? TCP_WRITE_FLAG_MORE : 0) == ERR_OK)
            return n;
    return 0;
}

void connection_push(struct connection *c)
{
    size_t total = c->head_len + c->body_len;

    while (c->queued < total) {
        bool head = c->queued < c->head_len;
        const char *from = head ? c->head + c->queued : c->content + (c->queued - c->head_len);
        size_t n = head ? c->head_len - c->queued : total - c->queued;

        if (n > altcp_sndbuf(c->pcb))
            n = altcp_sndbuf(c->pcb);
        if (n > UINT16_MAX)
            n = UINT16_MAX;
        n = queue(c, from, n, c->queued + n < total);
        if (n == 0)
            break; /* tried again after the next acknowledgement, and from altcp_poll */
        c->queued += n;
    }
    (void)altcp_output(c->pcb);
}

static void count_answer(const struct api_view *view, unsigned status)
{
    for (unsigned i = 0; i < API_STATUSES_MAX; i++) {
        struct api_answered *a = &view->answered[i];

        if (a->status == 0)
            a->status = status;
        if (a->status == status) {
            a->count++;
            return;
        }
    }
}

void connection_begin_sending(struct connection *c, size_t body_len)
{
    c->body_len = body_len;
    c->queued = c->acked = 0;
    connection_enter(c, PHASE_SENDING);
    /* At least a byte per millisecond: a dump of 256 KiB has four minutes. */
    c->until = c->since + CONNECTION_MS + (uint32_t)(c->head_len + body_len);
    connection_push(c);
}

bool connection_is_stream(const struct api_response *r)
{
    return r->stream.more || r->upgrade;
}

/* ---- heads: most of the cost of a small answer, so without formats ---- */

static void add_bytes(struct connection *c, const char *bytes, size_t n)
{
    size_t room = sizeof(c->head) - c->head_len;

    n = n < room ? n : room;
    memcpy(c->head + c->head_len, bytes, n);
    c->head_len += n;
}

/* Inlined, so that the compiler knows a literal's length. */
static ALWAYS_INLINE void add(struct connection *c, const char *text)
{
    add_bytes(c, text, __builtin_strlen(text));
}

/* `name` with its colon. */
static ALWAYS_INLINE void add_field(struct connection *c, const char *name, const char *value)
{
    add(c, name);
    add(c, value);
    add(c, "\r\n");
}

static ALWAYS_INLINE void add_digits(struct connection *c, const char *name, uint64_t value)
{
    char text[20];

    add(c, name);
    add_bytes(c, text, (size_t)(fmt_digits(text, value, 1, ' ') - text));
}

static ALWAYS_INLINE void add_number(struct connection *c, const char *name, uint64_t value)
{
    add_digits(c, name, value);
    add(c, "\r\n");
}

/* For files: clients revalidate them each time, and get them only after an update. The page may
 * load only what this server has, and no site may put it into a frame. */
static void add_file_fields(struct connection *c, const struct api_response *r)
{
    add(c, "Cache-Control: no-cache\r\nETag: \"");
    add(c, r->etag);
    add(c,
        "\"\r\nContent-Security-Policy: default-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'\r\n");
    if (r->encoding)
        add_field(c, "Content-Encoding: ", r->encoding);
}

/* RFC 9110, section 6.6.1: only with a clock that has been set. The text of a second is kept. */
static void add_date(struct connection *c)
{
    static char text[CLOCK_HTTP];
    static uint64_t second;
    const struct api_view *v = c->view;
    uint64_t now;

    if (!clock_is_known(v->clock, v->host))
        return;
    now = clock_us(v->clock, v->host, v->tsc()) / 1000000;
    if (now != second || !text[0]) {
        clock_http(text, now);
        second = now;
    }
    add_field(c, "Date: ", text);
}

/* RFC 6797 "HTTP Strict Transport Security", half a year. Not with the certificate that we made:
 * browsers would then lock out users who trust it by hand. */
static void add_common_fields(struct connection *c)
{
    add_date(c);
    add(c, CONNECTION_SAFE_FIELDS);
    if (c->tls && tls_is_configured())
        add(c, "Strict-Transport-Security: max-age=15768000\r\n");
}

static void add_upgrade(struct connection *c)
{
    char fields[160];

    (void)websocket_put_fields(&c->request.websocket, fields, sizeof(fields));
    add(c, fields);
    add(c, "Connection: Upgrade\r\n");
}

/* Fields that only some answers have. */
static void add_rare_fields(struct connection *c, const struct api_response *r)
{
    if (r->status == 426)
        add(c, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");
    if (r->challenge)
        add(c, "WWW-Authenticate: Bearer realm=\"bulkhead\"\r\n");
    if (r->retry_s)
        add_number(c, "Retry-After: ", r->retry_s);
    if (r->status == 415)
        add(c, "Accept-Encoding: identity\r\n");
    if (r->allow[0])
        add_field(c, "Allow: ", r->allow);
    if (r->location[0])
        add_field(c, "Location: ", r->location);
    if (r->has_next)
        add_number(c, "Bulkhead-Next: ", r->next);
}

/* In HTTP/1.1 a connection is kept unless this says otherwise. */
static void add_connection(struct connection *c, const struct api_response *r)
{
    if (r->status == 426)
        add(c, c->close ? "Connection: Upgrade, close\r\n" : "Connection: Upgrade\r\n");
    else if (c->close)
        add(c, "Connection: close\r\n");
    else if (c->request.parser.http_minor == 0)
        add(c, "Connection: keep-alive\r\n");
}

static void put_head(struct connection *c, const struct api_response *r, size_t len)
{
    add_digits(c, "HTTP/1.1 ", r->status);
    add_field(c, " ", http_reason(r->status));
    add_common_fields(c);
    if (r->upgrade) {
        add_upgrade(c);
    } else {
        add_field(c, "Content-Type: ", r->type);
        if (c->chunked)
            add(c, "Transfer-Encoding: chunked\r\n");
        else if (!r->stream.more && r->status != 204)
            add_number(c, "Content-Length: ", len);
        if (r->file)
            add_file_fields(c, r);
        else
            add(c, "Cache-Control: no-store\r\n");
        add_rare_fields(c, r);
        add_connection(c, r);
    }
    add(c, "\r\n");
}

bool connection_flush(struct connection *c)
{
    if (c->head_len == 0)
        return false;
    c->owed = true;
    connection_begin_sending(c, 0);
    return true;
}

void connection_next(struct connection *c)
{
    http_next(&c->request);
    c->started = false;
    connection_enter(c, PHASE_READING);
}

/* Further requests are here, and there is room for the answer to the next one. */
static bool may_collect(const struct connection *c)
{
    return c->phase == PHASE_READING && c->pending && !c->close &&
           c->head_len + HEAD_ROOM <= HEAD_SIZE;
}

void connection_send(struct connection *c)
{
    struct api_response *r = &c->response;
    size_t len = r->file ? r->file_len : r->body.len;
    bool whole = !connection_is_stream(r);

    if (r->stream.more)
        c->close = true;
    c->chunked = r->stream.more && c->request.parser.http_minor >= 1;
    put_head(c, r, len);
    count_answer(c->view, r->status);
    c->content = r->file ? r->file : c->body;
    if (c->request.method == HTTP_HEAD || r->status == 304)
        len = 0;
    /* In one piece, which costs one record of TLS. */
    if (whole && len <= HEAD_SIZE - c->head_len) {
        add_bytes(c, c->content, len);
        len = 0;
    }
    if (whole && len == 0 && may_collect(c))
        connection_next(c);
    else
        connection_begin_sending(c, len);
}

/* The length of a name or address as it may appear in a URL, without the port. */
static size_t host_length(const char *host)
{
    size_t n = 0;

    if (host[0] == '[') {
        while (host[n] && host[n] != ']')
            n++;
        return host[n] ? n + 1 : 0;
    }
    while ((host[n] >= '0' && host[n] <= '9') ||
           ((host[n] | 0x20) >= 'a' && (host[n] | 0x20) <= 'z') || host[n] == '.' || host[n] == '-')
        n++;
    return host[n] == 0 || host[n] == ':' ? n : 0;
}

static void redirect(struct connection *c)
{
    const struct http_request *r = &c->request;
    unsigned https_port = c->view->config->management.service.https_port;
    char port[8] = "";
    const char *target = r->target[0] == '/' ? r->target : "/";
    size_t n = host_length(r->host);

    if (n == 0) {
        api_error(&c->response, c->body, sizeof(c->body), false, 400,
                  "HTTPS only, and Host does not say where");
        connection_send(c);
        return;
    }
    if (https_port && https_port != 443)
        (void)fmt(port, sizeof(port), ":%u", https_port);
    memset(&c->response, 0, sizeof(c->response));
    c->head_len += fmt(c->head + c->head_len, HEAD_ROOM,
                       "HTTP/1.1 308 %s\r\nLocation: https://%.*s%s%s\r\nContent-Length: 0\r\n"
                       "Cache-Control: no-store\r\n",
                       http_reason(308), (int)n, r->host, port, target);
    add_common_fields(c);
    add_connection(c, &c->response);
    add(c, "\r\n");
    count_answer(c->view, 308);
    connection_begin_sending(c, 0);
}

/* The answer is the same for every request on this connection. */
bool connection_is_shut_out(const struct connection *c)
{
    return tls_refusal() ||
           (!c->tls && c->view->config->management.service.http == PORT80_REDIRECT);
}

void connection_answer_without_api(struct connection *c)
{
    const char *why = tls_refusal();

    if (!why && !tls_works())
        why = "this CPU can make no keys for HTTPS, and HTTP is not switched on";
    if (!why) {
        redirect(c);
        return;
    }
    api_error(&c->response, c->body, sizeof(c->body), false, 503, why);
    connection_send(c);
}

void connection_refuse(struct connection *c, unsigned status, const char *message)
{
    c->close = true;
    upload_abort(&c->upload);
    api_error(&c->response, c->body, sizeof(c->body), false, status, message);
    c->response.challenge = status == 401;
    c->response.retry_s = status == 429 ? c->request.retry_s : 0;
    connection_send(c);
}

static const char *refusal(const struct http_request *r)
{
    if (r->why[0])
        return r->why;
    switch (r->status) {
    case 411:
        return "Content-Length must say how long the body is";
    case 413:
        return "the body exceeds 8192 bytes";
    case 414:
        return "the request target exceeds 256 bytes";
    case 431:
        return "the header fields exceed 4096 bytes";
    case 501:
        return "unknown method";
    default:
        return "not an HTTP/1.1 request";
    }
}

void connection_refuse_request(struct connection *c)
{
    c->close = true;
    if (connection_is_shut_out(c))
        connection_answer_without_api(c);
    else
        connection_refuse(c, c->request.status, refusal(&c->request));
}
