/* SOURCES: mgmt/tls_chachapoly.c @chachapoly */
/* Against RFC 8439 and mbedTLS's own, which is linked without the redirection. */
#include "mgmt/tls_chachapoly.h"

#include "hv/types.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bearssl_block.h>
#include <cmocka.h>
#include <mbedtls/poly1305.h>

#define KEY   32
#define NONCE 12
#define TAG   16
#define LONG  16384 /* a whole record */

struct record {
    uint8_t key[KEY], nonce[NONCE], aad[40], plain[LONG + 1], tag[TAG];
    size_t aad_len, len;
};

static mbedtls_chachapoly_context ctx;

static void fill(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(rand() >> 8);
}

static void take_key(const struct record *r)
{
    mbedtls_chachapoly_init(&ctx);
    assert_int_equal(mbedtls_chachapoly_setkey(&ctx, r->key), 0);
}

static int open_record(const struct record *r, const uint8_t *sealed, uint8_t *out)
{
    return __wrap_mbedtls_chachapoly_auth_decrypt(&ctx, r->len, r->nonce, r->aad, r->aad_len,
                                                  r->tag, sealed, out);
}

/* RFC 8439, 2.8.2. */
static void example(void **state)
{
    static struct record r = {
        .nonce = {7, 0, 0, 0, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47},
        .aad = {0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7},
        .plain = "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for "
                 "the future, sunscreen would be it.",
        .aad_len = 12,
        .len = 114};
    static const uint8_t sealed[] = {
        0xd3, 0x1a, 0x8d, 0x34, 0x64, 0x8e, 0x60, 0xdb, 0x7b, 0x86, 0xaf, 0xbc, 0x53, 0xef, 0x7e,
        0xc2, 0xa4, 0xad, 0xed, 0x51, 0x29, 0x6e, 0x08, 0xfe, 0xa9, 0xe2, 0xb5, 0xa7, 0x36, 0xee,
        0x62, 0xd6, 0x3d, 0xbe, 0xa4, 0x5e, 0x8c, 0xa9, 0x67, 0x12, 0x82, 0xfa, 0xfb, 0x69, 0xda,
        0x92, 0x72, 0x8b, 0x1a, 0x71, 0xde, 0x0a, 0x9e, 0x06, 0x0b, 0x29, 0x05, 0xd6, 0xa5, 0xb6,
        0x7e, 0xcd, 0x3b, 0x36, 0x92, 0xdd, 0xbd, 0x7f, 0x2d, 0x77, 0x8b, 0x8c, 0x98, 0x03, 0xae,
        0xe3, 0x28, 0x09, 0x1b, 0x58, 0xfa, 0xb3, 0x24, 0xe4, 0xfa, 0xd6, 0x75, 0x94, 0x55, 0x85,
        0x80, 0x8b, 0x48, 0x31, 0xd7, 0xbc, 0x3f, 0xf4, 0xde, 0xf0, 0x8e, 0x4b, 0x7a, 0x9d, 0xe5,
        0x76, 0xd2, 0x65, 0x86, 0xce, 0xc6, 0x4b, 0x61, 0x16};
    static const uint8_t tag[TAG] = {0x1a, 0xe1, 0x0b, 0x59, 0x4f, 0x09, 0xe2, 0x6a,
                                     0x7e, 0x90, 0x2e, 0xcb, 0xd0, 0x60, 0x06, 0x91};
    uint8_t out[sizeof(sealed)];

    (void)state;
    for (unsigned i = 0; i < KEY; i++)
        r.key[i] = (uint8_t)(0x80 + i);
    take_key(&r);
    assert_int_equal(r.len, sizeof(sealed));
    assert_int_equal(__wrap_mbedtls_chachapoly_encrypt_and_tag(&ctx, r.len, r.nonce, r.aad,
                                                               r.aad_len, r.plain, out, r.tag),
                     0);
    assert_memory_equal(out, sealed, sizeof(sealed));
    assert_memory_equal(r.tag, tag, TAG);
    assert_int_equal(open_record(&r, sealed, out), 0);
    assert_memory_equal(out, r.plain, r.len);
}

