/*
 * Which parts of the guest's memory are taken while an image is loaded. Pure. All loaders use one
 * list, so nothing that is placed can overlap.
 */
#pragma once

#include "mgmt/load/load.h"

#define PLACE_MAX 88

struct place {
    uint64_t memory; /* bytes of the guest's RAM below the hole */
    unsigned count;
    struct {
        uint64_t start, end;
        const char *what;
    } used[PLACE_MAX];
};

void place_init(struct place *p, uint64_t memory);
/* Takes [start, start + size) for `what` (kept by pointer). Refused if it overlaps, wraps, or lies
 * outside of usable memory. */
int place_fixed(struct place *p, uint64_t start, uint64_t size, const char *what,
                struct load_error *e) MUST_CHECK;
/* Does the byte at `address` belong to something that was placed? */
bool place_covers(const struct place *p, uint64_t address);
/* Finds the `size` free bytes nearest to `max` (or, with `low`, to `min`) within [min, max) of
 * usable memory. `align` is a power of two. False: there are none. */
bool place_find(const struct place *p, uint64_t size, uint64_t align, uint64_t min, uint64_t max,
                bool low, uint64_t *start);
/* Finds and takes the highest free place below `limit` (low = false) or the lowest from 4 KiB on,
 * below 0x9f000 (low = true). `align` is a power of two. */
int place_any(struct place *p, uint64_t size, uint64_t align, uint64_t limit, bool low,
              const char *what, uint64_t *start, struct load_error *e) MUST_CHECK;
/* Finds and takes the lowest free place from 1 MiB on and below `limit`. */
int place_behind(struct place *p, uint64_t size, uint64_t align, uint64_t limit, const char *what,
                 uint64_t *start, struct load_error *e) MUST_CHECK;
