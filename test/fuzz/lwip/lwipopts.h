/* lwIP as the management guest has it; what comes from its heap is the C library's, which the
 * sanitizers watch. */
#pragma once

#include "mgmt/include/lwipopts.h"

#define MEM_LIBC_MALLOC 1
