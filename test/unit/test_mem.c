/* SOURCES: hv/mem.c hv/lib.c */
#include "hv/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MB (1ull << 20)

static struct mem_map map;

static void add(uint64_t base, uint64_t size, enum mem_owner_kind kind)
{
    assert_int_equal(mem_add(&map, base, size, kind, 0), 0);
}

/* The map stays sorted, without overlaps or empty ranges, and adjacent ranges of one owner are
 * joined. */
static void check_invariants(void)
{
    uint64_t bytes[MEM_KINDS] = {0};

    for (unsigned i = 0; i < map.count; i++) {
        const struct mem_range *r = &map.ranges[i];

        assert_true(r->size > 0 && r->base % PAGE_SIZE == 0 && r->size % PAGE_SIZE == 0);
        if (i > 0) {
            const struct mem_range *p = &map.ranges[i - 1];

            assert_true(p->base + p->size <= r->base);
            assert_false(p->base + p->size == r->base && p->kind == r->kind &&
                         p->guest == r->guest);
        }
        bytes[r->kind] += r->size;
    }
    for (unsigned i = 0; i < MEM_KINDS; i++)
        assert_int_equal(map.bytes[i], bytes[i]);
}

static int setup(void **state)
{
    (void)state;
    map.count = map.loose = 0;
    add(0, 0x9fc00, MEM_FREE);
    add(0x9fc00, 0x60400, MEM_RESERVED);
    add(1 * MB, 127 * MB, MEM_FREE);
    return 0;
}

static void rounding(void **state)
{
    (void)state;
    /* RAM ends at the page below 0x9fc00, the reserved range begins there. */
    assert_int_equal(mem_find(&map, hpa(0x9efff))->kind, MEM_FREE);
    assert_int_equal(mem_find(&map, hpa(0x9f000))->kind, MEM_RESERVED);
    assert_null(mem_find(&map, hpa(128 * MB)));
    check_invariants();
}

static void later_ranges_win(void **state)
{
    (void)state;
    add(4 * MB, MB, MEM_HOST);
    assert_int_equal(map.count, 5);
    assert_int_equal(mem_find(&map, hpa(4 * MB))->kind, MEM_HOST);
    assert_int_equal(mem_find(&map, hpa(5 * MB))->kind, MEM_FREE);
    add(0, 128 * MB, MEM_RESERVED);
    assert_int_equal(map.count, 1);
    check_invariants();
}

static void allocation(void **state)
{
    hpa_t a, b;

    (void)state;
    assert_int_equal(mem_alloc(&map, 16 * MB, 2 * MB, NEVER, MEM_GUEST, 3, &a), 0);
    assert_int_equal(a.v, 112 * MB);
    assert_int_equal(mem_find(&map, a)->guest, 3);
    assert_int_equal(mem_alloc(&map, PAGE_SIZE, PAGE_SIZE, 64 * MB, MEM_HOST, 0, &b), 0);
    assert_int_equal(b.v, 64 * MB - PAGE_SIZE);
    assert_int_equal(map.bytes[MEM_GUEST], 16 * MB);
    check_invariants();
    assert_int_equal(mem_free(&map, a, 16 * MB), 0);
    assert_int_equal(mem_free(&map, b, PAGE_SIZE), 0);
    assert_int_equal(map.bytes[MEM_HOST], 0);
    assert_int_equal(map.count, 3);
    check_invariants();
}

/* The memory of a node may be part of a free range, or of several. */
static void within(void **state)
{
    hpa_t a;

    (void)state;
    assert_int_equal(mem_alloc_in(&map, 4 * MB, 2 * MB, 8 * MB, 16 * MB, MEM_GUEST, 1, &a), 0);
    assert_int_equal(a.v, 12 * MB);
    assert_int_equal(mem_alloc_in(&map, 4 * MB, 2 * MB, 8 * MB, 16 * MB, MEM_GUEST, 1, &a), 0);
    assert_int_equal(a.v, 8 * MB);
    assert_int_equal(mem_alloc_in(&map, PAGE_SIZE, PAGE_SIZE, 8 * MB, 16 * MB, MEM_GUEST, 1, &a),
                     -E_NOMEM);
    /* An aligned base would lie before the beginning. */
    assert_int_equal(
        mem_alloc_in(&map, 2 * MB, 2 * MB, 17 * MB, 20 * MB - PAGE_SIZE, MEM_GUEST, 1, &a),
        -E_NOMEM);
    assert_int_equal(mem_alloc_in(&map, PAGE_SIZE, PAGE_SIZE, 0, 2 * MB, MEM_GUEST, 1, &a), 0);
    assert_int_equal(a.v, 2 * MB - PAGE_SIZE);
    assert_int_equal(
        mem_alloc_in(&map, PAGE_SIZE, PAGE_SIZE, 1ull << 40, UINT64_MAX, MEM_GUEST, 1, &a),
        -E_NOMEM);
    check_invariants();
}

static void refusals(void **state)
{
    hpa_t a;

    (void)state;
    assert_int_equal(mem_alloc(&map, 0, PAGE_SIZE, NEVER, MEM_HOST, 0, &a), -E_INVAL);
    assert_int_equal(mem_alloc(&map, PAGE_SIZE, 3 * PAGE_SIZE, NEVER, MEM_HOST, 0, &a), -E_INVAL);
    assert_int_equal(mem_alloc(&map, 128 * MB, PAGE_SIZE, NEVER, MEM_HOST, 0, &a), -E_NOMEM);
    /* Nothing below 1 MB is ever allocated: firmware and start-up code live there. */
    assert_int_equal(mem_alloc(&map, PAGE_SIZE, PAGE_SIZE, 1 * MB, MEM_HOST, 0, &a), -E_NOMEM);
    assert_int_equal(mem_free(&map, hpa(2 * MB), PAGE_SIZE), -E_INVAL);
    assert_int_equal(mem_free(&map, hpa(0xa0000), PAGE_SIZE), -E_INVAL);
    assert_int_equal(mem_free(&map, hpa(200 * MB), PAGE_SIZE), -E_INVAL);
}

