/* SOURCES: arch/x86/guest/nested.c arch/x86/vmx/ept.c hv/lib.c */
#include "arch/x86/vmx/ept.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define K4      0x1000ull
#define M2      0x200000ull
#define G1      0x40000000ull
#define G512    0x8000000000ull
#define T256    0x1000000000000ull /* 48 bits */
#define RWX     (NESTED_READ | NESTED_WRITE | NESTED_EXECUTE)
#define POOL    64u
#define VISITS  64u

#define LARGE   0x80ull
/* Memory type 6 in bits 5:3, "ignore PAT" in bit 6: SDM 3C "EPT PTE that Maps a 4-KByte Page". */
#define TYPE_WB 0x70ull

static struct {
    void *page[POOL];
    unsigned used, limit;
} pool;

static struct ept ept;

static void *take_page(void *ctx)
{
    assert_ptr_equal(ctx, &pool);
    if (pool.used == pool.limit)
        return NULL;
    assert_true(pool.used < POOL);
    pool.page[pool.used] = aligned_alloc(K4, K4);
    assert_non_null(pool.page[pool.used]);
    memset(pool.page[pool.used], 0, K4);
    return pool.page[pool.used++];
}

static void start(bool page_1g)
{
    assert_int_equal(ept_init(&ept, page_1g, take_page, &pool), 0);
}

static int setup(void **state)
{
    (void)state;
    memset(&pool, 0, sizeof(pool));
    pool.limit = POOL;
    start(true);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < pool.used; i++)
        free(pool.page[i]);
    return 0;
}

static int map(uint64_t g, uint64_t h, uint64_t size, unsigned perm)
{
    return nested_map(&ept.tree, gpa(g), hpa(h), size, perm);
}

static void expect(uint64_t at, uint64_t g, uint64_t h, uint64_t size, unsigned perm)
{
    struct nested_mapping m;

    assert_true(nested_lookup(&ept.tree, gpa(at), &m));
    assert_int_equal(m.gpa, g);
    assert_int_equal(m.hpa, h);
    assert_int_equal(m.size, size);
    assert_int_equal(m.perm, perm);
}

static void expect_none(uint64_t at)
{
    struct nested_mapping m;

    assert_false(nested_lookup(&ept.tree, gpa(at), &m));
}

/* The raw entry that translates an address, found as the CPU finds it: index bits 47:39, 38:30,
 * 29:21, 20:12. */
static uint64_t raw(uint64_t at, unsigned *level)
{
    const uint64_t *table = ept.tree.root;

    for (*level = 4;; (*level)--) {
        uint64_t entry = table[at >> (12 + 9 * (*level - 1)) & 511];

        if (*level == 1 || (entry & LARGE) || !(entry & RWX))
            return entry;
        /* A table entry: all rights, the type and the large bit clear (reserved there). */
        assert_int_equal(entry & 0xfff, RWX);
        table = (const uint64_t *)(uintptr_t)(entry & ~0xfffull);
    }
}

struct visits {
    struct nested_mapping at[VISITS];
    unsigned count;
    unsigned stop_after; /* 0: never */
};

static int visit(void *ctx, const struct nested_mapping *m)
{
    struct visits *v = ctx;

    assert_true(v->count < VISITS);
    v->at[v->count++] = *m;
    return v->count == v->stop_after ? 77 : 0;
}

static void pointer(void **state)
{
    (void)state;
    assert_int_equal(pool.used, 1);
    /* Memory type 6, walk length 4 less one in bits 5:3, no accessed and dirty flags. */
    assert_int_equal(ept_pointer(&ept), (uintptr_t)ept.tree.root | 0x1e);
    expect_none(0);
}

static void no_memory_for_the_root(void **state)
{
    (void)state;
    pool.limit = pool.used;
    assert_int_equal(ept_init(&ept, true, take_page, &pool), -E_NOMEM);
}

static void page_4k(void **state)
{
    unsigned level;

    (void)state;
    assert_int_equal(map(0x1234000, 0x89abc000, K4, NESTED_READ | NESTED_WRITE), 0);
    expect(0x1234000, 0x1234000, 0x89abc000, K4, NESTED_READ | NESTED_WRITE);
    expect(0x1234fff, 0x1234000, 0x89abc000, K4, NESTED_READ | NESTED_WRITE);
    expect_none(0x1233fff);
    expect_none(0x1235000);
    assert_int_equal(raw(0x1234000, &level), 0x89abc000 | TYPE_WB | NESTED_READ | NESTED_WRITE);
    assert_int_equal(level, 1);
    assert_int_equal(pool.used, 4);
}

