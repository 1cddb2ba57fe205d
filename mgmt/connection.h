/* One client of the server: what it asked, what it gets, how far it is. Shared by server.c (what
 * arrives), answer.c, connection.c (what goes out) and places.c (which there are). */
#pragma once

#include "lwip/altcp.h"
#include "mgmt/server.h"
#include "mgmt/terminal.h"
#include "mgmt/upload.h"

#define BODY_SIZE (256u << 10)
#define HEAD_SIZE 1024u

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
    uint32_t since;       /* when the phase began, or something was acknowledged, ms */
    uint32_t begun;       /* when its request began, or it did */
    uint32_t until;       /* all of what is being sent must be acknowledged */
    uint8_t unread;       /* polls in a row in which TLS left something unread */
    bool known;           /* its last request came with a right token */
    uint32_t role;        /* of that token: enum abi_role */
    bool tls;             /* what was written is lwIP's: how much is acknowledged is not known */
    bool close, started;  /* close after this answer; a byte of the request has come */
    bool ended;           /* the client will send no more */
    bool chunked;         /* the stream is sent in chunks: not to clients of HTTP/1.0 */
    bool upgraded;        /* speaks frames: `terminal` is open */
    u16_t interim;        /* bytes of "100 Continue" that are not acknowledged yet */
    struct http_request request;
    struct upload upload;
    struct api_response response;
    char head[HEAD_SIZE];
    const char *content; /* the body, or a file */
    size_t head_len, body_len, queued, acked;
    struct terminal terminal;
    char body[BODY_SIZE];
};

/* With every answer: what it says it is it is, and where the page was does not concern others. */
#define CONNECTION_SAFE_FIELDS "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
/* For a request to arrive, and for an answer to be taken, before what its size allows. */
#define CONNECTION_MS          10000u

/* A new phase begins now. */
void connection_enter(struct connection *c, enum phase p);
/* `n` bytes of what is pending have been used; the client may send more when its buffer has. */
void connection_use(struct connection *c, size_t n);
/* Closes a pcb that is nobody's any more. ERR_ABRT: it had to be aborted. */
err_t connection_close(struct altcp_pcb *pcb);
/* Queues as much of head and content as lwIP takes. The buffers stay untouched until all is
 * acknowledged, so nothing is copied. */
void connection_push(struct connection *c);
/* Head and content are set: off they go. */
void connection_begin_sending(struct connection *c, size_t body_len);
/* c->response, as a head and a body. */
void connection_send(struct connection *c);
/* An error instead, and the end of the connection. */
void connection_refuse(struct connection *c, unsigned status, const char *message);
/* The same for a request that never became one. */
void connection_refuse_request(struct connection *c);
/* It gets the same whatever it asks for: a redirection to HTTPS, or why there is none. */
bool connection_is_shut_out(const struct connection *c);
void connection_answer_without_api(struct connection *c);
/* Its answer has no end. */
bool connection_is_stream(const struct api_response *r);
