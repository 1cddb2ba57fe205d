#include "arch/x86/cpu/stack.h"

#define STACK_SIZE 16384u
#define KEPT       6u /* registers that arch_stack_switch() (stack_switch.asm) pushes */

static struct {
    uint8_t guard[PAGE_SIZE];
    uint8_t stack[STACK_SIZE];
} stacks[ARCH_STACKS] __attribute__((aligned(4096)));

void *stack_guard(unsigned n)
{
    return stacks[n].guard;
}

/* The new stack holds the registers, the address of entry() to return to, and no return address for
 * entry() itself. */
uintptr_t arch_stack_begin(unsigned n, void (*entry)(void))
{
    uintptr_t *top = (uintptr_t *)(void *)(stacks[n].stack + STACK_SIZE);

    for (unsigned i = 1; i <= KEPT + 2; i++)
        top[-(int)i] = 0;
    top[-2] = (uintptr_t)entry;
    return (uintptr_t)(top - (KEPT + 2));
}