static void page_2m(void **state)
{
    unsigned level;

    (void)state;
    assert_int_equal(map(3 * M2, 9 * M2, M2, RWX), 0);
    expect(3 * M2 + 0x12345, 3 * M2, 9 * M2, M2, RWX);
    assert_int_equal(raw(3 * M2, &level), 9 * M2 | LARGE | TYPE_WB | RWX);
    assert_int_equal(level, 2);
    assert_int_equal(pool.used, 3);
    expect_none(3 * M2 - 1);
    expect_none(4 * M2);
}

static void page_1g(void **state)
{
    unsigned level;

    (void)state;
    assert_int_equal(map(2 * G1, 5 * G1, G1, RWX), 0);
    expect(3 * G1 - 1, 2 * G1, 5 * G1, G1, RWX);
    assert_int_equal(raw(2 * G1, &level), 5 * G1 | LARGE | TYPE_WB | RWX);
    assert_int_equal(level, 3);
    assert_int_equal(pool.used, 2);
}

static void without_1g_pages(void **state)
{
    struct visits v = {.count = 0};
    unsigned level;

    (void)state;
    start(false);
    assert_int_equal(map(0, G1, 8 * M2, RWX), 0);
    (void)raw(0, &level);
    assert_int_equal(level, 2);
    assert_int_equal(nested_walk(&ept.tree, visit, &v), 0);
    assert_int_equal(v.count, 8);
    /* A whole gigabyte, too. */
    assert_int_equal(map(G1, 2 * G1, G1, RWX), 0);
    expect(2 * G1 - 1, 2 * G1 - M2, 3 * G1 - M2, M2, RWX);
}

/* The page is large only when both addresses are aligned to it. */
static void alignment_of_both(void **state)
{
    unsigned level;

    (void)state;
    assert_int_equal(map(M2, 2 * M2 + K4, 2 * M2, RWX), 0);
    expect(2 * M2, 2 * M2, 3 * M2 + K4, K4, RWX);
    (void)raw(M2, &level);
    assert_int_equal(level, 1);
    assert_int_equal(map(G1, 2 * G1 + M2, M2, RWX), 0);
    expect(G1 + 1, G1, 2 * G1 + M2, M2, RWX);
}

/* Small pages up to the boundary, then larger, then small again. */
static void split_by_size(void **state)
{
    struct visits v = {.count = 0};
    uint64_t from = G1 - M2 - 2 * K4, size = 2 * K4 + M2 + G1 + M2 + 3 * K4, next = from;
    unsigned count[3] = {0};

    (void)state;
    assert_int_equal(map(from, 3 * G1 + from, size, NESTED_READ), 0);
    assert_int_equal(nested_walk(&ept.tree, visit, &v), 0);
    for (unsigned i = 0; i < v.count; i++) {
        assert_int_equal(v.at[i].gpa, next);
        assert_int_equal(v.at[i].hpa, 3 * G1 + next);
        assert_int_equal(v.at[i].perm, NESTED_READ);
        next += v.at[i].size;
        count[v.at[i].size == K4 ? 0 : v.at[i].size == M2 ? 1 : 2]++;
    }
    assert_int_equal(next, from + size);
    assert_int_equal(count[0], 5);
    assert_int_equal(count[1], 2);
    assert_int_equal(count[2], 1);
    expect_none(from - 1);
    expect_none(from + size);
}

static void overlaps(void **state)
{
    (void)state;
    assert_int_equal(map(M2, M2, M2, RWX), 0);
    /* Mapping the same again, a small page inside, and a large page around a small one. */
    assert_int_equal(map(M2, M2, M2, RWX), -E_EXIST);
    assert_int_equal(map(M2 + K4, 0, K4, NESTED_READ), -E_EXIST);
    assert_int_equal(map(2 * M2 - K4, 0, K4, NESTED_READ), -E_EXIST);
    assert_int_equal(map(4 * M2 + K4, 7 * K4, K4, NESTED_READ), 0);
    assert_int_equal(map(4 * M2, 4 * M2, M2, RWX), -E_EXIST);
    assert_int_equal(map(0, 0, G1, RWX), -E_EXIST);
    assert_int_equal(map(4 * M2 + K4, 7 * K4, K4, NESTED_READ), -E_EXIST);
    /* Existing mappings are unchanged. */
    expect(M2 + K4, M2, M2, M2, RWX);
    expect(4 * M2 + K4, 4 * M2 + K4, 7 * K4, K4, NESTED_READ);
    expect_none(4 * M2);
    /* Adjacent ranges do not overlap. */
    assert_int_equal(map(M2 - K4, 0, K4, RWX), 0);
    assert_int_equal(map(2 * M2, 0, K4, RWX), 0);
}

