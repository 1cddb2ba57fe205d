#include "arch/x86/cpu/paging.h"

#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/percpu.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/cpu/stack.h"
#include "hv/arch.h"
#include "hv/lib.h"
#include "hv/panic.h"

#define ENTRIES         512u
#define ADDRESS_MASK    0x000ffffffffff000ull
#define BELOW_4G        (4ull << 30)
#define CANONICAL_LIMIT (1ull << 47) /* the lower half of the address space */

extern uint8_t kernel_start[], kernel_text_end[], kernel_rodata_end[], kernel_end[];

static struct mem_map *memory;
static uint64_t *root;
static bool have_1g;

static uint64_t *new_table(void)
{
    hpa_t a;

    /* Below 4 GB: only that is mapped before the switch, and other cores load CR3 in 32-bit mode.
     */
    if (mem_alloc(memory, PAGE_SIZE, PAGE_SIZE, BELOW_4G, MEM_HOST, 0, &a))
        panic("no memory for the host's page tables");
    memset(arch_ptr(a), 0, PAGE_SIZE);
    return arch_ptr(a);
}

static uint64_t level_size(unsigned level)
{
    return PAGE_SIZE << 9 * level;
}

/* The table that an entry points to. Makes one if needed, splitting a large page into equal parts.
 * `level` is the entry's: 3 PML4 ... 1 page directory. */
static uint64_t *descend(uint64_t *entry, unsigned level)
{
    uint64_t old = *entry, part = level_size(level - 1);
    uint64_t *table;

    if ((old & PAGE_PRESENT) && !(old & PAGE_LARGE))
        return (uint64_t *)(uintptr_t)(old & ADDRESS_MASK);
    table = new_table();
    if (old & PAGE_PRESENT) {
        uint64_t flags = level == 1 ? old & ~PAGE_LARGE : old;

        for (unsigned i = 0; i < ENTRIES; i++)
            table[i] = flags + i * part;
    }
    *entry = (uintptr_t)table | PAGE_PRESENT | PAGE_WRITE | PAGE_ACCESS;
    return table;
}

/* The entry of `va` at a level, with all tables above it. */
static uint64_t *entry_at(uint64_t va, unsigned level)
{
    uint64_t *table = root;

    for (unsigned l = 3; l > level; l--)
        table = descend(&table[va / level_size(l) % ENTRIES], l);
    return &table[va / level_size(level) % ENTRIES];
}

static bool fits(uint64_t at, uint64_t end, unsigned level)
{
    return at % level_size(level) == 0 && end - at >= level_size(level);
}

/* Never replaces a table by a large page. */
static void map(uint64_t at, uint64_t end, uint64_t flags)
{
    while (at < end) {
        unsigned level = have_1g && fits(at, end, 2) ? 2 : fits(at, end, 1) ? 1 : 0;
        uint64_t *e = entry_at(at, level);

        while (level && (*e & PAGE_PRESENT) && !(*e & PAGE_LARGE))
            e = entry_at(at, --level);
        *e = at | flags | PAGE_PRESENT | PAGE_ACCESS | (level ? PAGE_LARGE : 0);
        at += level_size(level);
    }
}

void paging_protect(uint64_t base, uint64_t size, uint64_t prot)
{
    for (uint64_t at = base; at < base + size; at += PAGE_SIZE) {
        uint64_t *e = entry_at(at, 0);

        *e = prot == PROT_NONE ? 0 : at | prot | PAGE_PRESENT | PAGE_ACCESS;
        invlpg((const void *)(uintptr_t)at);
    }
}

void paging_guard(struct core_block *b)
{
    paging_protect((uintptr_t)b->guard_stack, PAGE_SIZE, PROT_NONE);
    paging_protect((uintptr_t)b->guard_nmi, PAGE_SIZE, PROT_NONE);
    paging_protect((uintptr_t)b->guard_double_fault, PAGE_SIZE, PROT_NONE);
    paging_protect((uintptr_t)b->guard_machine_check, PAGE_SIZE, PROT_NONE);
}

