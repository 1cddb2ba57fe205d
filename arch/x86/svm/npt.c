#include "arch/x86/svm/npt.h"

#include "hv/job.h"

#define ENTRIES      512u
#define LEVELS       4u
#define PTE_P        (1ull << 0)
#define PTE_RW       (1ull << 1)
#define PTE_US       (1ull << 2) /* a nested walk is a user access */
#define PTE_PS       (1ull << 7)
#define PTE_NX       (1ull << 63)
#define TABLE        (PTE_P | PTE_RW | PTE_US)
#define ADDRESS_MASK 0x000ffffffffff000ull
#define GPA_LIMIT    (1ull << 48)
/* Entries examined between two rests. */
#define REST         64u

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

static bool is_leaf(uint64_t entry, unsigned level)
{
    return level == 1 || (entry & PTE_PS);
}

/* What a leaf has beside its address. */
static uint64_t leaf_bits(unsigned perm, unsigned level)
{
    return PTE_P | PTE_US | (perm & NPT_WRITE ? PTE_RW : 0) | (perm & NPT_EXECUTE ? 0 : PTE_NX) |
           (level > 1 ? PTE_PS : 0);
}

static struct npt_mapping mapping_of(uint64_t entry, uint64_t gpa, unsigned level)
{
    return (struct npt_mapping){
        .gpa = align_down(gpa, span(level)),
        .hpa = entry & ADDRESS_MASK & ~(span(level) - 1),
        .size = span(level),
        .perm = NPT_READ | (entry & PTE_RW ? NPT_WRITE : 0) | (entry & PTE_NX ? 0 : NPT_EXECUTE),
    };
}

int npt_init(struct npt *t, bool page_1g, void *(*alloc)(void *ctx), void *ctx)
{
    *t = (struct npt){.page_1g = page_1g, .alloc = alloc, .ctx = ctx, .root = alloc(ctx)};
    return t->root ? 0 : -E_NOMEM;
}

/* The level of the largest page that fits here. */
static unsigned best_level(const struct npt *t, uint64_t gpa, uint64_t hpa, uint64_t size)
{
    for (unsigned level = t->page_1g ? 3 : 2; level > 1; level--)
        if (((gpa | hpa) & (span(level) - 1)) == 0 && size >= span(level))
            return level;
    return 1;
}

/* Makes missing tables down to `level`, and finds the entry there. */
static int reach(struct npt *t, uint64_t gpa, unsigned level, uint64_t **entry)
{
    uint64_t *table = t->root;

    for (unsigned at = LEVELS; at > level; at--) {
        *entry = entry_of(table, gpa, at);
        if (!(**entry & PTE_P)) {
            void *page = t->alloc(t->ctx);

            if (!page)
                return -E_NOMEM;
            **entry = (uintptr_t)page | TABLE;
        } else if (is_leaf(**entry, at)) {
            return -E_EXIST;
        }
        table = table_of(**entry);
    }
    *entry = entry_of(table, gpa, level);
    return 0;
}

int npt_map(struct npt *t, gpa_t gpa, hpa_t hpa, uint64_t size, unsigned perm)
{
    uint64_t g = gpa.v, h = hpa.v;

    if ((g | h | size) % PAGE_SIZE || size == 0 || g >= GPA_LIMIT || size > GPA_LIMIT - g ||
        h > ADDRESS_MASK || size > ADDRESS_MASK - h || !(perm & NPT_READ) ||
        perm > (NPT_READ | NPT_WRITE | NPT_EXECUTE))
        return -E_INVAL;
    while (size > 0) {
        unsigned level = best_level(t, g, h, size);
        uint64_t *entry;
        int rc = reach(t, g, level, &entry);

        if (rc)
            return rc;
        if (*entry & PTE_P)
            return -E_EXIST;
        *entry = h | leaf_bits(perm, level);
        g += span(level);
        h += span(level);
        size -= span(level);
        job_rest();
    }
    return 0;
}

int npt_prepare(struct npt *t, gpa_t gpa, uint64_t size)
{
    uint64_t *entry;
    int rc = 0;

    if (gpa.v % span(3) || size == 0 || gpa.v >= GPA_LIMIT || size > GPA_LIMIT - gpa.v)
        return -E_INVAL;
    for (uint64_t at = gpa.v; rc == 0 && at < gpa.v + size; at += span(3))
        rc = reach(t, at, 2, &entry);
    return rc;
}

/* The entry for `gpa` at the lowest level down to `lowest` that has one; NULL: nothing is mapped.
 */
static uint64_t *find(const struct npt *t, uint64_t gpa, unsigned lowest, unsigned *level)
{
    uint64_t *table = t->root;

    for (*level = LEVELS;; --*level) {
        uint64_t *entry = entry_of(table, gpa, *level);

        if (*level == lowest)
            return entry;
        if (!(*entry & PTE_P))
            return NULL;
        if (is_leaf(*entry, *level))
            return entry;
        table = table_of(*entry);
    }
}

int npt_place(struct npt *t, gpa_t gpa, hpa_t hpa, uint64_t size, unsigned perm)
{
    unsigned level = 0;
    uint64_t *table = gpa.v < GPA_LIMIT ? find(t, gpa.v, 2, &level) : NULL;
    uint64_t new = perm ? hpa.v | leaf_bits(perm, 2) : 0, step = perm ? PAGE_SIZE_2M : 0, was = 0;

    if (!table || level != 2 || (gpa.v | hpa.v | size) % PAGE_SIZE_2M || size == 0 ||
        size > span(3) - gpa.v % span(3) || hpa.v > ADDRESS_MASK - size || perm >= NPT_EXECUTE ||
        (perm && !(perm & NPT_READ)))
        return -E_INVAL;
    for (uint64_t i = 0; i < size / PAGE_SIZE_2M; i++, new += step) {
        was |= table[i];
        table[i] = new;
    }
    return perm && was ? -E_EXIST : 0;
}

int npt_unmap(struct npt *t, gpa_t gpa, uint64_t size)
{
    uint64_t at = gpa.v;

    if (at >= GPA_LIMIT || size > GPA_LIMIT - at)
        return -E_INVAL;
    while (size > 0) {
        unsigned level;
        uint64_t *entry = find(t, at, 1, &level);

        if (!entry || !(*entry & PTE_P) || at % span(level) || size < span(level))
            return -E_INVAL;
        *entry = 0;
        at += span(level);
        size -= span(level);
    }
    return 0;
}

bool npt_lookup(const struct npt *t, gpa_t gpa, struct npt_mapping *out)
{
    unsigned level;
    const uint64_t *entry = gpa.v < GPA_LIMIT ? find(t, gpa.v, 1, &level) : NULL;

    if (!entry || !(*entry & PTE_P))
        return false;
    *out = mapping_of(*entry, gpa.v, level);
    return true;
}

/* The number of levels bounds the depth. */
static int walk(const uint64_t *table, unsigned level, uint64_t base,
                int (*visit)(void *ctx, const struct npt_mapping *m), void *ctx)
{
    for (unsigned i = 0; i < ENTRIES; i++) {
        uint64_t gpa = base + i * span(level), entry = table[i];
        int rc;

        if (i % REST == 0)
            job_rest();
        if (!(entry & PTE_P))
            continue;
        if (is_leaf(entry, level)) {
            const struct npt_mapping m = mapping_of(entry, gpa, level);

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

int npt_walk(const struct npt *t, int (*visit)(void *ctx, const struct npt_mapping *m), void *ctx)
{
    return walk(t->root, LEVELS, 0, visit, ctx);
}
