/* Server-sent events (WHATWG HTML, "Server-sent events"), as far as the appliance uses them. Pure.
 */
#pragma once

#include "hv/types.h"

#define SSE_DATA_MAX 1024u /* of one event; longer ones are left out */

struct sse {
    char line[SSE_DATA_MAX + 16];
    size_t length;
    bool too_long; /* the line is too long */
    char data[SSE_DATA_MAX];
    bool has_data;
    /* Called for each complete event that has data. */
    void (*take)(void *ctx, const char *data);
    void *ctx;
};

/* Set `take` and `ctx`, and the rest to zero, before the first call. Lines end with LF or CR LF. */
void sse_feed(struct sse *s, const char *bytes, size_t n);
/* The connection was lost: forgets half an event. */
void sse_reset(struct sse *s);
