/* SOURCES: arch/x86/guest/nested.c arch/x86/svm/npt.c hv/lib.c */
/* Nested page tables, translated by a walk of their own: as the CPU does it, by APM vol. 2
 * "Long-Mode Page Translation". */
#include "arch/x86/svm/npt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define K4   0x1000ull
#define M2   0x200000ull
#define G1   0x40000000ull
#define T256 0x1000000000000ull /* 48 bits */
#define RW   (NESTED_READ | NESTED_WRITE)
#define RWX  (RW | NESTED_EXECUTE)
#define POOL 64u

static struct {
    void *page[POOL];
    unsigned used, limit;
} pool;

static struct nested npt;

static void *take_page(void *ctx)
{
    assert_ptr_equal(ctx, &pool);
    if (pool.used == pool.limit)
        return NULL;
    pool.page[pool.used] = aligned_alloc(K4, K4);
    assert_non_null(pool.page[pool.used]);
    memset(pool.page[pool.used], 0, K4);
    return pool.page[pool.used++];
}

static int setup(void **state)
{
    (void)state;
    memset(&pool, 0, sizeof(pool));
    pool.limit = POOL;
    assert_int_equal(npt_init(&npt, true, take_page, &pool), 0);
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
    return nested_map(&npt, gpa(g), hpa(h), size, perm);
}

/* What the CPU may do at an address, and where that leads; 0: a nested page fault. A nested access
 * is a user access: without U/S in every entry nothing is allowed. */
static unsigned access_at(uint64_t at, uint64_t *to)
{
    const uint64_t *table = npt.root;
    unsigned perm = RWX;

    for (unsigned level = 4; level > 0; level--) {
        unsigned shift = 12 + 9 * (level - 1);
        uint64_t entry = table[at >> shift & 511], offset = (1ull << shift) - 1;
        bool large = level > 1 && (entry & 1ull << 7);

        if (!(entry & 1) || !(entry & 1ull << 2))
            return 0;
        perm &= (entry & 2 ? RWX : NESTED_READ | NESTED_EXECUTE) & (entry >> 63 ? RW : RWX);
        /* No PWT, PCD or PAT, in no entry: the type is write-back. */
        assert_int_equal(entry & (1ull << 3 | 1ull << 4), 0);
        if (level == 1 || large) {
            assert_true(level <= 3);
            assert_int_equal(entry & offset & 0x000ffffffffff000ull, 0); /* reserved bits */
            *to = (entry & 0x000ffffffffff000ull) + (at & offset);
            return perm;
        }
        table = (const uint64_t *)(uintptr_t)(entry & 0x000ffffffffff000ull);
    }
    return 0;
}

static void leads_to(uint64_t at, uint64_t wanted, unsigned perm)
{
    uint64_t to = 0;

    assert_int_equal(access_at(at, &to), perm);
    if (perm)
        assert_int_equal(to, wanted);
}

static void lookup(uint64_t at, uint64_t g, uint64_t h, uint64_t size, unsigned perm)
{
    struct nested_mapping m;

    assert_true(nested_lookup(&npt, gpa(at), &m));
    assert_int_equal(m.gpa, g);
    assert_int_equal(m.hpa, h);
    assert_int_equal(m.size, size);
    assert_int_equal(m.perm, perm);
}

static void pages_of_all_sizes(void **state)
{
    (void)state;
    assert_int_equal(map(G1 - M2 - K4, 5 * G1 - M2 - K4, K4 + M2 + G1 + M2 + K4, RWX), 0);
    lookup(G1 - M2 - K4, G1 - M2 - K4, 5 * G1 - M2 - K4, K4, RWX);
    lookup(G1 - 1, G1 - M2, 5 * G1 - M2, M2, RWX);
    lookup(G1 + 7, G1, 5 * G1, G1, RWX);
    lookup(2 * G1, 2 * G1, 6 * G1, M2, RWX);
    lookup(2 * G1 + M2, 2 * G1 + M2, 6 * G1 + M2, K4, RWX);
    leads_to(G1 - M2 - K4 - 1, 0, 0);
    leads_to(G1 - 1, 5 * G1 - 1, RWX);
    leads_to(G1 + 0x12345678, 5 * G1 + 0x12345678, RWX);
    leads_to(2 * G1 + M2 + K4, 0, 0);
}

