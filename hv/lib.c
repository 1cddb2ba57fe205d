#include "hv/lib.h"

#include "hv/job.h"

#if !__STDC_HOSTED__
/* `rep` string instructions: fast on every CPU with ERMS, small everywhere, and the compiler cannot
 * turn them back into calls of themselves. */
void *(memcpy)(void *restrict dst, const void *restrict src, size_t n)
{
    void *d = dst;

    /* Loading an image is one long copy in the root: quadwords take an eighth of the time. TLS also
     * copies large numbers, made of quadwords. */
    if (n >= 16) {
        size_t quads = n / 8;

        n &= 7;
        __asm__ volatile("rep movsq" : "+D"(d), "+S"(src), "+c"(quads)::"memory");
        if (n == 0)
            return dst;
    }
    __asm__ volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(n)::"memory");
    return dst;
}

void *memmove(void *dst, const void *src, size_t n)
{
    unsigned char *d = dst;
    const unsigned char *s = src;

    if ((uintptr_t)d - (uintptr_t)s >= n)
        return memcpy(dst, src, n);
    /* From the end. The memory map moves its ranges like this while others wait. */
    for (; n % sizeof(uint64_t); n--)
        d[n - 1] = s[n - 1];
    if (n) {
        d += n - sizeof(uint64_t);
        s += n - sizeof(uint64_t);
        n /= sizeof(uint64_t);
        __asm__ volatile("std; rep movsq; cld" : "+D"(d), "+S"(s), "+c"(n)::"memory", "cc");
    }
    return dst;
}

void *(memset)(void *dst, int byte, size_t n)
{
    void *d = dst;

    /* Whole quadwords first: clearing guest memory is the longest thing done at start-up. */
    if (((uintptr_t)dst & 7) == 0 && n >= 16) {
        uint64_t pattern = 0x0101010101010101ull * (uint8_t)byte;
        size_t quads = n / 8;

        n &= 7;
        __asm__ volatile("rep stosq" : "+D"(d), "+c"(quads) : "a"(pattern) : "memory");
        if (n == 0)
            return dst;
    }
    __asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(byte) : "memory");
    return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *x = a, *y = b;

    for (size_t i = 0; i < n; i++)
        if (x[i] != y[i])
            return x[i] - y[i];
    return 0;
}

/* Command lines are long: one instruction per byte, not four. */
size_t strlen(const char *s)
{
    const char *end = s;
    size_t left = SIZE_MAX;

    __asm__ volatile("repne scasb" : "+D"(end), "+c"(left) : "a"(0) : "cc", "memory");
    return (size_t)(end - s) - 1;
}

int strncmp(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char x = (unsigned char)a[i], y = (unsigned char)b[i];

        if (x != y || x == 0)
            return x - y;
    }
    return 0;
}

int strcmp(const char *a, const char *b)
{
    return strncmp(a, b, SIZE_MAX);
}
#endif

void memzero_explicit(void *p, size_t n)
{
    memset(p, 0, n);
    /* The compiler must assume that memory is read here, so it cannot drop the stores. */
    __asm__ volatile("" ::"r"(p) : "memory");
}

bool str_copy(char *dst, size_t size, const char *src)
{
    size_t n = strlen(src);
    bool fits = n < size;

    if (!fits)
        n = size - 1;
    memcpy(dst, src, n);
    dst[n] = 0;
    return fits;
}

/* hv/job.c overrides this in programs that include it. */
__attribute__((weak)) void job_rest(void)
{
}

void job_copy(void *dst, const void *src, size_t n)
{
    uint8_t *d = dst;
    const uint8_t *s = src;

    while (n > 0) {
        size_t part = min_u64(n, PAGE_SIZE);

        memcpy(d, s, part);
        d += part;
        s += part;
        n -= part;
        job_rest();
    }
}

void job_clear(void *p, size_t n)
{
    uint8_t *d = p;

    while (n > 0) {
        size_t part = min_u64(n, PAGE_SIZE);

        memset(d, 0, part);
        d += part;
        n -= part;
        job_rest();
    }
}
