/* A call of the management guest, as its instruction would make it. */
#pragma once

#include "hv/exit.h"

#define CONTROL_LATER INT64_MIN /* it must be executed again */

/* The result; the registers stay as they are. */
static inline int64_t control_call(struct vcpu *v)
{
    uint64_t rax = v->regs.rax, result;
    enum exit_action action = exit_hypercall(v);

    result = v->regs.rax;
    v->regs.rax = rax;
    return action == EXIT_RESUME ? CONTROL_LATER : (int64_t)result;
}
