/* SOURCES: hv/gmem.c arch/x86/guest/paging.c hv/lib.c */
#include "arch/x86/guest/paging.h"

#include "arch/x86/cpu/regs.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MEMORY 0x10000ull
#define ROOT   0x1000ull
#define PDPT   0x2000ull
#define PD     0x3000ull
#define PT     0x4000ull

/* Bits of an entry, SDM 3A "Paging", and of the registers. */
#define P      0x1ull
#define W      0x2ull
#define U      0x4ull
#define A      0x20ull
#define D      0x40ull
#define PS     0x80ull
#define NX     (1ull << 63)
#define CR0_ON 0x80000001ull
#define PSE    0x10ull
#define PAE    0x20ull
#define SMAP   0x200000ull
#define SMEP   0x100000ull
#define LMA    0x400ull
#define NXE    0x800ull

#define CLEAN  UINT64_MAX /* "no address" */

static uint8_t *memory;
static struct gmem gmem;
static struct paging regs;

static int setup(void **state)
{
    (void)state;
    memory = calloc(1, MEMORY);
    gmem = (struct gmem){.base = memory, .size = MEMORY};
    regs = (struct paging){.cr0 = CR0_ON, .cr3 = ROOT, .physical_width = 40};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(memory);
    return 0;
}

static void put(uint64_t at, uint64_t entry)
{
    memcpy(memory + at, &entry, 8);
}

static void put32(uint64_t at, uint32_t entry)
{
    memcpy(memory + at, &entry, 4);
}

static uint64_t get(uint64_t at)
{
    uint64_t v;

    memcpy(&v, memory + at, 8);
    return v;
}

static uint32_t get32(uint64_t at)
{
    uint32_t v;

    memcpy(&v, memory + at, 4);
    return v;
}

static void good(uint64_t linear, bool write, uint64_t expected)
{
    uint64_t address = CLEAN;
    uint32_t error;

    assert_int_equal(paging_translate(&regs, &gmem, linear, write ? PF_WRITE : 0, &address, &error),
                     0);
    assert_int_equal(address, expected);
}

static void fault(uint64_t linear, bool write, uint32_t expected)
{
    uint64_t address = CLEAN;
    uint32_t error = 0xdead;

    assert_int_equal(paging_translate(&regs, &gmem, linear, write ? PF_WRITE : 0, &address, &error),
                     -E_PERM);
    assert_int_equal(error, expected);
    assert_int_equal(address, CLEAN);
}

static void outside(uint64_t linear, bool write)
{
    uint64_t address = CLEAN;
    uint32_t error;

    assert_int_equal(paging_translate(&regs, &gmem, linear, write ? PF_WRITE : 0, &address, &error),
                     -E_RANGE);
}

static void long_mode(void)
{
    regs.cr4 = PAE;
    regs.efer = LMA | NXE;
}

/* Index 1 in every table: linear 0x8040201000. */
#define LINEAR64 ((1ull << 39) + (1ull << 30) + (1ull << 21) + (1ull << 12))

static void tables64(uint64_t page)
{
    long_mode();
    put(ROOT + 8, PDPT | P | W | U);
    put(PDPT + 8, PD | P | W | U);
    put(PD + 8, PT | P | W | U);
    put(PT + 8, page);
}

static int fetch(uint64_t linear, uint32_t *error)
{
    uint64_t address = CLEAN;
    int rc;

    *error = 0;
    rc = paging_translate(&regs, &gmem, linear, PF_FETCH, &address, error);
    assert_int_equal(address, rc ? CLEAN : 0x7000 + linear % 4096);
    return rc;
}

/* SDM 3A "Determination of Access Rights", "Page-Fault Exceptions" */
static void fetches(void **state)
{
    uint32_t error;

    (void)state;
    tables64(0x7000 | P | U);
    assert_int_equal(fetch(LINEAR64 + 5, &error), 0);
    assert_int_equal(get(PT + 8), 0x7000 | P | U | A);
    /* Any level may forbid it; without NXE the bit is reserved. */
    put(PD + 8, PT | P | W | U | NX);
    assert_int_equal(fetch(LINEAR64, &error), -E_PERM);
    assert_int_equal(error, PF_PRESENT | PF_FETCH);
    good(LINEAR64, false, 0x7000);
    regs.efer = LMA;
    assert_int_equal(fetch(LINEAR64, &error), -E_PERM);
    assert_int_equal(error, PF_PRESENT | PF_RESERVED);
    put(PD + 8, PT | P | W | U);
    put(PT + 8, 0);
    assert_int_equal(fetch(LINEAR64, &error), -E_PERM);
    assert_int_equal(error, 0); /* neither NXE nor SMEP: not told apart */
}

