/* SOURCES: mgmt/bhctl/dump_file.c */
/* A guest's memory as a core file: what its page tables map, and what gdb reads. */
#include "mgmt/bhctl/dump_file.h"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RAM   (8ull << 20)
#define LONG  (1ull << 10)
#define PAGED (1ull << 31)

static struct dump_file f;
static uint64_t words[RAM / 8];
static unsigned reads;

static bool read_word(void *ctx, uint64_t gpa, uint64_t *word)
{
    (void)ctx;
    reads++;
    if (gpa >= RAM)
        return false;
    assert_int_equal(gpa % 8, 0);
    *word = words[gpa / 8];
    return true;
}

static int setup(void **state)
{
    (void)state;
    memset(&f, 0, sizeof(f));
    memset(words, 0, sizeof(words));
    f.memory = RAM;
    f.vcpu_count = 1;
    reads = 0;
    return 0;
}

static void is_range(unsigned n, uint64_t at, uint64_t gpa, uint64_t size)
{
    assert_true(n < f.range_count);
    assert_int_equal(f.ranges[n].at, at);
    assert_int_equal(f.ranges[n].gpa, gpa);
    assert_int_equal(f.ranges[n].size, size);
}

static void find(void)
{
    dump_find_ranges(&f, read_word, NULL);
}

static void without_paging(void **state)
{
    (void)state;
    find();
    assert_int_equal(f.range_count, 1);
    is_range(0, 0, 0, RAM);
    assert_false(f.is_long || reads);
    f.memory = DUMP_HOLE + RAM;
    find();
    assert_int_equal(f.range_count, 2);
    is_range(0, 0, 0, DUMP_HOLE);
    is_range(1, DUMP_HIGH, DUMP_HIGH, RAM);
    assert_true(f.is_long);
    assert_int_equal(dump_offset(DUMP_HIGH + 5), DUMP_HOLE + 5);
    f.vcpu_count = 0; /* never started */
    find();
    assert_int_equal(f.range_count, 2);
}

static void four_levels(void **state)
{
    (void)state;
    f.vcpus[0] = (struct dump_vcpu){.cr0 = PAGED, .cr3 = 0x1000 | 0x18, .cr4 = 0x20, .efer = LONG};
    words[0x1000 / 8] = 0x2003;       /* the lower half */
    words[0x1000 / 8 + 511] = 0x3003; /* the upper half */
    words[0x2000 / 8] = 0x4003;       /* page directory: 2 MiB pages one to one */
    words[0x2000 / 8 + 1] = 0x83;     /* 1 GiB, of which 8 MiB are RAM */
    words[0x4000 / 8] = 0x83;
    words[0x4000 / 8 + 1] = 0x200083 | 1ull << 63;
    words[0x4000 / 8 + 2] = 0x600000;          /* not present */
    words[0x4000 / 8 + 3] = 1ull << 40 | 0x83; /* no RAM */
    words[0x3000 / 8 + 511] = 0x5003;
    words[0x5000 / 8 + 511] = 0x6003; /* a page table */
    words[0x6000 / 8 + 510] = 0x7001;
    words[0x6000 / 8 + 511] = 0x9001;
    find();
    assert_true(f.is_long);
    assert_int_equal(f.range_count, 4);
    is_range(0, 0, 0, 4u << 20);
    is_range(1, 1u << 30, 0, RAM);
    is_range(2, 0xffffffffffffe000, 0x7000, 4096);
    is_range(3, 0xfffffffffffff000, 0x9000, 4096);
    assert_false(f.cut);
}

