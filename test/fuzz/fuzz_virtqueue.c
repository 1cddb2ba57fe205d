/* SOURCES: hv/gmem.c hv/pc/virtqueue.c hv/lib.c */
/* Rings with any contents. Input: size, three addresses, then guest memory; between chains the
 * guest changes a byte. */
#include "hv/pc/virtqueue.h"

#include <stdlib.h>

#include "test/unit/virtqueue_chain.h"

#define MEMORY  0x2000u
#define SETTING 7u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct virtqueue *q, const struct gmem *m, const struct whole_chain *c)
{
    if (c->count == 0 || c->count > q->size || c->head >= q->size)
        abort();
    for (unsigned i = 0; i < c->count; i++) {
        const struct virtqueue_piece *p = &c->pieces[i];
        volatile uint8_t *bytes = gmem_ptr(m, p->address, p->length);

        if (!bytes)
            abort();
        /* So that the sanitizer sees accesses beyond the ends. */
        if (p->length) {
            bytes[0] = bytes[0];
            bytes[p->length - 1] = bytes[p->length - 1];
        }
    }
}

/* The same chain, or it is left; *q stays as it was. */
static int next(struct virtqueue *q, const struct gmem *m, struct whole_chain *c)
{
    struct virtqueue copy = *q;
    struct virtqueue_single s;
    bool writable = q->last_avail & 1;
    int single = virtqueue_next_single(&copy, m, writable, 1, 1000, &s);
    int rc = next_whole(q, m, c);

    if (single == 0 && rc != 0)
        abort();
    if (single == 1 &&
        (rc != 1 || copy.last_avail != q->last_avail || c->head != s.head || c->count != 1 ||
         c->pieces[0].writable != writable || c->pieces[0].length != s.length || s.length < 1 ||
         s.length > 1000 || gmem_ptr(m, c->pieces[0].address, s.length) != s.at))
        abort();
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gmem m = {.base = NULL, .size = MEMORY};
    struct virtqueue q;
    struct whole_chain c;
    unsigned chains = 0;

    if (size < SETTING)
        return 0;
    virtqueue_reset(&q);
    /* Mostly valid, so that the rings are reached. */
    q.size = (uint16_t)(data[0] & 0x80 ? data[0] * 257u : 1u << (data[0] & 7));
    q.desc = (uint64_t)(data[1] | (data[2] & 0x3f) << 8) * 8;
    q.avail = (uint64_t)(data[3] | (data[4] & 0x3f) << 8);
    q.event_index = data[0] & 0x40;
    q.used = (uint64_t)(data[5] | (data[6] & 0x3f) << 8) * 2;
    data += SETTING;
    size -= SETTING;
    m.base = aligned_alloc(4096, MEMORY);
    if (!m.base)
        return 0;
    memset(m.base, 0, MEMORY);
    memcpy(m.base, data, size < MEMORY ? size : MEMORY);
    if (virtqueue_enable(&q, &m) == 0) {
        while (chains < 1000 && next(&q, &m, &c) == 1) {
            check(&q, &m, &c);
            virtqueue_done(&q, &m, c.head, chains);
            (void)virtqueue_wants_irq(&q, &m);
            if (chains % 3)
                (void)virtqueue_listen(&q, &m);
            else
                virtqueue_ignore(&q, &m);
            if (size)
                m.base[(data[chains % size] * 31u + chains) % MEMORY] ^= data[chains % size];
            chains++;
        }
    }
    free(m.base);
    return 0;
}