static void fetches_of_users(void **state)
{
    uint32_t error;

    (void)state;
    tables64(0x7000 | P | U);
    regs.cr4 |= SMEP | SMAP; /* SMAP is about data */
    assert_int_equal(fetch(LINEAR64, &error), -E_PERM);
    assert_int_equal(error, PF_PRESENT | PF_FETCH);
    regs.cpl = 3;
    assert_int_equal(fetch(LINEAR64, &error), 0);
    put(PT + 8, 0x7000 | P);
    assert_int_equal(fetch(LINEAR64, &error), -E_PERM);
    assert_int_equal(error, PF_PRESENT | PF_USER | PF_FETCH);
    regs.cpl = 0;
    assert_int_equal(fetch(LINEAR64, &error), 0);
}

static void no_paging(void **state)
{
    (void)state;
    regs.cr0 = 1;
    regs.cr3 = UINT64_MAX;
    good(0x1234, true, 0x1234);
    good(0xfffffffff, false, 0xffffffff);
    regs.cpl = 3;
    good(0xfee00000, true, 0xfee00000);
}

static void walk_32(void **state)
{
    (void)state;
    put32(ROOT + 4 * 3, PT | P | W | U);
    put32(PT + 4 * 5, 0xabcde000u | P | W | U);
    /* Index 3 of the directory, 5 of the table. */
    good(0x00c05678, false, 0xabcde678);
    assert_int_equal(get32(ROOT + 12), PT | P | W | U | A);
    assert_int_equal(get32(PT + 20), 0xabcde000u | P | W | U | A);
    good(0x00c05fff, true, 0xabcdefff);
    assert_int_equal(get32(PT + 20), 0xabcde000u | P | W | U | A | D);
    /* The directory's entry has no dirty bit, and the neighbours are as they were. */
    assert_int_equal(get32(ROOT + 12), PT | P | W | U | A);
    assert_int_equal(get32(PT + 24), 0);
    fault(0x00c06000, false, 0);
    fault(0x01000000, true, PF_WRITE);
    /* Low bits of CR3 are flags. */
    regs.cr3 = ROOT | 0x18;
    good(0x00c05000, false, 0xabcde000);
}

static void large_32(void **state)
{
    (void)state;
    put32(ROOT + 4 * 2, 0x12400000u | P | W | PS);
    regs.cr4 = PSE;
    good(0x00812345, true, 0x12412345);
    assert_int_equal(get32(ROOT + 8), 0x12400000u | P | W | PS | A | D);
    /* PSE-36: bits 20:13 are address bits 39:32. The page attribute bit 12 is no address. */
    put32(ROOT + 4 * 2, 0x12400000u | 0x1e000u | 0x1000u | P | PS);
    good(0x00812345, false, 0xf12412345);
    put32(ROOT + 4 * 2, 0x12400000u | 1u << 21 | P | PS);
    fault(0x00812345, false, PF_PRESENT | PF_RESERVED);
    /* Without CR4.PSE the bit is ignored: it is a table. */
    regs.cr4 = 0;
    put32(ROOT + 4 * 2, PT | P | PS);
    put32(PT + 4 * 0x12, 0x7000 | P);
    good(0x00812345, false, 0x7345);
}

/* With fewer physical address bits the upper ones of PSE-36 are reserved. */
static void large_32_beyond_the_width(void **state)
{
    (void)state;
    regs.cr4 = PSE;
    for (unsigned width = 32; width <= 40; width++) {
        regs.physical_width = width;
        for (unsigned bit = 13; bit <= 20; bit++) {
            put32(ROOT, 1u << bit | P | PS);
            if (bit - 13 + 32 < width)
                good(0, false, 1ull << (bit - 13 + 32));
            else
                fault(0, false, PF_PRESENT | PF_RESERVED);
        }
    }
    regs.physical_width = 52;
    put32(ROOT, 0x1fe000u | P | PS);
    good(0, false, 0xff00000000);
}