static void overlap_below_1g(void **state)
{
    (void)state;
    assert_int_equal(map(G1, G1, G1, RWX), 0);
    assert_int_equal(map(G1 + M2, 0, M2, RWX), -E_EXIST);
    assert_int_equal(map(2 * G1 - K4, 0, K4, RWX), -E_EXIST);
    expect(2 * G1 - 1, G1, G1, G1, RWX);
}

/* A range that runs into another maps the part before it, and does not change the other. */
static void overlap_in_the_middle(void **state)
{
    (void)state;
    assert_int_equal(map(2 * K4, 100 * K4, K4, NESTED_READ), 0);
    assert_int_equal(map(0, 0x10000000, 4 * K4, RWX), -E_EXIST);
    expect(K4, K4, 0x10000000 + K4, K4, RWX);
    expect(2 * K4, 2 * K4, 100 * K4, K4, NESTED_READ);
    expect_none(3 * K4);
}

static void permissions(void **state)
{
    static const unsigned good[] = {NESTED_READ, NESTED_READ | NESTED_WRITE,
                                    NESTED_READ | NESTED_EXECUTE, RWX};
    /* Write without read is a misconfiguration; execute alone needs a capability (bit 0 of
     * IA32_VMX_EPT_VPID_CAP) that is not required. */
    static const unsigned bad[] = {0, NESTED_WRITE, NESTED_EXECUTE, NESTED_WRITE | NESTED_EXECUTE,
                                   8, RWX | 8,      RWX | 0x30,     0x80000001u};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(good); i++) {
        unsigned level;

        assert_int_equal(map(i * K4, i * K4, K4, good[i]), 0);
        expect(i * K4, i * K4, i * K4, K4, good[i]);
        assert_int_equal(raw(i * K4, &level), i * K4 | TYPE_WB | good[i]);
    }
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(map(G1, G1, K4, bad[i]), -E_INVAL);
    expect_none(G1);
}

