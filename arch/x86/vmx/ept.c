#include "arch/x86/vmx/ept.h"

#include "hv/abi/memory.h"
#include "hv/job.h"

#define HALF            256u
#define ENTRIES         512u
#define LEVELS          4u
#define PERM_MASK       7ull
#define MEMORY_TYPE_WB  (6ull << 3)
#define IGNORE_PAT      (1ull << 6)
#define LARGE_PAGE      (1ull << 7)
/* Everything mapped is RAM, which the root maps write-back too: a guest's PAT must not change that,
 * or the two would see different bytes (SDM 3C "EPT and Memory Typing", SDM 3A "Programming the
 * PAT": aliases of different types). */
#define RAM_TYPE        (MEMORY_TYPE_WB | IGNORE_PAT)
#define ADDRESS_MASK    0x000ffffffffff000ull
/* In an entry for a large page, a bit that the CPU ignores: executable after a split. */
#define WAITS_FOR_FETCH (1ull << 52)
/* Entries examined between two rests. */
#define REST            64u
#define GPA_LIMIT       (1ull << 48)
#define EPTP_WB         6ull
#define EPTP_WALK_4     (3ull << 3)

/* Bytes that one entry covers at a level; 1 is the lowest. */
static uint64_t span(unsigned level)
{
    return 1ull << (12 + 9 * (level - 1));
}

static uint64_t *table_of(uint64_t entry)
{
    return (uint64_t *)(uintptr_t)(entry & ADDRESS_MASK);
}

static uint64_t *entry_of(uint64_t *table, uint64_t gpa, unsigned level)
{
    return &table[gpa / span(level) % ENTRIES];
}

int ept_init(struct ept *e, bool page_1g, void *(*alloc)(void *ctx), void *ctx)
{
    *e = (struct ept){.page_1g = page_1g, .alloc = alloc, .ctx = ctx, .root = alloc(ctx)};
    return e->root ? 0 : -E_NOMEM;
}

void ept_reserve_splits(struct ept *e, void *tables, uint64_t size)
{
    e->split_tables = tables;
    e->split_limit = size;
}

/* The table for the 2 MB around `gpa`, or NULL. */
static uint64_t *split_table(const struct ept *e, uint64_t gpa)
{
    uint64_t offset = memory_offset(gpa);

    return e->split_tables && offset < e->split_limit
               ? e->split_tables + offset / PAGE_SIZE_2M * ENTRIES
               : NULL;
}

static bool is_leaf(uint64_t entry, unsigned level)
{
    return level == 1 || (entry & LARGE_PAGE);
}

/* The level of the largest page that fits here. */
static unsigned best_level(const struct ept *e, uint64_t gpa, uint64_t hpa, uint64_t size,
                           unsigned perm)
{
    unsigned top = e->page_1g ? 3 : 2;

    if (e->split_tables && (perm & EPT_EXECUTE))
        top = split_table(e, gpa) ? 2 : 1;
    for (unsigned level = top; level > 1; level--)
        if (((gpa | hpa) & (span(level) - 1)) == 0 && size >= span(level))
            return level;
    return 1;
}

/* Makes missing tables down to `level`, and finds the entry there. */
static int reach(struct ept *e, uint64_t gpa, unsigned level, uint64_t **entry)
{
    uint64_t *table = e->root;

    for (unsigned at = LEVELS; at > level; at--) {
        *entry = entry_of(table, gpa, at);
        if (!(**entry & PERM_MASK)) {
            void *page = e->alloc(e->ctx);

            if (!page)
                return -E_NOMEM;
            **entry = (uintptr_t)page | PERM_MASK;
        } else if (is_leaf(**entry, at)) {
            return -E_EXIST;
        }
        table = table_of(**entry);
    }
    *entry = entry_of(table, gpa, level);
    return 0;
}

static int map_page(struct ept *e, uint64_t gpa, uint64_t hpa, unsigned level, unsigned perm)
{
    uint64_t *entry;
    int rc = reach(e, gpa, level, &entry);

    if (rc)
        return rc;
    if (*entry & PERM_MASK)
        return -E_EXIST;
    *entry = hpa | perm | RAM_TYPE | (level > 1 ? LARGE_PAGE : 0);
    if (level > 1 && e->split_tables && (perm & EPT_EXECUTE))
        *entry = (*entry & ~(uint64_t)EPT_EXECUTE) | WAITS_FOR_FETCH;
    return 0;
}