static void hostile_firmware(void **state)
{
    (void)state;
    add(UINT64_MAX - 100, 100, MEM_FREE);
    add(UINT64_MAX - 2 * PAGE_SIZE, UINT64_MAX, MEM_RESERVED);
    add(0, UINT64_MAX, MEM_RESERVED);
    assert_int_equal(map.count, 1);
    check_invariants();
}

static void a_full_table(void **state)
{
    uint64_t at = 2 * MB;
    int rc = 0;

    (void)state;
    while (rc == 0) {
        rc = mem_add(&map, at, PAGE_SIZE, MEM_HOST, 0);
        at += 2 * PAGE_SIZE;
    }
    assert_int_equal(rc, -E_NOSPC);
    check_invariants();
}

/* Adjacent pieces of one owner are one range, until one in the middle is freed. Here all are freed
 * from a full table, in the orders that need the most entries. */
static void giving_back_never_fails(void **state)
{
    static hpa_t given[MEM_RANGES_MAX];

    for (unsigned order = 0; order < 3; order++) {
        unsigned n = 0;
        hpa_t kept;

        (void)setup(state);
        while (n < MEM_RANGES_MAX &&
               mem_alloc(&map, PAGE_SIZE, PAGE_SIZE, NEVER, n % 5 == 4 ? MEM_GUEST : MEM_FOR_GUEST,
                         3, &given[n]) == 0)
            n++;
        assert_true(n > 100 && n < MEM_RANGES_MAX); /* it ended for want of room in the table */
        assert_int_equal(mem_alloc(&map, PAGE_SIZE, PAGE_SIZE, NEVER, MEM_IMAGE, 0, &kept),
                         -E_NOSPC);
        for (unsigned i = 0; i < n; i++) {
            unsigned k = order == 0   ? i * 2 % n + (n % 2 == 0 && i >= n / 2)
                         : order == 1 ? n - 1 - i
                                      : i * 7 % n;

            while (!given[k].v)
                k = (k + 1) % n;
            assert_int_equal(mem_free(&map, given[k], PAGE_SIZE), 0);
            given[k].v = 0;
            check_invariants();
            /* Others may use free entries now, and the rest can still be freed. */
            if (i % 3 == 0 && mem_alloc(&map, PAGE_SIZE, PAGE_SIZE, NEVER, MEM_HOST, 0, &kept) == 0)
                assert_true(kept.v != 0);
        }
        assert_int_equal(map.loose, 0);
        assert_int_equal(map.bytes[MEM_FOR_GUEST] + map.bytes[MEM_GUEST], 0);
    }
}

/* Memory with several owners: one range, however it is surrounded, and exactly they have it. */
static void regions(void **state)
{
    uint64_t before = map.bytes[MEM_FREE];
    unsigned count = map.count;
    hpa_t a, b;

    (void)state;
    assert_int_equal(mem_alloc(&map, MB, MB, NEVER, MEM_REGION, 0, &a), 0);
    assert_int_equal(mem_alloc(&map, MB, MB, NEVER, MEM_REGION, 0, &b), 0);
    assert_int_equal(a.v, b.v + MB); /* side by side, and not merged */
    assert_int_equal(mem_set_owners(&map, a, MB, 1u << 3 | 1u << 15), 0);
    assert_int_equal(mem_set_owners(&map, b, MB, 1u << 3 | 1u << 15), 0);
    for (unsigned g = 0; g < 32; g++)
        assert_int_equal(mem_is_owner(mem_find(&map, a), g), g == 3 || g == 15);
    assert_int_equal(mem_set_owners(&map, b, MB, 1u << 3), 0);
    assert_false(mem_is_owner(mem_find(&map, b), 15));
    assert_true(mem_is_owner(mem_find(&map, a), 15));
    assert_int_equal(mem_find(&map, a)->size, MB);
    assert_int_equal(mem_set_owners(&map, b, 2 * MB, 0), -E_INVAL);
    assert_int_equal(mem_set_owners(&map, hpa(b.v + PAGE_SIZE), MB, 0), -E_INVAL);
    assert_int_equal(mem_set_owners(&map, hpa(MB), MB, 0), -E_INVAL);
    assert_int_equal(mem_set_owners(&map, hpa(256 * MB), MB, 0), -E_INVAL);
    assert_int_equal(map.bytes[MEM_REGION], 2 * MB);
    assert_int_equal(mem_free(&map, a, MB), 0);
    assert_int_equal(mem_free(&map, b, MB), 0);
    assert_int_equal(map.bytes[MEM_FREE], before);
    assert_int_equal(map.count, count);
}

static void largest(void **state)
{
    (void)state;
    assert_int_equal(mem_largest(&map, 2 * MB), 126 * MB);
    add(64 * MB, PAGE_SIZE, MEM_HOST);
    assert_int_equal(mem_largest(&map, 2 * MB), 62 * MB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(rounding, setup),
        cmocka_unit_test_setup(later_ranges_win, setup),
        cmocka_unit_test_setup(allocation, setup),
        cmocka_unit_test_setup(within, setup),
        cmocka_unit_test_setup(refusals, setup),
        cmocka_unit_test_setup(hostile_firmware, setup),
        cmocka_unit_test_setup(a_full_table, setup),
        cmocka_unit_test_setup(giving_back_never_fails, setup),
        cmocka_unit_test_setup(regions, setup),
        cmocka_unit_test_setup(largest, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
