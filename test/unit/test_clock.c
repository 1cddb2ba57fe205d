/* SOURCES: arch/x86/cpu/clock.c arch/x86/cpu/font.c */
#include "arch/x86/cpu/clock.h"
#include "arch/x86/cpu/font.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define H24    0x02
#define BINARY 0x04

static uint64_t bcd(uint8_t year, uint8_t month, uint8_t day, uint8_t hour, uint8_t minute,
                    uint8_t second, uint8_t status_b)
{
    const struct clock_registers r = {second, minute, hour, day, month, year, status_b};

    return clock_epoch(&r);
}

static void test_dates(void **state)
{
    (void)state;
    assert_int_equal(bcd(0x00, 0x01, 0x01, 0, 0, 0, H24), 946684800);
    assert_int_equal(bcd(0x00, 0x02, 0x29, 0, 0, 0, H24), 951782400);
    assert_int_equal(bcd(0x00, 0x03, 0x01, 0, 0, 0, H24), 951868800);
    assert_int_equal(bcd(0x01, 0x01, 0x01, 0, 0, 0, H24), 978307200);
    assert_int_equal(bcd(0x23, 0x11, 0x14, 0x22, 0x13, 0x20, H24), 1700000000);
    assert_int_equal(bcd(0x24, 0x12, 0x31, 0x23, 0x59, 0x59, H24), 1735689599);
    assert_int_equal(bcd(23, 11, 14, 22, 13, 20, H24 | BINARY), 1700000000);
}

static void test_twelve_hours(void **state)
{
    const uint64_t day = 946684800;

    (void)state;
    assert_int_equal(bcd(0, 1, 1, 0x12, 0, 0, 0), day);
    assert_int_equal(bcd(0, 1, 1, 0x92, 0, 0, 0), day + 12 * 3600);
    assert_int_equal(bcd(0, 1, 1, 0x91, 0, 0, 0), day + 23 * 3600);
    assert_int_equal(bcd(0, 1, 1, 0x00, 0, 0, 0), 0);
}

static void test_nonsense(void **state)
{
    (void)state;
    assert_int_equal(bcd(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), 0);
    assert_int_equal(bcd(0x26, 0x00, 0x01, 0, 0, 0, H24), 0);
    assert_int_equal(bcd(0x26, 0x13, 0x01, 0, 0, 0, H24), 0);
    assert_int_equal(bcd(0x26, 0x01, 0x00, 0, 0, 0, H24), 0);
    assert_int_equal(bcd(0x26, 0x01, 0x0a, 0, 0, 0, H24), 0);
    assert_int_equal(bcd(0x26, 0x01, 0x01, 0x24, 0, 0, H24), 0);
}

static void glyph(uint8_t c, uint8_t rows[16])
{
    for (unsigned i = 0; i < 16; i++)
        rows[i] = font_row(c, i);
}

/* No two characters look the same, only the blank is empty, and cells do not touch. */
static void test_font(void **state)
{
    static const uint8_t empty[16];
    uint8_t a[16], b[16];

    (void)state;
    for (unsigned c = ' '; c <= '~'; c++) {
        glyph((uint8_t)c, a);
        assert_int_equal(memcmp(a, empty, 16) == 0, c == ' ');
        for (unsigned i = 0; i < 16; i++)
            assert_int_equal(a[i] & 0x83, 0);
        for (unsigned d = c + 1; d <= '~'; d++) {
            glyph((uint8_t)d, b);
            assert_memory_not_equal(a, b, 16);
        }
    }
    glyph(200, a);
    assert_memory_not_equal(a, empty, 16);
    assert_int_equal(font_row('A', 16), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_twelve_hours),
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_font),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
