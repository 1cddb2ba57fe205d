#pragma once

#include <stddef.h>

int atoi(const char *s);
long strtol(const char *s, char **end, int base);
/* Never called: everything is static. Declared for llhttp's convenience API. */
void *malloc(size_t n);
void free(void *p);
_Noreturn void abort(void);
_Noreturn void exit(int status);
