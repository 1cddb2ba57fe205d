#include "hv/pc/virtqueue.h"

#define DESC_NEXT          1u
#define DESC_WRITE         VIRTQUEUE_WRITE
#define DESC_INDIRECT      4u
#define AVAIL_NO_INTERRUPT 1u
#define USED_NO_NOTIFY     1u
#define DESC_SIZE          16u
#define RING_INDEX         VIRTQUEUE_INDEX
#define RING_START         4u
#define RING_EVENT         2u /* with event indices both end with a 16-bit index */

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

/* What each frame needs is compiled twice (ALWAYS_INLINE): without the calls for a part that lies
 * in two ranges it has half as many instructions. */
#define FAR __attribute__((noinline, cold))

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

/* The rest of virtqueue_piece() for one that is not all in the first range. */
static FAR int find_piece(struct virtqueue *q, const struct gmem *m, struct virtqueue_piece *p)
{
    p->at = gmem_ptr(m, p->address, p->length);
    return p->at || gmem_has(m, p->address, p->length) ? 1 : broken(q);
}

static ALWAYS_INLINE int take_piece(struct virtqueue *q, const struct gmem *m, uint8_t *desc_at,
                                    struct virtqueue_chain *c, struct virtqueue_piece *p)
{
    const uint64_t *there; /* address; length, flags, next: 32, 16, 16 bits */
    uint64_t address, rest;
    unsigned flags;

    if (!c->more)
        return 0;
    if (c->next >= q->size || c->count == q->size)
        return broken(q);
    there = place(m, desc_at, q->desc, (uint64_t)c->next * DESC_SIZE, DESC_SIZE);
    if (!there)
        return broken(q);
    /* Read once: the guest may write meanwhile. */
    address = __atomic_load_n(&there[0], __ATOMIC_RELAXED);
    rest = __atomic_load_n(&there[1], __ATOMIC_RELAXED);
    flags = (uint16_t)(rest >> 32);
    if (flags & DESC_INDIRECT)
        return broken(q);
    c->count++;
    c->more = flags & DESC_NEXT;
    c->next = (uint16_t)(rest >> 48);
    *p = (struct virtqueue_piece){gpa(address), gmem_first(m, gpa(address), (uint32_t)rest),
                                  (uint32_t)rest, flags & DESC_WRITE};
    return __builtin_expect(p->at != NULL, 1) ? 1 : find_piece(q, m, p);
}

static FAR int take_far_piece(struct virtqueue *q, const struct gmem *m, struct virtqueue_chain *c,
                              struct virtqueue_piece *p)
{
    return take_piece(q, m, NULL, c, p);
}

int virtqueue_piece(struct virtqueue *q, const struct gmem *m, struct virtqueue_chain *c,
                    struct virtqueue_piece *p)
{
    return q->desc_at ? take_piece(q, m, q->desc_at, c, p) : take_far_piece(q, m, c, p);
}

static ALWAYS_INLINE int take_next(struct virtqueue *q, const struct gmem *m, uint8_t *avail_at,
                                   struct virtqueue_chain *c)
{
    uint16_t waiting, head;

    if (!q->ready || q->broken)
        return 0;
    waiting = (uint16_t)(load16(place(m, avail_at, q->avail, RING_INDEX, sizeof(waiting))) -
                         q->last_avail);
    if (waiting == 0)
        return 0;
    if (waiting > q->size)
        return broken(q);
    head = load16(place(m, avail_at, q->avail, RING_START + 2ull * (q->last_avail & (q->size - 1u)),
                        sizeof(head)));
    q->last_avail++;
    *c = (struct virtqueue_chain){.head = head, .next = head, .more = true};
    return 1;
}

static FAR int take_far_next(struct virtqueue *q, const struct gmem *m, struct virtqueue_chain *c)
{
    return take_next(q, m, NULL, c);
}

int virtqueue_next(struct virtqueue *q, const struct gmem *m, struct virtqueue_chain *c)
{
    return q->avail_at ? take_next(q, m, q->avail_at, c) : take_far_next(q, m, c);
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

static FAR void put_far(struct virtqueue *q, const struct gmem *m, unsigned n, uint16_t head,
                        uint32_t written)
{
    store32(place(m, NULL, q->used, element(q, n), sizeof(uint32_t)), head);
    put_length(q, m, n, written);
}

void virtqueue_put(struct virtqueue *q, const struct gmem *m, unsigned n, uint16_t head,
                   uint32_t written)
{
    if (q->used_at)
        put_le64(q->used_at + element(q, n), head | (uint64_t)written << 32);
    else
        put_far(q, m, n, head, written);
}

static FAR void publish_slowly(struct virtqueue *q, const struct gmem *m, unsigned count,
                               bool useful)
{
    for (unsigned i = 0; !useful && i < count; i++)
        put_length(q, m, i, 0);
    q->used_index = (uint16_t)(q->used_index + count);
    store16(used16(q, m, RING_INDEX), q->used_index);
}

void virtqueue_publish(struct virtqueue *q, const struct gmem *m, unsigned count, bool useful)
{
    if (q->used_at && useful) {
        q->used_index = (uint16_t)(q->used_index + count);
        store16((uint16_t *)(q->used_at + RING_INDEX), q->used_index);
    } else {
        publish_slowly(q, m, count, useful);
    }
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
