#include "hv/dev/virtqueue.h"

#define DESC_NEXT          1u
#define DESC_WRITE         2u
#define DESC_INDIRECT      4u
#define AVAIL_NO_INTERRUPT 1u
#define DESC_SIZE          16u
#define RING_START         4u /* flags and index come first in both rings */

struct desc {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};
_Static_assert(sizeof(struct desc) == DESC_SIZE, "virtio's layout");

void virtqueue_reset(struct virtqueue *q)
{
    *q = (struct virtqueue){.size = VIRTQUEUE_MAX};
}

int virtqueue_enable(struct virtqueue *q, const struct gmem *m)
{
    uint64_t n = q->size;

    if (n == 0 || n > VIRTQUEUE_MAX || (n & (n - 1)))
        return -E_INVAL;
    if (q->desc % 16 || q->avail % 2 || q->used % 4)
        return -E_INVAL;
    if (!gmem_ptr(m, gpa(q->desc), n * DESC_SIZE) ||
        !gmem_ptr(m, gpa(q->avail), RING_START + 2 * n) ||
        !gmem_ptr(m, gpa(q->used), RING_START + 8 * n))
        return -E_INVAL;
    q->ready = true;
    return 0;
}

/* The parts were checked by virtqueue_enable(), and a ready queue's addresses cannot change. */
static uint16_t read16(const struct gmem *m, uint64_t a)
{
    uint16_t v = 0;

    (void)!gmem_read(m, gpa(a), &v, sizeof(v));
    return v;
}

static int broken(struct virtqueue *q)
{
    q->broken = true;
    return -E_FORMAT;
}

static int collect(struct virtqueue *q, const struct gmem *m, struct virtqueue_chain *c)
{
    uint16_t at = c->head;

    c->count = 0;
    for (;;) {
        struct desc d;

        if (at >= q->size || c->count == VIRTQUEUE_CHAIN)
            return broken(q);
        if (gmem_read(m, gpa(q->desc + (uint64_t)at * DESC_SIZE), &d, sizeof(d)))
            return broken(q);
        if ((d.flags & DESC_INDIRECT) || !gmem_ptr(m, gpa(d.address), d.length))
            return broken(q);
        c->pieces[c->count++] =
            (struct virtqueue_piece){gpa(d.address), d.length, d.flags & DESC_WRITE};
        if (!(d.flags & DESC_NEXT))
            return 1;
        at = d.next;
    }
}

int virtqueue_next(struct virtqueue *q, const struct gmem *m, struct virtqueue_chain *c)
{
    uint16_t index, waiting;

    if (!q->ready || q->broken)
        return 0;
    index = read16(m, q->avail + 2);
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* the index before what it announces */
    waiting = (uint16_t)(index - q->last_avail);
    if (waiting == 0)
        return 0;
    if (waiting > q->size)
        return broken(q);
    c->head = read16(m, q->avail + RING_START + 2ull * (q->last_avail & (q->size - 1u)));
    q->last_avail++;
    return collect(q, m, c);
}

void virtqueue_done(struct virtqueue *q, const struct gmem *m, uint16_t head, uint32_t written)
{
    const uint32_t element[2] = {head, written};
    uint16_t index = (uint16_t)(q->used_index + 1);

    (void)!gmem_write(m, gpa(q->used + RING_START + 8ull * (q->used_index & (q->size - 1u))),
                      element, sizeof(element));
    __atomic_thread_fence(__ATOMIC_RELEASE); /* the element before the index */
    (void)!gmem_write(m, gpa(q->used + 2), &index, sizeof(index));
    q->used_index = index;
}

bool virtqueue_wants_irq(const struct virtqueue *q, const struct gmem *m)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* our index before its flag */
    return !(read16(m, q->avail) & AVAIL_NO_INTERRUPT);
}
