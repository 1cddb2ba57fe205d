/* SOURCES: hv/ration.c */
#include "hv/ration.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_first_is_served_at_once(void **state)
{
    struct ration r;

    (void)state;
    ration_init(&r, 30, 1000);
    assert_true(ration_open(&r, 0));
    ration_charge(&r, 100, 130);
    assert_false(ration_open(&r, 131));
    assert_false(ration_open(&r, 1098));
    assert_true(ration_open(&r, 1100));
}

static void test_all_of_it(void **state)
{
    struct ration r;

    (void)state;
    ration_init(&r, 1000, 1000);
    ration_charge(&r, 5, 1000);
    assert_true(ration_open(&r, 1000));
}

/* Long calls are charged like short ones, and a late caller has saved nothing up. */
static void test_nothing_is_saved_up(void **state)
{
    struct ration r;

    (void)state;
    ration_init(&r, 1, 10);
    ration_charge(&r, 1000000, 1000700);
    assert_false(ration_open(&r, 1006999));
    assert_true(ration_open(&r, 1007000));
    ration_charge(&r, 9000000, 9000001);
    assert_false(ration_open(&r, 9000009));
    assert_true(ration_open(&r, 9000010));
}

/* Whatever the calls and their lengths, no stretch of time has more than the share plus one
 * piece. */
static void test_share(void **state)
{
    const uint64_t span = 20000, longest = 1500;
    static uint64_t begun[100000], took[100000];
    struct ration r;
    unsigned n = 0, first = 0;
    uint64_t now = 0, sum = 0;

    (void)state;
    srand(7);
    ration_init(&r, 30, 1000);
    while (now < 100 * 1000 * span / 10 && n < 100000) {
        if (ration_open(&r, now)) {
            begun[n] = now;
            took[n] = 1 + (uint64_t)rand() % longest;
            now += took[n];
            sum += took[n];
            ration_charge(&r, begun[n], now);
            n++;
            while (begun[first] + span < now)
                sum -= took[first++];
            assert_true(sum <= span * 30 / 1000 + longest);
        } else {
            now += 1 + (uint64_t)rand() % 50;
        }
    }
    assert_true(n > 1000);
}

/* Years of ticks, and a fast clock. */
static void test_large_numbers(void **state)
{
    const uint64_t far = 1ull << 62;
    struct ration r;

    (void)state;
    ration_init(&r, 5, 1000);
    ration_charge(&r, far, far + 5000000000ull);
    assert_false(ration_open(&r, far + 999999000000ull));
    assert_true(ration_open(&r, far + 1000000000000ull));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_is_served_at_once), cmocka_unit_test(test_all_of_it),
        cmocka_unit_test(test_nothing_is_saved_up),     cmocka_unit_test(test_share),
        cmocka_unit_test(test_large_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
