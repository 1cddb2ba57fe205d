/*
 * Who asks, and what they may do: bearer tokens (RFC 6750), of which only salted hashes are
 * configured, or one random token of this boot. Pure: time, client and tables are passed in.
 */
#pragma once

#include "hv/abi/control.h"

#define AUTH_TOKEN_MAX      120u /* bytes of a token; longer ones are wrong */
#define AUTH_CLIENTS_MAX    32u
#define AUTH_FREE_FAILURES  5u     /* in a row, before a client is slowed */
#define AUTH_SLOW_MS        1000u  /* then; doubled by each further failure */
#define AUTH_SLOW_MAX_MS    60000u /* at most. Who has been silent for longer is forgotten */
#define AUTH_CROWD_FAILURES 16u    /* a second, of all that have no entry of their own */

/* Whom a wrong token is held against: an IPv4 address (auth_ipv4()), an IPv6 address of our own
 * network, or the upper half of another IPv6 address, which is one customer's. */
struct auth_address {
    uint64_t high, low;
};

/* A client that has shown wrong tokens. */
struct auth_client {
    struct auth_address address;
    uint32_t failures;
    uint64_t last_ms, until_ms; /* of the last failure; wrong tokens are told to wait until then */
};

/* Those for whom there is no entry: somebody has many addresses. A budget for a second. */
struct auth_crowd {
    uint64_t since_ms;
    uint32_t failures;
};

/* All zero: nobody has failed yet. */
struct auth_table {
    uint64_t last_ms; /* of the last failure; when that is long ago there is nothing to look for */
    bool has_failed;
    bool has_hash; /* of the random token, which is the same for as long as the table */
    uint8_t hash[ABI_SHA256_SIZE];
    struct auth_client clients[AUTH_CLIENTS_MAX];
    struct auth_crowd
        crowds[2]; /* IPv4, IPv6: who has many of the one may have none of the other */
};

enum auth_verdict {
    AUTH_KNOWN,  /* *who says who it is */
    AUTH_NO_KEY, /* there is no token that anybody could show: the machine could make none */
    AUTH_ABSENT, /* no token was shown */
    AUTH_WRONG,  /* not one of ours */
    AUTH_SLOWED  /* wrong, after too many wrong ones: *retry_s */
};

struct auth_identity {
    char name[32]; /* "": nobody in particular ("auth": "none") */
    uint32_t role; /* enum abi_role */
};

/* The token of "Authorization: Bearer TOKEN", or NULL. RFC 9110 "Authorization": the scheme's case
 * does not matter. */
const char *auth_bearer(const char *header);

/* `address` in any byte order. */
struct auth_address auth_ipv4(uint32_t address);

/* `random`: the token of this boot, used with ABI_AUTH_RANDOM; "": there is none. `token`: NULL
 * when none was shown. Takes the same time whichever token is right, and whether one is. A right
 * one is known however many wrong ones came before it, and forgives them. */
enum auth_verdict auth_check(struct auth_table *t, const struct abi_management *m,
                             const char *random, const char *token,
                             const struct auth_address *client, uint64_t now_ms,
                             struct auth_identity *who, unsigned *retry_s);

const char *auth_role_name(uint32_t role);
