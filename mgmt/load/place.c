#include "mgmt/load/place.h"

#include "hv/abi/memory.h"
#include "hv/fmt.h"

#define LOW_START  0x1000u
#define HIGH_START 0x100000ull

void place_init(struct place *p, uint64_t memory)
{
    *p = (struct place){.memory = memory};
}

/* The first taken range that [start, end) touches, or -1. */
static int overlap(const struct place *p, uint64_t start, uint64_t end)
{
    for (unsigned i = 0; i < p->count; i++)
        if (start < p->used[i].end && p->used[i].start < end)
            return (int)i;
    return -1;
}

bool place_covers(const struct place *p, uint64_t address)
{
    return address < UINT64_MAX && overlap(p, address, address + 1) >= 0;
}

static int take(struct place *p, uint64_t start, uint64_t end, const char *what,
                struct load_error *e)
{
    if (p->count == PLACE_MAX) {
        (void)fmt(e->text, sizeof(e->text), "%s: too many pieces to place", what);
        return -E_NOSPC;
    }
    p->used[p->count].start = start;
    p->used[p->count].end = end;
    p->used[p->count].what = what;
    p->count++;
    return 0;
}

int place_fixed(struct place *p, uint64_t start, uint64_t size, const char *what,
                struct load_error *e)
{
    uint64_t end = start + size;
    bool usable;
    int other;

    if (size == 0)
        return 0;
    usable = end > start && end <= p->memory && (end <= LOAD_LOW_END || start >= HIGH_START);
    if (end > start && start >= HIGH_START && end > p->memory && end <= MEMORY_HOLE) {
        (void)fmt(
            e->text, sizeof(e->text),
            "%s: 0x%lx+0x%lx does not fit: the guest has %lu MiB of memory and needs at least "
            "%lu",
            what, start, size, p->memory >> 20, align_up(end, PAGE_SIZE_2M) >> 20);
        return -E_NOSPC;
    }
    if (!usable) {
        (void)fmt(e->text, sizeof(e->text),
                  "%s: 0x%lx+0x%lx is not usable memory (0..0x%x, 0x%lx..0x%lx)", what, start, size,
                  LOAD_LOW_END, (uint64_t)HIGH_START, p->memory);
        return -E_NOSPC;
    }
    other = overlap(p, start, end);
    if (other >= 0) {
        (void)fmt(e->text, sizeof(e->text), "%s: 0x%lx+0x%lx overlaps %s at 0x%lx..0x%lx", what,
                  start, size, p->used[other].what, p->used[other].start, p->used[other].end);
        return -E_FORMAT;
    }
    return take(p, start, end, what, e);
}

/* Searches downwards from `max` around what is taken: at most one step per taken range. */
static bool find_down(const struct place *p, uint64_t size, uint64_t align, uint64_t min,
                      uint64_t max, uint64_t *start)
{
    uint64_t end = max;

    for (unsigned i = 0; i <= PLACE_MAX; i++) {
        int other;

        if (end < size || align_down(end - size, align) < min)
            return false;
        *start = align_down(end - size, align);
        other = overlap(p, *start, *start + size);
        if (other < 0)
            return true;
        end = p->used[other].start;
    }
    return false;
}

static bool find_up(const struct place *p, uint64_t size, uint64_t align, uint64_t min,
                    uint64_t max, uint64_t *start)
{
    uint64_t at = align_up(min, align);

    for (unsigned i = 0; i <= PLACE_MAX; i++) {
        int other;

        if (size > max || at > max - size)
            return false;
        other = overlap(p, at, at + size);
        if (other < 0) {
            *start = at;
            return true;
        }
        at = align_up(p->used[other].end, align);
    }
    return false;
}

bool place_find(const struct place *p, uint64_t size, uint64_t align, uint64_t min, uint64_t max,
                bool low, uint64_t *start)
{
    uint64_t high_min = max_u64(min, HIGH_START), high_max = min_u64(max, p->memory);
    uint64_t low_min = max_u64(min, LOW_START), low_max = min_u64(max, LOAD_LOW_END);

    if (low)
        return find_up(p, size, align, low_min, low_max, start) ||
               find_up(p, size, align, high_min, high_max, start);
    return find_down(p, size, align, high_min, high_max, start) ||
           find_down(p, size, align, low_min, low_max, start);
}

/* place_find(), and takes it. */
static int take_any(struct place *p, uint64_t size, uint64_t align, uint64_t min, uint64_t max,
                    bool low, const char *what, uint64_t *start, struct load_error *e)
{
    size = max_u64(size, 1);
    if (!place_find(p, size, align, min, max, low, start)) {
        (void)fmt(e->text, sizeof(e->text),
                  "%s: no free place for 0x%lx bytes in 0x%lx bytes of guest memory", what, size,
                  p->memory);
        return -E_NOSPC;
    }
    return take(p, *start, *start + size, what, e);
}

int place_any(struct place *p, uint64_t size, uint64_t align, uint64_t limit, bool low,
              const char *what, uint64_t *start, struct load_error *e)
{
    if (low)
        return take_any(p, size, align, 0, LOAD_LOW_END, true, what, start, e);
    return take_any(p, size, align, HIGH_START, limit, false, what, start, e);
}

int place_behind(struct place *p, uint64_t size, uint64_t align, uint64_t limit, const char *what,
                 uint64_t *start, struct load_error *e)
{
    return take_any(p, size, align, HIGH_START, limit, true, what, start, e);
}
