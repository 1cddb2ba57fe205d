/* SOURCES: mgmt/admission.c hv/fmt.c hv/lib.c */
#include "mgmt/admission.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct admission_core cores[8];
static unsigned core;
static char why[160];

static int choose(unsigned count, int wanted, uint32_t guaranteed, uint32_t period)
{
    struct guest_config c = {
        .core = wanted, .vcpus = 1, .guaranteed_us = guaranteed, .period_us = period};
    int rc;

    why[0] = 0;
    rc = admission_choose(cores, count, &c, why, sizeof(why));
    core = (unsigned)c.core;
    assert_int_equal(c.core_count, rc == 0);
    return rc;
}

/* Several vCPUs; no list: the appliance chooses. */
static int choose_for(struct guest_config *c, unsigned count, unsigned vcpus, unsigned listed,
                      const uint8_t *list)
{
    c->vcpus = vcpus;
    c->core_count = listed;
    for (unsigned i = 0; i < listed; i++)
        c->cores[i] = list[i];
    c->core = listed ? list[0] : -1;
    why[0] = 0;
    return admission_choose(cores, count, c, why, sizeof(why));
}

static int setup(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++)
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
    assert_string_equal(why, "no core 2 exists: guests run on 2 cores, numbered from 0");
}

static void one_core_each(void **state)
{
    struct guest_config c = {.period_us = 10000};

    (void)state;
    cores[0].vcpus = 2;
    cores[2].vcpus = 1;
    assert_int_equal(choose_for(&c, 4, 3, 0, NULL), 0);
    assert_memory_equal(c.cores, ((uint8_t[]){1, 3, 2}), 3);
    assert_int_equal(c.core_count, 3);
    assert_int_equal(c.core, 1);
    assert_int_equal(choose_for(&c, 2, 3, 0, NULL), -E_NOSPC);
    assert_string_equal(
        why,
        "the machine has 2 cores for 3 vCPUs: name one for each in \"cores\"; they may repeat");
    assert_int_equal(choose_for(&c, 2, 3, 3, (uint8_t[]){1, 1, 0}), 0);
    assert_memory_equal(c.cores, ((uint8_t[]){1, 1, 0}), 3);
    assert_int_equal(choose_for(&c, 2, 2, 2, (uint8_t[]){1, 2}), -E_NOENT);
    assert_string_equal(why, "no core 2 exists: guests run on 2 cores, numbered from 0");
    /* A list may be longer. */
    assert_int_equal(choose_for(&c, 2, 1, 2, (uint8_t[]){0, 1}), 0);
    assert_int_equal(c.core_count, 1);
}

/* Cores 0 to 2 are of node 0, 3 to 7 of node 1. */
static void over_the_nodes(void **state)
{
    static const uint8_t expected[] = {0, 3, 4, 1, 5, 6, 2, 7, 0, 3};
    struct guest_config c = {.period_us = 10000};

    (void)state;
    for (unsigned i = 3; i < 8; i++)
        cores[i].node = 1;
    for (unsigned i = 0; i < sizeof(expected); i++) {
        assert_int_equal(choose(8, -1, 0, 10000), 0);
        assert_int_equal(core, expected[i]);
        cores[core].vcpus++;
    }
    /* Several vCPUs stay together, but no core is shared while others are idle. */
    for (unsigned i = 0; i < 8; i++)
        cores[i].vcpus = i == 0 || i == 7;
    assert_int_equal(choose_for(&c, 8, 3, 0, NULL), 0);
    assert_memory_equal(c.cores, ((uint8_t[]){3, 4, 5}), 3);
    assert_int_equal(choose_for(&c, 8, 5, 0, NULL), 0);
    assert_memory_equal(c.cores, ((uint8_t[]){3, 4, 5, 6, 1}), 5);
}

/* Cores 2n and 2n + 1 are threads of one physical core. */
static void beside_strangers(void **state)
{
    struct guest_config c = {.period_us = 10000};

    (void)state;
    cores[0].stranger = "a"; /* on core 1 */
    cores[1].vcpus = 1;
    cores[2].vcpus = cores[3].vcpus = 2;
    assert_int_equal(choose(4, 0, 0, 10000), -E_PERM);
    assert_string_equal(why,
                        "guest \"a\" runs on a thread beside core 0 and is not of its network, "
                        "which \"smt\": \"guests-of-one-network\" demands");
    assert_int_equal(choose(4, 1, 0, 10000), 0);
    /* Elsewhere, though that core is idle. */
    assert_int_equal(choose(4, -1, 0, 10000), 0);
    assert_int_equal(core, 1);
    assert_int_equal(choose_for(&c, 4, 3, 0, NULL), 0);
    assert_memory_equal(c.cores, ((uint8_t[]){1, 2, 3}), 3);
    assert_int_equal(choose_for(&c, 4, 4, 0, NULL), -E_PERM);
    assert_non_null(strstr(why, "beside core 0"));
    assert_int_equal(choose_for(&c, 4, 2, 2, (uint8_t[]){1, 0}), -E_PERM);
    /* Time is missing on the cores that it could have. */
    cores[1].guaranteed = cores[2].guaranteed = cores[3].guaranteed = 900000;
    assert_int_equal(choose(4, -1, 5000, 10000), -E_BUSY);
    assert_non_null(strstr(why, "core 1 has 5.0 % left"));
    for (unsigned i = 1; i < 4; i++)
        cores[i].stranger = "b";
    assert_int_equal(choose(4, -1, 0, 10000), -E_PERM);
}

/* Each vCPU has the guarantee. */
static void guarantees_of_several(void **state)
{
    struct guest_config c = {.guaranteed_us = 4000, .period_us = 10000};

    (void)state;
    cores[1].guaranteed = 200000;
    assert_int_equal(choose_for(&c, 2, 2, 2, (uint8_t[]){0, 0}), 0);
    assert_int_equal(choose_for(&c, 2, 2, 2, (uint8_t[]){1, 1}), -E_BUSY);
    assert_string_equal(why, "not enough core time: 4000 us of 10000 us (40.0 %) asked, core 1 has "
                             "35.0 % left of the 95 % that can be guaranteed");
    assert_int_equal(choose_for(&c, 2, 3, 3, (uint8_t[]){0, 1, 0}), 0);
    cores[1].guaranteed = 560000;
    assert_int_equal(choose_for(&c, 3, 2, 0, NULL), 0);
    assert_memory_equal(c.cores, ((uint8_t[]){0, 2}), 2);
    assert_int_equal(choose_for(&c, 2, 2, 0, NULL), -E_BUSY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(shares, setup),
        cmocka_unit_test_setup(the_fewest_guests, setup),
        cmocka_unit_test_setup(no_more_than_there_is, setup),
        cmocka_unit_test_setup(no_such_core, setup),
        cmocka_unit_test_setup(one_core_each, setup),
        cmocka_unit_test_setup(over_the_nodes, setup),
        cmocka_unit_test_setup(beside_strangers, setup),
        cmocka_unit_test_setup(guarantees_of_several, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
