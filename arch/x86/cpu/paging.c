#include "arch/x86/cpu/paging.h"

#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/percpu.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/cpu/stack.h"
#include "hv/arch.h"
#include "hv/lib.h"
#include "hv/panic.h"

#define BELOW_4G        (4ull << 30)
#define CANONICAL_LIMIT (1ull << 47) /* the lower half of the address space */
#define WIDTH_DEFAULT   36u          /* of physical addresses, if CPUID does not tell */
#define LOW_MEMORY_END  0x100000ull
#define VGA_BASE        0xa0000ull
#define VGA_END         0xc0000ull

extern uint8_t kernel_start[], kernel_text_end[], kernel_rodata_end[], kernel_end[];

static struct mem_map *memory;

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

static struct page_table table = {.new_table = new_table};

/* An address beyond the CPU's physical ones would be reserved bits in an entry. */
static uint64_t address_limit(void)
{
    unsigned width =
        cpuid(0x80000000u, 0).eax >= 0x80000008u ? cpuid(0x80000008u, 0).eax & 0xff : WIDTH_DEFAULT;

    return width < 47 ? 1ull << width : CANONICAL_LIMIT;
}

static bool can_map(uint64_t base, uint64_t size)
{
    return size && base < table.limit && size <= table.limit - base;
}

void paging_protect(uint64_t base, uint64_t size, uint64_t prot)
{
    page_table_set(&table, base, base + size, prot);
    for (uint64_t at = base; at < base + size; at += PAGE_SIZE)
        invlpg((const void *)(uintptr_t)at);
}

void paging_guard(struct core_block *b)
{
    paging_protect((uintptr_t)b->guard_stack, PAGE_SIZE, PROT_NONE);
    paging_protect((uintptr_t)b->guard_nmi, PAGE_SIZE, PROT_NONE);
    paging_protect((uintptr_t)b->guard_double_fault, PAGE_SIZE, PROT_NONE);
    paging_protect((uintptr_t)b->guard_machine_check, PAGE_SIZE, PROT_NONE);
}

static bool is_ram(uint64_t base, uint64_t end)
{
    for (unsigned i = 0; i < memory->count; i++) {
        const struct mem_range *r = &memory->ranges[i];

        if (r->kind != MEM_RESERVED && r->base < end && base < r->base + r->size)
            return true;
    }
    return false;
}

/* A page of RAM that is not mapped is a guard page, or page 0. */
bool paging_map_firmware(uint64_t base, uint64_t size)
{
    uint64_t part;

    if (!can_map(base, size))
        return false;
    for (uint64_t at = align_down(base, PAGE_SIZE); at < base + size; at += PAGE_SIZE) {
        if (page_table_find(&table, at, &part))
            continue;
        if (at == 0 || is_ram(at, at + PAGE_SIZE))
            return false;
        paging_protect(at, PAGE_SIZE, PROT_R);
    }
    return true;
}

/* Never cached: firmware's MTRRs say write-back for the window of VGA on some machines. */
static void map_low_memory(void)
{
    page_table_map(&table, 0, LOW_MEMORY_END, PROT_RW);
    page_table_set(&table, 0, PAGE_SIZE, PROT_NONE);
    page_table_set(&table, VGA_BASE, VGA_END, PROT_RW | PAGE_UC);
}

void paging_init(struct mem_map *m)
{
    uint32_t highest = cpuid(0x80000000u, 0).eax;

    memory = m;
    table.have_1g = highest >= 0x80000001u && cpuid(0x80000001u, 0).edx & CPUID_81_EDX_PAGE_1G;
    table.limit = address_limit();
    table.root = new_table();
    page_table_map_ram(&table, m);
    map_low_memory();
    paging_protect((uintptr_t)kernel_start, (uintptr_t)kernel_text_end - (uintptr_t)kernel_start,
                   PROT_RX);
    paging_protect((uintptr_t)kernel_text_end,
                   (uintptr_t)kernel_rodata_end - (uintptr_t)kernel_text_end, PROT_R);
    paging_protect((uintptr_t)kernel_rodata_end,
                   (uintptr_t)kernel_end - (uintptr_t)kernel_rodata_end, PROT_RW);
    paging_guard(&boot_core_block);
    for (unsigned i = 0; i < ARCH_STACKS; i++)
        paging_protect((uintptr_t)stack_guard(i), PAGE_SIZE, PROT_NONE);
    write_cr3((uintptr_t)table.root);
}

uint64_t paging_root(void)
{
    return (uintptr_t)table.root;
}

static void *map_device(hpa_t base, size_t length, uint64_t cache)
{
    uint64_t end, at = align_down(base.v, PAGE_SIZE), size;

    if (!can_map(base.v, length))
        return NULL;
    end = align_up(base.v + length, PAGE_SIZE);
    /* Refuses uncached aliases of RAM in use; registers are not in RAM. */
    if (is_ram(at, end))
        return NULL;
    page_table_map(&table, at, end, PROT_RW | cache);
    while (at < end) {
        (void)page_table_find(&table, at, &size);
        invlpg((const void *)(uintptr_t)at);
        at = align_down(at, size) + size;
    }
    return arch_ptr(base);
}

void *arch_map_mmio(hpa_t base, size_t length)
{
    return map_device(base, length, PAGE_UC);
}

void *paging_map_framebuffer(hpa_t base, size_t length)
{
    return map_device(base, length, PAGE_WC);
}
