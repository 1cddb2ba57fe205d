/* SOURCES: mgmt/admission.c hv/fmt.c hv/lib.c */
#include "mgmt/admission.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct admission_core cores[4];
static unsigned core;
static char why[160];

static int choose(unsigned count, int wanted, uint32_t guaranteed, uint32_t period)
{
    const struct guest_config c = {
        .core = wanted, .guaranteed_us = guaranteed, .period_us = period};

    why[0] = 0;
    return admission_choose(cores, count, &c, &core, why, sizeof(why));
}

static int setup(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        cores[i] = (struct admission_core){0};
    return 0;
}

static void shares(void **state)
{
    (void)state;
    assert_int_equal(config_share(&(struct guest_config){.period_us = 10000}), 0);
    assert_int_equal(
        config_share(&(struct guest_config){.guaranteed_us = 5000, .period_us = 10000}), 500000);
    assert_int_equal(config_share(&(struct guest_config){.guaranteed_us = 1, .period_us = 3}),
                     333334);
    assert_int_equal(
        config_share(&(struct guest_config){.guaranteed_us = 10000000, .period_us = 10000000}),
        CONFIG_CORE_WHOLE);
}

static void the_fewest_guests(void **state)
{
    (void)state;
    cores[0].vcpus = 2;
    cores[1].vcpus = 1;
    cores[2].vcpus = 1;
    assert_int_equal(choose(3, -1, 0, 10000), 0);
    assert_int_equal(core, 1);
    assert_int_equal(choose(4, -1, 0, 10000), 0);
    assert_int_equal(core, 3);
}

static void no_more_than_there_is(void **state)
{
    (void)state;
    cores[0].guaranteed = 550000;
    cores[1].guaranteed = 700000;
    cores[1].vcpus = 0;
    cores[0].vcpus = 5;
    assert_int_equal(choose(2, 0, 4000, 10000), 0);
    assert_int_equal(core, 0);
    assert_int_equal(choose(2, 0, 4001, 10000), -E_BUSY);
    assert_string_equal(why, "not enough core time: 4001 us of 10000 us (40.0 %) asked, core 0 has "
                             "40.0 % left of the 95 % that can be guaranteed");
    assert_int_equal(choose(2, -1, 4000, 10000),
                     0); /* the core where it fits, though others are emptier */
    assert_int_equal(core, 0);
    assert_int_equal(choose(2, -1, 5000, 10000), -E_BUSY);
    assert_string_equal(why, "not enough core time: 5000 us of 10000 us (50.0 %) asked, core 0 has "
                             "40.0 % left of the 95 % that can be guaranteed");
    assert_int_equal(choose(2, 1, 0, 10000), 0); /* without a guarantee there is always room */
    cores[0].guaranteed = 1200000;               /* more than everything: nothing is left */
    assert_int_equal(choose(1, 0, 1, 10000), -E_BUSY);
}

static void no_such_core(void **state)
{
    (void)state;
    assert_int_equal(choose(2, 2, 0, 10000), -E_NOENT);
    assert_string_equal(why, "there is no core 2: the machine has 2, numbered from 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(shares, setup),
        cmocka_unit_test_setup(the_fewest_guests, setup),
        cmocka_unit_test_setup(no_more_than_there_is, setup),
        cmocka_unit_test_setup(no_such_core, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
