#include "mgmt/http.h"

#include "hv/lib.h"

static struct http_request *of(llhttp_t *p)
{
    return p->data;
}

static int refuse(struct http_request *r, unsigned status)
{
    r->state = HTTP_BAD;
    r->status = status;
    return HPE_USER;
}

static int on_url(llhttp_t *p, const char *at, size_t n)
{
    struct http_request *r = of(p);

    if (n > TARGET_MAX - r->target_len)
        return refuse(r, 414);
    memcpy(r->target + r->target_len, at, n);
    r->target_len += n;
    r->target[r->target_len] = 0;
    return 0;
}

static int count_header(struct http_request *r, size_t n)
{
    r->header_bytes += n;
    return r->header_bytes > HTTP_HEADERS_MAX ? refuse(r, 431) : 0;
}

/* Keeps the beginning of a name or value; only short ones matter. */
static void keep(char *buf, size_t size, size_t *len, const char *at, size_t n)
{
    size_t room = size - 1 - *len;

    if (n > room)
        n = room;
    memcpy(buf + *len, at, n);
    *len += n;
    buf[*len] = 0;
}

static int on_field(llhttp_t *p, const char *at, size_t n)
{
    struct http_request *r = of(p);

    keep(r->field, sizeof(r->field), &r->field_len, at, n);
    return count_header(r, n);
}

static int on_value(llhttp_t *p, const char *at, size_t n)
{
    struct http_request *r = of(p);

    keep(r->value, sizeof(r->value), &r->value_len, at, n);
    return count_header(r, n);
}

static bool same_name(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if ((*a | 0x20) != (*b | 0x20))
            return false;
    return *a == *b;
}

/* Strips whitespace after a value, which llhttp keeps. RFC 9112, section 5.1. */
static void trim(struct http_request *r)
{
    while (r->value_len &&
           (r->value[r->value_len - 1] == ' ' || r->value[r->value_len - 1] == '\t'))
        r->value[--r->value_len] = 0;
}

static void take_host(struct http_request *r)
{
    bool whole = r->value_len < sizeof(r->host);

    r->hosts += whole ? 1 : 2;
    (void)str_copy(r->host, sizeof(r->host), r->value);
}

/* Lines of the same name are one field (RFC 9110, section 5.2). True: part of it did not fit. */
static bool append(const struct http_request *r, char *field, size_t size)
{
    size_t n = strlen(field), room = size - n;

    if (r->value_len == sizeof(r->value) - 1 || r->value_len + 3 > room)
        return true;
    if (n) {
        memcpy(field + n, ", ", 2);
        n += 2;
    }
    memcpy(field + n, r->value, r->value_len + 1);
    return false;
}

/* The end of a list that was cut is not what the client sent. */
static void take_accept(struct http_request *r)
{
    if (r->value_len == sizeof(r->value) - 1)
        while (r->value_len && r->value[r->value_len - 1] != ',')
            r->value[--r->value_len] = 0;
    accept_take(&r->accept, r->value);
}

/* What says how the body must be understood. */
static void take_content(struct http_request *r)
{
    if (same_name(r->field, "content-range"))
        r->content_range = true;
    if (same_name(r->field, "content-encoding") && !same_name(r->value, "identity"))
        r->coded = true;
    if (same_name(r->field, "transfer-encoding") && !same_name(r->value, "chunked"))
        r->strange_transfer = true;
}

