#pragma once

#include <stddef.h>
typedef struct FILE FILE; /* there are no files */
#define stderr       0
#define fprintf(...) ((void)0)
#define printf(...)  ((void)0)
