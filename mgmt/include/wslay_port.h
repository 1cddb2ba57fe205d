/* What wslay needs from a C library, taken from lwIP: byte order, and memory from its heap. Read
 * before each of wslay's files. */
#pragma once

#include "lwip/def.h"
#include "lwip/mem.h"
#include <stdlib.h>

#define malloc mem_malloc
#define calloc mem_calloc
#define free   mem_free