static int on_value_complete(llhttp_t *p)
{
    struct http_request *r = of(p);

    trim(r);
    take_content(r);
    if (same_name(r->field, "accept"))
        take_accept(r);
    if (same_name(r->field, "if-none-match"))
        r->if_none_match_cut |= append(r, r->if_none_match, sizeof(r->if_none_match));
    if (same_name(r->field, "last-event-id"))
        (void)str_copy(r->last_event_id, sizeof(r->last_event_id), r->value);
    if (same_name(r->field, "repr-digest"))
        r->digest_cut |= append(r, r->repr_digest, sizeof(r->repr_digest));
    if (same_name(r->field, "host"))
        take_host(r);
    if (same_name(r->field, "origin")) {
        /* An empty or repeated Origin matches nothing. */
        (void)str_copy(r->origin, sizeof(r->origin), r->origin[0] || !r->value[0] ? "?" : r->value);
    }
    if (same_name(r->field, "authorization")) {
        bool whole = r->value_len < sizeof(r->authorization) && !r->authorization[0];

        (void)str_copy(r->authorization, sizeof(r->authorization), whole ? r->value : "?");
        /* Leaves no remains of this in the buffer for others' requests. */
        memset(r->value, 0, sizeof(r->value));
    }
    if (same_name(r->field, "expect") && same_name(r->value, "100-continue"))
        r->expects_continue = true;
    /* A value that was cut is not what the client sent. */
    if (r->value_len < sizeof(r->value) - 1)
        websocket_take(&r->websocket, r->field, r->value);
    if (r->websocket.token[0]) /* as above */
        memset(r->value, 0, sizeof(r->value));
    r->field_len = r->value_len = 0;
    return 0;
}

static bool is_own(const char *origin, const char *scheme, const char *host)
{
    size_t n = strlen(scheme);

    return strncmp(origin, scheme, n) == 0 && strcmp(origin + n, host) == 0;
}

static bool length_is_known(const llhttp_t *p)
{
    return p->flags & F_CONTENT_LENGTH;
}

/* 0: the sink takes the body, or does not handle this request. */
static int offer_to_sink(struct http_request *r, const llhttp_t *p)
{
    unsigned status =
        r->sink->begin(r->sink_ctx, r, length_is_known(p) ? p->content_length : UINT64_MAX);

    if (status == HTTP_NOT_MINE)
        return 0;
    r->streaming = true;
    return status ? refuse(r, status) : 0;
}

static int refuse_why(struct http_request *r, unsigned status, const char *why)
{
    (void)str_copy(r->why, sizeof(r->why), why);
    return refuse(r, status);
}

/* A body that is not what it stands for: it would be stored or typed as it is. */
static int check_body(struct http_request *r, const llhttp_t *p)
{
    if (r->strange_transfer)
        return refuse_why(r, 501, "Transfer-Encoding: only chunked is understood");
    if (p->method != HTTP_PUT && p->method != HTTP_POST && p->method != HTTP_PATCH)
        return 0;
    if (r->content_range)
        return refuse_why(r, 400, "Content-Range: a part cannot be taken, only the whole");
    if (r->coded)
        return refuse_why(r, 415, "Content-Encoding: the body must not be encoded");
    return 0;
}

static int on_headers_complete(llhttp_t *p)
{
    struct http_request *r = of(p);
    const char *why = target_resolve(r->target, r->host, sizeof(r->host));

    r->cross_origin = r->origin[0] && !is_own(r->origin, "http://", r->host) &&
                      !is_own(r->origin, "https://", r->host);

    /* Without a version it is HTTP/0.9, whose clients do not understand status lines. */
    if (p->http_major != 1)
        return refuse(r, 400);
    /* RFC 9112, section 3.2. */
    if (r->hosts > 1 || (r->hosts == 0 && p->http_minor >= 1))
        return refuse_why(r, 400, "Host: must be there, once");
    r->head_done = true;
    r->method = p->method;
    if (why)
        return refuse_why(r, 400, why);
    if (check_body(r, p))
        return HPE_USER;
    if (r->sink && p->method == HTTP_PUT && offer_to_sink(r, p))
        return HPE_USER;
    if (!r->streaming && length_is_known(p) && p->content_length > HTTP_BODY_MAX)
        return refuse(r, 413);
    return 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
    struct http_request *r = of(p);
    unsigned status;

    if (r->streaming) {
        status = r->sink->data(r->sink_ctx, r, (const uint8_t *)at, n);
        return status ? refuse(r, status) : 0;
    }
    if (n > HTTP_BODY_MAX - r->body_len)
        return refuse(r, 413);
    memcpy(r->body + r->body_len, at, n);
    r->body_len += n;
    return 0;
}

