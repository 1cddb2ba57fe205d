/* SOURCES: hv/restart.c */
#include "hv/restart.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define HZ    1000000ull /* a tick is a microsecond */
#define SHORT (RESTART_SHORT_SECONDS * HZ)

static uint32_t short_lives;

static int setup(void **state)
{
    (void)state;
    short_lives = 0;
    return 0;
}

/* A life of this many ticks ends at 1000 s. Returns the time until the next one, or the other
 * outcome. */
static int64_t end(enum config_restart policy, uint32_t limit, bool failed, uint64_t life)
{
    const struct guest_config c = {.restart = policy, .restart_limit = limit};
    const struct restart_end e = {
        .failed = failed, .started = 1000 * HZ - life, .ended = 1000 * HZ, .tsc_hz = HZ};
    uint64_t at = 0;
    enum restart_verdict v = restart_decide(&c, &e, &short_lives, &at);

    return v == RESTART_AGAIN ? (int64_t)(at - e.ended) : -(int64_t)v - 1;
}

#define NO       (-(int64_t)RESTART_NO - 1)
#define GIVEN_UP (-(int64_t)RESTART_GIVEN_UP - 1)

static void policies(void **state)
{
    (void)state;
    assert_int_equal(end(RESTART_NEVER, 0, true, 2 * SHORT), NO);
    assert_int_equal(end(RESTART_ON_FAILURE, 0, false, 2 * SHORT), NO);
    assert_int_equal(end(RESTART_ON_FAILURE, 0, true, 2 * SHORT), 0);
    assert_int_equal(end(RESTART_ALWAYS, 0, false, 2 * SHORT), 0);
}

/* At once, then 100 ms, doubled each time, and never more than 12.8 s. */
static void held_back_longer_each_time(void **state)
{
    static const int64_t ms[] = {0,    100,  200,   400,   800,   1600,
                                 3200, 6400, 12800, 12800, 12800, 12800};

    (void)state;
    for (unsigned i = 0; i < sizeof(ms) / sizeof(ms[0]); i++) {
        assert_int_equal(end(RESTART_ALWAYS, 0, false, 1), ms[i] * (int64_t)(HZ / 1000));
        assert_int_equal(short_lives, i + 1);
    }
}

static void a_long_life_forgives(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++)
        (void)end(RESTART_ALWAYS, 0, true, SHORT);
    assert_int_equal(short_lives, 5);
    assert_int_equal(end(RESTART_ALWAYS, 0, true, SHORT + 1), 0);
    assert_int_equal(short_lives, 0);
    assert_int_equal(end(RESTART_ALWAYS, 0, true, SHORT), 0);
}

/* A limit of 2: two restarts after short lives, no third. Lives that need no restart count too. */
static void given_up(void **state)
{
    (void)state;
    assert_int_equal(end(RESTART_ON_FAILURE, 2, true, 1), 0);
    assert_int_equal(end(RESTART_ON_FAILURE, 2, true, 1), 100 * (int64_t)(HZ / 1000));
    assert_int_equal(end(RESTART_ON_FAILURE, 2, true, 1), GIVEN_UP);
    assert_int_equal(end(RESTART_ON_FAILURE, 2, true, 1), GIVEN_UP);
    assert_int_equal(end(RESTART_ON_FAILURE, 2, true, 2 * SHORT), 0);
    assert_int_equal(end(RESTART_ON_FAILURE, 2, false, 1), NO);
    assert_int_equal(short_lives, 1);
}

static void counts_do_not_wrap(void **state)
{
    (void)state;
    short_lives = UINT32_MAX;
    assert_int_equal(end(RESTART_ALWAYS, 0, true, 1), 12800 * (int64_t)(HZ / 1000));
    assert_int_equal(short_lives, UINT32_MAX);
    assert_int_equal(end(RESTART_ALWAYS, UINT32_MAX, true, 1), 12800 * (int64_t)(HZ / 1000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(policies, setup),
        cmocka_unit_test_setup(held_back_longer_each_time, setup),
        cmocka_unit_test_setup(a_long_life_forgives, setup),
        cmocka_unit_test_setup(given_up, setup),
        cmocka_unit_test_setup(counts_do_not_wrap, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
