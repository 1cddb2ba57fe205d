/* SOURCES: test/kernel/trial_file.c */
#include "test/kernel/trial_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct trial_file file;
static struct trial t;
static struct trial_field f;

static void open_text(const char *text)
{
    file = (struct trial_file){.text = text, .size = strlen(text)};
}

static void field(uint32_t encoding, uint64_t clear, uint64_t set, bool breaking)
{
    assert_int_equal(trial_next_field(&t, &f), 1);
    assert_int_equal(f.encoding, encoding);
    assert_true(f.clear == clear && f.set == set && f.breaking == breaking);
}

static void good(void **state)
{
    (void)state;
    open_text("# how\n\na#1 4000:ffffffffffffffff:69 6820:0:2 | 6820:2:0\nb | 2:0:1\nc 2:0:1");
    assert_int_equal(trial_next(&file, &t), 1);
    assert_int_equal(file.line, 3);
    assert_int_equal(t.name_length, 3);
    assert_memory_equal(t.name, "a#1", 3);
    field(0x4000, UINT64_MAX, 0x69, false);
    field(0x6820, 0, 2, false);
    field(0x6820, 2, 0, true);
    assert_int_equal(trial_next_field(&t, &f), 0);
    assert_int_equal(trial_next(&file, &t), 1);
    field(2, 0, 1, true);
    assert_int_equal(trial_next_field(&t, &f), 0);
    assert_int_equal(trial_next(&file, &t), 1);
    field(2, 0, 1, false);
    assert_int_equal(trial_next_field(&t, &f), 0);
    assert_int_equal(trial_next(&file, &t), 0);
    assert_int_equal(file.line, 5);
}

static void bad_lines(void **state)
{
    (void)state;
    open_text("alone\n | 2:0:1\nname\nok 2:0:1\n");
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(trial_next(&file, &t), -E_FORMAT);
        assert_int_equal(file.line, i);
    }
    assert_int_equal(trial_next(&file, &t), 1);
    assert_int_equal(trial_next(&file, &t), 0);
    open_text("");
    assert_int_equal(trial_next(&file, &t), 0);
}

static void bad_fields(void **state)
{
    static const char *const bad[] = {
        "n 2",
        "n 2:0",
        "n :0:1",
        "n 2::1",
        "n 2:0:",
        "n 0x2:0:1",
        "n 2:0:g",
        "n 2:0:1:3",
        "n 10000:0:1",
        "n  2:0:1",
        "n | | 2:0:1",
        "n ||",
        "n 2:0:A",
        "n 2:0:-1",
        "n 2:0:1\t3:0:1",
        "n 2: 0:1",
        "n 2:0:11111111111111111",
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        open_text(bad[i]);
        assert_int_equal(trial_next(&file, &t), 1);
        assert_int_equal(trial_next_field(&t, &f), -E_FORMAT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good),
        cmocka_unit_test(bad_lines),
        cmocka_unit_test(bad_fields),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