static void arguments(void **state)
{
    static const struct {
        uint64_t gpa, hpa, size;
    } bad[] = {
        {1, 0, K4},
        {0, 1, K4},
        {0, 0, 1},
        {0, 0, K4 - 1},
        {0, 0, K4 + 1},
        {0x800, 0x800, 0x800},
        {0, 0, 0},
        /* beyond the 48 bits of a four-level walk */
        {T256, 0, K4},
        {T256 - K4, 0, 2 * K4},
        {0, 0, T256 + K4},
        {1ull << 63, 0, K4},
        {UINT64_MAX - 4095, 0, K4},
        {UINT64_MAX - 4095, 0, 2 * K4},
        {K4, 0, UINT64_MAX - 4095},
        {0, 0, UINT64_MAX - 4095},
        /* beyond the 52 bits that an entry can hold */
        {0, 1ull << 52, K4},
        {0, (1ull << 52) - K4, 2 * K4},
        {0, UINT64_MAX - 4095, K4},
        {0, UINT64_MAX - 4095, 2 * K4},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(map(bad[i].gpa, bad[i].hpa, bad[i].size, RWX), -E_INVAL);
    /* Nothing was allocated, and nothing is mapped. */
    assert_int_equal(pool.used, 1);
    expect_none(0);
}

static void highest_addresses(void **state)
{
    unsigned level;

    (void)state;
    assert_int_equal(map(T256 - K4, (1ull << 52) - 2 * K4, K4, RWX), 0);
    expect(T256 - 1, T256 - K4, (1ull << 52) - 2 * K4, K4, RWX);
    assert_int_equal(raw(T256 - K4, &level), ((1ull << 52) - 2 * K4) | TYPE_WB | RWX);
    /* A higher address does not wrap to a mapped one. */
    assert_int_equal(map(0, 0, K4, RWX), 0);
    expect_none(T256);
    expect_none(2 * T256);
    expect_none(UINT64_MAX);
}

static void out_of_memory(void **state)
{
    (void)state;
    /* Tables of three levels are needed; the allocation of any of them may fail. */
    for (unsigned have = 0; have < 3; have++) {
        pool.limit = pool.used + have;
        assert_int_equal(map(G512 * (have + 1), 0, K4, RWX), -E_NOMEM);
        expect_none(G512 * (have + 1));
        assert_int_equal(pool.used, pool.limit);
    }
    pool.limit = POOL;
    for (unsigned have = 0; have < 3; have++) {
        /* Existing tables are used, the others are made. */
        assert_int_equal(map(G512 * (have + 1), K4, K4, RWX), 0);
        expect(G512 * (have + 1), G512 * (have + 1), K4, K4, RWX);
    }
    assert_int_equal(pool.used, 1 + 3 * 3);
}

static void out_of_memory_in_the_middle(void **state)
{
    (void)state;
    pool.limit = pool.used + 3;
    /* The last two small pages lie in a second 2 MB region: its table is missing. */
    assert_int_equal(map(M2 - 2 * K4, K4, 4 * K4, NESTED_READ), -E_NOMEM);
    expect(M2 - 1, M2 - K4, 2 * K4, K4, NESTED_READ);
    expect_none(M2);
    pool.limit = POOL;
    assert_int_equal(map(M2, 3 * K4, 2 * K4, NESTED_READ), 0);
    expect(M2 + K4, M2 + K4, 4 * K4, K4, NESTED_READ);
}

static void walk_in_order(void **state)
{
    static const struct nested_mapping pages[] = {
        {0x5000, 0x9000, K4, NESTED_READ},
        {M2, 8 * M2, M2, RWX},
        {G1, 4 * G1, G1, NESTED_READ | NESTED_EXECUTE},
        {G512 + K4, 0, K4, RWX},
        {T256 - K4, K4, K4, NESTED_READ | NESTED_WRITE},
    };
    struct visits v = {.count = 0};

    (void)state;
    assert_int_equal(nested_walk(&ept.tree, visit, &v), 0);
    assert_int_equal(v.count, 0);
    for (unsigned i = ARRAY_LEN(pages); i-- > 0;)
        assert_int_equal(map(pages[i].gpa, pages[i].hpa, pages[i].size, pages[i].perm), 0);
    assert_int_equal(nested_walk(&ept.tree, visit, &v), 0);
    assert_int_equal(v.count, ARRAY_LEN(pages));
    for (unsigned i = 0; i < ARRAY_LEN(pages); i++) {
        assert_int_equal(v.at[i].gpa, pages[i].gpa);
        assert_int_equal(v.at[i].hpa, pages[i].hpa);
        assert_int_equal(v.at[i].size, pages[i].size);
        assert_int_equal(v.at[i].perm, pages[i].perm);
    }
    for (unsigned stop = 1; stop <= ARRAY_LEN(pages); stop++) {
        v = (struct visits){.stop_after = stop};
        assert_int_equal(nested_walk(&ept.tree, visit, &v), 77);
        assert_int_equal(v.count, stop);
    }
}

static void taken_away_again(void **state)
{
    struct nested_mapping m;

    (void)state;
    assert_int_equal(map(G1, 0, 2 * M2, NESTED_READ), 0);
    assert_int_equal(nested_unmap(&ept.tree, gpa(G1 + K4), K4), -E_INVAL); /* inside a large page */
    assert_int_equal(nested_unmap(&ept.tree, gpa(G1), K4), -E_INVAL);
    assert_int_equal(nested_unmap(&ept.tree, gpa(G1), M2), 0);
    assert_false(nested_lookup(&ept.tree, gpa(G1), &m));
    assert_true(nested_lookup(&ept.tree, gpa(G1 + M2), &m));
    assert_int_equal(nested_unmap(&ept.tree, gpa(G1), M2), -E_INVAL); /* not mapped any more */
    assert_int_equal(map(G1, M2, M2, RWX), 0);
    assert_int_equal(nested_unmap(&ept.tree, gpa(G1), 2 * M2), 0);
    assert_int_equal(nested_unmap(&ept.tree, gpa(T256), M2), -E_INVAL);
    assert_int_equal(nested_unmap(&ept.tree, gpa(0), T256 + K4), -E_INVAL);
}

/* Prepared ranges need no more memory, however often they are mapped. */
static void prepared(void **state)
{
    (void)state;
    assert_int_equal(nested_prepare(&ept.tree, gpa(G1), 2 * G1), 0);
    pool.limit = pool.used;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(map(G1, 0, M2, RWX), 0);
        assert_int_equal(map(3 * G1 - M2, M2, M2, RWX), 0);
        assert_int_equal(nested_unmap(&ept.tree, gpa(G1), M2), 0);
        assert_int_equal(nested_unmap(&ept.tree, gpa(3 * G1 - M2), M2), 0);
    }
    assert_int_equal(map(3 * G1, 0, M2, RWX), -E_NOMEM);
    assert_int_equal(nested_prepare(&ept.tree, gpa(3 * G1), G1), -E_NOMEM);
    assert_int_equal(nested_prepare(&ept.tree, gpa(M2), G1), -E_INVAL);
    assert_int_equal(nested_prepare(&ept.tree, gpa(G1), 0), -E_INVAL);
    assert_int_equal(nested_prepare(&ept.tree, gpa(T256), G1), -E_INVAL);
    assert_int_equal(nested_prepare(&ept.tree, gpa(T256 - G1), 2 * G1), -E_INVAL);
    pool.limit = POOL;
    assert_int_equal(map(4 * G1, 0, G1, RWX), 0);
    assert_int_equal(nested_prepare(&ept.tree, gpa(4 * G1), G1), -E_EXIST);
}

