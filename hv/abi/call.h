/* How a guest of ours calls the root. What it can ask for: control.h. */
#pragma once

#include "hv/abi/control.h"

/* Works on every CPU: where AMD-V runs the guest, by way of #UD. */
static inline int64_t abi_vmcall(uint64_t function, uint64_t b, uint64_t c, uint64_t d)
{
    int64_t result;

    __asm__ volatile("vmcall" : "=a"(result) : "a"(function), "b"(b), "c"(c), "d"(d) : "memory");
    return result;
}

/* AMD-V's own instruction costs less than half of that there. It is #UD on VT-x. */
static inline int64_t abi_vmmcall(uint64_t function, uint64_t b, uint64_t c, uint64_t d)
{
    int64_t result;

    __asm__ volatile("vmmcall" : "=a"(result) : "a"(function), "b"(b), "c"(c), "d"(d) : "memory");
    return result;
}

/* The caller knows that the page is of its own ABI_VERSION. */
static inline int64_t abi_call_on(const struct abi_host *host, uint64_t function, uint64_t b,
                                  uint64_t c, uint64_t d)
{
    return host->state_kind == ABI_STATE_SVM ? abi_vmmcall(function, b, c, d)
                                             : abi_vmcall(function, b, c, d);
}
