#include "hv/mem.h"

#include "hv/lib.h"

static uint64_t range_end(const struct mem_range *r)
{
    return r->base + r->size;
}

/* Ranges that are one if they touch. The owners of a region may change: it stays one range. */
static bool same_owner(const struct mem_range *a, const struct mem_range *b)
{
    return a->kind == b->kind && a->guest == b->guest && a->kind != MEM_REGION;
}

/* A free slot exists. */
static void insert(struct mem_map *m, unsigned at, const struct mem_range *r)
{
    memmove(&m->ranges[at + 1], &m->ranges[at], (m->count - at) * sizeof(m->ranges[0]));
    m->ranges[at] = *r;
    m->count++;
}

static void drop(struct mem_map *m, unsigned at, unsigned n)
{
    m->count -= n;
    memmove(&m->ranges[at], &m->ranges[at + n], (m->count - at) * sizeof(m->ranges[0]));
}

/* The first range that ends after `base`. */
static unsigned first_after(const struct mem_map *m, uint64_t base)
{
    unsigned low = 0, high = m->count;

    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (range_end(&m->ranges[middle]) <= base)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Cuts [base, end) out of existing ranges. Needs at most one more slot. */
static void carve(struct mem_map *m, uint64_t base, uint64_t end)
{
    for (unsigned i = first_after(m, base); i < m->count && m->ranges[i].base < end;) {
        struct mem_range *r = &m->ranges[i];
        uint64_t r_end = range_end(r);

        if (r->base < base && r_end > end) {
            struct mem_range tail = *r;

            tail.base = end;
            tail.size = r_end - end;
            r->size = base - r->base;
            insert(m, i + 1, &tail);
            return;
        } else if (r->base < base) {
            r->size = base - r->base;
            i++;
        } else if (r_end > end) {
            r->base = end;
            r->size = r_end - end;
            i++;
        } else {
            drop(m, i, 1);
        }
    }
}

static bool are_one(const struct mem_range *a, const struct mem_range *b)
{
    return range_end(a) == b->base && same_owner(a, b);
}

/* Range `at` has changed: merges it with the next and the previous one if they match. Moves the
 * ranges after it only once: others may wait. */
static void join_neighbours(struct mem_map *m, unsigned at)
{
    unsigned first = at, last = at;

    if (at + 1 < m->count && are_one(&m->ranges[at], &m->ranges[at + 1]))
        last++;
    if (at && are_one(&m->ranges[at - 1], &m->ranges[at]))
        first--;
    if (first == last)
        return;
    m->ranges[first].size = range_end(&m->ranges[last]) - m->ranges[first].base;
    drop(m, first + 1, last - first);
}

/* Kinds that may be freed later, when they may lie in the middle of a merged range. */
static bool is_loose(enum mem_owner_kind kind)
{
    return kind == MEM_GUEST || kind == MEM_FOR_GUEST || kind == MEM_REGION || kind == MEM_IMAGE;
}

/* A change takes at most two more slots. Each allocation that may be freed reserves two, so that
 * freeing never fails for lack of slots. */
static bool has_room(const struct mem_map *m, unsigned more_loose)
{
    return m->count + 2 + 2 * (m->loose + more_loose) + MEM_SPARE <= MEM_RANGES_MAX;
}

/* `base` and `size` are page-aligned. The caller has checked that two slots are free. */
static void set_range(struct mem_map *m, const struct mem_range *r)
{
    unsigned at;

    carve(m, r->base, range_end(r));
    at = first_after(m, r->base);
    insert(m, at, r);
    join_neighbours(m, at);
}

static void count_bytes(struct mem_map *m)
{
    memset(m->bytes, 0, sizeof(m->bytes));
    for (unsigned i = 0; i < m->count; i++)
        m->bytes[m->ranges[i].kind] += m->ranges[i].size;
}

static void change_kind(struct mem_map *m, uint64_t size, enum mem_owner_kind from,
                        enum mem_owner_kind to)
{
    m->bytes[from] -= size;
    m->bytes[to] += size;
}

int mem_add(struct mem_map *m, uint64_t base, uint64_t size, enum mem_owner_kind kind,
            unsigned guest)
{
    uint64_t limit = UINT64_MAX & ~(PAGE_SIZE - 1);
    uint64_t end = size > limit - min_u64(base, limit) ? limit : base + size;
    struct mem_range r = {.kind = kind, .guest = guest};

    if (kind == MEM_FREE) {
        if (base > limit - PAGE_SIZE)
            return 0;
        base = align_up(base, PAGE_SIZE);
        end = align_down(end, PAGE_SIZE);
    } else {
        base = align_down(base, PAGE_SIZE);
        end = end >= limit ? limit : align_up(end, PAGE_SIZE);
    }
    if (end <= base)
        return 0;
    if (!has_room(m, 0))
        return -E_NOSPC;
    r.base = base;
    r.size = end - base;
    set_range(m, &r);
    count_bytes(m);
    return 0;
}

/* Takes `r` out of range `at`, which is free and holds it. Moves the ranges after it only once too.
 */
static void take(struct mem_map *m, unsigned at, const struct mem_range *r)
{
    struct mem_range *free = &m->ranges[at];
    struct mem_range below = {free->base, r->base - free->base, MEM_FREE, 0};
    struct mem_range above = {range_end(r), range_end(free) - range_end(r), MEM_FREE, 0};
    unsigned more = (below.size ? 1u : 0) + (above.size ? 1u : 0);

    if (more)
        memmove(free + 1 + more, free + 1, (m->count - at - 1) * sizeof(*free));
    m->count += more;
    if (below.size)
        m->ranges[at++] = below;
    m->ranges[at] = *r;
    if (above.size)
        m->ranges[at + 1] = above;
    join_neighbours(m, at);
}

/* The highest aligned base in `r`, which is free, where `size` bytes fit into [from, limit), or 0.
 */
static uint64_t fit(const struct mem_range *r, uint64_t size, uint64_t align, uint64_t from,
                    uint64_t limit)
{
    uint64_t floor = max_u64(max_u64(r->base, from), 1ull << 20);
    uint64_t end = min_u64(range_end(r), limit), base;

    if (end < size || end - size < floor)
        return 0;
    base = align_down(end - size, align);
    return base >= floor ? base : 0;
}

int mem_alloc(struct mem_map *m, uint64_t size, uint64_t align, uint64_t limit,
              enum mem_owner_kind kind, unsigned guest, hpa_t *out)
{
    return mem_alloc_in(m, size, align, 0, limit, kind, guest, out);
}

int mem_alloc_in(struct mem_map *m, uint64_t size, uint64_t align, uint64_t from, uint64_t limit,
                 enum mem_owner_kind kind, unsigned guest, hpa_t *out)
{
    if (size == 0 || size % PAGE_SIZE || align < PAGE_SIZE || (align & (align - 1)))
        return -E_INVAL;
    if (!has_room(m, is_loose(kind)))
        return -E_NOSPC;
    for (unsigned i = m->count; i > 0; i--) {
        const struct mem_range *r = &m->ranges[i - 1];
        uint64_t base;

        if (r->kind != MEM_FREE || r->size < size) /* most of them */
            continue;
        base = fit(r, size, align, from, limit);
        if (!base)
            continue;
        take(m, i - 1,
             &(struct mem_range){.base = base, .size = size, .kind = kind, .guest = guest});
        m->loose += is_loose(kind);
        change_kind(m, size, MEM_FREE, kind);
        *out = hpa(base);
        return 0;
    }
    return -E_NOMEM;
}

int mem_free(struct mem_map *m, hpa_t base, uint64_t size)
{
    const struct mem_range *r = mem_find(m, base);
    unsigned at;

    if (!r || size == 0 || base.v % PAGE_SIZE || size % PAGE_SIZE || r->kind == MEM_FREE ||
        r->kind == MEM_RESERVED || size > range_end(r) - base.v)
        return -E_INVAL;
    m->loose -= is_loose(r->kind);
    change_kind(m, size, r->kind, MEM_FREE);
    if (r->base == base.v && r->size == size) {
        at = (unsigned)(r - m->ranges);
        m->ranges[at] = (struct mem_range){.base = base.v, .size = size, .kind = MEM_FREE};
        join_neighbours(m, at);
        return 0;
    }
    set_range(m, &(struct mem_range){.base = base.v, .size = size, .kind = MEM_FREE});
    return 0;
}

int mem_set_owners(struct mem_map *m, hpa_t base, uint64_t size, unsigned guests)
{
    unsigned i = first_after(m, base.v);
    struct mem_range *r = &m->ranges[i];

    if (i == m->count || r->base != base.v || r->size != size || r->kind != MEM_REGION)
        return -E_INVAL;
    r->guest = guests;
    return 0;
}

const struct mem_range *mem_find(const struct mem_map *m, hpa_t a)
{
    unsigned i = first_after(m, a.v);

    return i < m->count && a.v >= m->ranges[i].base ? &m->ranges[i] : NULL;
}

uint64_t mem_largest(const struct mem_map *m, uint64_t align)
{
    uint64_t largest = 0;

    for (unsigned i = 0; i < m->count; i++) {
        const struct mem_range *r = &m->ranges[i];
        uint64_t base;

        if (r->kind != MEM_FREE)
            continue;
        base = align_up(max_u64(r->base, 1ull << 20), align);
        if (range_end(r) > base)
            largest = max_u64(largest, range_end(r) - base);
    }
    return largest;
}