static void small_pages_where_hosts_are_not_aligned(void **state)
{
    (void)state;
    assert_int_equal(map(0, M2 + K4, M2, RWX), 0);
    lookup(0, 0, M2 + K4, K4, RWX);
    lookup(M2 - 1, M2 - K4, 2 * M2, K4, RWX);
}

static void without_1g_pages(void **state)
{
    (void)state;
    npt.page_1g = false;
    assert_int_equal(map(0, 0, G1, RWX), 0);
    lookup(0, 0, 0, M2, RWX);
}

static void permissions(void **state)
{
    (void)state;
    assert_int_equal(map(0, G1, K4, NESTED_READ), 0);
    assert_int_equal(map(K4, G1 + K4, K4, RW), 0);
    assert_int_equal(map(2 * K4, G1 + 2 * K4, K4, NESTED_READ | NESTED_EXECUTE), 0);
    assert_int_equal(map(M2, M2, M2, RW), 0);
    leads_to(0, G1, NESTED_READ);
    leads_to(K4, G1 + K4, RW);
    leads_to(2 * K4, G1 + 2 * K4, NESTED_READ | NESTED_EXECUTE);
    leads_to(M2 + 9, M2 + 9, RW);
    lookup(2 * K4, 2 * K4, G1 + 2 * K4, K4, NESTED_READ | NESTED_EXECUTE);
}

static void refused(void **state)
{
    (void)state;
    assert_int_equal(map(1, 0, K4, RWX), -E_INVAL);
    assert_int_equal(map(0, 1, K4, RWX), -E_INVAL);
    assert_int_equal(map(0, 0, K4 + 1, RWX), -E_INVAL);
    assert_int_equal(map(0, 0, 0, RWX), -E_INVAL);
    assert_int_equal(map(T256, 0, K4, RWX), -E_INVAL);
    assert_int_equal(map(T256 - K4, 0, 2 * K4, RWX), -E_INVAL);
    assert_int_equal(map(0, 1ull << 52, K4, RWX), -E_INVAL);
    assert_int_equal(map(0, 0, K4, NESTED_WRITE), -E_INVAL);
    assert_int_equal(map(0, 0, K4, 8 | NESTED_READ), -E_INVAL);
    assert_int_equal(map(M2, 0, M2, RWX), 0);
    assert_int_equal(map(M2, 0, M2, RWX), -E_EXIST);
    assert_int_equal(map(M2 + K4, 0, K4, RWX), -E_EXIST);
    assert_int_equal(map(0, 0, G1, RWX), -E_EXIST);
}

static void no_memory(void **state)
{
    struct nested other;

    (void)state;
    pool.limit = pool.used + 2; /* of the three tables */
    assert_int_equal(map(0, 0, K4, RWX), -E_NOMEM);
    leads_to(0, 0, 0);
    pool.limit = pool.used;
    assert_int_equal(npt_init(&other, true, take_page, &pool), -E_NOMEM);
    assert_int_equal(nested_prepare(&npt, gpa(512 * G1), G1), -E_NOMEM);
}

static void unmapped(void **state)
{
    (void)state;
    assert_int_equal(map(0, 0, 2 * M2 + 2 * K4, RWX), 0);
    assert_int_equal(nested_unmap(&npt, gpa(K4), K4), -E_INVAL); /* a part of a large page */
    assert_int_equal(nested_unmap(&npt, gpa(0), K4), -E_INVAL);
    leads_to(0, 0, RWX);
    assert_int_equal(nested_unmap(&npt, gpa(M2), M2 + K4), 0);
    leads_to(M2 - 1, M2 - 1, RWX);
    leads_to(M2, 0, 0);
    leads_to(2 * M2, 0, 0);
    leads_to(2 * M2 + K4, 2 * M2 + K4, RWX);
    assert_int_equal(nested_unmap(&npt, gpa(M2), M2), -E_INVAL);
    assert_int_equal(nested_unmap(&npt, gpa(2 * M2), K4), -E_INVAL);
    assert_int_equal(nested_unmap(&npt, gpa(T256), K4), -E_INVAL);
}

