#include "mgmt/answer.h"

#include "hv/fmt.h"
#include "mgmt/places.h"
#include "mgmt/port.h"
#include "mgmt/route.h"

#include <string.h>

#define KEEP_ALIVE_MS 15000u
#define CHUNK_HEAD    8u /* "00000a\r\n" */
#define CHUNK_MAX     (32u << 10)

static const char last_chunk[] = "0\r\n\r\n";

static bool upgrade(struct connection *c)
{
    unsigned guest = c->response.stream.guest;

    return terminal_open(&c->terminal, c->view, guest, c->view->guest(guest)->config.name);
}

/* Answers with an error if there is no room for the stream. */
static void open_stream(struct connection *c)
{
    struct api_response *r = &c->response;
    bool terminal = r->upgrade;

    if (places_are_streams_taken(c->role))
        api_error(r, c->body, sizeof(c->body), false, 503,
                  c->role == ROLE_ADMIN ? "8 streams are open"
                                        : "all streams that the token's role may have are open");
    c->upgraded = r->upgrade && upgrade(c);
    if (r->upgrade && !c->upgraded)
        api_error(r, c->body, sizeof(c->body), false, 503, "no memory for a terminal");
    if (terminal)
        route_note_change(c->view, &c->request, &r->who, "", r->status);
}

void answer(struct connection *c, bool waited, bool timed_out)
{
    struct api_response *r = &c->response;

    if (connection_is_shut_out(c)) {
        connection_answer_without_api(c);
        return;
    }
    api_handle(c->view, &c->request, c->body, sizeof(c->body), r, waited, timed_out);
    if (!waited) {
        c->known = r->known;
        c->role = r->who.role;
    }
    upload_abort(&c->upload); /* does nothing if it became an image */
    if (connection_is_stream(r))
        open_stream(c);
    if (r->wait)
        connection_enter(c, PHASE_WAITING);
    else
        connection_send(c);
}

/* The next frames; if the client has been silent for long, a ping. */
static size_t next_frames(struct connection *c, char *buf, size_t size)
{
    size_t n = terminal_write(&c->terminal, buf, size);

    if (n || port_ms() - c->since <= KEEP_ALIVE_MS)
        return n;
    terminal_ping(&c->terminal);
    return terminal_write(&c->terminal, buf, size);
}

/* Ends the stream so that clients of HTTP/1.1 can distinguish its end from a broken connection. */
static err_t end_stream(struct connection *c)
{
    c->response.stream.more = NULL;
    if (!c->chunked)
        return places_finish(c);
    c->content = last_chunk;
    connection_begin_sending(c, sizeof(last_chunk) - 1);
    return ERR_OK;
}

err_t answer_go_on(struct connection *c)
{
    struct api_stream *s = &c->response.stream;
    size_t n = c->upgraded ? next_frames(c, c->body + CHUNK_HEAD, CHUNK_MAX)
                           : s->more(c->view, s, c->body + CHUNK_HEAD, CHUNK_MAX);

    c->head_len = 0;
    if (n == 0 && s->over)
        return end_stream(c);
    if (n == 0 && s->sse && port_ms() - c->since > KEEP_ALIVE_MS)
        n = fmt(c->body + CHUNK_HEAD, CHUNK_MAX, ":\n\n");
    if (n == 0)
        return ERR_OK;
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
    return ERR_OK;
}

void answer_feed_terminal(struct connection *c)
{
    while (c->pending) {
        const struct pbuf *p = c->pending;
        size_t left = (size_t)(p->len - c->used);
        size_t n = terminal_feed(&c->terminal, (const uint8_t *)p->payload + c->used, left);

        connection_use(c, n);
        if (n < left)
            break;
    }
    if (c->ended && !c->pending)
        terminal_hang_up(&c->terminal);
}
