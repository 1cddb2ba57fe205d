/* lwIP as the management guest configures it, except that its heap is the C library's, which the
 * sanitizers watch. */
#pragma once

#include "mgmt/include/lwipopts.h"

#define MEM_LIBC_MALLOC 1
