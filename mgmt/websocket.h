/*
 * The opening of a WebSocket, RFC 6455 "Opening Handshake": what a request offers, and what the
 * answer must contain. Pure. mgmt/terminal.h handles the frames.
 */
#pragma once

#include "hv/types.h"

#define WEBSOCKET_PROTOCOL   "bulkhead.console"
#define WEBSOCKET_ACCEPT_LEN 28u /* 20 bytes of SHA-1 in base64 */
#define WEBSOCKET_KEY_LEN    24u /* 16 bytes in base64 */
#define WEBSOCKET_TOKEN_MAX  120u

/* A request's header fields. All zero: none. */
struct websocket_offer {
    char key[WEBSOCKET_KEY_LEN + 2]; /* cut: a longer one is no key */
    char version[4];                 /* cut */
    /* Browsers cannot send an Authorization field with a WebSocket, so the subprotocol
     * "bearer.TOKEN" stands for it. Empty: none was offered. */
    char token[WEBSOCKET_TOKEN_MAX + 1];
    bool websocket;        /* Upgrade: websocket */
    bool protocols, knows; /* subprotocols were offered; ours was among them */
    bool keyed, twice;     /* a key came, even an empty one; another one did */
    bool long_token;       /* the token is longer than any of ours */
};

/* Takes one field of a request's head; compares names and the word "websocket" without regard to
 * case. `value` must not have been cut. */
void websocket_take(struct websocket_offer *o, const char *name, const char *value);
/* NULL: a WebSocket can be opened. Otherwise why not; *status is 400, or 426 if the client only has
 * to ask differently. `upgrade`: the Connection field names Upgrade, and it is HTTP/1.1. */
const char *websocket_refusal(const struct websocket_offer *o, bool upgrade, unsigned *status);
/* The value of Sec-WebSocket-Accept for a key. */
void websocket_accept(const char *key, char accept[WEBSOCKET_ACCEPT_LEN + 1]);
/* Writes the fields of the answer 101, each with its end of line; returns their length. */
size_t websocket_put_fields(const struct websocket_offer *o, char *buf, size_t size);
