/*
 * Checked access to guest memory: the only way the root touches it. A guest's RAM is one contiguous
 * host range, seen by the guest from address 0 on, or that and further ones: host memory may be in
 * pieces, and what does not fit below the hole lies above it (hv/abi/memory.h). Values that matter
 * are copied first, then checked, then used (the guest may write meanwhile).
 */
#pragma once

#include "hv/lib.h"
#include "hv/types.h"

#define GMEM_MORE_MAX 8u

struct gmem_range {
    uint64_t gpa, size; /* multiples of 2 MB */
    uint8_t *base;      /* host address of `gpa` */
};

struct gmem {
    uint8_t *base; /* host address of guest-physical 0; NULL: no memory */
    uint64_t size; /* bytes from there on: all, if there are no more ranges */
    struct gmem_range more[GMEM_MORE_MAX]; /* ascending */
    unsigned more_count;
};

/* Range n, from 0 up to gmem_range_count() - 1. */
static inline unsigned gmem_range_count(const struct gmem *m)
{
    return m->base ? 1 + m->more_count : 0;
}

static inline struct gmem_range gmem_range(const struct gmem *m, unsigned n)
{
    return n ? m->more[n - 1] : (struct gmem_range){0, m->size, m->base};
}

/* For what is not all in the first range. */
void *gmem_ptr_in_more(const struct gmem *m, gpa_t a, uint64_t len);
int gmem_read_pieces(const struct gmem *m, gpa_t a, void *dst, size_t len) MUST_CHECK;
int gmem_write_pieces(const struct gmem *m, gpa_t a, const void *src, size_t len) MUST_CHECK;

/* The host address of [a, a + len), or NULL if it is not all in the first range. */
static inline void *gmem_first(const struct gmem *m, gpa_t a, uint64_t len)
{
    return __builtin_expect(a.v > m->size || len > m->size - a.v, 0) ? NULL : m->base + a.v;
}

/* The same, or NULL if any of it lies outside of the guest's RAM. Also NULL if it lies in two
 * ranges: never within an aligned 2 MB. */
static inline void *gmem_ptr(const struct gmem *m, gpa_t a, uint64_t len)
{
    if (__builtin_expect(a.v > m->size || len > m->size - a.v, 0))
        return m->more_count ? gmem_ptr_in_more(m, a, len) : NULL;
    return m->base + a.v;
}

/* All of [a, a + len) is RAM. */
bool gmem_has(const struct gmem *m, gpa_t a, uint64_t len);

static inline int MUST_CHECK gmem_read(const struct gmem *m, gpa_t a, void *dst, size_t len)
{
    const void *p = gmem_ptr(m, a, len);

    if (!p)
        return gmem_read_pieces(m, a, dst, len);
    memcpy(dst, p, len);
    return 0;
}

static inline int MUST_CHECK gmem_write(const struct gmem *m, gpa_t a, const void *src, size_t len)
{
    void *p = gmem_ptr(m, a, len);

    if (!p)
        return gmem_write_pieces(m, a, src, len);
    memcpy(p, src, len);
    return 0;
}
