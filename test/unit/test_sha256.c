/* SOURCES: mgmt/sha256.c hv/lib.c */
/* Every way that this CPU has. */
#include "mgmt/sha256.h"

#include "hv/lib.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

/* FIPS 180-2, B.1 and B.2: the padded messages, and their hashes. */
static void examples(void **state)
{
    static const struct {
        const char *text;
        uint32_t hash[8];
    } cases[] = {
        {"abc",
         {0xba7816bf, 0x8f01cfea, 0x414140de, 0x5dae2223, 0xb00361a3, 0x96177a9c, 0xb410ff61,
          0xf20015ad}},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         {0x248d6a61, 0xd20638b8, 0xe5c02693, 0x0c3e6039, 0xa33ce459, 0x64ff2167, 0xf6ecedd4,
          0x19db06c1}},
    };

    (void)state;
    for (unsigned way = 0; way < SHA256_WAYS; way++) {
        if (!sha256_has(way))
            continue;
        for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
            uint8_t padded[128] = "";
            size_t len = strlen(cases[i].text), size = len < 56 ? 64 : 128;
            uint32_t hash[8];

            memcpy(padded, cases[i].text, len);
            padded[len] = 0x80;
            padded[size - 2] = (uint8_t)(len * 8 >> 8);
            padded[size - 1] = (uint8_t)(len * 8);
            memcpy(hash, initial, sizeof(hash));
            for (size_t at = 0; at < size; at += 64)
                sha256_compress(way, hash, padded + at);
            assert_memory_equal(hash, cases[i].hash, sizeof(hash));
        }
    }
}

/* From any state, at any address. */
static void ways_agree(void **state)
{
    uint8_t bytes[64 + 15];
    uint32_t hash[SHA256_WAYS][8];

    (void)state;
    srand(1);
    for (unsigned round = 0; round < 2000; round++) {
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (uint8_t)rand();
        for (unsigned i = 0; i < 8; i++)
            hash[0][i] = (uint32_t)rand() << 16 ^ (uint32_t)rand();
        for (unsigned way = 1; way < SHA256_WAYS; way++)
            memcpy(hash[way], hash[0], sizeof(hash[0]));
        for (unsigned way = 0; way < SHA256_WAYS; way++) {
            if (!sha256_has(way))
                continue;
            sha256_compress(way, hash[way], bytes + round % 16);
            assert_memory_equal(hash[way], hash[0], sizeof(hash[0]));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples),
        cmocka_unit_test(ways_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
