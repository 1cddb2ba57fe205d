/*
 * The few C library functions that the root uses. Freestanding builds take them from hv/lib.c, host
 * builds (unit tests, fuzzers, tools) from the C library: the prototypes are the standard's.
 */
#pragma once

#include "hv/types.h"

#if __STDC_HOSTED__
#include <string.h>
#else
void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
/* The compiler copies and clears small things in place. */
#define memcpy(dst, src, n)  __builtin_memcpy(dst, src, n)
#define memset(dst, byte, n) __builtin_memset(dst, byte, n)
#endif

/* Zeroes secrets: unlike memset(), even if the memory is never read again. */
void memzero_explicit(void *p, size_t n);

/* Little-endian numbers in bytes, aligned or not. (All that this is built for is little-endian.) */
static inline uint16_t get_le16(const void *at)
{
    uint16_t v;

    memcpy(&v, at, sizeof(v));
    return v;
}

static inline uint32_t get_le32(const void *at)
{
    uint32_t v;

    memcpy(&v, at, sizeof(v));
    return v;
}

static inline uint64_t get_le64(const void *at)
{
    uint64_t v;

    memcpy(&v, at, sizeof(v));
    return v;
}

static inline void put_le16(void *at, uint16_t v)
{
    memcpy(at, &v, sizeof(v));
}

static inline void put_le32(void *at, uint32_t v)
{
    memcpy(at, &v, sizeof(v));
}

static inline void put_le64(void *at, uint64_t v)
{
    memcpy(at, &v, sizeof(v));
}

/* Copies into a ring of `size` bytes, a power of two, from its byte number `at` on, and out of it.
 * n <= size. */
static inline void ring_write(void *ring, size_t size, uint64_t at, const void *bytes, size_t n)
{
    size_t offset = at & (size - 1), first = n < size - offset ? n : size - offset;

    memcpy((uint8_t *)ring + offset, bytes, first);
    memcpy(ring, (const uint8_t *)bytes + first, n - first);
}

static inline void ring_read(const void *ring, size_t size, uint64_t at, void *bytes, size_t n)
{
    size_t offset = at & (size - 1), first = n < size - offset ? n : size - offset;

    memcpy(bytes, (const uint8_t *)ring + offset, first);
    memcpy((uint8_t *)bytes + first, ring, n - first);
}

static inline bool bytes_are_zero(const uint8_t *bytes, size_t n)
{
    while (n && !bytes[n - 1])
        n--;
    return n == 0;
}

/* Copies at most size - 1 bytes and always terminates. False if `src` was cut. size > 0. */
bool str_copy(char *dst, size_t size, const char *src);

/* True if `s` is one or more printable characters without blanks, with a NUL within `size` bytes: a
 * foreign name can go into the log without imitating another line. */
static inline bool str_is_word(const char *s, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (!s[i])
            return i > 0;
        if (s[i] <= ' ' || s[i] >= 0x7f)
            return false;
    }
    return false;
}
