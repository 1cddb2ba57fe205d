/*
 * A token bucket, counted in ticks, so taking from it needs no division: a frame costs `price`
 * ticks, and time gives them back, up to the price of `burst` frames. Pure. Users that share one
 * guard it with their own lock.
 */
#pragma once

#include "hv/types.h"

struct bucket {
    uint64_t price; /* ticks per frame */
    uint64_t most;  /* capacity in ticks */
    uint64_t held;
    uint64_t tsc; /* the time up to which ticks were given back */
};

/* Full. `per_second` > 0. */
static inline struct bucket bucket_make(uint64_t tsc_hz, uint32_t per_second, uint32_t burst)
{
    uint64_t price = tsc_hz / per_second + 1;

    return (struct bucket){.price = price, .most = price * burst, .held = price * burst};
}

/* True: there was enough for one more frame. Another core's `now` may be a little behind. */
static inline bool bucket_take(struct bucket *b, uint64_t now)
{
    if (now > b->tsc) {
        uint64_t gained = now - b->tsc;

        b->held = gained < b->most - b->held ? b->held + gained : b->most;
        b->tsc = now;
    }
    if (b->held < b->price)
        return false;
    b->held -= b->price;
    return true;
}
