/* SOURCES: arch/x86/cpu/page_table.c */
#include "arch/x86/cpu/page_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TABLES_MAX 400
#define MB         (1ull << 20)
#define GB         (1ull << 30)

static void *tables[TABLES_MAX];
static unsigned used;

static uint64_t *new_table(void)
{
    void *p = aligned_alloc(PAGE_SIZE, PAGE_SIZE);

    assert_non_null(p);
    assert_true(used < TABLES_MAX);
    memset(p, 0, PAGE_SIZE);
    tables[used++] = p;
    return p;
}

static struct page_table t;

static int begin(void **state)
{
    (void)state;
    t = (struct page_table){.new_table = new_table, .limit = 1ull << 46, .have_1g = true};
    t.root = new_table();
    return 0;
}

static int end(void **state)
{
    (void)state;
    while (used)
        free(tables[--used]);
    return 0;
}

/* Where an address leads, and how: checked against the page's size. */
static void is_mapped(uint64_t at, uint64_t prot, uint64_t page)
{
    uint64_t size, e = page_table_find(&t, at, &size);

    assert_true(e & PAGE_PRESENT);
    assert_int_equal(size, page);
    assert_int_equal(e & ~(PAGE_PRESENT | PAGE_ACCESS | PAGE_LARGE | 0xffffffffff000ull), prot);
    assert_int_equal(!!(e & PAGE_LARGE), page > PAGE_SIZE);
    assert_int_equal(e & 0xffffffffff000ull, at & ~(page - 1)); /* to itself */
}

static void is_hole(uint64_t at)
{
    uint64_t size;

    assert_int_equal(page_table_find(&t, at, &size), 0);
}

/* A machine of 6 GB: RAM with holes of a page or two, devices between and around it. */
static void ram_and_nothing_else(void **state)
{
    static struct mem_map m = {
        .ranges = {{0, MB, MEM_RESERVED, 0},
                   {MB, 0x7ed000 - MB, MEM_FREE, 0},
                   {0x7ed000, 0x3000, MEM_RESERVED, 0},
                   {0x7f0000, GB, MEM_FREE, 0},
                   {0x7f0000 + GB, 0x10000, MEM_HOST, 0}, /* merged with what is before it */
                   {0x800000 + GB, GB - 0x800000 - 0x5000, MEM_MODULE, 0},
                   {2 * GB - 0x5000, 0x5000, MEM_RESERVED, 0},
                   {0xb0000000, 256 * MB, MEM_RESERVED, 0},
                   {4 * GB, 4 * GB, MEM_FREE, 0},
                   {1ull << 45, GB, MEM_RESERVED, 0},
                   {(1ull << 46) - GB, 2 * GB, MEM_FREE, 0},
                   {1ull << 50, GB, MEM_FREE, 0}},
        .count = 12};

    (void)state;
    page_table_map_ram(&t, &m);
    is_hole(0);
    is_hole(MB - 1);
    is_mapped(MB, PROT_RW, PAGE_SIZE);
    is_mapped(2 * MB, PROT_RW, PAGE_SIZE_2M);
    is_mapped(0x7ecfff, PROT_RW, PAGE_SIZE);
    is_hole(0x7ed000);
    is_hole(0x7effff);
    is_mapped(0x7f0000, PROT_RW, PAGE_SIZE);
    is_mapped(0x800000, PROT_RW, PAGE_SIZE_2M);
    is_mapped(GB + 0x7f0000, PROT_RW, PAGE_SIZE_2M); /* across a change of owners */
    is_mapped(2 * GB - 0x5001, PROT_RW, PAGE_SIZE);
    is_hole(2 * GB - 0x5000);
    is_hole(2 * GB);
    is_hole(0xb0000000);
    is_hole(4 * GB - 1);
    is_mapped(4 * GB, PROT_RW, PAGE_SIZE_1G);
    is_mapped(8 * GB - 1, PROT_RW, PAGE_SIZE_1G);
    is_hole(8 * GB);
    is_hole(1ull << 45);
    is_mapped((1ull << 46) - 1, PROT_RW, PAGE_SIZE_1G);
    assert_true(used < 16);
}

static void without_1g_pages(void **state)
{
    (void)state;
    t.have_1g = false;
    page_table_map(&t, GB, 3 * GB, PROT_RW);
    is_mapped(2 * GB, PROT_RW, PAGE_SIZE_2M);
}

/* Devices in the middle of large pages get their own type; what is around them keeps its own. */
static void devices(void **state)
{
    (void)state;
    page_table_map(&t, 0, 4 * GB, PROT_RW);
    page_table_map(&t, 0xfee00000, 0xfee01000, PROT_RW | PAGE_UC);
    is_mapped(0xfee00000, PROT_RW | PAGE_UC, PAGE_SIZE);
    is_mapped(0xfedff000, PROT_RW, PAGE_SIZE_2M);
    is_mapped(0xfee01000, PROT_RW, PAGE_SIZE);
    is_mapped(0xbfffffff, PROT_RW, PAGE_SIZE_1G);
    /* A framebuffer of 7 MB that begins in the middle of 2 MB. */
    page_table_map(&t, 0xd0100000, 0xd0800000, PROT_RW | PAGE_WC);
    is_mapped(0xd00fffff, PROT_RW, PAGE_SIZE);
    is_mapped(0xd0100000, PROT_RW | PAGE_WC, PAGE_SIZE);
    is_mapped(0xd0200000, PROT_RW | PAGE_WC, PAGE_SIZE_2M);
    is_mapped(0xd0800000, PROT_RW, PAGE_SIZE_2M);
    /* Again over both, as one: the tables stay. */
    page_table_map(&t, 0xd0000000, 0xd0400000, PROT_RW | PAGE_UC);
    is_mapped(0xd0000000, PROT_RW | PAGE_UC, PAGE_SIZE);
    is_mapped(0xd0200000, PROT_RW | PAGE_UC, PAGE_SIZE_2M);
    is_mapped(0xd0400000, PROT_RW | PAGE_WC, PAGE_SIZE_2M);
}

static void protection(void **state)
{
    (void)state;
    page_table_map(&t, 0, GB, PROT_RW);
    page_table_set(&t, 2 * MB, 2 * MB + 0x3000, PROT_RX);
    page_table_set(&t, 2 * MB + 0x3000, 2 * MB + 0x4000, PROT_R);
    page_table_set(&t, 2 * MB + 0x4000, 2 * MB + 0x5000, PROT_NONE);
    is_mapped(2 * MB - 1, PROT_RW, PAGE_SIZE_2M);
    is_mapped(2 * MB, PROT_RX, PAGE_SIZE);
    is_mapped(2 * MB + 0x2fff, PROT_RX, PAGE_SIZE);
    is_mapped(2 * MB + 0x3000, PROT_R, PAGE_SIZE);
    is_hole(2 * MB + 0x4000);
    is_mapped(2 * MB + 0x5000, PROT_RW, PAGE_SIZE);
    /* One page of a hole. */
    page_table_set(&t, 5 * GB, 5 * GB + PAGE_SIZE, PROT_R);
    is_mapped(5 * GB, PROT_R, PAGE_SIZE);
    is_hole(5 * GB + PAGE_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ram_and_nothing_else, begin, end),
        cmocka_unit_test_setup_teardown(without_1g_pages, begin, end),
        cmocka_unit_test_setup_teardown(devices, begin, end),
        cmocka_unit_test_setup_teardown(protection, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
