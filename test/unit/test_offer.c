/* SOURCES: mgmt/offer.c hv/lib.c */
/* Which guests may use a boot module. */
#include "mgmt/offer.h"

#include "hv/lib.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct config config;

static struct guest_config linux_guest(const char *name)
{
    struct guest_config g = {.module_count = 1};

    (void)str_copy(g.name, sizeof(g.name), name);
    strcpy(g.image, "vmlinuz");
    strcpy(g.cmdline, "quiet");
    strcpy(g.modules[0].file, "initrd");
    return g;
}

static int setup(void **state)
{
    (void)state;
    memset(&config, 0, sizeof(config));
    strcpy(config.management.service.certificate, "cert.pem");
    strcpy(config.management.service.key, "key.pem");
    strcpy(config.guests[0].name, "a");
    strcpy(config.guests[0].image, "a.elf");
    config.guests[1] = linux_guest("linux");
    config.guest_count = 2;
    return 0;
}

static void whose(void **state)
{
    static const char *const own[] = {"bulkhead:management", "bulkhead:configuration", "cert.pem",
                                      "key.pem"};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(own); i++)
        assert_int_equal(offer_of(&config, true, own[i]), OFFER_NONE);
    assert_int_equal(offer_of(&config, true, "a.elf"), OFFER_ALL);
    assert_int_equal(offer_of(&config, true, "vmlinuz"), OFFER_ALL);
    assert_int_equal(offer_of(&config, true, "initrd"), OFFER_KEPT);
    assert_int_equal(offer_of(&config, true, "extra"), OFFER_ALL);
    /* A guest with a mistake is not in the configuration that was read. */
    assert_int_equal(offer_of(&config, false, "extra"), OFFER_KEPT);
    assert_int_equal(offer_of(&config, false, "a.elf"), OFFER_ALL);
    assert_int_equal(offer_of(&config, false, "bulkhead:configuration"), OFFER_NONE);
    /* Its own module, and another's image. */
    strcpy(config.guests[0].image, "initrd");
    assert_int_equal(offer_of(&config, true, "initrd"), OFFER_ALL);
    /* Unused entries have an empty name, which must not match. */
    memset(&config, 0, sizeof(config));
    assert_int_equal(offer_of(&config, true, ""), OFFER_ALL);
    assert_int_equal(offer_of(&config, true, "bulkhead:management"), OFFER_NONE);
}

static void the_same_guest(void **state)
{
    struct guest_config g = linux_guest("linux");

    (void)state;
    assert_true(offer_is_same_guest(&config, &g));
    g.memory = 1 << 30; /* no matter */
    assert_true(offer_is_same_guest(&config, &g));
    strcpy(g.cmdline, "init=/bin/sh");
    assert_false(offer_is_same_guest(&config, &g));
    g = linux_guest("other");
    assert_false(offer_is_same_guest(&config, &g));
    g = linux_guest("linux");
    strcpy(g.image, "a.elf");
    assert_false(offer_is_same_guest(&config, &g));
    g = linux_guest("linux");
    strcpy(g.modules[0].args, "x");
    assert_false(offer_is_same_guest(&config, &g));
    g = linux_guest("linux");
    g.module_count = 2;
    assert_false(offer_is_same_guest(&config, &g));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(whose, setup),
        cmocka_unit_test_setup(the_same_guest, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
