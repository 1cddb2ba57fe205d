/*
 * Kernels uploaded compressed with gzip (RFC 1952). Before a guest is made of one, zlib unpacks it
 * in steps between other work; the result replaces the upload. Pure: it sees the machine through
 * struct api_view.
 */
#pragma once

#include "hv/abi/deploy.h"
#include "hv/types.h"

struct api_view;

enum unpack_state { UNPACK_IDLE, UNPACK_BUSY, UNPACK_FAILED };

/* One at a time. */
struct unpack {
    enum unpack_state state;
    unsigned from, to; /* slots: compressed, and being filled */
    uint64_t done;     /* bytes of the result */
    char name[ABI_IMAGE_NAME_MAX];
    char why[160]; /* UNPACK_FAILED */
};

/* Does an image begin with a gzip header? */
bool unpack_is_packed(const uint8_t *data, uint64_t size);
/* Begins with the ready image of this slot, whose result may have at most `most` bytes. 0, or an
 * HTTP status with the reason in why. Only if none is under way. */
unsigned unpack_begin(const struct api_view *v, unsigned slot, uint64_t most, char *why,
                      size_t size) MUST_CHECK;
/* Continues for a bounded time. True: there is more to do. */
bool unpack_poll(const struct api_view *v);
/* Is this image being read? */
bool unpack_uses(const struct unpack *u, const char *name);
