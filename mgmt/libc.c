/* What third-party code needs from a C library, beyond hv/lib.c. */
#include "mgmt/port.h"

#include <stdlib.h>
#include <string.h>

_Noreturn void abort(void)
{
    mgmt_die("abort");
}

/* mbedTLS calls it if its arena's lists are corrupt. */
_Noreturn void exit(int status)
{
    (void)status;
    mgmt_die("exit");
}

int atoi(const char *s)
{
    return (int)strtol(s, NULL, 10);
}

/* Never called (see stdlib.h in include/): it has no memory to give. */
void *malloc(size_t n)
{
    (void)n;
    return NULL;
}

void free(void *p)
{
    (void)p;
}

long strtol(const char *s, char **end, int base)
{
    long v = 0;

    while (*s >= '0' && *s <= '9')
        v = v * base + (*s++ - '0');
    if (end)
        memcpy(end, &s, sizeof(s));
    return v;
}

void explicit_bzero(void *p, size_t n)
{
    memset(p, 0, n);
    __asm__ volatile("" ::"r"(p) : "memory");
}

char *strncpy(char *restrict dst, const char *restrict src, size_t n)
{
    size_t i = 0;

    for (; i < n && src[i]; i++)
        dst[i] = src[i];
    for (; i < n; i++)
        dst[i] = 0;
    return dst;
}

char *strchr(const char *s, int c)
{
    for (;; s++) {
        if (*s == (char)c)
            return (char *)(uintptr_t)s;
        if (!*s)
            return NULL;
    }
}

char *strstr(const char *s, const char *what)
{
    size_t n = strlen(what);

    for (; *s; s++)
        if (strncmp(s, what, n) == 0)
            return (char *)(uintptr_t)s;
    return n ? NULL : (char *)(uintptr_t)s;
}