int ept_map(struct ept *e, gpa_t gpa, hpa_t hpa, uint64_t size, unsigned perm)
{
    uint64_t g = gpa.v, h = hpa.v;

    /* Unreadable pages are a misconfiguration if they are writable, and need a capability if they
     * are only executable. */
    if ((g | h | size) % PAGE_SIZE || size == 0 || g >= GPA_LIMIT || size > GPA_LIMIT - g ||
        h > ADDRESS_MASK || size > ADDRESS_MASK - h || !(perm & EPT_READ) || perm > PERM_MASK)
        return -E_INVAL;
    while (size > 0) {
        unsigned level = best_level(e, g, h, size, perm);
        int rc = map_page(e, g, h, level, perm);

        if (rc)
            return rc;
        g += span(level);
        h += span(level);
        size -= span(level);
        job_rest();
    }
    return 0;
}

int ept_prepare(struct ept *e, gpa_t gpa, uint64_t size)
{
    uint64_t *entry;
    int rc = 0;

    if (gpa.v % span(3) || size == 0 || gpa.v >= GPA_LIMIT || size > GPA_LIMIT - gpa.v)
        return -E_INVAL;
    for (uint64_t at = gpa.v; rc == 0 && at < gpa.v + size; at += span(3))
        rc = reach(e, at, 2, &entry);
    return rc;
}

/* The table of 2 MB pages around `gpa`; NULL: there is none. */
static uint64_t *large_table(const struct ept *e, uint64_t gpa)
{
    uint64_t *table = e->root;

    for (unsigned level = LEVELS; level > 2; level--) {
        uint64_t entry = *entry_of(table, gpa, level);

        if (!(entry & PERM_MASK) || is_leaf(entry, level))
            return NULL;
        table = table_of(entry);
    }
    return table;
}

int ept_place(struct ept *e, gpa_t gpa, hpa_t hpa, uint64_t size, unsigned perm)
{
    uint64_t *table = gpa.v < GPA_LIMIT ? large_table(e, gpa.v) : NULL;
    uint64_t new = perm ? hpa.v | perm | RAM_TYPE | LARGE_PAGE : 0, was = 0;
    uint64_t step = perm ? PAGE_SIZE_2M : 0;

    if (!table || (gpa.v | hpa.v | size) % PAGE_SIZE_2M || size == 0 ||
        size > span(3) - gpa.v % span(3) || hpa.v > ADDRESS_MASK - size || perm >= EPT_EXECUTE ||
        (perm && !(perm & EPT_READ)))
        return -E_INVAL;
    table = entry_of(table, gpa.v, 2);
    for (uint64_t i = 0; i < size / PAGE_SIZE_2M; i++, new += step) {
        was |= table[i];
        table[i] = new;
    }
    return perm && was ? -E_EXIST : 0;
}

static uint64_t *find_leaf(const struct ept *e, uint64_t gpa, unsigned *level)
{
    uint64_t *table = e->root;

    for (*level = LEVELS; *level > 0; --*level) {
        uint64_t *entry = entry_of(table, gpa, *level);

        if (!(*entry & PERM_MASK))
            return NULL;
        if (is_leaf(*entry, *level))
            return entry;
        table = table_of(*entry);
    }
    return NULL;
}

/* ---- splits at the first fetch ---- */

/* The entry of the page that waits for its first fetch, or NULL. */
static uint64_t *find_waiting(const struct ept *e, uint64_t gpa)
{
    unsigned level;
    uint64_t *entry = split_table(e, gpa) ? find_leaf(e, gpa, &level) : NULL;

    return entry && (*entry & WAITS_FOR_FETCH) ? entry : NULL;
}

/* The first of the 512 entries that a page becomes. */
static uint64_t first_part(uint64_t entry)
{
    return (entry & ~(LARGE_PAGE | WAITS_FOR_FETCH)) | EPT_EXECUTE;
}

/* Unrolled by eight, which takes half the time: it runs in guests' slices. */
static inline void fill8(uint64_t *entry, uint64_t part)
{
    entry[0] = part;
    entry[1] = part + PAGE_SIZE;
    entry[2] = part + 2 * PAGE_SIZE;
    entry[3] = part + 3 * PAGE_SIZE;
    entry[4] = part + 4 * PAGE_SIZE;
    entry[5] = part + 5 * PAGE_SIZE;
    entry[6] = part + 6 * PAGE_SIZE;
    entry[7] = part + 7 * PAGE_SIZE;
}