static void walk_pae(void **state)
{
    (void)state;
    regs.cr4 = PAE;
    regs.cr3 = UINT64_MAX; /* the four entries are registers: CR3 is not looked at */
    regs.pdpte[2] = PD | P;
    put(PD + 8 * 3, PT | P | W | U);
    put(PT + 8 * 4, 0x9abcde000ull | P | W | U);
    good(0x80604321, true, 0x9abcde321);
    assert_int_equal(get(PD + 24), PT | P | W | U | A);
    assert_int_equal(get(PT + 32), 0x9abcde000ull | P | W | U | A | D);
    fault(0x00604321, false, 0);
    fault(0xc0604321, true, PF_WRITE);
    fault(0x80605000, false, 0);
    fault(0x80804321, false, 0);
    /* A large page. */
    put(PD + 8 * 3, 0x8a00000ull | P | PS | 1ull << 12);
    good(0x80712345, false, 0x8b12345);
    put(PD + 8 * 3, 0x8a00000ull | P | PS | 1ull << 13);
    fault(0x80712345, false, PF_PRESENT | PF_RESERVED);
}

static void reserved_pae(void **state)
{
    (void)state;
    regs.cr4 = PAE;
    regs.pdpte[0] = PD | P;
    put(PD, PT | P);
    for (unsigned bit = 40; bit < 64; bit++) {
        put(PT, 0x7000 | P | 1ull << bit);
        fault(0, false, PF_PRESENT | PF_RESERVED);
    }
    regs.efer = NXE;
    put(PT, 0x7000 | P | NX);
    good(0, false, 0x7000);
    put(PT, 0x7000 | P | 1ull << 62);
    fault(0, false, PF_PRESENT | PF_RESERVED);
}

static void walk_64(void **state)
{
    (void)state;
    tables64(0x8000 | P | W | U);
    good(LINEAR64 + 0x123, false, 0x8123);
    assert_int_equal(get(ROOT + 8), PDPT | P | W | U | A);
    assert_int_equal(get(PDPT + 8), PD | P | W | U | A);
    assert_int_equal(get(PD + 8), PT | P | W | U | A);
    assert_int_equal(get(PT + 8), 0x8000 | P | W | U | A);
    good(LINEAR64 + 0xfff, true, 0x8fff);
    assert_int_equal(get(PT + 8), 0x8000 | P | W | U | A | D);
    assert_int_equal(get(PD + 8), PT | P | W | U | A);
    /* Flags in CR3's low bits, software's bits in entries. */
    regs.cr3 = ROOT | 0xfff;
    put(PT + 8, 0x8000 | P | 0xe00 | 0x7full << 52);
    good(LINEAR64, false, 0x8000);
    /* Execute-disable does not affect data. */
    put(PT + 8, 0x8000 | P | NX);
    good(LINEAR64, false, 0x8000);
}

static void upper_half_64(void **state)
{
    (void)state;
    long_mode();
    put(ROOT + 8 * 511, PDPT | P | W);
    put(PDPT + 8 * 511, PD | P | W);
    put(PD + 8 * 511, PT | P | W);
    put(PT + 8 * 511, 0x9000 | P | W);
    good(UINT64_MAX, true, 0x9fff);
    put(ROOT + 8 * 256, PDPT | P | W);
    good(0xffff807fffffffffull, false, 0x9fff);
}

static void large_64(void **state)
{
    (void)state;
    tables64(0);
    put(PD + 8, 0x600000 | P | W | U | PS | 1ull << 12);
    good(LINEAR64 + 0x345, true, 0x601345);
    assert_int_equal(get(PD + 8), 0x600000 | P | W | U | PS | A | D | 1ull << 12);
    put(PDPT + 8, 0xc0000000ull | P | W | PS | 1ull << 12);
    good(LINEAR64 + 0x345, false, 0xc0201345);
    assert_int_equal(get(PDPT + 8), 0xc0000000ull | P | W | PS | A | 1ull << 12);
    /* The address must be aligned to the page. */
    for (unsigned bit = 13; bit < 30; bit++) {
        put(PDPT + 8, 0xc0000000ull | P | PS | 1ull << bit);
        fault(LINEAR64, false, PF_PRESENT | PF_RESERVED);
    }
    put(PDPT + 8, PD | P);
    for (unsigned bit = 13; bit < 21; bit++) {
        put(PD + 8, 0x600000 | P | PS | 1ull << bit);
        fault(LINEAR64, false, PF_PRESENT | PF_RESERVED);
    }
    /* The highest table has no large pages. */
    put(ROOT + 8, PDPT | P | PS);
    fault(LINEAR64, false, PF_PRESENT | PF_RESERVED);
    /* In the lowest, the bit is a page attribute. */
    tables64(0x8000 | P | PS);
    good(LINEAR64, false, 0x8000);
}

