#include "arch/x86/vmx/ept.h"

#include "hv/abi/memory.h"

#define HALF            256u
#define PERM_MASK       7ull
#define MEMORY_TYPE_WB  (6ull << 3)
#define IGNORE_PAT      (1ull << 6)
/* Everything mapped is RAM, which the root maps write-back too: a guest's PAT must not change that,
 * or the two would see different bytes (SDM 3C "EPT and Memory Typing", SDM 3A "Programming the
 * PAT": aliases of different types). */
#define RAM_TYPE        (MEMORY_TYPE_WB | IGNORE_PAT)
/* In an entry for a large page, a bit that the CPU ignores: executable after a split. */
#define WAITS_FOR_FETCH (1ull << 52)
#define EPTP_WB         6ull
#define EPTP_WALK_4     (3ull << 3)

static const struct ept *ept_of(const struct nested *t)
{
    return (const struct ept *)t;
}

static unsigned perm_of(uint64_t leaf)
{
    return (unsigned)(leaf & PERM_MASK);
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
               ? e->split_tables + offset / PAGE_SIZE_2M * NESTED_ENTRIES
               : NULL;
}

static unsigned top_level(const struct nested *t, uint64_t gpa, unsigned perm)
{
    const struct ept *e = ept_of(t);

    if (e->split_tables && (perm & NESTED_EXECUTE))
        return split_table(e, gpa) ? 2 : 1;
    return t->page_1g ? 3 : 2;
}

static uint64_t bits_of(const struct nested *t, unsigned perm, unsigned level)
{
    uint64_t bits = perm | RAM_TYPE | (level > 1 ? NESTED_LARGE : 0);

    if (level > 1 && ept_of(t)->split_tables && (perm & NESTED_EXECUTE))
        bits = (bits & ~(uint64_t)NESTED_EXECUTE) | WAITS_FOR_FETCH;
    return bits;
}

int ept_init(struct ept *e, bool page_1g, void *(*alloc)(void *ctx), void *ctx)
{
    *e = (struct ept){.tree = {.page_1g = page_1g,
                               .alloc = alloc,
                               .ctx = ctx,
                               .bits = bits_of,
                               .perm = perm_of,
                               .top = top_level}};
    return nested_init(&e->tree);
}

/* ---- splits at the first fetch ---- */

/* The entry of the page that waits for its first fetch, or NULL. */
static uint64_t *find_waiting(const struct ept *e, uint64_t at)
{
    unsigned level;
    uint64_t *entry = split_table(e, at) ? nested_find(&e->tree, gpa(at), &level) : NULL;

    return entry && (*entry & WAITS_FOR_FETCH) ? entry : NULL;
}

/* The first of the 512 entries that a page becomes. */
static uint64_t first_part(uint64_t entry)
{
    return (entry & ~(NESTED_LARGE | WAITS_FOR_FETCH)) | NESTED_EXECUTE;
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
    for (unsigned i = 0; i < NESTED_ENTRIES; i += 8, part += 8 * PAGE_SIZE)
        fill8(&table[i], part);
}

bool ept_split_is_good(const struct ept *e, gpa_t gpa)
{
    const uint64_t *waiting = find_waiting(e, gpa.v), *table = split_table(e, gpa.v);
    uint64_t part, wrong = 0;
    unsigned from;

    if (!waiting)
        return true;
    from = (unsigned)(gpa.v / PAGE_SIZE % NESTED_ENTRIES / HALF * HALF);
    part = first_part(*waiting) + from * PAGE_SIZE;
    for (unsigned i = from; i < from + HALF; i += 8, part += 8 * PAGE_SIZE)
        wrong |= differ8(&table[i], part);
    return wrong == 0;
}

bool ept_split(struct ept *e, gpa_t gpa)
{
    uint64_t *waiting = gpa.v < NESTED_GPA_LIMIT ? find_waiting(e, gpa.v) : NULL;
    const uint64_t *table = split_table(e, gpa.v);
    uint64_t was = waiting ? __atomic_load_n(waiting, __ATOMIC_RELAXED) : 0;

    /* It was never prepared, or another vCPU is just doing it. */
    if (!(was & WAITS_FOR_FETCH) || table[0] != first_part(was))
        return false;
    return __atomic_compare_exchange_n(waiting, &was, (uintptr_t)table | NESTED_TABLE, false,
                                       __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

uint64_t ept_pointer(const struct ept *e)
{
    return (uintptr_t)e->tree.root | EPTP_WB | EPTP_WALK_4;
}
