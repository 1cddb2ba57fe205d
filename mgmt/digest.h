/* The field Repr-Digest of a request (RFC 9530), a dictionary of RFC 9651. Pure. */
#pragma once

#include "hv/types.h"

/* All of the field's lines, joined by commas. 1: there is a SHA-256, in `sha256`; 0: only what
 * others can check; -E_FORMAT: it is not a dictionary, or its SHA-256 is none, or is there twice.
 */
int digest_sha256(const char *field, uint8_t sha256[32]) MUST_CHECK;
