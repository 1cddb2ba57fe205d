#include "mgmt/bhctl/place.h"

#include <string.h>

#define TELLING 32u /* this many bytes hardly occur twice */

void place_take(struct place *p, const char *bytes, size_t n)
{
    size_t kept = n < PLACE_TAIL ? PLACE_TAIL - n : 0;

    p->next += n;
    if (n > PLACE_TAIL) {
        bytes += n - PLACE_TAIL;
        n = PLACE_TAIL;
    }
    if (p->length > kept) {
        memmove(p->tail, p->tail + p->length - kept, kept);
        p->length = kept;
    }
    memcpy(p->tail + p->length, bytes, n);
    p->length += n;
}

uint64_t place_from(const struct place *p)
{
    return p->next - p->length;
}

/* Do the last bytes taken stand right before bytes[known]? */
static bool is_known(const struct place *p, const char *bytes, size_t known)
{
    size_t n = known < p->length ? known : p->length;

    return memcmp(bytes + known - n, p->tail + p->length - n, n) == 0;
}

enum place_found place_find(struct place *p, const char *bytes, size_t n, uint64_t end,
                            size_t *known, uint64_t *missing)
{
    uint64_t from = end - n;

    *known = 0;
    *missing = 0;
    if (from <= p->next && p->next <= end && is_known(p, bytes, (size_t)(p->next - from))) {
        *known = (size_t)(p->next - from);
        return PLACE_GOES_ON;
    }
    /* A stream that skipped bytes was further than we know. */
    for (size_t k = p->length; p->length >= TELLING && k <= n; k++) {
        if (is_known(p, bytes, k)) {
            *known = k;
            p->next = from + k;
            return PLACE_GAP;
        }
    }
    if (from <= p->next)
        return PLACE_ANEW;
    *missing = from - p->next;
    p->next = from;
    p->length = 0;
    return PLACE_GAP;
}