/* ---- pages that are split at the first fetch: eight of 2 MB ---- */

#define RW     (NESTED_READ | NESTED_WRITE)
#define WAITS  (1ull << 52)
#define SPLITS 8u

static uint64_t split_tables[SPLITS][512] __attribute__((aligned(4096)));

static int setup_splits(void **state)
{
    (void)setup(state);
    memset(split_tables, 0x5a, sizeof(split_tables)); /* they have not been cleared */
    assert_int_equal(ept_split_size(SPLITS * M2), sizeof(split_tables));
    ept_reserve_splits(&ept, split_tables, SPLITS * M2);
    assert_int_equal(map(0, 4 * G1, SPLITS * M2, RWX), 0);
    return 0;
}

static void prepare_all(void)
{
    for (unsigned i = 0; i < SPLITS; i++)
        ept_prepare_split(&ept, gpa(i * M2 + 0x1234));
}

/* Before its first fetch a large page can be read and written like any other. */
static void waits_for_a_fetch(void **state)
{
    unsigned level, pages = pool.used;

    (void)state;
    assert_int_equal(raw(M2, &level),
                     (4 * G1 + M2) | WAITS | LARGE | TYPE_WB | NESTED_READ | NESTED_WRITE);
    assert_int_equal(level, 2);
    expect(M2 + 5, M2, 4 * G1 + M2, M2, RW);
    prepare_all();
    expect(M2 + 5, M2, 4 * G1 + M2, M2, RW); /* nothing has changed yet */
    assert_int_equal(pool.used, pages);
}

/* The same memory in small pages, which may be executed; the neighbours still wait. */
static void is_split(void **state)
{
    struct visits v = {.stop_after = VISITS};
    unsigned level, pages = pool.used;

    (void)state;
    prepare_all();
    assert_true(ept_split(&ept, gpa(3 * M2 - 1)));
    for (uint64_t at = 2 * M2; at < 3 * M2; at += K4) {
        expect(at + 0xfff, at, 4 * G1 + at, K4, RWX);
        assert_int_equal(raw(at, &level), (4 * G1 + at) | TYPE_WB | RWX);
        assert_int_equal(level, 1);
    }
    expect(2 * M2 - 1, M2, 4 * G1 + M2, M2, RW);
    expect(3 * M2, 3 * M2, 4 * G1 + 3 * M2, M2, RW);
    assert_int_equal(pool.used, pages); /* it took no memory */
    assert_int_equal(nested_walk(&ept.tree, visit, &v), 77);
    assert_int_equal(v.at[1].size, M2); /* the audit sees the entries in force */
    assert_int_equal(v.at[2].size, K4);
    assert_int_equal(v.at[2].perm, RWX);
    assert_int_equal(v.at[3].gpa, 2 * M2 + K4);
}

