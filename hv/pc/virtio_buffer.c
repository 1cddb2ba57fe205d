#include "hv/pc/virtio_buffer.h"

#include "hv/lib.h"

#define PIECES 8u /* descriptors in a call */

int virtio_buffer_find(struct virtio *v, unsigned queue, struct virtio_buffer *b, bool writable)
{
    struct virtqueue *q = &v->queues[queue];

    if (!b->open) {
        int rc = virtqueue_next(q, v->mem, &b->chain);

        if (rc != 1)
            return rc;
        *b = (struct virtio_buffer){.open = true, .writable = writable, .chain = b->chain};
    }
    for (unsigned i = 0; i < PIECES; i++) {
        if (b->at < b->piece.length)
            return IN_PIECE;
        if (!b->chain.more)
            return AT_END;
        if (virtqueue_piece(q, v->mem, &b->chain, &b->piece) < 0)
            return -E_FORMAT;
        b->at = b->piece.writable == b->writable ? 0 : b->piece.length;
    }
    return NOWHERE;
}

unsigned virtio_buffer_copy(struct virtio *v, struct virtio_buffer *b, uint8_t *bytes,
                            unsigned most)
{
    unsigned n = (unsigned)min_u64(most, b->piece.length - b->at);
    gpa_t at = gpa(b->piece.address.v + b->at);

    b->at += n;
    b->done += n;
    if (b->writable ? gmem_write(v->mem, at, bytes, n) : gmem_read(v->mem, at, bytes, n))
        memset(bytes, 0, n); /* virtio_buffer_find() has seen that the memory exists */
    return n;
}

void virtio_buffer_finish(struct virtio *v, unsigned queue, struct virtio_buffer *b)
{
    b->open = false;
    virtqueue_done(&v->queues[queue], v->mem, b->chain.head, b->writable ? b->done : 0);
    virtio_used(v, queue);
}
