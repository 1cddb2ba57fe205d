/* SOURCES: hv/fmt.c hv/lib.c */
#include "hv/fmt.h"
#include "hv/lib.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define CHECK(expected, ...)                                                                       \
    do {                                                                                           \
        char buf_[128];                                                                            \
        size_t n_ = fmt(buf_, sizeof(buf_), __VA_ARGS__);                                          \
        assert_string_equal(buf_, expected);                                                       \
        assert_int_equal(n_, strlen(expected));                                                    \
    } while (0)

static void numbers(void **state)
{
    (void)state;
    CHECK("0 -1 2147483647", "%d %d %u", 0, -1, 2147483647u);
    CHECK("-9223372036854775808", "%ld", INT64_MIN);
    CHECK("18446744073709551615", "%lu", UINT64_MAX);
    CHECK("dead BEEF", "%x %X", 0xdeadu, 0xbeefu);
    CHECK("0x00ff|   ff|ff   |", "0x%04x|%5x|%-5x|", 0xffu, 0xffu, 0xffu);
    CHECK("-0005|   -5|-5   |", "%05d|%5d|%-5d|", -5, -5, -5);
    CHECK("12", "%zu", (size_t)12);
    CHECK("0x10", "%p", (void *)16);
}

static void strings(void **state)
{
    (void)state;
    CHECK("a|  b|c  |", "%s|%3s|%-3s|", "a", "b", "c");
    CHECK("ab|a", "%.2s|%.*s", "abcdef", 1, "abcdef");
    CHECK("x%", "%c%%", 'x');
}

static void short_buffers(void **state)
{
    char buf[4] = "zzz";

    (void)state;
    assert_int_equal(fmt(buf, sizeof(buf), "%s", "abcdef"), 6);
    assert_string_equal(buf, "abc");
    assert_int_equal(fmt(buf, 1, "%d", 42), 2);
    assert_string_equal(buf, "");
    assert_int_equal(fmt(NULL, 0, "%d", 42), 2);
}

static void copying(void **state)
{
    char buf[4];

    (void)state;
    assert_true(str_copy(buf, sizeof(buf), "abc"));
    assert_string_equal(buf, "abc");
    assert_false(str_copy(buf, sizeof(buf), "abcd"));
    assert_string_equal(buf, "abc");
}

static const char *digits(uint64_t v, unsigned width, char fill)
{
    static char text[32];

    *fmt_digits(text, v, width, fill) = 0;
    return text;
}

static void digits_alone(void **state)
{
    (void)state;
    assert_string_equal(digits(0, 1, ' '), "0");
    assert_string_equal(digits(200, 3, '0'), "200");
    assert_string_equal(digits(7, 4, ' '), "   7");
    assert_string_equal(digits(70, 6, '0'), "000070");
    assert_string_equal(digits(UINT64_MAX, 1, ' '), "18446744073709551615");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers), cmocka_unit_test(strings),      cmocka_unit_test(short_buffers),
        cmocka_unit_test(copying), cmocka_unit_test(digits_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
