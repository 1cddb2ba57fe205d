/*
 * Hardware task switches, which always exit. SDM 3A "Task Management", SDM 3C "Treatment of Task
 * Switches": the CPU has checked the gate and the new TSS descriptor by then. Owning core, inside
 * an exit; uses vcpu_state.h.
 */
#pragma once

#include "arch/x86/guest/vcpu.h"

/* As in VT-x's exit qualification. */
enum task_source { TASK_CALL, TASK_IRET, TASK_JMP, TASK_GATE /* in the IDT */ };

struct task_switch {
    enum task_source by;
    uint16_t selector;     /* of the new TSS */
    uint32_t event, error; /* TASK_GATE: what is being delivered (EVENT_*), and its error code */
    uint32_t length;       /* of the instruction, if one caused it; otherwise 0 */
};

/* Completes the switch, or raises what it faults with, in the old task or in the new one. */
enum exit_action x86_task_switch(struct vcpu *v, const struct task_switch *t);
