/* Server-sent events (WHATWG HTML, "Server-sent events"), as far as the appliance uses them. Pure.
 */
#pragma once

#include "hv/types.h"

#define SSE_DATA_MAX 1024u /* of one event; a longer one is left out */

struct sse {
    char line[SSE_DATA_MAX + 16];
    size_t length;
    bool too_long; /* the line */
    char data[SSE_DATA_MAX];
    bool has_data;
    /* Of each complete event that has data. */
    void (*take)(void *ctx, const char *data);
    void *ctx;
};

/* `take` and `ctx` are set, the rest is zero at first. Lines end with LF or CR LF. */
void sse_feed(struct sse *s, const char *bytes, size_t n);
/* The connection was lost: half an event is forgotten. */
void sse_reset(struct sse *s);
