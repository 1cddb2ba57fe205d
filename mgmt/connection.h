/* One client of the server: what it asked, what it gets, how far it is. Shared by server.c (what
 * arrives) and connection.c (what goes out). */
#pragma once

#include "lwip/altcp.h"
#include "mgmt/server.h"
#include "mgmt/terminal.h"
#include "mgmt/upload.h"

#define BODY_SIZE (256u << 10)
#define HEAD_SIZE 800u

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
    uint32_t since;       /* when the phase began, ms */
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

/* A new phase begins now. */
void connection_enter(struct connection *c, enum phase p);
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
