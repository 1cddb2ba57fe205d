#pragma once

#include <stddef.h>
typedef struct FILE FILE; /* of which there is none */
#define stderr       0
#define fprintf(...) ((void)0)
#define printf(...)  ((void)0)
