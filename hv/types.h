/* Base types shared by every layer. No dependencies beyond the compiler's own freestanding headers.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Guest-physical and host-physical addresses are distinct types, so that one can never stand for
 * the other. */
typedef struct {
    uint64_t v;
} gpa_t;
typedef struct {
    uint64_t v;
} hpa_t;

static inline gpa_t gpa(uint64_t v)
{
    return (gpa_t){v};
}

static inline hpa_t hpa(uint64_t v)
{
    return (hpa_t){v};
}

#define PAGE_SIZE                       4096ull
#define PAGE_SIZE_2M                    (2ull << 20)
#define PAGE_SIZE_1G                    (1ull << 30)

/* A point in time that never comes. All times are absolute values of the host's time-stamp counter
 * ("ticks"). */
#define NEVER                           UINT64_MAX

/* Errors are returned as negative values: `return -E_INVAL;`. The control ABI returns the same
 * numbers. */
#define E_INVAL                         1  /* an argument is malformed */
#define E_NOMEM                         2  /* out of host memory */
#define E_RANGE                         3  /* outside of the guest's memory, a table or a limit */
#define E_BUSY                          4  /* in use */
#define E_NOENT                         5  /* no such thing */
#define E_EXIST                         6  /* already there, or overlaps */
#define E_NOTSUP                        7  /* this CPU or this build cannot do it */
#define E_FORMAT                        8  /* foreign bytes (image, table, JSON) are malformed */
#define E_AGAIN                         9  /* not yet: try again */
#define E_NOSPC                         10 /* a buffer or table is full */
#define E_STATE                         11 /* not possible in the current state */
#define E_PERM                          12 /* the caller may not do that */
#define E_IO                            13 /* a device failed */

#define MUST_CHECK                      __attribute__((warn_unused_result))
#define PRINTF(fmt, args)               __attribute__((format(printf, fmt, args)))
#define ALWAYS_INLINE                   __attribute__((always_inline)) inline
#define ARRAY_LEN(a)                    (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* One of 2^bits bins, over which keys that resemble each other spread: Knuth, The Art of Computer
 * Programming, vol. 3, 6.4 "Hashing", multiplicative. */
static inline unsigned hash_u64(uint64_t key, unsigned bits)
{
    return (unsigned)(key * 0x9e3779b97f4a7c15ull >> (64 - bits));
}

static inline uint64_t align_down(uint64_t v, uint64_t align)
{
    return v & ~(align - 1);
}

/* The caller makes sure that v + align does not wrap. `align` is a power of two. */
static inline uint64_t align_up(uint64_t v, uint64_t align)
{
    return (v + align - 1) & ~(align - 1);
}