static void not_present_64(void **state)
{
    static const uint64_t entries[] = {ROOT + 8, PDPT + 8, PD + 8, PT + 8};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(entries); i++) {
        tables64(0x8000 | P | W | U);
        /* All other bits, reserved ones too, are ignored. */
        put(entries[i], ~P);
        regs.cpl = 0;
        fault(LINEAR64, false, 0);
        fault(LINEAR64, true, PF_WRITE);
        regs.cpl = 3;
        fault(LINEAR64, false, PF_USER);
        fault(LINEAR64, true, PF_USER | PF_WRITE);
        assert_int_equal(get(entries[i]), ~P);
    }
}

static void reserved_64(void **state)
{
    static const uint64_t entries[] = {ROOT + 8, PDPT + 8, PD + 8, PT + 8};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(entries); i++)
        for (unsigned bit = 40; bit < 52; bit++) {
            tables64(0x8000 | P | W | U);
            put(entries[i], get(entries[i]) | 1ull << bit);
            fault(LINEAR64, true, PF_PRESENT | PF_WRITE | PF_RESERVED);
        }
    /* Execute-disable is reserved without EFER.NXE. */
    tables64(0x8000 | P | NX);
    regs.efer = LMA;
    fault(LINEAR64, false, PF_PRESENT | PF_RESERVED);
    /* With all 52 bits no address bit is reserved. */
    tables64(0x8000 | P | 0xfull << 48);
    regs.physical_width = 52;
    good(LINEAR64, false, 0x8000 | 0xfull << 48);
}

/* A right is granted only if all levels grant it, for each level, mode and access. */
static void permissions(void **state)
{
    static const uint64_t entries[] = {ROOT + 8, PDPT + 8, PD + 8, PT + 8};

    (void)state;
    for (unsigned i = 0; i < 64; i++) {
        bool w = i & 1, u = i & 2, write = i & 4, user = i & 8, wp = i & 16, smap = i & 32;

        for (unsigned level = 0; level < ARRAY_LEN(entries); level++)
            for (unsigned ac = 0; ac < 2; ac++) {
                bool ok = user ? u && (w || !write) : (w || !write || !wp) && !(u && smap && !ac);

                tables64(0x8000 | P | W | U);
                put(entries[level], get(entries[level]) & ~((w ? 0 : W) | (u ? 0 : U)));
                regs.cr0 = CR0_ON | (wp ? CR0_WP : 0);
                regs.cr4 = PAE | (smap ? SMAP : 0);
                regs.cpl = user ? 3 : 0;
                regs.ac = ac;
                if (ok) {
                    good(LINEAR64, write, 0x8000);
                } else {
                    fault(LINEAR64, write,
                          PF_PRESENT | (write ? PF_WRITE : 0) | (user ? PF_USER : 0));
                    /* No page was reached: not accessed, not dirty. */
                    assert_int_equal(get(PT + 8) & (A | D), 0);
                }
            }
    }
}

/* Rings 1 and 2 are supervisor mode. */
static void middle_rings(void **state)
{
    (void)state;
    tables64(0x8000 | P | W);
    for (unsigned cpl = 0; cpl < 3; cpl++) {
        regs.cpl = cpl;
        good(LINEAR64, true, 0x8000);
    }
    regs.cpl = 3;
    fault(LINEAR64, true, PF_PRESENT | PF_WRITE | PF_USER);
}

/* Tables outside the guest's memory, at each level, just past its end and far away. */
static void hostile_64(void **state)
{
    static const uint64_t entries[] = {ROOT + 8, PDPT + 8, PD + 8};
    static const uint64_t targets[] = {MEMORY, 0xfffff000, 0xfffffff000};

    (void)state;
    for (unsigned t = 0; t < ARRAY_LEN(targets); t++) {
        for (unsigned i = 0; i < ARRAY_LEN(entries); i++) {
            tables64(0x8000 | P | W | U);
            put(entries[i], targets[t] | P | W | U);
            outside(LINEAR64, false);
            outside(LINEAR64, true);
        }
        tables64(0x8000 | P | W | U);
        regs.cr3 = targets[t];
        outside(LINEAR64, true);
        regs.cr3 = ROOT;
    }
    regs.physical_width = 52;
    tables64(0x8000 | P);
    put(PD + 8, 0x000ffffffffff000ull | P);
    outside(LINEAR64, false);
    regs.cr3 = UINT64_MAX;
    outside(LINEAR64, false);
}