/* A fetch is refused if the page does not wait for one: the guest is at fault. */
static void is_not_split(void **state)
{
    (void)state;
    assert_int_equal(map(G1, M2, M2, RW), 0); /* an image's memory: never executed */
    prepare_all();
    assert_true(ept_split(&ept, gpa(0)));
    assert_false(ept_split(&ept, gpa(0))); /* once */
    assert_false(ept_split(&ept, gpa(SPLITS * M2)));
    assert_false(ept_split(&ept, gpa(G1)));
    assert_false(ept_split(&ept, gpa(T256)));
    assert_false(ept_split(&ept, gpa(UINT64_MAX)));
    expect(G1, G1, M2, M2, RW);
    expect_none(SPLITS * M2);
}

static void is_split_only_when_prepared(void **state)
{
    (void)state;
    assert_false(ept_split(&ept, gpa(M2)));
    expect(M2, M2, 4 * G1 + M2, M2, RW);
    ept_prepare_split(&ept, gpa(M2));
    assert_false(ept_split(&ept, gpa(0)));
    assert_true(ept_split(&ept, gpa(M2)));
}

/* The audit must find an entry with another page, other rights or another type. */
static void split_audit(void **state)
{
    static const uint64_t wrong[] = {K4,  M2,   G1,   NESTED_EXECUTE, NESTED_WRITE,
                                     0x8, 0x40, 0x80, WAITS};

    (void)state;
    for (unsigned i = 0; i < SPLITS; i++)
        assert_false(ept_split_is_good(&ept, gpa(i * M2)));
    prepare_all();
    for (unsigned i = 0; i < SPLITS; i++)
        assert_true(ept_split_is_good(&ept, gpa(i * M2)));
    for (unsigned i = 0; i < 512; i++) {
        for (unsigned k = 0; k < ARRAY_LEN(wrong); k++) {
            split_tables[5][i] ^= wrong[k];
            /* Each half of the table is checked on its own. */
            assert_int_equal(ept_split_is_good(&ept, gpa(5 * M2 + 5)), i >= 256);
            assert_int_equal(ept_split_is_good(&ept, gpa(6 * M2 - 1)), i < 256);
            assert_true(ept_split_is_good(&ept, gpa(4 * M2)));
            split_tables[5][i] ^= wrong[k];
        }
    }
    assert_true(ept_split_is_good(&ept, gpa(5 * M2)));
    assert_true(ept_split_is_good(&ept, gpa(G1))); /* nothing waits there */
}

/* Executable memory that cannot be split is mapped small at once; non-executable memory stays
 * large. */
static void without_tables_small(void **state)
{
    unsigned level;

    (void)state;
    assert_int_equal(map(SPLITS * M2, 2 * G1, M2, RWX), 0);
    expect(SPLITS * M2 + M2 - 1, SPLITS * M2 + M2 - K4, 2 * G1 + M2 - K4, K4, RWX);
    assert_int_equal(map(4 * G1, 2 * G1, G1, RW), 0);
    (void)raw(4 * G1, &level);
    assert_int_equal(level, 3);
}

/* The tables are counted in RAM: those for 4 GB follow those for the last page below the hole. */
static void splits_above_the_hole(void **state)
{
    const uint64_t size = 3 * G1 + M2;
    uint64_t(*tables)[512] = aligned_alloc(K4, ept_split_size(size));

    (void)state;
    assert_non_null(tables);
    ept_reserve_splits(&ept, tables, size);
    assert_int_equal(map(3 * G1 - M2, 8 * G1, M2, RWX), 0);
    assert_int_equal(map(4 * G1, 9 * G1, M2, RWX), 0);
    ept_prepare_split(&ept, gpa(3 * G1 - M2));
    ept_prepare_split(&ept, gpa(4 * G1));
    assert_int_equal(tables[3 * G1 / M2 - 1][0], 8 * G1 | TYPE_WB | RWX);
    assert_int_equal(tables[3 * G1 / M2][0], 9 * G1 | TYPE_WB | RWX);
    assert_true(ept_split_is_good(&ept, gpa(4 * G1)));
    assert_true(ept_split(&ept, gpa(4 * G1 + K4)));
    expect(4 * G1 + K4, 4 * G1 + K4, 9 * G1 + K4, K4, RWX);
    /* In the hole and above the RAM there are none: pages are small from the start. */
    assert_int_equal(map(3 * G1, 0, M2, RWX), 0);
    assert_int_equal(map(4 * G1 + M2, M2, M2, RWX), 0);
    expect(3 * G1, 3 * G1, 0, K4, RWX);
    expect(4 * G1 + M2, 4 * G1 + M2, M2, K4, RWX);
    assert_false(ept_split(&ept, gpa(3 * G1)));
    free(tables);
}