static int on_complete(llhttp_t *p)
{
    struct http_request *r = of(p);

    r->state = HTTP_READY;
    r->method = p->method;
    r->keep_alive = llhttp_should_keep_alive(p);
    return HPE_PAUSED;
}

static void clear(struct http_request *r)
{
    r->state = HTTP_MORE;
    r->status = r->retry_s = 0;
    r->method = 0;
    r->target_len = r->header_bytes = r->body_len = r->field_len = r->value_len = 0;
    r->target[0] = r->field[0] = r->value[0] = r->if_none_match[0] = 0;
    r->why[0] = r->repr_digest[0] = 0;
    r->if_none_match_cut = r->digest_cut = r->streaming = false;
    r->accept = (struct accept){0};
    r->content_range = r->coded = r->strange_transfer = false;
    r->hosts = 0;
    memset(r->authorization, 0, sizeof(r->authorization));
    r->last_event_id[0] = r->host[0] = r->origin[0] = 0;
    r->keep_alive = r->cross_origin = false;
    r->expects_continue = r->told_to_go_on = r->head_done = false;
    r->websocket = (struct websocket_offer){0};
}

void http_init(struct http_request *r, const struct http_sink *sink, void *sink_ctx)
{
    clear(r);
    r->sink = sink;
    r->sink_ctx = sink_ctx;
    r->client = (struct auth_address){0};
    llhttp_settings_init(&r->settings);
    r->settings.on_url = on_url;
    r->settings.on_header_field = on_field;
    r->settings.on_header_value = on_value;
    r->settings.on_header_value_complete = on_value_complete;
    r->settings.on_headers_complete = on_headers_complete;
    r->settings.on_body = on_body;
    r->settings.on_message_complete = on_complete;
    llhttp_init(&r->parser, HTTP_REQUEST, &r->settings);
    r->parser.data = r;
}

void http_next(struct http_request *r)
{
    clear(r);
    llhttp_init(&r->parser, HTTP_REQUEST, &r->settings);
    r->parser.data = r;
}

size_t http_feed(struct http_request *r, const char *bytes, size_t n)
{
    llhttp_errno_t e;

    if (r->state != HTTP_MORE)
        return 0;
    e = llhttp_execute(&r->parser, bytes, n);
    if (e == HPE_OK)
        return n;
    if (r->state == HTTP_READY)
        return (size_t)(llhttp_get_error_pos(&r->parser) - bytes);
    if (r->state != HTTP_BAD) {
        r->state = HTTP_BAD;
        r->status = e == HPE_INVALID_METHOD ? 501 : 400;
    }
    return n;
}

bool http_take_continue(struct http_request *r)
{
    bool waits = r->state == HTTP_MORE && r->head_done && r->expects_continue &&
                 !r->told_to_go_on && r->body_len == 0 && r->parser.http_minor >= 1;

    r->told_to_go_on |= waits;
    return waits;
}

bool http_asks_upgrade(const struct http_request *r)
{
    return r->parser.upgrade && r->parser.http_minor >= 1;
}

const char *http_reason(unsigned status)
{
    switch (status) {
    case 101:
        return "Switching Protocols";
    case 200:
        return "OK";
    case 201:
        return "Created";
    case 202:
        return "Accepted";
    case 204:
        return "No Content";
    case 308:
        return "Permanent Redirect";
    case 304:
        return "Not Modified";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 409:
        return "Conflict";
    case 411:
        return "Length Required";
    case 412:
        return "Precondition Failed";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 415:
        return "Unsupported Media Type";
    case 421:
        return "Misdirected Request";
    case 426:
        return "Upgrade Required";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 501:
        return "Not Implemented";
    case 503:
        return "Service Unavailable";
    default:
        return "Internal Server Error";
    }
}
