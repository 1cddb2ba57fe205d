#include "arch/x86/guest/nested.h"

#include "hv/job.h"

/* Entries examined between two rests. */
#define REST 64u

static uint64_t *table_of(uint64_t entry)
{
    return (uint64_t *)(uintptr_t)(entry & NESTED_ADDRESS_MASK);
}

static uint64_t *entry_of(uint64_t *table, uint64_t gpa, unsigned level)
{
    return &table[gpa / nested_span(level) % NESTED_ENTRIES];
}

static bool is_leaf(uint64_t entry, unsigned level)
{
    return level == 1 || (entry & NESTED_LARGE);
}

static bool is_inside(gpa_t gpa, uint64_t size)
{
    return gpa.v < NESTED_GPA_LIMIT && size <= NESTED_GPA_LIMIT - gpa.v;
}

static struct nested_mapping mapping_of(const struct nested *t, uint64_t entry, uint64_t gpa,
                                        unsigned level)
{
    return (struct nested_mapping){
        .gpa = align_down(gpa, nested_span(level)),
        .hpa = entry & NESTED_ADDRESS_MASK & ~(nested_span(level) - 1),
        .size = nested_span(level),
        .perm = t->perm(entry),
    };
}

int nested_init(struct nested *t)
{
    t->root = t->alloc(t->ctx);
    return t->root ? 0 : -E_NOMEM;
}

/* Whole pages that both sides can name. Unreadable pages that are writable are a misconfiguration
 * of EPT, only executable ones need a capability, and AMD has neither. */
static bool is_valid(gpa_t gpa, hpa_t hpa, uint64_t size, unsigned perm)
{
    return (gpa.v | hpa.v | size) % PAGE_SIZE == 0 && size && is_inside(gpa, size) &&
           hpa.v <= NESTED_ADDRESS_MASK && size <= NESTED_ADDRESS_MASK - hpa.v &&
           (perm & NESTED_READ) && perm <= (NESTED_READ | NESTED_WRITE | NESTED_EXECUTE);
}

/* The level of the largest page that fits here. */
static unsigned best_level(const struct nested *t, uint64_t gpa, uint64_t hpa, uint64_t size,
                           unsigned perm)
{
    unsigned level = t->top ? t->top(t, gpa, perm) : t->page_1g ? 3 : 2;

    for (; level > 1; level--)
        if (((gpa | hpa) & (nested_span(level) - 1)) == 0 && size >= nested_span(level))
            return level;
    return 1;
}

/* Makes missing tables down to `level`, and finds the entry there. */
static int reach(struct nested *t, uint64_t gpa, unsigned level, uint64_t **entry)
{
    uint64_t *table = t->root;

    for (unsigned at = NESTED_LEVELS; at > level; at--) {
        *entry = entry_of(table, gpa, at);
        if (!(**entry & NESTED_PRESENT)) {
            void *page = t->alloc(t->ctx);

            if (!page)
                return -E_NOMEM;
            **entry = (uintptr_t)page | NESTED_TABLE;
        } else if (is_leaf(**entry, at)) {
            return -E_EXIST;
        }
        table = table_of(**entry);
    }
    *entry = entry_of(table, gpa, level);
    return 0;
}

/* Writes the leaf `entry` for `gpa`, with the tables above it. -E_EXIST, -E_NOMEM. */
static int set(struct nested *t, uint64_t gpa, unsigned level, uint64_t entry)
{
    uint64_t *at;
    int rc = reach(t, gpa, level, &at);

    if (rc)
        return rc;
    if (*at & NESTED_PRESENT)
        return -E_EXIST;
    *at = entry;
    return 0;
}

int nested_map(struct nested *t, gpa_t gpa, hpa_t hpa, uint64_t size, unsigned perm)
{
    uint64_t g = gpa.v, h = hpa.v;

    if (!is_valid(gpa, hpa, size, perm))
        return -E_INVAL;
    while (size > 0) {
        unsigned level = best_level(t, g, h, size, perm);
        int rc = set(t, g, level, h | t->bits(t, perm, level));

        if (rc)
            return rc;
        g += nested_span(level);
        h += nested_span(level);
        size -= nested_span(level);
        job_rest();
    }
    return 0;
}