static int place(uint64_t g, uint64_t h, uint64_t size, unsigned perm)
{
    return nested_place(&npt, gpa(g), hpa(h), size, perm);
}

static void placed(void **state)
{
    unsigned used;

    (void)state;
    assert_int_equal(place(3 * G1, 0, M2, RW), -E_INVAL); /* not prepared */
    assert_int_equal(nested_prepare(&npt, gpa(3 * G1), G1), 0);
    used = pool.used;
    assert_int_equal(place(3 * G1 + M2, 9 * G1, 2 * M2, RW), 0);
    leads_to(3 * G1 + M2 + 5, 9 * G1 + 5, RW);
    leads_to(3 * G1 + 3 * M2 - 1, 9 * G1 + 2 * M2 - 1, RW);
    leads_to(3 * G1, 0, 0);
    leads_to(3 * G1 + 3 * M2, 0, 0);
    assert_int_equal(place(3 * G1 + M2, 0, 2 * M2, 0), 0);
    leads_to(3 * G1 + M2, 0, 0);
    assert_int_equal(pool.used, used);
    assert_int_equal(place(3 * G1, 0, M2, RWX), -E_INVAL);
    assert_int_equal(place(3 * G1, 0, M2, NESTED_WRITE), -E_INVAL);
    assert_int_equal(place(3 * G1, K4, M2, RW), -E_INVAL);
    assert_int_equal(place(3 * G1 + K4, 0, M2, RW), -E_INVAL);
    assert_int_equal(place(3 * G1, 0, 0, RW), -E_INVAL);
    assert_int_equal(place(4 * G1 - M2, 0, 2 * M2, RW), -E_INVAL);
    assert_int_equal(place(T256, 0, M2, RW), -E_INVAL);
    assert_int_equal(place(3 * G1, 0, M2, RW), 0);
    assert_int_equal(place(3 * G1, 0, M2, RW), -E_EXIST);
    assert_int_equal(map(8 * G1, 0, G1, RW), 0);
    assert_int_equal(place(8 * G1, 0, M2, RW), -E_INVAL); /* a page of 1 GB */
    assert_int_equal(nested_prepare(&npt, gpa(8 * G1), G1), -E_EXIST);
    assert_int_equal(nested_prepare(&npt, gpa(M2), G1), -E_INVAL);
    assert_int_equal(nested_prepare(&npt, gpa(0), 0), -E_INVAL);
    assert_int_equal(nested_prepare(&npt, gpa(T256), G1), -E_INVAL);
}

struct visits {
    struct nested_mapping at[8];
    unsigned count, stop_after;
};

static int visit(void *ctx, const struct nested_mapping *m)
{
    struct visits *v = ctx;

    assert_true(v->count < 8);
    v->at[v->count++] = *m;
    return v->count == v->stop_after ? -E_PERM : 0;
}

static void walked(void **state)
{
    struct visits v = {.count = 0};

    (void)state;
    assert_int_equal(map(0, G1, K4, NESTED_READ), 0);
    assert_int_equal(map(M2, 0, M2, RW), 0);
    assert_int_equal(map(G1, 3 * G1, G1, RWX), 0);
    assert_int_equal(nested_walk(&npt, visit, &v), 0);
    assert_int_equal(v.count, 3);
    for (unsigned i = 0; i < v.count; i++)
        lookup(v.at[i].gpa, v.at[i].gpa, v.at[i].hpa, v.at[i].size, v.at[i].perm);
    assert_int_equal(v.at[2].size, G1);
    v = (struct visits){.stop_after = 2};
    assert_int_equal(nested_walk(&npt, visit, &v), -E_PERM);
    assert_int_equal(v.count, 2);
}

static void nothing_there(void **state)
{
    struct nested_mapping m;

    (void)state;
    assert_false(nested_lookup(&npt, gpa(0), &m));
    assert_false(nested_lookup(&npt, gpa(T256), &m));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(pages_of_all_sizes),
        TEST(small_pages_where_hosts_are_not_aligned),
        TEST(without_1g_pages),
        TEST(permissions),
        TEST(refused),
        TEST(no_memory),
        TEST(unmapped),
        TEST(placed),
        TEST(walked),
        TEST(nothing_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
