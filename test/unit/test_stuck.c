/* SOURCES: hv/stuck.c */
#include "hv/stuck.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define SECOND 1000u
#define PLACE  0x100040u

/* Looks at the guest every 2 ms from `from` until before `to`; returns the first news, or none. */
static enum stuck_news look(struct stuck *s, uint64_t state, bool deaf, uint64_t from, uint64_t to)
{
    for (uint64_t now = from; now < to; now += 2) {
        enum stuck_news news = stuck_look(s, state, deaf, 7, now, SECOND);

        if (news != STUCK_NO_NEWS)
            return news;
    }
    return STUCK_NO_NEWS;
}

/* The guest moves on to enough other states. */
static enum stuck_news leave(struct stuck *s, uint64_t now)
{
    for (unsigned i = 1; i < STUCK_STATES; i++)
        assert_int_equal(stuck_look(s, PLACE + i, true, 7, now + i, SECOND), STUCK_NO_NEWS);
    return stuck_look(s, PLACE + STUCK_STATES, true, 7, now + STUCK_STATES, SECOND);
}

static void told_once(void **state)
{
    struct stuck s = {0};

    (void)state;
    assert_int_equal(look(&s, PLACE, true, 0, 3000), STUCK_NO_NEWS);
    assert_int_equal(stuck_look(&s, PLACE, true, 7, 3000, SECOND), STUCK_BEGINS);
    assert_int_equal(look(&s, PLACE, true, 3002, 9000), STUCK_NO_NEWS);
    assert_int_equal(leave(&s, 9000), STUCK_ENDS);
    /* After that it is watched again from the start. */
    assert_int_equal(look(&s, PLACE, true, 9010, 12008), STUCK_NO_NEWS);
    assert_int_equal(stuck_look(&s, PLACE, true, 7, 12008, SECOND), STUCK_BEGINS);
    assert_int_equal(stuck_look(&s, PLACE, false, 7, 12010, SECOND), STUCK_ENDS);
    assert_int_equal(stuck_look(&s, PLACE, false, 7, 12012, SECOND), STUCK_NO_NEWS);
}

/* A loop that takes interrupts waits for one. */
static void hears(void **state)
{
    struct stuck s = {0};

    (void)state;
    assert_int_equal(look(&s, PLACE, false, 0, 10000), STUCK_NO_NEWS);
    assert_int_equal(look(&s, PLACE, true, 10000, 12998), STUCK_NO_NEWS);
    assert_int_equal(stuck_look(&s, PLACE, false, 7, 12998, SECOND), STUCK_NO_NEWS);
    assert_int_equal(look(&s, PLACE, true, 13000, 16000), STUCK_NO_NEWS);
}

/* One instruction after another of a loop with this many states. */
static enum stuck_news loop(unsigned states)
{
    struct stuck s = {0};

    for (uint64_t now = 0; now <= 6000; now += 2) {
        enum stuck_news news = stuck_look(&s, PLACE + now / 2 % states, true, 7, now, SECOND);

        if (news != STUCK_NO_NEWS)
            return news;
    }
    return STUCK_NO_NEWS;
}

static void small_loops(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= STUCK_STATES; n++)
        assert_int_equal(loop(n), STUCK_BEGINS);
    assert_int_equal(loop(STUCK_STATES + 1), STUCK_NO_NEWS);
    assert_int_equal(loop(1000000), STUCK_NO_NEWS);
}

/* A guest that is rarely seen may have been elsewhere in between. */
static void few_looks(void **state)
{
    struct stuck s = {0};

    (void)state;
    for (unsigned i = 0; i + 1 < STUCK_LOOKS; i++)
        assert_int_equal(stuck_look(&s, PLACE, true, 7, i * 5ull * SECOND, SECOND), STUCK_NO_NEWS);
    assert_int_equal(stuck_look(&s, PLACE, true, 7, 100ull * SECOND, SECOND), STUCK_BEGINS);
}

/* A guest that takes interrupts may be seen in a handler, with interrupts off, by chance. */
static void at_work(void **state)
{
    struct stuck s = {0};

    (void)state;
    for (uint64_t now = 0; now < 9000; now += 2)
        assert_int_equal(stuck_look(&s, PLACE, true, now / 100, now, SECOND), STUCK_NO_NEWS);
    assert_int_equal(look(&s, PLACE, true, 9000, 12000), STUCK_NO_NEWS);
    assert_int_equal(stuck_look(&s, PLACE, true, 7, 12000, SECOND), STUCK_BEGINS);
    assert_int_equal(stuck_look(&s, PLACE, true, 8, 12002, SECOND), STUCK_ENDS);
}

static void looks(void **state)
{
    struct stuck s = {0};

    (void)state;
    assert_true(stuck_is_due(&s, 0));
    for (uint64_t now = 5000; now < 9000; now += 500) {
        (void)stuck_look(&s, PLACE, now % 1000 == 0, 7, now, SECOND);
        assert_false(stuck_is_due(&s, now + SECOND / STUCK_LOOKS - 1));
        assert_true(stuck_is_due(&s, now + SECOND / STUCK_LOOKS));
    }
}

/* Any register makes a different state, and so does RIP. */
static void states(void **state)
{
    uint64_t r[15] = {0}, first = stuck_state(PLACE, r, ARRAY_LEN(r));

    (void)state;
    assert_true(stuck_state(PLACE, r, ARRAY_LEN(r)) == first);
    assert_true(stuck_state(PLACE + 2, r, ARRAY_LEN(r)) != first);
    for (size_t i = 0; i < ARRAY_LEN(r); i++) {
        for (unsigned bit = 0; bit < 64; bit++) {
            r[i] = 1ull << bit;
            assert_true(stuck_state(PLACE, r, ARRAY_LEN(r)) != first);
        }
        r[i] = 0;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(told_once), cmocka_unit_test(hears),   cmocka_unit_test(small_loops),
        cmocka_unit_test(few_looks), cmocka_unit_test(at_work), cmocka_unit_test(looks),
        cmocka_unit_test(states),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