int nested_prepare(struct nested *t, gpa_t gpa, uint64_t size)
{
    uint64_t *entry;
    int rc = 0;

    if (gpa.v % nested_span(3) || size == 0 || !is_inside(gpa, size))
        return -E_INVAL;
    for (uint64_t at = gpa.v; rc == 0 && at < gpa.v + size; at += nested_span(3))
        rc = reach(t, at, 2, &entry);
    return rc;
}

/* The table of 2 MB pages around `gpa`; NULL: there is none. */
static uint64_t *large_table(const struct nested *t, gpa_t gpa)
{
    uint64_t *table = t->root;

    if (gpa.v >= NESTED_GPA_LIMIT)
        return NULL;
    for (unsigned level = NESTED_LEVELS; level > 2; level--) {
        uint64_t entry = *entry_of(table, gpa.v, level);

        if (!(entry & NESTED_PRESENT) || is_leaf(entry, level))
            return NULL;
        table = table_of(entry);
    }
    return table;
}

int nested_place(struct nested *t, gpa_t gpa, hpa_t hpa, uint64_t size, unsigned perm)
{
    uint64_t *table = large_table(t, gpa);
    uint64_t new = perm ? hpa.v | t->bits(t, perm, 2) : 0, step = perm ? PAGE_SIZE_2M : 0, was = 0;

    if (!table || perm >= NESTED_EXECUTE || (perm && !(perm & NESTED_READ)) ||
        (gpa.v | hpa.v | size) % PAGE_SIZE_2M || size == 0 ||
        size > nested_span(3) - gpa.v % nested_span(3) || hpa.v > NESTED_ADDRESS_MASK - size)
        return -E_INVAL;
    table = entry_of(table, gpa.v, 2);
    for (uint64_t i = 0; i < size / PAGE_SIZE_2M; i++, new += step) {
        was |= table[i];
        table[i] = new;
    }
    return perm && was ? -E_EXIST : 0;
}

uint64_t *nested_find(const struct nested *t, gpa_t gpa, unsigned *level)
{
    uint64_t *table = t->root;

    if (gpa.v >= NESTED_GPA_LIMIT)
        return NULL;
    for (*level = NESTED_LEVELS; *level > 0; --*level) {
        uint64_t *entry = entry_of(table, gpa.v, *level);

        if (!(*entry & NESTED_PRESENT))
            return NULL;
        if (is_leaf(*entry, *level))
            return entry;
        table = table_of(*entry);
    }
    return NULL;
}

int nested_unmap(struct nested *t, gpa_t gpa, uint64_t size)
{
    if (!is_inside(gpa, size))
        return -E_INVAL;
    while (size > 0) {
        unsigned level;
        uint64_t *entry = nested_find(t, gpa, &level);

        if (!entry || gpa.v % nested_span(level) || size < nested_span(level))
            return -E_INVAL;
        *entry = 0;
        gpa.v += nested_span(level);
        size -= nested_span(level);
    }
    return 0;
}

bool nested_lookup(const struct nested *t, gpa_t gpa, struct nested_mapping *out)
{
    unsigned level;
    const uint64_t *entry = nested_find(t, gpa, &level);

    if (!entry)
        return false;
    *out = mapping_of(t, *entry, gpa.v, level);
    return true;
}

struct walk {
    const struct nested *tree;
    int (*visit)(void *ctx, const struct nested_mapping *m);
    void *ctx;
};

/* The number of levels bounds the depth. */
static int walk(const struct walk *w, const uint64_t *table, unsigned level, uint64_t base)
{
    for (unsigned i = 0; i < NESTED_ENTRIES; i++) {
        uint64_t gpa = base + i * nested_span(level), entry = table[i];
        int rc;

        if (i % REST == 0)
            job_rest();
        if (!(entry & NESTED_PRESENT))
            continue;
        if (is_leaf(entry, level)) {
            const struct nested_mapping m = mapping_of(w->tree, entry, gpa, level);

            rc = w->visit(w->ctx, &m);
            job_rest();
        } else {
            rc = walk(w, table_of(entry), level - 1, gpa);
        }
        if (rc)
            return rc;
    }
    return 0;
}

int nested_walk(const struct nested *t, int (*visit)(void *ctx, const struct nested_mapping *m),
                void *ctx)
{
    const struct walk w = {t, visit, ctx};

    return walk(&w, t->root, NESTED_LEVELS, 0);
}
