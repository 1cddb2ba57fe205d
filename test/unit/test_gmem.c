/* SOURCES: hv/gmem.c hv/lib.c */
/* Guest memory in one host range, and in several. */
#include "hv/abi/memory.h"
#include "hv/gmem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SIZE 0x1000u
#define GAP  0x100u /* between the ranges in the host: touched by no access */

static uint8_t host[3][SIZE + GAP];
static struct gmem one, several;

/* Two ranges next to each other, the third far above. */
static int begin(void **state)
{
    (void)state;
    memset(host, 0xee, sizeof(host));
    one = (struct gmem){.base = host[0], .size = SIZE};
    several = (struct gmem){
        .base = host[0],
        .size = SIZE,
        .more = {{SIZE, SIZE, host[2]}, {MEMORY_ABOVE, SIZE, host[1]}},
        .more_count = 2,
    };
    return 0;
}

static void pointers(void **state)
{
    const struct {
        uint64_t at, len;
        const void *one, *several;
    } cases[] = {
        {0, 0, host[0], host[0]},
        {0, SIZE, host[0], host[0]},
        {SIZE - 1, 1, host[0] + SIZE - 1, host[0] + SIZE - 1},
        {0, SIZE + 1, NULL, NULL},
        {SIZE - 1, 2, NULL, NULL}, /* RAM in two ranges */
        {SIZE, 1, NULL, host[2]},
        {2 * SIZE - 1, 1, NULL, host[2] + SIZE - 1},
        {2 * SIZE - 1, 2, NULL, NULL},
        {2 * SIZE, 1, NULL, NULL},
        {MEMORY_ABOVE - 1, 1, NULL, NULL},
        {MEMORY_ABOVE, SIZE, NULL, host[1]},
        {MEMORY_ABOVE + SIZE - 1, 2, NULL, NULL},
        {UINT64_MAX, 1, NULL, NULL},
        {1, UINT64_MAX, NULL, NULL},
        {UINT64_MAX, UINT64_MAX, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_ptr_equal(gmem_ptr(&one, gpa(cases[i].at), cases[i].len), cases[i].one);
        assert_ptr_equal(gmem_ptr(&several, gpa(cases[i].at), cases[i].len), cases[i].several);
    }
}

static void all_of_it(void **state)
{
    (void)state;
    assert_true(gmem_has(&one, gpa(0), SIZE));
    assert_false(gmem_has(&one, gpa(SIZE - 1), 2));
    assert_true(gmem_has(&several, gpa(SIZE - 1), 2));
    assert_true(gmem_has(&several, gpa(0), 2 * SIZE));
    assert_false(gmem_has(&several, gpa(0), 2 * SIZE + 1));
    assert_false(gmem_has(&several, gpa(2 * SIZE), 1));
    assert_true(gmem_has(&several, gpa(MEMORY_ABOVE), SIZE));
    assert_false(gmem_has(&several, gpa(MEMORY_ABOVE), SIZE + 1));
    assert_false(gmem_has(&several, gpa(UINT64_MAX), UINT64_MAX));
    assert_int_equal(gmem_range_count(&one), 1);
    assert_int_equal(gmem_range_count(&several), 3);
    assert_int_equal(gmem_range_count(&(struct gmem){0}), 0);
    assert_int_equal(gmem_range(&several, 2).gpa, MEMORY_ABOVE);
}

static void across_ranges(void **state)
{
    uint8_t bytes[2 * SIZE], back[2 * SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7 + (i >> 8));
    assert_int_equal(gmem_write(&several, gpa(SIZE - 3), bytes, 8), 0);
    assert_memory_equal(host[0] + SIZE - 3, bytes, 3);
    assert_memory_equal(host[2], bytes + 3, 5);
    assert_int_equal(gmem_write(&several, gpa(0), bytes, sizeof(bytes)), 0);
    assert_int_equal(gmem_read(&several, gpa(0), back, sizeof(back)), 0);
    assert_memory_equal(back, bytes, sizeof(bytes));
    assert_int_equal(gmem_read(&several, gpa(SIZE - 5), back, 10), 0);
    assert_memory_equal(back, bytes + SIZE - 5, 10);
    assert_int_equal(gmem_write(&several, gpa(MEMORY_ABOVE + 1), bytes, 4), 0);
    assert_memory_equal(host[1] + 1, bytes, 4);
    /* Nothing is written if not all of it can be. */
    memset(host, 0xee, sizeof(host));
    assert_int_equal(gmem_write(&several, gpa(2 * SIZE - 2), bytes, 4), -E_RANGE);
    assert_int_equal(gmem_write(&one, gpa(SIZE - 2), bytes, 4), -E_RANGE);
    assert_int_equal(gmem_read(&several, gpa(MEMORY_ABOVE + SIZE - 2), back, 4), -E_RANGE);
    for (size_t i = 0; i < sizeof(host); i++)
        assert_int_equal(((uint8_t *)host)[i], 0xee);
}

static void offsets(void **state)
{
    (void)state;
    assert_int_equal(memory_offset(0), 0);
    assert_int_equal(memory_offset(MEMORY_HOLE - 1), MEMORY_HOLE - 1);
    assert_int_equal(memory_offset(MEMORY_HOLE), NEVER);
    assert_int_equal(memory_offset(MEMORY_ABOVE - 1), NEVER);
    assert_int_equal(memory_offset(MEMORY_ABOVE), MEMORY_HOLE);
    assert_int_equal(memory_below(2), 2);
    assert_int_equal(memory_below(MEMORY_ABOVE), MEMORY_HOLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(pointers, begin),
        cmocka_unit_test_setup(all_of_it, begin),
        cmocka_unit_test_setup(across_ranges, begin),
        cmocka_unit_test(offsets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
