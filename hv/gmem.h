/*
 * Checked access to guest memory: the only way the root touches it. A guest's RAM is one contiguous
 * host range, seen by the guest from address 0 on. Values that matter are copied first, then
 * checked, then used (the guest may write meanwhile).
 */
#pragma once

#include "hv/lib.h"
#include "hv/types.h"

struct gmem {
    uint8_t *base; /* host address of guest-physical 0 */
    uint64_t size; /* bytes */
};

/* The host address of [a, a + len), or NULL if any of it lies outside of the guest's RAM. */
static inline void *gmem_ptr(const struct gmem *m, gpa_t a, uint64_t len)
{
    if (a.v > m->size || len > m->size - a.v)
        return NULL;
    return m->base + a.v;
}

static inline int MUST_CHECK gmem_read(const struct gmem *m, gpa_t a, void *dst, size_t len)
{
    const void *p = gmem_ptr(m, a, len);

    if (!p)
        return -E_RANGE;
    memcpy(dst, p, len);
    return 0;
}

static inline int MUST_CHECK gmem_write(const struct gmem *m, gpa_t a, const void *src, size_t len)
{
    void *p = gmem_ptr(m, a, len);

    if (!p)
        return -E_RANGE;
    memcpy(p, src, len);
    return 0;
}
