/*
 * HTTP/1.1 requests over llhttp. Pure: bytes in, a request or a refusal's status out. All limits
 * are here.
 */
#pragma once

#include "hv/types.h"
#include "mgmt/accept.h"
#include "mgmt/address.h"
#include "mgmt/auth.h"
#include "mgmt/target.h"
#include "mgmt/websocket.h"
#include <llhttp.h>

#define HTTP_HEADERS_MAX 4096u /* bytes of all header fields; 431 beyond */
#define HTTP_BODY_MAX    8192u /* 413 beyond; the body of a PUT goes to the sink instead */

enum http_state {
    HTTP_MORE,  /* feed more */
    HTTP_READY, /* a request is complete */
    HTTP_BAD,   /* `status` says why; the connection must be closed after the answer */
};

#define HTTP_NOT_MINE 1u

struct http_request;

/* Takes the bodies of PUT requests as they arrive. Both return 0, or the status of a refusal with
 * its message in r->why. */
struct http_sink {
    /* The head has arrived: method, target, header fields. HTTP_NOT_MINE: handle the request like
     * any other. */
    /* `length` is UINT64_MAX if the client does not give it. */
    unsigned (*begin)(void *ctx, struct http_request *r, uint64_t length);
    unsigned (*data)(void *ctx, struct http_request *r, const uint8_t *bytes, size_t n);
};

struct http_request {
    llhttp_t parser;
    llhttp_settings_t settings;
    enum http_state state;
    unsigned status;              /* with HTTP_BAD */
    char why[160];                /* with HTTP_BAD: the message, or empty */
    unsigned retry_s;             /* with HTTP_BAD: Retry-After, or 0 */
    const struct http_sink *sink; /* NULL: PUT is like any other method */
    void *sink_ctx;
    bool streaming;              /* the body goes to the sink */
    char target[TARGET_MAX + 1]; /* 414 beyond */
    size_t target_len, header_bytes, body_len;
    char field[24], value[512];
    size_t field_len, value_len;
    char if_none_match[256]; /* all lines */
    bool if_none_match_cut;  /* part of it did not fit */
    char last_event_id[24];  /* cut */
    char repr_digest[512];   /* all lines */
    bool digest_cut;         /* part of it did not fit */
    unsigned hosts;          /* number of Host fields; one that is too long counts as two */
    char host[128];
    /* A browser sent it for a page of another site: its Origin is not our Host. */
    bool cross_origin;
    char origin[128];
    char authorization[128]; /* "?" if too long or repeated */
    struct accept accept;
    bool content_range;    /* the body is a part of something */
    bool coded;            /* the body has a Content-Encoding */
    bool strange_transfer; /* a Transfer-Encoding other than "chunked" */
    bool keep_alive;
    bool expects_continue, told_to_go_on, head_done;
    struct websocket_offer websocket;
    struct auth_address client; /* set by the owner of the connection */
    char from[ADDRESS_TEXT];    /* the whole address as text, for the log */
    uint8_t method;             /* HTTP_GET ... of llhttp */
    uint8_t body[HTTP_BODY_MAX];
};

/* `sink` may be NULL. */
void http_init(struct http_request *r, const struct http_sink *sink, void *sink_ctx);
/* Ready for the next request of the same connection. */
void http_next(struct http_request *r);
/* Takes bytes until a request is complete or bad; returns how many it used. */
size_t http_feed(struct http_request *r, const char *bytes, size_t n);
/* True once per request, if its client waits for "100 Continue" before it sends the body. */
bool http_take_continue(struct http_request *r);
/* For a complete request: may another protocol follow? */
bool http_asks_upgrade(const struct http_request *r);
const char *http_reason(unsigned status);
