/* A broken invariant of the host. Guests can never cause one (DESIGN.md, decision 4). */
#pragma once

#include "hv/types.h"

/* Stops all cores, prints the reason, registers and stack on serial and screen, then halts. Any
 * core, any context. Implemented by the architecture. Host builds: prints and aborts. */
_Noreturn void panic(const char *format, ...) PRINTF(1, 2);

/* Active in release builds too. The condition has no side effects. */
#define ASSERT(cond)                                                                               \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            panic("assertion failed: %s (%s:%d)", #cond, __FILE__, __LINE__);                      \
    } while (0)
