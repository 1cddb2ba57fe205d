/* One client of the server: its request, its answer, its progress. Shared by server.c (what
 * arrives), answer.c, connection.c (what goes out) and places.c (which connections exist). */
#pragma once

#include "lwip/altcp.h"
#include "mgmt/server.h"
#include "mgmt/terminal.h"
#include "mgmt/upload.h"

#define BODY_SIZE (256u << 10)
/* Of one answer's head; of a head with the small answers before it. */
#define HEAD_ROOM 1024u
#define HEAD_SIZE 8192u

enum phase {
    PHASE_FREE,
    PHASE_READING,
    PHASE_WAITING,
    PHASE_SENDING,
    PHASE_STREAMING,
    PHASE_LINGERING
};

struct connection {
    const struct api_view *view;
    enum phase phase;
    struct altcp_pcb *pcb;
    struct pbuf *pending; /* received, not yet parsed */
    u16_t used;           /* of pending's first buffer */
    u16_t held;           /* buffers of pending */
    uint32_t since;       /* start of the phase, or last acknowledgement, ms */
    uint32_t begun;       /* start of the request, or of the connection */
    uint32_t until;       /* by then everything being sent must be acknowledged */
    uint8_t unread;       /* polls in a row in which TLS left something unread */
    bool known;           /* its last request showed a right token */
    uint32_t role;        /* that token's: enum role */
    bool tls;             /* TLS copied what was written: how much is acknowledged is unknown */
    bool close, started;  /* close after this answer; the request has begun to arrive */
    bool ended;           /* the client will send no more */
    bool chunked;         /* the stream is sent in chunks: not to clients of HTTP/1.0 */
    bool upgraded;        /* speaks frames: `terminal` is open */
    bool owed;            /* what is being sent does not answer `request` */
    u16_t interim;        /* bytes of "100 Continue" that are not acknowledged yet */
    struct http_request request;
    struct upload upload;
    struct api_response response;
    char head[HEAD_SIZE]; /* small answers whole, then the head of a larger one */
    const char *content;  /* the body, or a file */
    size_t head_len, body_len, queued, acked;
    struct terminal terminal;
    char body[BODY_SIZE];
};

/* With every answer: the declared type is the type, and other sites do not learn where the page
 * was. */
#define CONNECTION_SAFE_FIELDS "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
/* Time for a request to arrive, and for an answer to be taken before its size adds to it. */
#define CONNECTION_MS          10000u

/* A new phase begins now. */
void connection_enter(struct connection *c, enum phase p);
/* `n` bytes of `pending` are used up. The client may send more once a whole buffer is. */
void connection_use(struct connection *c, size_t n);
/* Closes a pcb that has no owner any more. ERR_ABRT: it had to be aborted. */
err_t connection_close(struct altcp_pcb *pcb);
/* Queues as much of head and content as lwIP takes. The buffers stay untouched until everything is
 * acknowledged, so nothing is copied. */
void connection_push(struct connection *c);
/* Head and content are set: starts sending. */
void connection_begin_sending(struct connection *c, size_t body_len);
/* Answers with c->response. A small answer is collected if further requests have arrived: phase
 * and request are then those of the next one. */
void connection_send(struct connection *c);
/* The next request may arrive. */
void connection_next(struct connection *c);
/* Sends what was collected before the request in hand, if anything. */
bool connection_flush(struct connection *c);
/* Sends an error instead and ends the connection. */
void connection_refuse(struct connection *c, unsigned status, const char *message);
/* The same for a request that never became one. */
void connection_refuse_request(struct connection *c);
/* The answer is the same for every request: a redirect to HTTPS, or why there is none. */
bool connection_is_shut_out(const struct connection *c);
void connection_answer_without_api(struct connection *c);
/* The answer has no end. */
bool connection_is_stream(const struct api_response *r);