static void hostile_32(void **state)
{
    (void)state;
    regs.cr3 = 0xfffff000;
    outside(0, false);
    regs.cr3 = ROOT;
    put32(ROOT, 0xfffff000u | P);
    outside(0xfff, true);
    regs.cr4 = PAE;
    regs.pdpte[3] = UINT64_MAX;
    outside(0xffffffff, false);
    regs.pdpte[3] = MEMORY | P;
    outside(0xffffffff, false);
    outside(0xc0000000, false);
}

/* The page itself may lie anywhere: the user of the address checks it. */
static void page_outside(void **state)
{
    (void)state;
    tables64(0xfffffff000ull | P | W);
    good(LINEAR64 + 8, true, 0xfffffff008ull);
}

/* Memory that ends in the middle of an entry, and no memory at all. */
static void short_memory(void **state)
{
    (void)state;
    tables64(0x8000 | P | W | U);
    gmem.size = PT + 16;
    good(LINEAR64, false, 0x8000);
    for (uint64_t size = PT + 9; size < PT + 16; size++) {
        gmem.size = size;
        outside(LINEAR64, false);
    }
    gmem.size = 0;
    outside(LINEAR64, false);
}

/* A table that is its own next table: the walk ends after its levels. */
static void own_table(void **state)
{
    (void)state;
    long_mode();
    put(ROOT + 8, ROOT | P | W | U);
    good(LINEAR64 + 7, true, ROOT + 7);
    assert_int_equal(get(ROOT + 8), ROOT | P | W | U | A | D);
}

/* Another vCPU changes another bit of the same entry, as kernels do, by locked instructions. */
#define CHANGES 1000000u
#define AVL     0x200u /* in the lowest four bytes of either format */
static uint32_t *contended;
static unsigned lost;
static void *another_vcpu(void *unused)
{
    uint32_t expected = 0;

    (void)unused;
    for (unsigned i = 0; i < CHANGES; i++, expected ^= AVL)
        lost += (__atomic_fetch_xor(contended, AVL, __ATOMIC_SEQ_CST) & AVL) != expected;
    return NULL;
}

/* None of these changes is lost, whatever the walk marks at the same time. */
static void marks_atomically(void **state)
{
    uint32_t error;
    uint64_t at;

    (void)state;
    for (unsigned size = 4; size <= 8; size += 4) {
        pthread_t other;

        put(ROOT, (size == 8 ? PDPT : PD) | P | W);
        put(PDPT, PD | P | W);
        put(PD, (size == 8 ? PT : 0) | P | W);
        put(PT, P | W);
        regs.efer = size == 8 ? LMA : 0;
        regs.cr4 = size == 8 ? PAE : 0;
        contended = (uint32_t *)(memory + (size == 8 ? PT : PD));
        lost = 0;
        assert_int_equal(pthread_create(&other, NULL, another_vcpu, NULL), 0);
        for (unsigned i = 0; i < CHANGES; i++) {
            __atomic_and_fetch(contended, ~(uint32_t)(A | D), __ATOMIC_SEQ_CST);
            assert_int_equal(paging_translate(&regs, &gmem, 0, PF_WRITE, &at, &error), 0);
            assert_int_equal(at, 0);
        }
        assert_int_equal(pthread_join(other, NULL), 0);
        assert_int_equal(lost, 0);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(fetches),       TEST(fetches_of_users), TEST(no_paging),
        TEST(walk_32),       TEST(large_32),         TEST(large_32_beyond_the_width),
        TEST(walk_pae),      TEST(reserved_pae),     TEST(walk_64),
        TEST(upper_half_64), TEST(large_64),         TEST(not_present_64),
        TEST(reserved_64),   TEST(permissions),      TEST(middle_rings),
        TEST(hostile_64),    TEST(hostile_32),       TEST(page_outside),
        TEST(short_memory),  TEST(own_table),        TEST(marks_atomically),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