/* Nonzero: one of eight entries differs. */
static inline uint64_t differ8(const uint64_t *entry, uint64_t part)
{
    return (entry[0] ^ part) | (entry[1] ^ (part + PAGE_SIZE)) |
           (entry[2] ^ (part + 2 * PAGE_SIZE)) | (entry[3] ^ (part + 3 * PAGE_SIZE)) |
           (entry[4] ^ (part + 4 * PAGE_SIZE)) | (entry[5] ^ (part + 5 * PAGE_SIZE)) |
           (entry[6] ^ (part + 6 * PAGE_SIZE)) | (entry[7] ^ (part + 7 * PAGE_SIZE));
}

void ept_prepare_split(struct ept *e, gpa_t gpa)
{
    const uint64_t *waiting = find_waiting(e, gpa.v);
    uint64_t *table = split_table(e, gpa.v), part;

    if (!waiting)
        return;
    part = first_part(*waiting);
    for (unsigned i = 0; i < ENTRIES; i += 8, part += 8 * PAGE_SIZE)
        fill8(&table[i], part);
}

bool ept_split_is_good(const struct ept *e, gpa_t gpa)
{
    const uint64_t *waiting = find_waiting(e, gpa.v), *table = split_table(e, gpa.v);
    uint64_t part, wrong = 0;
    unsigned from;

    if (!waiting)
        return true;
    from = (unsigned)(gpa.v / PAGE_SIZE % ENTRIES / HALF * HALF);
    part = first_part(*waiting) + from * PAGE_SIZE;
    for (unsigned i = from; i < from + HALF; i += 8, part += 8 * PAGE_SIZE)
        wrong |= differ8(&table[i], part);
    return wrong == 0;
}

bool ept_split(struct ept *e, gpa_t gpa)
{
    uint64_t *waiting = gpa.v < GPA_LIMIT ? find_waiting(e, gpa.v) : NULL;
    const uint64_t *table = split_table(e, gpa.v);
    uint64_t was = waiting ? __atomic_load_n(waiting, __ATOMIC_RELAXED) : 0;

    /* It was never prepared, or another vCPU is just doing it. */
    if (!(was & WAITS_FOR_FETCH) || table[0] != first_part(was))
        return false;
    return __atomic_compare_exchange_n(waiting, &was, (uintptr_t)table | PERM_MASK, false,
                                       __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

int ept_unmap(struct ept *e, gpa_t gpa, uint64_t size)
{
    uint64_t at = gpa.v;

    if (at >= GPA_LIMIT || size > GPA_LIMIT - at)
        return -E_INVAL;
    while (size > 0) {
        unsigned level;
        uint64_t *entry = find_leaf(e, at, &level);

        if (!entry || at % span(level) || size < span(level))
            return -E_INVAL;
        *entry = 0;
        at += span(level);
        size -= span(level);
    }
    return 0;
}

bool ept_lookup(const struct ept *e, gpa_t gpa, struct ept_mapping *out)
{
    uint64_t *table = e->root;

    if (gpa.v >= GPA_LIMIT)
        return false;
    for (unsigned level = LEVELS; level > 0; level--) {
        uint64_t entry = *entry_of(table, gpa.v, level);

        if (!(entry & PERM_MASK))
            return false;
        if (is_leaf(entry, level)) {
            *out = (struct ept_mapping){align_down(gpa.v, span(level)), entry & ADDRESS_MASK,
                                        span(level), (unsigned)(entry & PERM_MASK)};
            return true;
        }
        table = table_of(entry);
    }
    return false;
}

/* The number of levels bounds the depth. */
static int walk(const uint64_t *table, unsigned level, uint64_t base,
                int (*visit)(void *ctx, const struct ept_mapping *m), void *ctx)
{
    for (unsigned i = 0; i < ENTRIES; i++) {
        uint64_t gpa = base + i * span(level), entry = table[i];
        int rc;

        if (i % REST == 0)
            job_rest();
        if (!(entry & PERM_MASK))
            continue;
        if (is_leaf(entry, level)) {
            const struct ept_mapping m = {gpa, entry & ADDRESS_MASK, span(level),
                                          (unsigned)(entry & PERM_MASK)};

            rc = visit(ctx, &m);
            job_rest();
        } else {
            rc = walk(table_of(entry), level - 1, gpa, visit, ctx);
        }
        if (rc)
            return rc;
    }
    return 0;
}

int ept_walk(const struct ept *e, int (*visit)(void *ctx, const struct ept_mapping *m), void *ctx)
{
    return walk(e->root, LEVELS, 0, visit, ctx);
}

uint64_t ept_pointer(const struct ept *e)
{
    return (uintptr_t)e->root | EPTP_WB | EPTP_WALK_4;
}
