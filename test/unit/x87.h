/* The x87 control word: a register that tells whose FPU state is loaded. */
#pragma once

#include <stdint.h>

static inline uint16_t x87_control(void)
{
    uint16_t value;

    __asm__ volatile("fnstcw %0" : "=m"(value));
    return value;
}

static inline void set_x87_control(uint16_t value)
{
    __asm__ volatile("fldcw %0" ::"m"(value));
}
