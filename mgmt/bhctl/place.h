/*
 * How far one of the appliance's byte rings has been read, and where to continue after a lost
 * connection. A byte's number is not enough: rings restart with the appliance, and a stream that
 * was too slow may have skipped bytes. So the last bytes are kept and must be found again. Pure.
 */
#pragma once

#include "hv/types.h"

#define PLACE_TAIL 256u

struct place {
    uint64_t next;         /* number of the byte after the last one */
    size_t length;         /* how many of the last bytes are kept */
    char tail[PLACE_TAIL]; /* these bytes */
};

enum place_found {
    PLACE_GOES_ON,
    PLACE_GAP,  /* bytes are missing */
    PLACE_ANEW, /* it is another ring: ask from byte 0 on */
};

/* Appends the next bytes. */
void place_take(struct place *p, const char *bytes, size_t n);
/* The byte to ask from. */
uint64_t place_from(const struct place *p);
/* Looks into the answer: `n` bytes, the last one before number `end`. *known: how many bytes at its
 * beginning were taken already; p moves past them. *missing: the size of a gap; 0: unknown. */
enum place_found place_find(struct place *p, const char *bytes, size_t n, uint64_t end,
                            size_t *known, uint64_t *missing) MUST_CHECK;
