/*
 * Identifies clients and their rights: by bearer tokens (RFC 6750), of which only salted hashes are
 * configured, or by one random token of this boot. Pure: time, client and tables are passed in.
 */
#pragma once

#include "hv/abi/control.h"
#include "mgmt/service.h"

#define AUTH_TOKEN_MAX      120u /* bytes of a token; longer ones are wrong */
#define AUTH_CLIENTS_MAX    32u
#define AUTH_FREE_FAILURES  5u     /* in a row, before a client is slowed */
#define AUTH_SLOW_MS        1000u  /* then; doubled by each further failure */
#define AUTH_SLOW_MAX_MS    60000u /* at most; after twice this silence a client is forgotten */
#define AUTH_CROWD_FAILURES 16u    /* per second, for all clients without an entry */

/* What a wrong token is held against: an IPv4 address (auth_ipv4()), an IPv6 address of our own
 * network, or the upper half of another IPv6 address, which belongs to one customer. */
struct auth_address {
    uint64_t high, low;
};

/* A client that has shown wrong tokens. */
struct auth_client {
    struct auth_address address;
    uint32_t failures;
    uint64_t last_ms, until_ms; /* of the last failure; until then, wrong tokens get AUTH_SLOWED */
};

/* Clients without an entry, as when one attacker has many addresses. A budget per second. */
struct auth_crowd {
    uint64_t since_ms;
    uint32_t failures;
};

/* All zero: no failures yet. */
struct auth_table {
    uint64_t last_ms; /* of the last failure; if that was long ago, there is nothing to search */
    bool has_failed;
    bool has_hash; /* of the random token, which does not change while the table lives */
    uint8_t hash[TOKEN_SHA256_SIZE];
    struct auth_client clients[AUTH_CLIENTS_MAX];
    struct auth_crowd
        crowds[2]; /* IPv4, IPv6: a client with many of one may have none of the other */
};

enum auth_verdict {
    AUTH_KNOWN,  /* *who is the client */
    AUTH_NO_KEY, /* no token can be right: the machine could make none */
    AUTH_ABSENT, /* no token was shown */
    AUTH_WRONG,  /* not one of ours */
    AUTH_SLOWED  /* wrong, after too many wrong ones: *retry_s */
};

struct auth_identity {
    char name[32]; /* "": no particular client ("auth": "none") */
    uint32_t role; /* enum role */
};

/* The token of "Authorization: Bearer TOKEN", or NULL. RFC 9110 "Authorization": the scheme's case
 * does not matter. */
const char *auth_bearer(const char *header);

/* `address` in any byte order. */
struct auth_address auth_ipv4(uint32_t address);

/* `random`: the token of this boot, used with AUTH_RANDOM; "": none. `token`: NULL if none was
 * shown. Takes the same time whichever token is right, and whether or not one is. A right token is
 * always accepted, however many wrong ones preceded it, and forgives them. */
enum auth_verdict auth_check(struct auth_table *t, const struct service_config *m,
                             const char *random, const char *token,
                             const struct auth_address *client, uint64_t now_ms,
                             struct auth_identity *who, unsigned *retry_s);

const char *auth_role_name(uint32_t role);
