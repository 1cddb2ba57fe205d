#include "mgmt/ring.h"

#include "hv/lib.h"

uint64_t ring_begin(const struct abi_ring *r, uint64_t from)
{
    uint64_t end = __atomic_load_n(&r->written, __ATOMIC_ACQUIRE);
    uint64_t oldest = end > r->size ? end - r->size : 0;

    return from < oldest || from > end ? oldest : from;
}

size_t ring_copy(const struct abi_ring *r, uint64_t *from, uint8_t *out, size_t size)
{
    uint64_t end = __atomic_load_n(&r->written, __ATOMIC_ACQUIRE), now;
    uint64_t oldest = end > r->size ? end - r->size : 0;
    size_t n = 0;

    *from = *from < oldest || *from > end ? oldest : *from;
    while (*from + n < end && n < size) {
        out[n] = r->data[(*from + n) & (r->size - 1)];
        n++;
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    /* What the writer has overwritten in the meantime is not what we expect. */
    now = __atomic_load_n(&r->written, __ATOMIC_RELAXED);
    oldest = now > r->size ? now - r->size : 0;
    if (oldest > *from) {
        uint64_t lost = oldest - *from;

        lost = lost < n ? lost : n;
        memmove(out, out + lost, n - lost);
        *from += lost;
        n -= lost;
    }
    return n;
}
