/* SOURCES: @mgmt @llhttp */
#include "mgmt/auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <mbedtls/sha256.h>

#define HERE  1u
#define THERE 2u

static struct auth_table table;
static struct service_config m;
static struct auth_identity who;
static unsigned retry;
static uint64_t now;

static void add(const char *name, enum role role, uint8_t salt, const char *token)
{
    struct service_token *t = &m.tokens[m.token_count++];
    uint8_t text[TOKEN_SALT_SIZE + 64];
    size_t n = strlen(token);

    strcpy(t->name, name);
    t->role = role;
    memset(t->salt, salt, sizeof(t->salt));
    memcpy(text, t->salt, sizeof(t->salt));
    memcpy(text + sizeof(t->salt), token, n);
    assert_int_equal(mbedtls_sha256(text, sizeof(t->salt) + n, t->sha256, 0), 0);
}

static int setup(void **state)
{
    (void)state;
    memset(&table, 0, sizeof(table));
    memset(&m, 0, sizeof(m));
    m.auth = AUTH_TOKENS;
    add("view", ROLE_READ, 1, "see");
    add("ops", ROLE_OPERATE, 2, "do");
    add("root", ROLE_ADMIN, 3, "all");
    now = 1000000;
    return 0;
}

static enum auth_verdict try(const char *token, uint64_t client)
{
    const struct auth_address a = auth_ipv4((uint32_t)client);

    return auth_check(&table, &m, "RANDOM", token, &a, now, &who, &retry);
}

static void guess(unsigned n, uint64_t client)
{
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(try("guess", client), AUTH_WRONG);
}

static void test_bearer(void **state)
{
    (void)state;
    assert_string_equal(auth_bearer("Bearer abc"), "abc");
    assert_string_equal(auth_bearer("bEARER   abc"), "abc");
    assert_null(auth_bearer(""));
    assert_null(auth_bearer("Bearer"));
    assert_null(auth_bearer("Bearer "));
    assert_null(auth_bearer("Bearerabc"));
    assert_null(auth_bearer("Basic abc"));
    assert_null(auth_bearer("Bear"));
}

/* FIPS 180-4, "abc": the library computes SHA-256. */
static void test_known_hash(void **state)
{
    static const uint8_t abc[] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
                                  0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
                                  0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    uint8_t h[32];

    (void)state;
    assert_int_equal(mbedtls_sha256((const uint8_t *)"abc", 3, h, 0), 0);
    assert_memory_equal(h, abc, sizeof(abc));
}

static void test_each_token(void **state)
{
    (void)state;
    assert_int_equal(try("see", HERE), AUTH_KNOWN);
    assert_string_equal(who.name, "view");
    assert_int_equal(who.role, ROLE_READ);
    assert_int_equal(try("do", HERE), AUTH_KNOWN);
    assert_string_equal(who.name, "ops");
    assert_int_equal(who.role, ROLE_OPERATE);
    assert_int_equal(try("all", HERE), AUTH_KNOWN);
    assert_string_equal(who.name, "root");
    assert_int_equal(who.role, ROLE_ADMIN);
}

