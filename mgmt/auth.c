#include "mgmt/auth.h"

#include "hv/lib.h"
#include "mgmt/words.h"
#include <mbedtls/sha256.h>

#define RANDOM_NAME "console" /* where that token can be read */
#define FORGET_MS   (2u * AUTH_SLOW_MAX_MS)

const char *auth_role_name(uint32_t role)
{
    return words_say(words_role, role);
}

const char *auth_bearer(const char *header)
{
    static const char scheme[] = "bearer";

    for (const char *s = scheme; *s; s++, header++)
        if ((*header | 0x20) != *s)
            return NULL;
    if (*header != ' ')
        return NULL;
    while (*header == ' ')
        header++;
    return *header ? header : NULL;
}

static bool hash(const uint8_t *salt, size_t salt_size, const char *token, uint8_t *out)
{
    mbedtls_sha256_context c;
    bool done;

    mbedtls_sha256_init(&c);
    done = mbedtls_sha256_starts(&c, 0) == 0 && mbedtls_sha256_update(&c, salt, salt_size) == 0 &&
           mbedtls_sha256_update(&c, (const uint8_t *)token, strlen(token)) == 0 &&
           mbedtls_sha256_finish(&c, out) == 0;
    mbedtls_sha256_free(&c);
    return done;
}

/* All ones if both are equal, else 0; reads all of both. */
static uint32_t same_mask(const uint8_t *a, const uint8_t *b)
{
    uint32_t differ = 0;

    for (size_t i = 0; i < TOKEN_SHA256_SIZE; i++)
        differ |= (uint32_t)(a[i] ^ b[i]);
    /* The compiler must not see that it could stop earlier. */
    __asm__("" : "+r"(differ));
    return (differ | (0u - differ)) >> 31 ? 0 : UINT32_MAX;
}

/* The number of the configured token, from 1; 0: none of them. Checks all of them. */
static uint32_t find_configured(const struct service_config *m, const char *token)
{
    uint32_t found = 0;

    for (uint32_t i = 0; i < m->token_count && i < SERVICE_TOKENS_MAX; i++) {
        uint8_t h[TOKEN_SHA256_SIZE];

        if (!hash(m->tokens[i].salt, sizeof(m->tokens[i].salt), token, h))
            continue;
        found |= same_mask(h, m->tokens[i].sha256) & (i + 1);
    }
    return found;
}

/* Compares hashes: the time reveals nothing about the token or its length. */
static bool is_random(struct auth_table *t, const char *random, const char *token)
{
    uint8_t shown[TOKEN_SHA256_SIZE];

    if (!t->has_hash)
        t->has_hash = hash(NULL, 0, random, t->hash);
    return t->has_hash && hash(NULL, 0, token, shown) && same_mask(shown, t->hash) != 0;
}

static bool identify(struct auth_table *t, const struct service_config *m, const char *random,
                     const char *token, struct auth_identity *who)
{
    uint32_t n;

    if (strlen(token) > AUTH_TOKEN_MAX)
        return false;
    if (m->auth == AUTH_RANDOM) {
        *who = (struct auth_identity){.name = RANDOM_NAME, .role = ROLE_ADMIN};
        return is_random(t, random, token);
    }
    n = find_configured(m, token);
    if (n == 0 || n > m->token_count)
        return false;
    who->role = m->tokens[n - 1].role;
    (void)str_copy(who->name, sizeof(who->name), m->tokens[n - 1].name);
    return true;
}

static bool is_over(const struct auth_client *c, uint64_t now_ms)
{
    return c->failures == 0 || now_ms - c->last_ms > FORGET_MS;
}

/* Cannot be part of an IPv6 address (RFC 4291, section 2.5.5.2). */
#define IPV4_MARK 0xffffull

struct auth_address auth_ipv4(uint32_t address)
{
    return (struct auth_address){.low = IPV4_MARK << 32 | address};
}

static bool is_same(const struct auth_address *a, const struct auth_address *b)
{
    return a->high == b->high && a->low == b->low;
}

