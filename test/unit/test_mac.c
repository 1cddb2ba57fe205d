/* SOURCES: net/mac.c hv/lib.c */
#include "net/mac.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Two manufacturers, and consecutive numbers. */
static const uint8_t cards[][MAC_SIZE] = {
    {0x52, 0x54, 0x00, 0x12, 0x34, 0x56}, {0x52, 0x54, 0x00, 0x12, 0x34, 0x57},
    {0x52, 0x54, 0x00, 0x13, 0x34, 0x56}, {0x00, 0x1b, 0x21, 0x12, 0x34, 0x56},
    {0x00, 0x1b, 0x31, 0x12, 0x34, 0x56}, {0x00, 0x0e, 0x0c, 0x12, 0x34, 0x56},
};
#define CARDS (sizeof(cards) / sizeof(cards[0]))

static void test_all_differ(void **state)
{
    uint8_t all[CARDS * MAC_NUMBERS + CARDS][MAC_SIZE];
    size_t n = 0;

    (void)state;
    for (size_t c = 0; c < CARDS; c++) {
        memcpy(all[n++], cards[c], MAC_SIZE); /* nor does any equal a card's own */
        for (unsigned i = 0; i < MAC_NUMBERS; i++)
            mac_derive(cards[c], i, all[n++]);
    }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(all[i], all[k], MAC_SIZE);
}

/* IEEE 802, "Universal and local addresses"; IEEE 802c, the AAI quadrant: bits 3:0 are 0010. */
static void test_locally_administered(void **state)
{
    uint8_t mac[MAC_SIZE], card[MAC_SIZE];

    (void)state;
    for (unsigned v = 0; v < 256; v++) {
        memset(card, (int)v, sizeof(card));
        mac_derive(card, v % MAC_NUMBERS, mac);
        assert_int_equal(mac[0] & 0xf, 2);
    }
}

static void test_digits(void **state)
{
    static const uint8_t card[] = {0x00, 0x1b, 0x21, 0xab, 0xcd, 0xef};
    static const uint8_t wanted[] = {0x22, 0x1b, 0x1e, 0xab, 0xcd, 0xef};
    uint8_t mac[MAC_SIZE];

    (void)state;
    mac_derive(card, 14, mac);
    assert_memory_equal(mac, wanted, MAC_SIZE);
    mac_derive(card, 14, mac); /* the next boot */
    assert_memory_equal(mac, wanted, MAC_SIZE);
}

static void test_prefix(void **state)
{
    static const uint8_t prefix[] = {2, 0x42, 0x48, 0, 7};
    uint8_t mac[MAC_SIZE];

    (void)state;
    mac_from_prefix(prefix, 11, mac);
    assert_memory_equal(mac, "\x02\x42\x48\x00\x07\x0b", MAC_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_differ),
        cmocka_unit_test(test_locally_administered),
        cmocka_unit_test(test_digits),
        cmocka_unit_test(test_prefix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