static int place(uint64_t g, uint64_t h, uint64_t size, unsigned perm)
{
    return nested_place(&ept.tree, gpa(g), hpa(h), size, perm);
}

/* Memory that guests share: it is put somewhere, and moved, without memory for tables. */
static void placed(void **state)
{
    struct nested_mapping m;

    (void)state;
    assert_int_equal(place(3 * G1, 0x40000000, M2, NESTED_READ | NESTED_WRITE),
                     -E_INVAL); /* no table */
    assert_int_equal(nested_prepare(&ept.tree, gpa(3 * G1), G1), 0);
    pool.limit = pool.used;
    assert_int_equal(place(3 * G1, 0x40000000, 4 * M2, NESTED_READ | NESTED_WRITE), 0);
    expect(3 * G1, 3 * G1, 0x40000000, M2, NESTED_READ | NESTED_WRITE);
    expect(3 * G1 + 4 * M2 - 1, 3 * G1 + 3 * M2, 0x40000000 + 3 * M2, M2,
           NESTED_READ | NESTED_WRITE);
    assert_false(nested_lookup(&ept.tree, gpa(3 * G1 + 4 * M2), &m));
    assert_int_equal(place(3 * G1 + 3 * M2, 0x50000000, M2, NESTED_READ), -E_EXIST);
    assert_int_equal(place(3 * G1, 0x40000000, 4 * M2, 0), 0);
    for (unsigned i = 0; i < 4; i++)
        assert_false(nested_lookup(&ept.tree, gpa(3 * G1 + i * M2), &m));
    assert_int_equal(place(4 * G1 - 2 * M2, 0x40000000, 2 * M2, NESTED_READ), 0);
    expect(4 * G1 - 1, 4 * G1 - M2, 0x40000000 + M2, M2, NESTED_READ);
}

static void placed_wrongly(void **state)
{
    (void)state;
    assert_int_equal(nested_prepare(&ept.tree, gpa(3 * G1), 2 * G1), 0);
    assert_int_equal(place(3 * G1 + K4, 0, M2, NESTED_READ), -E_INVAL);
    assert_int_equal(place(3 * G1, K4, M2, NESTED_READ), -E_INVAL);
    assert_int_equal(place(3 * G1, 0, M2 + K4, NESTED_READ), -E_INVAL);
    assert_int_equal(place(3 * G1, 0, 0, NESTED_READ), -E_INVAL);
    assert_int_equal(place(3 * G1, 0, M2, RWX), -E_INVAL);
    assert_int_equal(place(3 * G1, 0, M2, NESTED_WRITE), -E_INVAL);
    assert_int_equal(place(4 * G1 - M2, 0, 2 * M2, NESTED_READ), -E_INVAL); /* two tables */
    assert_int_equal(place(T256, 0, M2, NESTED_READ), -E_INVAL);
    assert_int_equal(place(3 * G1, UINT64_MAX - M2 + 1, M2, NESTED_READ), -E_INVAL);
    assert_int_equal(map(8 * G1, 0, G1, RWX), 0); /* a page of 1 GB is no table */
    assert_int_equal(place(8 * G1, 0, M2, 0), -E_INVAL);
}

int main(void)
{
#define TEST(f)       cmocka_unit_test_setup_teardown(f, setup, teardown)
#define SPLIT_TEST(f) cmocka_unit_test_setup_teardown(f, setup_splits, teardown)
    const struct CMUnitTest tests[] = {
        TEST(pointer),
        TEST(no_memory_for_the_root),
        TEST(page_4k),
        TEST(page_2m),
        TEST(page_1g),
        TEST(without_1g_pages),
        TEST(alignment_of_both),
        TEST(split_by_size),
        TEST(overlaps),
        TEST(overlap_below_1g),
        TEST(overlap_in_the_middle),
        TEST(permissions),
        TEST(arguments),
        TEST(highest_addresses),
        TEST(out_of_memory),
        TEST(out_of_memory_in_the_middle),
        TEST(walk_in_order),
        TEST(taken_away_again),
        TEST(prepared),
        TEST(placed),
        TEST(placed_wrongly),
        SPLIT_TEST(waits_for_a_fetch),
        SPLIT_TEST(is_split),
        SPLIT_TEST(is_not_split),
        SPLIT_TEST(is_split_only_when_prepared),
        SPLIT_TEST(split_audit),
        SPLIT_TEST(without_tables_small),
        TEST(splits_above_the_hole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
