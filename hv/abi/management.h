/*
 * The configuration of the management service: how it is reached, who may use it, where it sends
 * its logs. Management reads it from guests.json; the root does not know it. Also the bytes that
 * the root keeps for management.
 */
#pragma once

#include "hv/types.h"

#define ABI_TOKENS_MAX  16u
#define ABI_SALT_SIZE   16u
#define ABI_SHA256_SIZE 32u

/* Each role may also do what the previous one may. */
enum abi_role {
    ABI_ROLE_NONE,
    ABI_ROLE_READ,    /* look at everything, dumps and consoles included */
    ABI_ROLE_OPERATE, /* act on guests, type, take snapshots, choose exits */
    ABI_ROLE_ADMIN,   /* images, new guests, deletion */
    ABI_ROLES
};

/* A bearer token: only its salted hash is stored. */
struct abi_token {
    char name[32];
    uint32_t role; /* enum abi_role */
    uint8_t salt[ABI_SALT_SIZE];
    uint8_t sha256[ABI_SHA256_SIZE]; /* SHA-256 of the salt's bytes, then the token's */
};

enum abi_auth {
    ABI_AUTH_RANDOM, /* an admin token is made at each boot and shown on the console */
    ABI_AUTH_TOKENS, /* those of the configuration */
    ABI_AUTH_NONE    /* anyone may do anything: only if configured explicitly */
};

/* What port 80 does; port 443 always serves HTTPS. */
enum abi_http {
    ABI_HTTP_REDIRECT, /* sends clients to HTTPS */
    ABI_HTTP_PLAIN,    /* serves */
    ABI_HTTP_OFF       /* is closed */
};

struct abi_management {
    uint32_t auth; /* enum abi_auth */
    uint32_t token_count;
    struct abi_token tokens[ABI_TOKENS_MAX];
    uint32_t http;                  /* enum abi_http */
    char certificate[96];           /* boot modules, both or neither: PEM or DER */
    char key[96];                   /* */
    char hostname[32];              /* [a-z0-9][a-z0-9-]*; default "bulkhead" */
    char ntp[64];                   /* a host's name or address; "": what DHCP says */
    uint8_t syslog_server[4];       /* 0.0.0.0: none */
    uint16_t syslog_port;           /* default 514 */
    uint16_t syslog_consoles;       /* 1: guests' consoles too */
    uint16_t https_port;            /* where port 80 sends clients; default 443 */
    uint16_t reachable_from_guests; /* 1: guests with the uplink reach it, and it reaches them */
    uint16_t reserved[2];
};

/* Bytes that outlive the management guest: the root keeps them as they are, for this guest alone
 * and only until the machine is reset, and never looks at them. */
#define ABI_KEEP_SIZE 0x1000u
#define ABI_KEEP_MAX  (ABI_KEEP_SIZE - 8)
struct abi_keep {
    uint32_t length; /* of the kept bytes; 0: nothing yet */
    uint32_t reserved;
    uint8_t bytes[ABI_KEEP_MAX];
};
