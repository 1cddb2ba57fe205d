#include "hv/pc/virtqueue.h"

#define DESC_NEXT          1u
#define DESC_WRITE         2u
#define DESC_INDIRECT      4u
#define AVAIL_NO_INTERRUPT 1u
#define USED_NO_NOTIFY     1u
#define DESC_SIZE          16u
#define RING_INDEX         VIRTQUEUE_INDEX
#define RING_START         4u
#define RING_EVENT         2u /* with event indices both end with a 16-bit index */

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
    uint64_t n = q->size, event = q->event_index ? RING_EVENT : 0;

    if (n == 0 || n > VIRTQUEUE_MAX || (n & (n - 1)))
        return -E_INVAL;
    if (q->desc % 16 || q->avail % 2 || q->used % 4)
        return -E_INVAL;
    if (!gmem_has(m, gpa(q->desc), n * DESC_SIZE) ||
        !gmem_has(m, gpa(q->avail), RING_START + 2 * n + event) ||
        !gmem_has(m, gpa(q->used), RING_START + 8 * n + event))
        return -E_INVAL;
    q->desc_at = gmem_ptr(m, gpa(q->desc), n * DESC_SIZE);
    q->avail_at = gmem_ptr(m, gpa(q->avail), RING_START + 2 * n + event);
    q->used_at = gmem_ptr(m, gpa(q->used), RING_START + 8 * n + event);
    q->ready = true;
    return 0;
}

/* The parts were checked by virtqueue_enable(), and a ready queue's addresses cannot change: the
 * pointers are never NULL here. What they point to is aligned, and so is the guest's memory. */
static inline void *place(const struct gmem *m, uint8_t *part, uint64_t start, uint64_t offset,
                          size_t size)
{
    return __builtin_expect(part != NULL, 1) ? part + offset
                                             : gmem_ptr(m, gpa(start + offset), size);
}

static inline uint16_t *avail16(const struct virtqueue *q, const struct gmem *m, uint64_t offset)
{
    return place(m, q->avail_at, q->avail, offset, sizeof(uint16_t));
}

static inline uint16_t *used16(const struct virtqueue *q, const struct gmem *m, uint64_t offset)
{
    return place(m, q->used_at, q->used, offset, sizeof(uint16_t));
}

static uint16_t load16(const uint16_t *p)
{
    /* Acquire: reads an index before the entries it announces. */
    return p ? __atomic_load_n(p, __ATOMIC_ACQUIRE) : 0;
}

static void store16(uint16_t *p, uint16_t v)
{
    /* Release: writes the entries before the index that announces them. */
    if (p)
        __atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static void store32(uint32_t *p, uint32_t v)
{
    if (p)
        __atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static int broken(struct virtqueue *q)
{
    q->broken = true;
    return -E_FORMAT;
}

int virtqueue_piece(struct virtqueue *q, const struct gmem *m, struct virtqueue_chain *c,
                    struct virtqueue_piece *p)
{
    const struct desc *there;
    struct desc d;
    uint8_t *at;

    if (!c->more)
        return 0;
    if (c->next >= q->size || c->count == q->size)
        return broken(q);
    there = place(m, q->desc_at, q->desc, (uint64_t)c->next * DESC_SIZE, sizeof(d));
    if (!there)
        return broken(q);
    memcpy(&d, there, sizeof(d));
    __asm__ volatile("" ::: "memory"); /* it is read once: the guest may write meanwhile */
    at = gmem_ptr(m, gpa(d.address), d.length);
    if ((d.flags & DESC_INDIRECT) || (!at && !gmem_has(m, gpa(d.address), d.length)))
        return broken(q);
    *p = (struct virtqueue_piece){gpa(d.address), at, d.length, d.flags & DESC_WRITE};
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
    index = load16(avail16(q, m, RING_INDEX));
    waiting = (uint16_t)(index - q->last_avail);
    if (waiting == 0)
        return 0;
    if (waiting > q->size)
        return broken(q);
    c->head = load16(avail16(q, m, RING_START + 2ull * (q->last_avail & (q->size - 1u))));
    q->last_avail++;
    c->next = c->head;
    c->count = 0;
    c->more = true;
    return 1;
}

/* Of the nth element that is not published yet. */
static uint64_t element(const struct virtqueue *q, unsigned n)
{
    return RING_START + 8ull * ((q->used_index + n) & (q->size - 1u));
}

static void put_length(struct virtqueue *q, const struct gmem *m, unsigned n, uint32_t length)
{
    store32(place(m, q->used_at, q->used, element(q, n) + 4, sizeof(uint32_t)), length);
}

void virtqueue_put(struct virtqueue *q, const struct gmem *m, unsigned n, uint16_t head,
                   uint32_t written)
{
    const uint32_t both[2] = {head, written};

    if (__builtin_expect(q->used_at != NULL, 1)) {
        memcpy(q->used_at + element(q, n), both, sizeof(both));
        return;
    }
    store32(place(m, NULL, q->used, element(q, n), sizeof(uint32_t)), head);
    put_length(q, m, n, written);
}

void virtqueue_publish(struct virtqueue *q, const struct gmem *m, unsigned count, bool useful)
{
    for (unsigned i = 0; !useful && i < count; i++)
        put_length(q, m, i, 0);
    q->used_index = (uint16_t)(q->used_index + count);
    store16(used16(q, m, RING_INDEX), q->used_index);
}

void virtqueue_done(struct virtqueue *q, const struct gmem *m, uint16_t head, uint32_t written)
{
    virtqueue_put(q, m, 0, head, written);
    virtqueue_publish(q, m, 1, true);
}

bool virtqueue_wants_irq(struct virtqueue *q, const struct gmem *m)
{
    uint16_t fresh = (uint16_t)(q->used_index - q->told), beyond;

    /* Our index must be visible before the driver's flag is read: a driver sets the flag and then
     * looks at the index once more. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    q->told = q->used_index;
    if (!q->event_index)
        return !(load16(avail16(q, m, 0)) & AVAIL_NO_INTERRUPT);
    /* Virtio 1.2, "Used Buffer Notification Suppression": the entry with that index is new. */
    beyond = (uint16_t)(q->used_index - load16(avail16(q, m, RING_START + 2ull * q->size)) - 1);
    return beyond < fresh;
}

void virtqueue_ignore(struct virtqueue *q, const struct gmem *m)
{
    if (q->deaf)
        return;
    q->deaf = true;
    /* With event indices it is enough that ours is not moved on. */
    if (!q->event_index)
        store16(used16(q, m, 0), USED_NO_NOTIFY);
}

bool virtqueue_listen(struct virtqueue *q, const struct gmem *m)
{
    if (q->event_index)
        store16(used16(q, m, RING_START + 8ull * q->size), q->last_avail);
    else if (q->deaf)
        store16(used16(q, m, 0), 0);
    q->deaf = false;
    /* A driver moves its index and then looks whether to notify; here it is the other way round. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return virtqueue_waits(q, m);
}
