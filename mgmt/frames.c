#include "mgmt/frames.h"

#include <string.h>

struct pbuf *frames_take(const uint8_t *frame, size_t len)
{
    size_t whole = len < FRAMES_LEAST ? FRAMES_LEAST : len;
    struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)whole, PBUF_POOL);

    if (!p)
        return NULL;
    pbuf_take(p, frame, (u16_t)len);
    if (len < whole) {
        _Static_assert(PBUF_POOL_BUFSIZE >= FRAMES_LEAST, "one buffer holds it");
        memset((uint8_t *)p->payload + len, 0, whole - len);
    }
    return p;
}
