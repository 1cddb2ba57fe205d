/* SOURCES: hv/lib.c */
/* The Internet checksum, beside a sum of one word after the other. */
#include "hv/checksum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* RFC 1071, section 4.1, in memory's order. */
static uint16_t plain_sum(const uint8_t *p, size_t n)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += i % 2 ? (uint32_t)p[i] << 8 : p[i];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* RFC 1071, section 3. */
static void example(void **state)
{
    static const uint8_t bytes[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};

    (void)state;
    assert_int_equal(checksum_fold(checksum_add_bytes(0, bytes, sizeof(bytes))), 0xf2dd);
}

/* Of every length, wherever it begins. */
static void every_length(void **state)
{
    uint8_t bytes[160];
    uint64_t random = 88172645463325252ull;

    (void)state;
    for (unsigned kind = 0; kind < 4; kind++) {
        for (size_t i = 0; i < sizeof(bytes); i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            bytes[i] = kind == 0 ? 0 : kind == 1 ? 0xff : (uint8_t)random;
        }
        for (size_t at = 0; at < 8; at++)
            for (size_t n = 0; n <= sizeof(bytes) - at; n++)
                assert_int_equal(checksum_fold(checksum_add_bytes(0, bytes + at, n)),
                                 plain_sum(bytes + at, n));
    }
}

/* A sum goes on after an even number of bytes, and no carry is lost. */
static void in_parts(void **state)
{
    uint8_t bytes[64];
    uint64_t sum;

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(0xf0 + i);
    for (size_t n = 0; n <= sizeof(bytes); n += 2) {
        sum = checksum_add_bytes(0, bytes, n);
        assert_int_equal(checksum_fold(checksum_add_bytes(sum, bytes + n, sizeof(bytes) - n)),
                         plain_sum(bytes, sizeof(bytes)));
    }
    assert_int_equal(checksum_fold(checksum_add(UINT64_MAX, UINT64_MAX)), 0xffff);
    assert_int_equal(checksum_fold(checksum_add(UINT64_MAX, 1)), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(example),
        cmocka_unit_test(every_length),
        cmocka_unit_test(in_parts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