bool paging_is_mapped(uint64_t base, uint64_t size)
{
    if (size == 0 || base >= CANONICAL_LIMIT || size > CANONICAL_LIMIT - base)
        return false;
    for (uint64_t at = align_down(base, PAGE_SIZE); at < base + size; at += PAGE_SIZE) {
        const uint64_t *table = root;

        for (unsigned level = 4; level-- > 0;) {
            uint64_t e = table[at / level_size(level) % ENTRIES];

            if (!(e & PAGE_PRESENT))
                return false;
            if (e & PAGE_LARGE && level)
                break;
            table = (const uint64_t *)(uintptr_t)(e & ADDRESS_MASK);
        }
    }
    return true;
}

/* Firmware may list huge reserved holes high up; only those below 4 GB may be needed as memory.
 * Registers are mapped one by one. */
static bool wanted(const struct mem_range *r)
{
    if (r->base >= CANONICAL_LIMIT || r->size > CANONICAL_LIMIT - r->base)
        return false;
    return r->kind != MEM_RESERVED || r->base + r->size <= BELOW_4G;
}

void paging_init(struct mem_map *m)
{
    static struct mem_map before; /* taking tables changes the map while it is walked */
    uint32_t highest = cpuid(0x80000000u, 0).eax;

    memory = m;
    have_1g = highest >= 0x80000001u && cpuid(0x80000001u, 0).edx & CPUID_81_EDX_PAGE_1G;
    root = new_table();
    before = *m;
    for (unsigned i = 0; i < before.count; i++) {
        const struct mem_range *r = &before.ranges[i];

        /* Rounded outwards: whole large pages need fewer tables. */
        if (wanted(r))
            map(align_down(r->base, PAGE_SIZE_2M), align_up(r->base + r->size, PAGE_SIZE_2M),
                PROT_RW);
    }
    map(0, PAGE_SIZE_2M, PROT_RW);
    paging_protect(0, PAGE_SIZE, PROT_NONE);
    paging_protect((uintptr_t)kernel_start, (uintptr_t)kernel_text_end - (uintptr_t)kernel_start,
                   PROT_RX);
    paging_protect((uintptr_t)kernel_text_end,
                   (uintptr_t)kernel_rodata_end - (uintptr_t)kernel_text_end, PROT_R);
    paging_protect((uintptr_t)kernel_rodata_end,
                   (uintptr_t)kernel_end - (uintptr_t)kernel_rodata_end, PROT_RW);
    paging_guard(&boot_core_block);
    for (unsigned i = 0; i < ARCH_STACKS; i++)
        paging_protect((uintptr_t)stack_guard(i), PAGE_SIZE, PROT_NONE);
    write_cr3((uintptr_t)root);
}

uint64_t paging_root(void)
{
    return (uintptr_t)root;
}

static void *map_device(hpa_t base, size_t length, uint64_t cache)
{
    uint64_t end, at = align_down(base.v, PAGE_SIZE);

    if (length == 0 || base.v >= CANONICAL_LIMIT || length > CANONICAL_LIMIT - base.v)
        return NULL;
    end = align_up(base.v + length, PAGE_SIZE);
    for (unsigned i = 0; i < memory->count; i++) {
        const struct mem_range *r = &memory->ranges[i];

        /* Refuses uncached aliases of RAM in use; registers are not in RAM. */
        if (r->kind != MEM_RESERVED && r->base < end && at < r->base + r->size)
            return NULL;
    }
    for (; at < end; at += PAGE_SIZE) {
        if (at % PAGE_SIZE_2M == 0 && end - at >= PAGE_SIZE_2M) {
            uint64_t *e = entry_at(at, 1);

            if (!(*e & PAGE_PRESENT) || *e & PAGE_LARGE) {
                *e = at | PROT_RW | cache | PAGE_PRESENT | PAGE_ACCESS | PAGE_LARGE;
                invlpg((const void *)(uintptr_t)at);
                at += PAGE_SIZE_2M - PAGE_SIZE;
                continue;
            }
        }
        paging_protect(at, PAGE_SIZE, PROT_RW | cache);
    }
    return arch_ptr(base);
}

void *arch_map_mmio(hpa_t base, size_t length)
{
    return map_device(base, length, PAGE_PCD | PAGE_PWT);
}

void *paging_map_framebuffer(hpa_t base, size_t length)
{
    return map_device(base, length, PAGE_PCD);
}
