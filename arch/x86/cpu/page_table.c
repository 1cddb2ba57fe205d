#include "arch/x86/cpu/page_table.h"

#define ENTRIES      512u
#define ADDRESS_MASK 0x000ffffffffff000ull

static uint64_t level_size(unsigned level)
{
    return PAGE_SIZE << 9 * level;
}

/* The table that an entry points to. Makes one if needed, splitting a large page into equal parts.
 * `level` is the entry's: 3 PML4 ... 1 page directory. */
static uint64_t *descend(struct page_table *t, uint64_t *entry, unsigned level)
{
    uint64_t old = *entry, part = level_size(level - 1);
    uint64_t *table;

    if ((old & PAGE_PRESENT) && !(old & PAGE_LARGE))
        return (uint64_t *)(uintptr_t)(old & ADDRESS_MASK);
    table = t->new_table();
    if (old & PAGE_PRESENT) {
        uint64_t flags = level == 1 ? old & ~PAGE_LARGE : old;

        for (unsigned i = 0; i < ENTRIES; i++)
            table[i] = flags + i * part;
    }
    *entry = (uintptr_t)table | PAGE_PRESENT | PAGE_WRITE | PAGE_ACCESS;
    return table;
}

/* The entry of `va` at a level, with all tables above it. */
static uint64_t *entry_at(struct page_table *t, uint64_t va, unsigned level)
{
    uint64_t *table = t->root;

    for (unsigned l = 3; l > level; l--)
        table = descend(t, &table[va / level_size(l) % ENTRIES], l);
    return &table[va / level_size(level) % ENTRIES];
}

static bool fits(uint64_t at, uint64_t end, unsigned level)
{
    return at % level_size(level) == 0 && end - at >= level_size(level);
}

void page_table_map(struct page_table *t, uint64_t base, uint64_t end, uint64_t prot)
{
    for (uint64_t at = base; at < end;) {
        unsigned level = t->have_1g && fits(at, end, 2) ? 2 : fits(at, end, 1) ? 1 : 0;
        uint64_t *e = entry_at(t, at, level);

        while (level && (*e & PAGE_PRESENT) && !(*e & PAGE_LARGE))
            e = entry_at(t, at, --level);
        *e = at | prot | PAGE_PRESENT | PAGE_ACCESS | (level ? PAGE_LARGE : 0);
        at += level_size(level);
    }
}

/* The next stretch of RAM at or after `at`, whoever owns its parts. False: none. */
static bool next_ram(const struct mem_map *m, uint64_t at, uint64_t *from, uint64_t *to)
{
    bool found = false;

    for (unsigned i = 0; i < m->count; i++) {
        const struct mem_range *r = &m->ranges[i];

        if (r->kind == MEM_RESERVED || r->base < at)
            continue;
        if (found && r->base != *to)
            break;
        if (!found)
            *from = r->base;
        *to = r->base + r->size;
        found = true;
    }
    return found;
}

/* By address, because taking a table changes owners in the map. Stretches are mapped as a whole, so
 * that most of it gets large pages. */
void page_table_map_ram(struct page_table *t, const struct mem_map *m)
{
    uint64_t from, to = 0;

    while (next_ram(m, to, &from, &to) && from < t->limit)
        page_table_map(t, from, min_u64(to, t->limit), PROT_RW);
}

void page_table_set(struct page_table *t, uint64_t base, uint64_t end, uint64_t prot)
{
    for (uint64_t at = base; at < end; at += PAGE_SIZE)
        *entry_at(t, at, 0) = prot == PROT_NONE ? 0 : at | prot | PAGE_PRESENT | PAGE_ACCESS;
}

uint64_t page_table_find(const struct page_table *t, uint64_t at, uint64_t *size)
{
    const uint64_t *table = t->root;

    for (unsigned level = 4; level-- > 0;) {
        uint64_t e = table[at / level_size(level) % ENTRIES];

        *size = level_size(level);
        if (!(e & PAGE_PRESENT) || level == 0 || (e & PAGE_LARGE))
            return e & PAGE_PRESENT ? e : 0;
        table = (const uint64_t *)(uintptr_t)(e & ADDRESS_MASK);
    }
    return 0;
}
