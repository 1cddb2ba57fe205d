/* The field Repr-Digest of a request (RFC 9530), a dictionary of RFC 9651. Pure. */
#pragma once

#include "hv/types.h"

/* `field`: all of the field's lines, joined by commas. 1: `sha256` has a SHA-256. 0: there are only
 * digests that we cannot check. -E_FORMAT: it is not a dictionary, or its SHA-256 is malformed or
 * appears twice. */
int digest_sha256(const char *field, uint8_t sha256[32]) MUST_CHECK;
