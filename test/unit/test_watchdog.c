/* SOURCES: hv/pc/watchdog.c hv/pc/bus.c hv/sched.c */
#include "hv/pc/watchdog.h"
#include "hv/sched.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PATIENCE 1000u

static struct dev_clock clock;
static struct io_bus bus;
static struct watchdog dog;

static int setup(void **state)
{
    (void)state;
    clock = (struct dev_clock){5000, 1000000};
    memset(&bus, 0, sizeof(bus));
    dog = (struct watchdog){.clock = &clock, .patience = PATIENCE};
    assert_int_equal(io_claim(&bus, WATCHDOG_PORT, WATCHDOG_PORT + WATCHDOG_PORT_COUNT - 1,
                              watchdog_device.ports[0].ops, &dog),
                     0);
    watchdog_start(&dog, clock.now, 70);
    return 0;
}

static void write_at(uint64_t now)
{
    clock.now = now;
    io_out(&bus, WATCHDOG_PORT, 1, 0);
}

static void none(void **state)
{
    const struct watchdog w = {.clock = &clock};

    (void)state;
    assert_true(watchdog_deadline(&w, 0) == NEVER);
    assert_true(watchdog_deadline(&w, 1u << 30) == NEVER);
}

static void writes_move_it(void **state)
{
    (void)state;
    assert_int_equal(watchdog_deadline(&dog, 70), 6000);
    write_at(5400);
    watchdog_ran(&dog, 70);
    assert_int_equal(watchdog_deadline(&dog, 70), 6400);
    /* Writes of any size and value count; reads do not. */
    clock.now = 5500;
    assert_int_equal(io_in(&bus, WATCHDOG_PORT, 1), 0);
    assert_int_equal(watchdog_deadline(&dog, 70), 6400);
    for (unsigned size = 1; size <= 4; size *= 2) {
        clock.now += 10;
        io_out(&bus, WATCHDOG_PORT, size, 0xdeadbeef);
        watchdog_ran(&dog, 70);
        assert_int_equal(watchdog_deadline(&dog, 70), clock.now + PATIENCE);
    }
    /* An access that includes the port is a sign of life; one next to it is not. */
    io_out(&bus, WATCHDOG_PORT + 1, 1, 0);
    io_out(&bus, WATCHDOG_PORT + 2, 2, 0);
    assert_int_equal(io_in(&bus, WATCHDOG_PORT + 1, 1), 0xff);
    assert_false(dog.written);
}

/* While the core stood still nobody could write: whether the guest was waiting for it (which is not
 * counted anyhow) or not. */
static void a_core_that_stood_still_does_not_count(void **state)
{
    (void)state;
    watchdog_excuse(&dog, 9900, 70, 4500); /* since 5000: silent for 400 */
    assert_int_equal(watchdog_deadline(&dog, 70), 9900 - 400 + PATIENCE);
    watchdog_excuse(&dog, 20000, 70 + 10000, 10000); /* it waited; silent for 500 more */
    assert_int_equal(watchdog_deadline(&dog, 70 + 10000), 20000 + PATIENCE);
    watchdog_excuse(&dog, 20100, 70 + 10000, 0);
    assert_int_equal(watchdog_deadline(&dog, 70 + 10000), 20000 + PATIENCE);
}

/* Time during which others had the core. */
static void waiting_does_not_count(void **state)
{
    (void)state;
    assert_int_equal(watchdog_deadline(&dog, 70 + 300), 6300);
    /* Waiting before the write, in the same run, does not count as waiting after it. */
    write_at(5900);
    watchdog_ran(&dog, 70 + 300);
    assert_int_equal(watchdog_deadline(&dog, 70 + 300), 6900);
    assert_int_equal(watchdog_deadline(&dog, 70 + 300 + 5), 6905);
    /* A run without a write changes nothing. */
    watchdog_ran(&dog, 70 + 800);
    assert_int_equal(watchdog_deadline(&dog, 70 + 800), 7400);
}

static void pauses_do_not_count(void **state)
{
    (void)state;
    watchdog_hold(&dog, 5700, 70 + 100); /* 600 of 1000 are over */
    watchdog_go_on(&dog, 90000, 70 + 100);
    assert_int_equal(watchdog_deadline(&dog, 70 + 100), 90400);
    watchdog_hold(&dog, 90100, 70 + 150); /* 50 of them waiting */
    watchdog_go_on(&dog, 100000, 70 + 150);
    assert_int_equal(watchdog_deadline(&dog, 70 + 150), 100350);
    write_at(100100);
    watchdog_ran(&dog, 70 + 150);
    assert_int_equal(watchdog_deadline(&dog, 70 + 150), 101100);
}

/* With the scheduler's own figures: a starved guest is not late, a sleeping one is. */
static void of_the_scheduler(void **state)
{
    const struct sched_params p = {.weight = 100, .slice = 100, .period = 1000};
    struct sched_entity e = {0}, other = {0};
    struct sched s;

    (void)state;
    sched_init(&s);
    assert_int_equal(sched_add(&s, &e, &p, 5000), 0);
    assert_int_equal(sched_add(&s, &other, &p, 5000), 0);
    assert_int_equal(sched_waited(&e, 5000), 0);
    watchdog_start(&dog, 5000, 0);
    assert_int_equal(sched_waited(&e, 9000), 4000);
    assert_int_equal(watchdog_deadline(&dog, sched_waited(&e, 9000)), 10000);
    sched_ran(&s, &e, 9000, 9100);
    assert_int_equal(sched_waited(&e, 9100), 4000);
    sched_block(&e, NEVER);
    assert_int_equal(sched_waited(&e, 20000), 4000);
    assert_int_equal(watchdog_deadline(&dog, sched_waited(&e, 20000)), 10000);
    sched_wake(&s, &e, 20000);
    assert_int_equal(sched_waited(&e, 20050), 4050);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(none, setup),
        cmocka_unit_test_setup(writes_move_it, setup),
        cmocka_unit_test_setup(a_core_that_stood_still_does_not_count, setup),
        cmocka_unit_test_setup(waiting_does_not_count, setup),
        cmocka_unit_test_setup(pauses_do_not_count, setup),
        cmocka_unit_test_setup(of_the_scheduler, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
