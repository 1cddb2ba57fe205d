/* The instructions that reach I/O ports (SDM 2 "IN", "OUT"). Depends on nothing else here: guests
 * use it too (iso/sdk/). */
#pragma once

#include <stdint.h>

#define DEFINE_IO(suffix, type)                                                                    \
    static inline void out##suffix(uint16_t port, type v)                                          \
    {                                                                                              \
        __asm__ volatile("out" #suffix " %0, %1" ::"a"(v), "Nd"(port));                            \
    }                                                                                              \
    static inline type in##suffix(uint16_t port)                                                   \
    {                                                                                              \
        type v;                                                                                    \
                                                                                                   \
        __asm__ volatile("in" #suffix " %1, %0" : "=a"(v) : "Nd"(port));                           \
        return v;                                                                                  \
    }

DEFINE_IO(b, uint8_t)
DEFINE_IO(w, uint16_t)
DEFINE_IO(l, uint32_t)
