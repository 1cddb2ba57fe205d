/* The C library's part that lwIP and llhttp use, from hv/lib.c. */
#pragma once

#include "hv/lib.h"
