#include "mgmt/auth.h"

#include "hv/lib.h"
#include <mbedtls/platform_util.h>
#include <mbedtls/sha256.h>

#define RANDOM_NAME "console" /* where that token can be read */

const char *auth_role_name(uint32_t role)
{
    static const char *const names[ABI_ROLES] = {
        [ABI_ROLE_NONE] = "none",
        [ABI_ROLE_READ] = "read",
        [ABI_ROLE_OPERATE] = "operate",
        [ABI_ROLE_ADMIN] = "admin",
    };

    return role < ABI_ROLES ? names[role] : "none";
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
    done = mbedtls_sha256_starts_ret(&c, 0) == 0 &&
           mbedtls_sha256_update_ret(&c, salt, salt_size) == 0 &&
           mbedtls_sha256_update_ret(&c, (const uint8_t *)token, strlen(token)) == 0 &&
           mbedtls_sha256_finish_ret(&c, out) == 0;
    mbedtls_sha256_free(&c);
    return done;
}

/* All ones when both are the same, else 0; reads all of both. */
static uint32_t same_mask(const uint8_t *a, const uint8_t *b)
{
    uint32_t differ = 0;

    for (size_t i = 0; i < ABI_SHA256_SIZE; i++)
        differ |= (uint32_t)(a[i] ^ b[i]);
    /* The compiler must not see that it could stop earlier. */
    __asm__("" : "+r"(differ));
    return (differ | (0u - differ)) >> 31 ? 0 : UINT32_MAX;
}

/* The number of the configured token, from 1; 0: none of them. Looks at all. */
static uint32_t find_configured(const struct abi_management *m, const char *token)
{
    uint32_t found = 0;

    for (uint32_t i = 0; i < m->token_count && i < ABI_TOKENS_MAX; i++) {
        uint8_t h[ABI_SHA256_SIZE];

        if (!hash(m->tokens[i].salt, sizeof(m->tokens[i].salt), token, h))
            continue;
        found |= same_mask(h, m->tokens[i].sha256) & (i + 1);
    }
    return found;
}

/* Hashes are compared: their time says nothing about the token, nor about its length. */
static bool is_random(const char *random, const char *token)
{
    uint8_t shown[ABI_SHA256_SIZE], ours[ABI_SHA256_SIZE];
    bool same =
        hash(NULL, 0, token, shown) && hash(NULL, 0, random, ours) && same_mask(shown, ours) != 0;

    mbedtls_platform_zeroize(ours, sizeof(ours));
    return same;
}

static bool identify(const struct abi_management *m, const char *random, const char *token,
                     struct auth_identity *who)
{
    uint32_t n;

    if (strlen(token) > AUTH_TOKEN_MAX)
        return false;
    if (m->auth == ABI_AUTH_RANDOM) {
        *who = (struct auth_identity){.name = RANDOM_NAME, .role = ABI_ROLE_ADMIN};
        return is_random(random, token);
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
    return c->failures == 0 || now_ms - c->last_ms > 2 * AUTH_SLOW_MAX_MS;
}

/* The client's own entry, or NULL. */
static struct auth_client *find_own(struct auth_table *t, uint64_t address, uint64_t now_ms)
{
    for (unsigned i = 0; i < AUTH_CLIENTS_MAX; i++) {
        struct auth_client *c = &t->clients[i];

        if (c->address == address && !is_over(c, now_ms))
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

static void note_failure(struct auth_client *c, uint64_t address, uint64_t now_ms)
{
    uint64_t slow = AUTH_SLOW_MS;

    if (is_over(c, now_ms))
        c->failures = 0;
    c->address = address;
    c->last_ms = now_ms;
    if (c->failures < UINT32_MAX)
        c->failures++;
    if (c->failures < AUTH_FREE_FAILURES)
        return;
    for (uint32_t n = AUTH_FREE_FAILURES; n < c->failures && slow < AUTH_SLOW_MAX_MS; n++)
        slow *= 2;
    c->until_ms = now_ms + (slow < AUTH_SLOW_MAX_MS ? slow : AUTH_SLOW_MAX_MS);
}

enum auth_verdict auth_check(struct auth_table *t, const struct abi_management *m,
                             const char *random, const char *token, uint64_t client,
                             uint64_t now_ms, struct auth_identity *who, unsigned *retry_s)
{
    struct auth_client *own = find_own(t, client, now_ms);
    struct auth_client *entry = own ? own : find_free(t, now_ms);

    *who = (struct auth_identity){.role = ABI_ROLE_NONE};
    *retry_s = 0;
    if (m->auth == ABI_AUTH_NONE) {
        who->role = ABI_ROLE_ADMIN;
        return AUTH_KNOWN;
    }
    if (m->auth == ABI_AUTH_RANDOM && !random[0])
        return AUTH_NO_KEY;
    if (!token)
        return AUTH_ABSENT;
    if (!entry)
        entry = &t->clients[AUTH_CLIENTS_MAX];
    if (!is_over(entry, now_ms) && entry->failures >= AUTH_FREE_FAILURES &&
        now_ms < entry->until_ms) {
        *retry_s = (unsigned)((entry->until_ms - now_ms + 999) / 1000);
        return AUTH_SLOWED;
    }
    if (identify(m, random, token, who)) {
        /* One right token does not forgive what others without an entry have tried. */
        if (own)
            own->failures = 0;
        return AUTH_KNOWN;
    }
    *who = (struct auth_identity){.role = ABI_ROLE_NONE};
    note_failure(entry, client, now_ms);
    return AUTH_WRONG;
}