static void test_wrong_tokens(void **state)
{
    char longest[200];

    (void)state;
    memset(longest, 'a', sizeof(longest));
    longest[sizeof(longest) - 1] = 0;
    for (const char *const *t =
             (const char *const[]){"", "se", "seee", "See", "RANDOM", longest, NULL};
         *t; t++) {
        memset(&table, 0, sizeof(table));
        assert_int_equal(try(*t, HERE), AUTH_WRONG);
        assert_int_equal(who.role, ROLE_NONE);
        assert_string_equal(who.name, "");
    }
    /* A hash that differs only in its first or last bit does not match. */
    for (unsigned bit = 0; bit < 256; bit += 255) {
        m.tokens[0].sha256[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(try("see", HERE), AUTH_WRONG);
        m.tokens[0].sha256[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void test_random(void **state)
{
    const struct auth_address nobody = {0};

    (void)state;
    m.auth = AUTH_RANDOM;
    m.token_count = 0;
    assert_int_equal(try("RANDOM", HERE), AUTH_KNOWN);
    assert_int_equal(who.role, ROLE_ADMIN);
    assert_int_equal(try("RANDO", HERE), AUTH_WRONG);
    assert_int_equal(who.role, ROLE_NONE);
    assert_int_equal(auth_check(&table, &m, "", "", &nobody, now, &who, &retry), AUTH_NO_KEY);
    assert_int_equal(who.role, ROLE_NONE);
}

static void test_none(void **state)
{
    (void)state;
    m.auth = AUTH_NONE;
    assert_int_equal(try(NULL, HERE), AUTH_KNOWN);
    assert_int_equal(who.role, ROLE_ADMIN);
    assert_string_equal(who.name, "");
}

static void test_absent_is_no_attempt(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(try(NULL, HERE), AUTH_ABSENT);
    assert_int_equal(try("see", HERE), AUTH_KNOWN);
}

static void test_slowed_and_doubled(void **state)
{
    (void)state;
    guess(AUTH_FREE_FAILURES, HERE);
    for (unsigned s = 1; s < 300; s *= 2) {
        unsigned wait = s < 60 ? s : 60;

        assert_int_equal(try("guess", HERE), AUTH_SLOWED);
        assert_int_equal(retry, wait);
        now += wait * 1000 - 1;
        assert_int_equal(try("guess", HERE), AUTH_SLOWED); /* which is not held against it */
        assert_int_equal(retry, 1);
        now++;
        guess(1, HERE);
    }
    now += AUTH_SLOW_MAX_MS;
    guess(1, HERE);
    assert_int_equal(try("guess", HERE), AUTH_SLOWED);
}

/* Constant failures from one address must not lock out others behind it. */
static void test_right_ones_are_always_known(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 10000; i++) {
        enum auth_verdict v = try("guess", HERE);

        assert_true(v == AUTH_WRONG || v == AUTH_SLOWED);
        now += i % 100;
    }
    assert_int_equal(try("guess", HERE), AUTH_SLOWED);
    assert_int_equal(try("see", HERE), AUTH_KNOWN);
    assert_int_equal(who.role, ROLE_READ);
    assert_int_equal(retry, 0);
    guess(AUTH_FREE_FAILURES, HERE); /* it cleared the count */
    assert_int_equal(try("guess", HERE), AUTH_SLOWED);
    assert_int_equal(try("all", HERE), AUTH_KNOWN);
    assert_int_equal(try("guess", HERE), AUTH_WRONG);
}

static void test_forgotten_after_silence(void **state)
{
    (void)state;
    guess(AUTH_FREE_FAILURES - 1, HERE);
    now += 2 * AUTH_SLOW_MAX_MS + 1;
    guess(AUTH_FREE_FAILURES, HERE);
    assert_int_equal(try("guess", HERE), AUTH_SLOWED);
}

static void test_full_table(void **state)
{
    (void)state;
    for (unsigned i = 0; i < AUTH_CLIENTS_MAX; i++) {
        guess(AUTH_FREE_FAILURES, 100 + i);
        now++;
    }
    for (unsigned i = 0; i < AUTH_CROWD_FAILURES; i++)
        guess(1, 1000 + i);
    assert_int_equal(try("guess", 2000), AUTH_SLOWED); /* all addresses without an entry */
    assert_int_equal(retry, 1);
    assert_int_equal(try("all", 100), AUTH_KNOWN);
    assert_int_equal(try("see", 3000), AUTH_KNOWN);
    now += AUTH_SLOW_MS;
    guess(1, 2000); /* for only a second */
}

/* One host can use any number of IPv6 addresses of its network. */
static void test_kinds_of_addresses(void **state)
{
    struct auth_address a = {.high = 0xfe80}, b = a;

    (void)state;
    for (unsigned i = 0; i < AUTH_CLIENTS_MAX + AUTH_CROWD_FAILURES; i++) {
        a.low = i + 1;
        for (unsigned k = 0; k < (i < AUTH_CLIENTS_MAX ? AUTH_FREE_FAILURES : 1); k++)
            assert_int_equal(auth_check(&table, &m, "", "guess", &a, now, &who, &retry),
                             AUTH_WRONG);
    }
    b.low = 1000;
    assert_int_equal(auth_check(&table, &m, "", "guess", &b, now, &who, &retry), AUTH_SLOWED);
    assert_int_equal(auth_check(&table, &m, "", "see", &b, now, &who, &retry), AUTH_KNOWN);
    assert_int_equal(try("guess", THERE), AUTH_WRONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bearer),
        cmocka_unit_test(test_known_hash),
        cmocka_unit_test_setup(test_each_token, setup),
        cmocka_unit_test_setup(test_wrong_tokens, setup),
        cmocka_unit_test_setup(test_random, setup),
        cmocka_unit_test_setup(test_none, setup),
        cmocka_unit_test_setup(test_absent_is_no_attempt, setup),
        cmocka_unit_test_setup(test_slowed_and_doubled, setup),
        cmocka_unit_test_setup(test_forgotten_after_silence, setup),
        cmocka_unit_test_setup(test_right_ones_are_always_known, setup),
        cmocka_unit_test_setup(test_full_table, setup),
        cmocka_unit_test_setup(test_kinds_of_addresses, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
