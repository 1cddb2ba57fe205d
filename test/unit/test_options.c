/* SOURCES: hv/options.c mgmt/config/options.c hv/fmt.c hv/lib.c */
/* The kernel's command line. */
#include "hv/options.h"

#include "hv/lib.h"
#include "mgmt/config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static char complaints[4][192];
static unsigned complained;

static void complain(const char *text)
{
    assert_true(complained < ARRAY_LEN(complaints));
    (void)str_copy(complaints[complained++], sizeof(complaints[0]), text);
}

static struct boot_options o;

static unsigned read_line(const char *line)
{
    memset(&o, 0x55, sizeof(o));
    complained = 0;
    options_read(line, &o, complain);
    return complained;
}

static void nothing(void **state)
{
    struct boot_options preset;

    (void)state;
    options_default(&preset);
    assert_int_equal(read_line(""), 0);
    assert_memory_equal(&o, &preset, sizeof(o));
    assert_int_equal(read_line(" \t "), 0);
    assert_memory_equal(&o, &preset, sizeof(o));
    assert_int_equal(o.core, -1);
    assert_int_equal(o.memory_mb, 12);
    assert_int_equal(o.token, 1);
}

static void everything(void **state)
{
    static const char line[] =
        "management.core=3 management.memory_mb=24 management.weight=7 management.slice_us=500 "
        "management.budget_us=2000 management.period_us=8000 management.requests_us=5 "
        "management.reachable_from_guests=1 management.token=0 nx_large=0 smt=2 panic_reboot_s=0 "
        "uplinks.management=00:01:1f:07 uplinks.guests=52:54:00:12:34:ff "
        "mac_prefix=02:42:48:00:0a guarded=10.0.2.15,10.0.2.2,255.255.255.255";
    static const uint8_t mac[] = {2, 0x42, 0x48, 0, 0x0a}, ip[] = {10, 0, 2, 2};
    char again[OPTIONS_TEXT];

    (void)state;
    assert_int_equal(read_line(line), 0);
    assert_int_equal(o.core, 3);
    assert_int_equal(o.memory_mb, 24);
    assert_int_equal(o.weight, 7);
    assert_int_equal(o.slice_us, 500);
    assert_int_equal(o.budget_us, 2000);
    assert_int_equal(o.period_us, 8000);
    assert_int_equal(o.requests_us, 5);
    assert_int_equal(o.reachable_from_guests, 1);
    assert_int_equal(o.token, 0);
    assert_int_equal(o.nx_large, 0);
    assert_int_equal(o.smt, SMT_ONE_NETWORK);
    assert_int_equal(o.panic_reboot_s, 0);
    assert_memory_equal(&o.uplinks[0], "\4\0\1\x1f\7\0\0", sizeof(o.uplinks[0]));
    assert_memory_equal(&o.uplinks[1], "\6\x52\x54\0\x12\x34\xff", sizeof(o.uplinks[1]));
    assert_memory_equal(o.mac_prefix, mac, sizeof(mac));
    assert_memory_equal(o.guarded[1], ip, sizeof(ip));
    assert_int_equal(o.guarded[2][3], 255);
    options_write(&o, again);
    assert_string_equal(again, line);
}

/* The longest possible line; options at their defaults are left out. */
static void written(void **state)
{
    char line[OPTIONS_TEXT];
    struct boot_options longest;

    (void)state;
    options_default(&longest);
    options_write(&longest, line);
    assert_string_equal(line, "");
    memset(&longest, 0x80, sizeof(longest));
    options_write(&longest, line);
    assert_true(strlen(line) < OPTIONS_TEXT - 1);
    options_default(&longest);
    longest.guarded[1][0] = 10;
    options_write(&longest, line);
    assert_string_equal(line, "guarded=10.0.0.0");
    longest.guarded[1][0] = 0;
    longest.uplinks[1] = (struct net_card_name){1, {7}};
    options_write(&longest, line);
    assert_string_equal(line, "uplinks.guests=07");
}

/* Each bad option is named, stays at its default, and does not affect others. */
static void wrong(void **state)
{
    static const struct {
        const char *word, *says;
    } cases[] = {
        {"management.core=128",
         "management.core: must be a whole number from -1 to 127; it stays -1"},
        {"management.core=-2", "management.core: must be"},
        {"management.core=", "management.core: must be"},
        {"management.core", "management.core: must be"},
        {"management.core=1x", "management.core: must be"},
        {"management.core=99999999999999999999", "management.core: must be"},
        {"management.memory_mb=13", "management.memory_mb must be even"},
        {"management.memory_mb=4096", "management.memory_mb: must be"},
        {"management.budget_us=20000", "management.budget_us must be a twentieth"},
        {"management.budget_us=500 management.period_us=100000", "a twentieth"},
        {"management.budget_us=500 management.period_us=10010", "a twentieth"},
        {"management.budget_us=1000001",
         "management.budget_us: must be a whole number from 500 to 1000000"},
        {"nx_large=off", "nx_large: must be"},
        {"nx_large=2", "nx_large: must be a whole number from 0 to 1; it stays 1"},
        {"smt=3", "smt: must be a whole number from 0 to 2; it stays 0"},
        {"quiet", "quiet: there is no such option"},
        {"=3", ": there is no such option"},
        {"mac_prefix=02:42:48:00", "mac_prefix: must be five bytes"},
        {"mac_prefix=02:42:48:00:00:00", "mac_prefix: must be five bytes"},
        {"mac_prefix=00:42:48:00:00", "mac_prefix: must be five bytes"},
        {"mac_prefix=03:42:48:00:00", "mac_prefix: must be five bytes"},
        {"uplinks.guests=", "uplinks.guests: must be one, four or six bytes"},
        {"uplinks.guests=1:2", "uplinks.guests: must be one"},
        {"uplinks.guests=1:2:3:4:5", "uplinks.guests: must be one"},
        {"uplinks.guests=1:2:3:4:5:6:7", "uplinks.guests: must be one"},
        {"uplinks.management=0:0:3:100", "uplinks.management: must be one"},
        {"uplinks.management=0:0:3.0", "uplinks.management: must be one"},
        {"uplinks.management=0::3:0", "uplinks.management: must be one"},
        {"uplinks=0", "uplinks: there is no such option"},
        {"guarded=10.0.2", "guarded: must be 1 to 3"},
        {"guarded=10.0.2.256", "guarded: must be 1 to 3"},
        {"guarded=10.0.2.1,", "guarded: must be 1 to 3"},
        {"guarded=10.0.2.1x", "guarded: must be 1 to 3"},
        {"guarded=1.1.1.1,1.1.1.2,1.1.1.3,1.1.1.4", "guarded: must be 1 to 3"},
    };
    struct boot_options preset;

    (void)state;
    options_default(&preset);
    preset.weight = 7;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char line[192];

        (void)snprintf(line, sizeof(line), "%s  management.weight=7", cases[i].word);
        if (read_line(line) != 1 || !strstr(complaints[0], cases[i].says))
            fail_msg("%s: %u, %s", cases[i].word, complained, complaints[0]);
        assert_memory_equal(complaints[0], "command line: ", 14);
        assert_memory_equal(&o, &preset, sizeof(o));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing),
        cmocka_unit_test(everything),
        cmocka_unit_test(written),
        cmocka_unit_test(wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