/* Seals by both, and opens again, in place. */
static void compare(struct record *r)
{
    static uint8_t theirs[LONG], ours[LONG + 1];
    uint8_t their_tag[TAG], *at = ours + rand() % 2;

    take_key(r);
    assert_int_equal(mbedtls_chachapoly_encrypt_and_tag(&ctx, r->len, r->nonce, r->aad, r->aad_len,
                                                        r->plain, theirs, their_tag),
                     0);
    memcpy(at, r->plain, r->len);
    assert_int_equal(__wrap_mbedtls_chachapoly_encrypt_and_tag(&ctx, r->len, r->nonce, r->aad,
                                                               r->aad_len, at, at, r->tag),
                     0);
    assert_memory_equal(at, theirs, r->len);
    assert_memory_equal(r->tag, their_tag, TAG);
    assert_int_equal(open_record(r, at, at), 0);
    assert_memory_equal(at, r->plain, r->len);
}

static void like_mbedtls(void **state)
{
    static struct record r;

    (void)state;
    srand(1);
    for (unsigned n = 0; n < 1500; n++) {
        fill((uint8_t *)&r, offsetof(struct record, aad_len));
        r.aad_len = (size_t)rand() % (sizeof(r.aad) + 1);
        r.len = n < 700 ? n : (size_t)rand() % 2000;
        compare(&r);
    }
    r.len = LONG;
    compare(&r);
}

static void forged(void **state)
{
    static struct record r;
    static const uint8_t nothing[LONG];
    uint8_t sealed[100], out[100];

    (void)state;
    srand(2);
    fill((uint8_t *)&r, offsetof(struct record, aad_len));
    r.aad_len = 5;
    r.len = sizeof(sealed);
    take_key(&r);
    (void)__wrap_mbedtls_chachapoly_encrypt_and_tag(&ctx, r.len, r.nonce, r.aad, r.aad_len, r.plain,
                                                    sealed, r.tag);
    for (unsigned bit = 0; bit < 8 * (TAG + sizeof(sealed) + 5); bit++) {
        unsigned byte = bit / 8;
        uint8_t *p = byte < TAG                    ? &r.tag[byte]
                     : byte < TAG + sizeof(sealed) ? &sealed[byte - TAG]
                                                   : &r.aad[byte - TAG - sizeof(sealed)];

        *p ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(open_record(&r, sealed, out), MBEDTLS_ERR_CHACHAPOLY_AUTH_FAILED);
        assert_memory_equal(out, nothing, sizeof(out));
        *p ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(open_record(&r, sealed, out), 0);
    assert_memory_equal(out, r.plain, sizeof(out));
}

/* Poly1305 alone, with keys and messages whose sums carry as far as they can. */

static uint8_t poly_key[KEY];

static uint32_t give_key(const void *key, const void *iv, uint32_t counter, void *data, size_t len)
{
    (void)key, (void)iv;
    if (counter == 0)
        memcpy(data, poly_key, len);
    return 0;
}

static void carries(void **state)
{
    static const uint8_t extremes[] = {0, 1, 0x7f, 0x80, 0xfb, 0xfc, 0xfe, 0xff};
    uint8_t message[16 * 17 + 16], ours[TAG], theirs[TAG], lengths[16] = "";

    (void)state;
    srand(3);
    for (unsigned n = 0; n < 20000; n++) {
        size_t len = 16 * ((size_t)rand() % 17);

        for (unsigned i = 0; i < KEY; i++)
            poly_key[i] = extremes[(unsigned)rand() % (n % 2 ? 8 : 2) ^ (n % 2 ? 0 : 6)];
        for (size_t i = 0; i < len; i++)
            message[i] = extremes[(unsigned)rand() % 8 | (n % 3 ? 6 : 0)];
        lengths[8] = (uint8_t)len;
        lengths[9] = (uint8_t)(len >> 8);
        memcpy(message + len, lengths, sizeof(lengths));
        br_poly1305_ctmulq_run(NULL, NULL, message, len, NULL, 0, ours, give_key, 1);
        assert_int_equal(mbedtls_poly1305_mac(poly_key, message, len + sizeof(lengths), theirs), 0);
        assert_memory_equal(ours, theirs, TAG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(example),
        cmocka_unit_test(like_mbedtls),
        cmocka_unit_test(forged),
        cmocka_unit_test(carries),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
