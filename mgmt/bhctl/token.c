/* Makes a new token and its entry for guests.json (mgmt/service.h: struct service_token). */
#include "mgmt/bhctl/bhctl.h"

#include "mgmt/service.h"
#include "mgmt/words.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <stdio.h>
#include <string.h>

#define TOKEN_SIZE   20u                    /* random bytes */
#define TOKEN_LENGTH (TOKEN_SIZE * 8u / 5u) /* characters of base32 */

static bool name_is_good(const char *name)
{
    size_t n = strlen(name);

    return n > 0 && n < sizeof(((struct service_token *)0)->name) && name[0] != '-' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

static int say(const struct options *o, const char *token, const char *salt, const char *sha256)
{
    const char *name = o->value[OPTION_NAME], *role = o->value[OPTION_ROLE];
    char entry[320];

    (void)snprintf(entry, sizeof(entry),
                   "{\"name\": \"%s\", \"role\": \"%s\", \"salt\": \"%s\", \"sha256\": \"%s\"}",
                   name, role, salt, sha256);
    if (options_have(o, OPTION_JSON))
        printf("{\"token\": \"%s\", \"entry\": %s}\n", token, entry);
    else
        printf("token of %s, shown this once: %s\n\n"
               "in guests.json, among \"management\": {\"auth\": {\"tokens\": [...]}}:\n%s\n",
               name, token, entry);
    return say_end();
}

int command_hash_token(struct api *a)
{
    const struct options *o = a->options;
    uint8_t random[TOKEN_SIZE], both[TOKEN_SALT_SIZE + TOKEN_LENGTH], hash[TOKEN_SHA256_SIZE];
    char token[TOKEN_LENGTH + 1], salt[2 * TOKEN_SALT_SIZE + 1], sha256[2 * TOKEN_SHA256_SIZE + 1];
    bool known = false;

    if (!o->value[OPTION_NAME] || !o->value[OPTION_ROLE])
        return complain(EXIT_USAGE, "hash-token needs --name NAME and --role ROLE");
    if (!name_is_good(o->value[OPTION_NAME]))
        return complain(EXIT_USAGE,
                        "--name: \"%s\": a token's name has 1 to 31 of a-z, 0-9 and "
                        "'-', and does not begin with '-'",
                        o->value[OPTION_NAME]);
    for (size_t i = ROLE_READ; i < ROLES; i++)
        known = known || strcmp(o->value[OPTION_ROLE], words_role[i]) == 0;
    if (!known)
        return complain(EXIT_USAGE, "--role: \"%s\" must be read, operate or admin",
                        o->value[OPTION_ROLE]);
    if (RAND_bytes(random, sizeof(random)) != 1 || RAND_bytes(both, TOKEN_SALT_SIZE) != 1)
        return complain(EXIT_USAGE, "no random bytes are available");
    url_base32(random, sizeof(random), token);
    memcpy(both + TOKEN_SALT_SIZE, token, TOKEN_LENGTH);
    if (!EVP_Digest(both, sizeof(both), hash, NULL, EVP_sha256(), NULL))
        return complain(EXIT_USAGE, "SHA-256 cannot be computed");
    url_hex(both, TOKEN_SALT_SIZE, salt);
    url_hex(hash, sizeof(hash), sha256);
    return say(o, token, salt, sha256);
}
