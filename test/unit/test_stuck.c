/* SOURCES: hv/stuck.c */
#include "hv/stuck.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define SECOND 1000u
#define RIP    0x100040u

/* Looks at it every 2 ms from `from` to before `to`; the first news, or none. */
static enum stuck_news look(struct stuck *s, uint64_t rip, bool deaf, uint64_t from, uint64_t to)
{
    for (uint64_t now = from; now < to; now += 2) {
        enum stuck_news news = stuck_look(s, rip, deaf, now, SECOND);

        if (news != STUCK_NO_NEWS)
            return news;
    }
    return STUCK_NO_NEWS;
}

static void told_once(void **state)
{
    struct stuck s = {0};

    (void)state;
    assert_int_equal(look(&s, RIP, true, 0, 3000), STUCK_NO_NEWS);
    assert_int_equal(stuck_look(&s, RIP, true, 3000, SECOND), STUCK_BEGINS);
    assert_int_equal(look(&s, RIP, true, 3002, 9000), STUCK_NO_NEWS);
    assert_int_equal(stuck_look(&s, RIP + 0x1000, true, 9000, SECOND), STUCK_ENDS);
    /* And that place is looked at from then on. */
    assert_int_equal(look(&s, RIP + 0x1000, true, 9002, 12000), STUCK_NO_NEWS);
    assert_int_equal(stuck_look(&s, RIP + 0x1000, true, 12000, SECOND), STUCK_BEGINS);
    assert_int_equal(stuck_look(&s, RIP + 0x1000, false, 12002, SECOND), STUCK_ENDS);
    assert_int_equal(stuck_look(&s, RIP + 0x1000, false, 12004, SECOND), STUCK_NO_NEWS);
}

/* A loop that takes interrupts waits for one. */
static void hears(void **state)
{
    struct stuck s = {0};

    (void)state;
    assert_int_equal(look(&s, RIP, false, 0, 10000), STUCK_NO_NEWS);
    assert_int_equal(look(&s, RIP, true, 10000, 12998), STUCK_NO_NEWS);
    assert_int_equal(stuck_look(&s, RIP, false, 12998, SECOND), STUCK_NO_NEWS);
    assert_int_equal(look(&s, RIP, true, 13000, 16000), STUCK_NO_NEWS);
}

static void small_loops(void **state)
{
    static const int32_t steps[] = {0, 60, -60, 3, -63};
    struct stuck s = {0};
    uint64_t now = 0;

    (void)state;
    for (unsigned i = 0; now < 3000; now += 2, i++)
        assert_int_equal(stuck_look(&s, RIP + (uint64_t)(int64_t)steps[i % 5], true, now, SECOND),
                         STUCK_NO_NEWS);
    assert_int_equal(stuck_look(&s, RIP + 63, true, now, SECOND), STUCK_BEGINS);
    assert_int_equal(stuck_look(&s, RIP + 64, true, now, SECOND), STUCK_ENDS);
    /* At both ends of the address space. */
    s = (struct stuck){0};
    assert_int_equal(look(&s, 0, true, 0, 3000), STUCK_NO_NEWS);
    assert_int_equal(stuck_look(&s, UINT64_MAX, true, 3000, SECOND), STUCK_NO_NEWS);
}

/* Who is seldom seen has not been there all the time. */
static void few_looks(void **state)
{
    struct stuck s = {0};

    (void)state;
    for (unsigned i = 0; i + 1 < STUCK_LOOKS; i++)
        assert_int_equal(stuck_look(&s, RIP, true, i * 5ull * SECOND, SECOND), STUCK_NO_NEWS);
    assert_int_equal(stuck_look(&s, RIP, true, 100ull * SECOND, SECOND), STUCK_BEGINS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(told_once),
        cmocka_unit_test(hears),
        cmocka_unit_test(small_loops),
        cmocka_unit_test(few_looks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
