/* Takes a whole chain, for tests and fuzzers of the queue. */
#pragma once

#include "hv/pc/virtqueue.h"

struct whole_chain {
    uint16_t head;
    unsigned count;
    struct virtqueue_piece pieces[VIRTQUEUE_MAX];
};

/* Like virtqueue_next(), with all descriptors. */
static int next_whole(struct virtqueue *q, const struct gmem *m, struct whole_chain *w)
{
    struct virtqueue_chain c;
    int rc = virtqueue_next(q, m, &c);

    if (rc != 1)
        return rc;
    w->head = c.head;
    w->count = 0;
    while ((rc = virtqueue_piece(q, m, &c, &w->pieces[w->count])) == 1)
        w->count++;
    return rc < 0 ? rc : 1;
}