/* The client's own entry, or NULL. */
static struct auth_client *find_own(struct auth_table *t, const struct auth_address *a,
                                    uint64_t now_ms)
{
    if (!t->has_failed || now_ms - t->last_ms > FORGET_MS)
        return NULL;
    for (unsigned i = 0; i < AUTH_CLIENTS_MAX; i++) {
        struct auth_client *c = &t->clients[i];

        if (is_same(&c->address, a) && !is_over(c, now_ms))
            return c;
    }
    return NULL;
}

static struct auth_client *find_free(struct auth_table *t, uint64_t now_ms)
{
    for (unsigned i = 0; i < AUTH_CLIENTS_MAX; i++)
        if (is_over(&t->clients[i], now_ms))
            return &t->clients[i];
    return NULL;
}

/* ---- failures ---- */

static struct auth_crowd *crowd_of(struct auth_table *t, const struct auth_address *a,
                                   uint64_t now_ms)
{
    struct auth_crowd *c = &t->crowds[a->high || a->low >> 32 != IPV4_MARK];

    if (now_ms - c->since_ms >= AUTH_SLOW_MS)
        *c = (struct auth_crowd){.since_ms = now_ms};
    return c;
}

/* How long a wrong token of this client has to wait; 0: not at all. */
static uint64_t slowed_ms(struct auth_table *t, const struct auth_address *a, uint64_t now_ms)
{
    const struct auth_client *own = find_own(t, a, now_ms);
    const struct auth_crowd *crowd;

    if (own)
        return own->failures >= AUTH_FREE_FAILURES && now_ms < own->until_ms
                   ? own->until_ms - now_ms
                   : 0;
    if (find_free(t, now_ms))
        return 0;
    crowd = crowd_of(t, a, now_ms);
    return crowd->failures < AUTH_CROWD_FAILURES ? 0 : crowd->since_ms + AUTH_SLOW_MS - now_ms;
}

static void note_failure(struct auth_table *t, const struct auth_address *a, uint64_t now_ms)
{
    struct auth_client *c = find_own(t, a, now_ms);
    uint64_t slow = AUTH_SLOW_MS;

    if (!c)
        c = find_free(t, now_ms);
    if (!c) {
        crowd_of(t, a, now_ms)->failures++;
        return;
    }
    if (!is_same(&c->address, a) || is_over(c, now_ms))
        c->failures = 0;
    c->address = *a;
    c->last_ms = t->last_ms = now_ms;
    t->has_failed = true;
    if (c->failures < UINT32_MAX)
        c->failures++;
    if (c->failures < AUTH_FREE_FAILURES)
        return;
    for (uint32_t n = AUTH_FREE_FAILURES; n < c->failures && slow < AUTH_SLOW_MAX_MS; n++)
        slow *= 2;
    c->until_ms = now_ms + (slow < AUTH_SLOW_MAX_MS ? slow : AUTH_SLOW_MAX_MS);
}

static void note_success(struct auth_table *t, const struct auth_address *a, uint64_t now_ms)
{
    struct auth_client *own = find_own(t, a, now_ms);

    if (own)
        own->failures = 0;
}

enum auth_verdict auth_check(struct auth_table *t, const struct service_config *m,
                             const char *random, const char *token,
                             const struct auth_address *client, uint64_t now_ms,
                             struct auth_identity *who, unsigned *retry_s)
{
    uint64_t slowed;

    *who = (struct auth_identity){.role = ROLE_NONE};
    *retry_s = 0;
    if (m->auth == AUTH_NONE) {
        who->role = ROLE_ADMIN;
        return AUTH_KNOWN;
    }
    if (m->auth == AUTH_RANDOM && !random[0])
        return AUTH_NO_KEY;
    if (!token)
        return AUTH_ABSENT;
    /* A client with a right token is let in, whatever others did from the same address. */
    if (identify(t, m, random, token, who)) {
        note_success(t, client, now_ms);
        return AUTH_KNOWN;
    }
    *who = (struct auth_identity){.role = ROLE_NONE};
    slowed = slowed_ms(t, client, now_ms);
    if (slowed) {
        *retry_s = (unsigned)((slowed + 999) / 1000);
        return AUTH_SLOWED;
    }
    note_failure(t, client, now_ms);
    return AUTH_WRONG;
}
