/* SOURCES: @mgmt @llhttp */
/* Any tokens from any addresses at any times: a right token is always accepted, and a wrong one
 * never is. */
#include "mgmt/audit.h"
#include "mgmt/auth.h"
#include "test/fuzz/sequence.h"

#include <mbedtls/sha256.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(bool is, const char *what)
{
    if (is)
        return;
    fprintf(stderr, "auth: %s\n", what);
    abort();
}

static const char *const texts[] = {"see", "do", "all"};

static void add(struct service_config *m, unsigned i)
{
    struct service_token *t = &m->tokens[m->token_count++];
    uint8_t bytes[TOKEN_SALT_SIZE + 8];
    size_t n = strlen(texts[i]);

    t->role = ROLE_READ + i;
    strcpy(t->name, texts[i]);
    memset(t->salt, (int)i + 1, sizeof(t->salt));
    memcpy(bytes, t->salt, sizeof(t->salt));
    memcpy(bytes + sizeof(t->salt), texts[i], n);
    must(mbedtls_sha256(bytes, sizeof(t->salt) + n, t->sha256, 0) == 0, "no hash");
}

/* One of our tokens, part of one, or anything. Returns its number, or 3 for a wrong one. */
static unsigned choose(char *out, size_t size)
{
    uint8_t how = byte();
    size_t n = 0;

    if (how < 96) {
        strcpy(out, texts[how % 3]);
    } else {
        for (n = how % size; n > 0 && left; n--)
            *out++ = (char)(byte() | 1);
        *out = 0;
        return 4;
    }
    return how % 3;
}

static unsigned lines;
static void note(const char *line)
{
    for (const char *s = line; *s; s++)
        must(*s >= ' ' && *s <= '~', "a line that is not printable");
    lines++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct auth_table table;
    static struct audit audit;
    struct service_config m = {.auth = AUTH_TOKENS};
    uint64_t now = 1000, begun = now, events = 0;

    memset(&table, 0, sizeof(table));
    memset(&audit, 0, sizeof(audit));
    lines = 0;
    for (unsigned i = 0; i < 3; i++)
        add(&m, i);
    sequence_begin(data, size, 0);
    (void)auth_bearer("");
    while (left) {
        char text[160] = {0}, header[200];
        unsigned which = choose(text, AUTH_TOKEN_MAX + 20), retry = 0;
        struct auth_identity who;
        struct auth_address a = auth_ipv4(byte() % 64);
        struct audit_event e = {.from = "::1",
                                .name = "",
                                .method = "GET",
                                .target = text,
                                .what = text,
                                .status = 401};
        enum auth_verdict v;
        const char *shown;

        a.high = byte() & 1 ? byte() : 0;
        (void)snprintf(header, sizeof(header), "Bearer %s", text);
        shown = auth_bearer(header);
        v = auth_check(&table, &m, "", text, &a, now, &who, &retry);
        for (unsigned i = 0; i < 3; i++)
            which = strcmp(text, texts[i]) == 0 ? i : which;
        must(!shown || strstr(text, shown), "another token than was shown");
        must((v == AUTH_KNOWN) == (which < 3),
             which < 3 ? "a right token is refused" : "a wrong token is known");
        must(who.role == (which < 3 ? ROLE_READ + which : ROLE_NONE), "another role");
        must(v != AUTH_SLOWED || (retry >= 1 && retry <= AUTH_SLOW_MAX_MS / 1000),
             "another time to wait");
        e.source = a.low;
        audit_refusal(&audit, &e, now, note);
        events++;
        now += (uint64_t)byte() << byte() % 10;
    }
    must(lines <= (AUDIT_ALL + 1) * ((now - begun) / AUDIT_WINDOW_MS + 1) && lines <= 2 * events,
         "too many lines");
    return 0;
}
