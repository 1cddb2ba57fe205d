#include "arch/x86/cpu/stack_check.h"

#include "hv/panic.h"

uintptr_t __stack_chk_guard;
_Noreturn void __stack_chk_fail(void);

_Noreturn void __stack_chk_fail(void)
{
    panic("a function wrote beyond its part of the stack");
}
