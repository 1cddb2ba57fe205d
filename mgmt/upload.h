/*
 * An image being uploaded: the body of PUT /v1/images/{name}, written to memory that the root gave
 * for it and hashed on the way. Pure but for what struct api_view does. One per connection.
 */
#pragma once

#include "mgmt/api.h"

#include <mbedtls/sha256.h>

#define UPLOAD_NAME_MAX 64u /* with the NUL */

struct upload {
    const struct api_view *view;
    bool active; /* the slot is ours, to be committed or dropped */
    unsigned slot;
    uint64_t size, done, writable;
    uint8_t *bytes;
    mbedtls_sha256_context sha;
    char name[UPLOAD_NAME_MAX];
    struct auth_identity who; /* admitted when the upload began */
    bool must_be_new;         /* If-None-Match: * */
    bool has_digest;
    uint8_t digest[32]; /* of Repr-Digest */
};

/* For http_init(), with a struct upload whose `view` is set. */
extern const struct http_sink upload_sink;
/* All bytes have arrived: compares and commits. 0, or a status with its message. */
unsigned upload_finish(struct upload *u, char *why, size_t size) MUST_CHECK;
/* The connection ended, or the request was refused: drops everything. May be called repeatedly. */
void upload_abort(struct upload *u);

/* [A-Za-z0-9][A-Za-z0-9._-]{0,62} */
bool upload_name_is_good(const char *name);
/* Why the root gives no memory for an image of this size, and the status for that. */
unsigned upload_refuse_memory(const struct api_view *v, const char *name, uint64_t asked,
                              int64_t rc, char *why, size_t size);
/* Names of the guests in a set of numbers: "a, b". */
void upload_users(const struct api_view *v, uint64_t users, char *buf, size_t size);
