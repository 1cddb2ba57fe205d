/*
 * The configuration of the management service: how it is reached, who may use it, where it sends
 * its logs. Management reads it from guests.json; the root does not know it.
 */
#pragma once

#include "hv/types.h"

#define SERVICE_TOKENS_MAX 16u
#define TOKEN_SALT_SIZE    16u
#define TOKEN_SHA256_SIZE  32u

/* Each role may also do what the previous one may. */
enum role {
    ROLE_NONE,
    ROLE_READ,    /* look at everything, dumps and consoles included */
    ROLE_OPERATE, /* act on guests, type, take snapshots, choose exits */
    ROLE_ADMIN,   /* images, new guests, deletion */
    ROLES
};

/* A bearer token: only its salted hash is stored. */
struct service_token {
    char name[32];
    uint32_t role; /* enum role */
    uint8_t salt[TOKEN_SALT_SIZE];
    uint8_t sha256[TOKEN_SHA256_SIZE]; /* SHA-256 of the salt's bytes, then the token's */
};

enum auth_kind {
    AUTH_RANDOM, /* an admin token is made at each boot and shown on the console */
    AUTH_TOKENS, /* those of the configuration */
    AUTH_NONE    /* anyone may do anything: only if configured explicitly */
};

/* What port 80 does; port 443 always serves HTTPS. */
enum port80 {
    PORT80_REDIRECT, /* sends clients to HTTPS */
    PORT80_PLAIN,    /* serves */
    PORT80_OFF       /* is closed */
};

struct service_config {
    uint32_t auth; /* enum auth_kind */
    uint32_t token_count;
    struct service_token tokens[SERVICE_TOKENS_MAX];
    uint32_t http;                  /* enum port80 */
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