static void other_modes(void **state)
{
    (void)state;
    /* PAE: the outermost table has four entries, and may begin at any multiple of 32. */
    f.vcpus[0] = (struct dump_vcpu){.cr0 = PAGED, .cr3 = 0x1020, .cr4 = 0x20};
    words[0x1020 / 8 + 3] = 0x2001;
    words[0x2000 / 8] = 0x400083;
    find();
    assert_int_equal(f.range_count, 1);
    is_range(0, 0xc0000000, 0x400000, 2u << 20);
    assert_false(f.is_long);
    /* 32-bit: entries of four bytes, two in a word. */
    f.vcpus[0] = (struct dump_vcpu){.cr0 = PAGED, .cr3 = 0x3000, .cr4 = 0x10};
    words[0x3000 / 8] = 0x4003ull << 32 | 0x83; /* 0: a page of 4 MiB; 1: a table */
    words[0x4000 / 8] = 0x5003ull;
    find();
    assert_int_equal(f.range_count, 2);
    is_range(0, 0, 0, 4u << 20);
    is_range(1, 4u << 20, 0x5000, 4096);
    f.vcpus[0].cr4 = 0; /* no large pages: entry 0 is a table at 0 */
    find();
    is_range(0, 4u << 20, 0x5000, 4096);
    /* Five levels. */
    f.vcpus[0] = (struct dump_vcpu){.cr0 = PAGED, .cr3 = 0x6000, .cr4 = 0x1020, .efer = LONG};
    words[0x6000 / 8 + 256] = 0x7003;
    words[0x7000 / 8] = 0x8003;
    words[0x8000 / 8] = 0x83;
    find();
    assert_int_equal(f.range_count, 1);
    is_range(0, 0xff00000000000000, 0, RAM);
}

/* Tables that point at each other, or map one page again and again. */
static void endless_tables(void **state)
{
    (void)state;
    f.vcpus[0] = (struct dump_vcpu){.cr0 = PAGED, .cr3 = 0x1000, .cr4 = 0x20, .efer = LONG};
    for (unsigned i = 0; i < 512; i++)
        words[0x1000 / 8 + i] = 0x1001;
    find();
    assert_true(f.cut);
    assert_true(f.range_count <= DUMP_RANGES_MAX && reads <= 512u * 65537);
    for (unsigned i = 0; i < 512; i++)
        words[0x1000 / 8 + i] = (1ull << 40) | 1; /* nowhere */
    find();
    assert_int_equal(f.range_count, 0);
}

static void files(void **state)
{
    static uint8_t head[DUMP_MEMORY_AT];
    const Elf64_Ehdr *e = (const void *)head;
    const Elf32_Ehdr *s = (const void *)head;
    const Elf64_Phdr *p;
    const Elf32_Phdr *q;

    (void)state;
    f.vcpu_count = 2;
    f.vcpus[0] = (struct dump_vcpu){.rip = 0x1122334455667788, .r[7] = 15, .rsp = 7};
    f.vcpus[0].efer = LONG;
    f.vcpus[1].rip = 0x99;
    find();
    dump_put_head(&f, head);
    assert_memory_equal(e->e_ident, ELFMAG "\2\1\1", 7);
    assert_int_equal(e->e_machine, EM_X86_64);
    assert_int_equal(e->e_type, ET_CORE);
    assert_int_equal(e->e_phnum, 2);
    p = (const void *)(head + e->e_phoff);
    assert_int_equal(p[0].p_type, PT_NOTE);
    assert_int_equal(p[0].p_filesz, 2 * (20 + 336));
    assert_int_equal(p[1].p_type, PT_LOAD);
    assert_int_equal(p[1].p_offset, DUMP_MEMORY_AT);
    assert_int_equal(p[1].p_filesz, RAM);
    assert_memory_equal(head + p[0].p_offset + 12, "CORE", 5);
    assert_int_equal(head[p[0].p_offset + 20 + 32], 1);
    assert_int_equal(head[p[0].p_offset + 20 + 112], 15); /* R15 */
    assert_memory_equal(head + p[0].p_offset + 20 + 112 + 16 * 8, &f.vcpus[0].rip, 8);
    assert_int_equal(head[p[0].p_offset + 20 + 112 + 19 * 8], 7); /* RSP */
    assert_int_equal(head[p[0].p_offset + 356 + 20 + 32], 2);
    assert_int_equal(head[p[0].p_offset + 356 + 20 + 112 + 16 * 8], 0x99);
    f.vcpus[0].efer = 0;
    f.vcpus[0].rip = 0x55667788;
    find();
    dump_put_head(&f, head);
    assert_memory_equal(s->e_ident, ELFMAG "\1\1\1", 7);
    assert_int_equal(s->e_machine, EM_386);
    q = (const void *)(head + s->e_phoff);
    assert_int_equal(q[0].p_filesz, 2 * (20 + 144));
    assert_int_equal(q[1].p_memsz, RAM);
    assert_memory_equal(head + q[0].p_offset + 20 + 72 + 12 * 4, "\x88\x77\x66\x55", 4); /* EIP */
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup(t, setup)
    const struct CMUnitTest tests[] = {
        TEST(without_paging), TEST(four_levels), TEST(other_modes),
        TEST(endless_tables), TEST(files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
