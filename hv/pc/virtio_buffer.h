/*
 * A buffer of a virtio driver's that all goes one way, gone through over several calls, each with a
 * bounded amount. `writable`: the device writes. Pure. Pieces of the other direction are passed
 * over.
 */
#pragma once

#include "hv/pc/virtio.h"

struct virtio_buffer {
    bool open, writable;
    struct virtqueue_chain chain;
    struct virtqueue_piece piece;
    uint64_t at;   /* in the piece */
    uint32_t done; /* bytes of the whole buffer */
};

enum virtio_place {
    NOWHERE, /* there is no buffer, or its next bytes come in a later call */
    IN_PIECE,
    AT_END, /* of the buffer */
};

/* Where the next byte of the queue's buffer is: enum virtio_place, or -E_FORMAT. */
int virtio_buffer_find(struct virtio *v, unsigned queue, struct virtio_buffer *b,
                       bool writable) MUST_CHECK;
/* Copies bytes of the piece, from it or to it. Returns how many. */
unsigned virtio_buffer_copy(struct virtio *v, struct virtio_buffer *b, uint8_t *bytes,
                            unsigned most);
/* Returns it to the driver. */
void virtio_buffer_finish(struct virtio *v, unsigned queue, struct virtio_buffer *b);
