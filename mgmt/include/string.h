/* The part of the C library that lwIP, llhttp and mbedTLS use, from hv/lib.c and mgmt/libc.c. */
#pragma once

#include "hv/lib.h"

char *strncpy(char *restrict dst, const char *restrict src, size_t n);
char *strchr(const char *s, int c);
char *strstr(const char *s, const char *what);
/* A memset() that compilers do not remove: for secrets. */
void explicit_bzero(void *p, size_t n);
