#include "hv/pc/virtqueue.h"

#define DESC_NEXT          1u
#define DESC_WRITE         2u
#define DESC_INDIRECT      4u
#define AVAIL_NO_INTERRUPT 1u
#define DESC_SIZE          16u
#define RING_INDEX         2u /* both rings begin with 16 bits of flags and a 16-bit index */
#define RING_START         4u

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
    if (!gmem_has(m, gpa(q->desc), n * DESC_SIZE) ||
        !gmem_has(m, gpa(q->avail), RING_START + 2 * n) ||
        !gmem_has(m, gpa(q->used), RING_START + 8 * n))
        return -E_INVAL;
    q->ready = true;
    return 0;
}

/* The parts were checked by virtqueue_enable(), and a ready queue's addresses cannot change: the
 * pointer is never NULL here. They are aligned, and so is the guest's memory. */
static uint16_t *field16(const struct gmem *m, uint64_t a)
{
    return gmem_ptr(m, gpa(a), sizeof(uint16_t));
}

static uint16_t load16(const struct gmem *m, uint64_t a)
{
    const uint16_t *p = field16(m, a);

    /* Acquire: reads an index before the entries it announces. */
    return p ? __atomic_load_n(p, __ATOMIC_ACQUIRE) : 0;
}

static void store16(const struct gmem *m, uint64_t a, uint16_t v)
{
    uint16_t *p = field16(m, a);

    /* Release: writes the entries before the index that announces them. */
    if (p)
        __atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static int broken(struct virtqueue *q)
{
    q->broken = true;
    return -E_FORMAT;
}

int virtqueue_piece(struct virtqueue *q, const struct gmem *m, struct virtqueue_chain *c,
                    struct virtqueue_piece *p)
{
    struct desc d;

    if (!c->more)
        return 0;
    if (c->next >= q->size || c->count == q->size)
        return broken(q);
    if (gmem_read(m, gpa(q->desc + (uint64_t)c->next * DESC_SIZE), &d, sizeof(d)))
        return broken(q);
    if ((d.flags & DESC_INDIRECT) || !gmem_has(m, gpa(d.address), d.length))
        return broken(q);
    *p = (struct virtqueue_piece){gpa(d.address), d.length, d.flags & DESC_WRITE};
    c->count++;
    c->more = d.flags & DESC_NEXT;
    c->next = d.next;
    return 1;
}

int virtqueue_next(struct virtqueue *q, const struct gmem *m, struct virtqueue_chain *c)
{
    uint16_t index, waiting;

    if (!q->ready || q->broken)
        return 0;
    index = load16(m, q->avail + RING_INDEX);
    waiting = (uint16_t)(index - q->last_avail);
    if (waiting == 0)
        return 0;
    if (waiting > q->size)
        return broken(q);
    c->head = load16(m, q->avail + RING_START + 2ull * (q->last_avail & (q->size - 1u)));
    q->last_avail++;
    c->next = c->head;
    c->count = 0;
    c->more = true;
    return 1;
}

bool virtqueue_waits(const struct virtqueue *q, const struct gmem *m)
{
    return q->ready && !q->broken && load16(m, q->avail + RING_INDEX) != q->last_avail;
}

void virtqueue_done(struct virtqueue *q, const struct gmem *m, uint16_t head, uint32_t written)
{
    const uint32_t element[2] = {head, written};
    uint64_t at = q->used + RING_START + sizeof(element) * (q->used_index & (q->size - 1u));

    (void)!gmem_write(m, gpa(at), element, sizeof(element));
    q->used_index++;
    store16(m, q->used + RING_INDEX, q->used_index);
}

bool virtqueue_wants_irq(const struct virtqueue *q, const struct gmem *m)
{
    /* Our index must be visible before the driver's flag is read: a driver sets the flag and then
     * looks at the index once more. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return !(load16(m, q->avail) & AVAIL_NO_INTERRUPT);
}
