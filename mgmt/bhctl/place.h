/*
 * How far one of the appliance's byte rings was read, and where to go on after a lost connection.
 * The number of a byte alone does not say: rings begin anew with the appliance, and a stream that
 * was too slow may have left bytes out. So the last bytes are kept, and must be there again. Pure.
 */
#pragma once

#include "hv/types.h"

#define PLACE_TAIL 256u

struct place {
    uint64_t next;         /* number of the byte behind the last one */
    size_t length;         /* how many of the last ones are kept */
    char tail[PLACE_TAIL]; /* as many, at its beginning */
};

enum place_found {
    PLACE_GOES_ON,
    PLACE_GAP,  /* bytes are missing */
    PLACE_ANEW, /* it is another ring: to be asked for from byte 0 on */
};

/* The bytes behind those before. */
void place_take(struct place *p, const char *bytes, size_t n);
/* The byte to ask from. */
uint64_t place_from(const struct place *p);
/* The answer: `n` bytes, the last one before number `end`. *known: so many at its beginning were
 * taken already; p is moved to behind them. *missing, of a gap: how many bytes; 0: unknown. */
enum place_found place_find(struct place *p, const char *bytes, size_t n, uint64_t end,
                            size_t *known, uint64_t *missing) MUST_CHECK;
