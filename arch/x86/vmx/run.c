/* Enter, exit, dispatch: until the time is over or somebody else needs the core. */
#include "arch/x86/guest/vcpu_state.h"
#include "arch/x86/inspect/names.h"
#include "hv/arch.h"

/* Deadlines further away than the timer can count are reached in several entries. In units of the
 * timer. */
#define TIMER_SPAN 0x80000000ull

static enum exit_action entry_failed(struct vmx_vcpu *x)
{
    uint32_t error = (uint32_t)vmread(VMCS_VM_INSTRUCTION_ERROR);

    vcpu_stop(x->vcpu, ABI_GUEST_CRASHED, ABI_WHY_ENTRY_FAILED ": %s (error %u)",
              vmx_instruction_error_name(error), error);
    return EXIT_STOP;
}

void vmx_broken(void)
{
    panic("VMREAD or VMWRITE failed between VM exit and entry");
}

static __attribute__((noinline)) enum exit_action unusual(struct vmx_vcpu *x, uint32_t how)
{
    if (how == VMX_ENTER_FAILED)
        return entry_failed(x);
    x->vcpu->exit->outcome = vmx_on_unusual_exit(x->vcpu);
    return (enum exit_action)x->vcpu->exit->outcome;
}

static inline enum exit_action enter(struct vmx_vcpu *x, struct vcpu *v)
{
    uint32_t how = vmx_enter(v);

    return __builtin_expect(how <= EXIT_STOP, 1) ? (enum exit_action)how : unusual(x, how);
}

/*
 * The guest is in HLT. Where a timer will wake it, all that this takes is done before, so that
 * between the timer and the guest's interrupt handler there is one exit, one VMWRITE and one entry.
 */
static enum exit_action enter_halted(struct vmx_vcpu *x, struct vcpu *v, uint64_t until)
{
    struct platform *p = v->platform;
    struct irqchip_wake wake;
    enum exit_action action;
    int vector = irqchip_prepare_wake(p, v->number, until, &wake);

    /* Counted when there is time for it again. */
    if (v->wake_late != NEVER)
        abi_histogram_add(&v->stats->wake_late, v->wake_late);
    v->wake_late = NEVER;
    /* Bochs notes a vCPU that an exit took out of its HLT as active: it would go on behind it. */
    if (v->waits)
        vmwrite(VMCS_GUEST_ACTIVITY_STATE, ACTIVITY_HLT);
    action = enter(x, v);
    if (vector < 0)
        return action;
    if (v->exit->reason == VMX_EXIT_PREEMPTION_TIMER && v->exit->tsc >= wake.due) {
        vmwrite(VMCS_VM_ENTRY_INTERRUPTION_INFO,
                INTR_INFO_VALID | INTR_INFO_EXTERNAL | (uint32_t)vector);
        vmx_set_deadline(x, min_u64(until, irqchip_next_deadline(p, v->number)));
        v->halted = false;
        v->woke_at = v->exit->tsc;
        v->stats->irqs++;
        v->wake_late = v->exit->tsc - wake.due;
        return enter(x, v);
    }
    irqchip_undo_wake(p, &wake);
    return action;
}

enum vcpu_yield vmx_run(struct vcpu *v, uint64_t until)
{
    struct vmx_vcpu *x = v->backend;
    struct platform *p = v->platform;

    vmx_load(x);
    while (!v->stop) {
        uint64_t now = arch_tsc();

        if (now >= until)
            return VCPU_YIELD_SLICE;
        if (__atomic_load_n(&v->entity.requests, __ATOMIC_RELAXED))
            return VCPU_YIELD_KICK;
        if (now >= irqchip_next_deadline(p, v->number)) {
            exit_timers(v, now);
            if (irqchip_next_deadline(p, v->number) <= now)
                continue; /* more of it, unless the time is over */
        }
        if (x86_events_pending(v))
            x86_prepare_events(v, now);
        vmx_set_deadline(x, min_u64(min_u64(until, irqchip_next_deadline(p, v->number)),
                                    now + (TIMER_SPAN << x->timer_shift)));
        switch (v->halted ? enter_halted(x, v, until) : enter(x, v)) {
        case EXIT_RESUME:
        case EXIT_SKIP:
        case EXIT_DONE:
            break;
        case EXIT_HALT:
            v->halted = true;
            vmwrite(VMCS_GUEST_ACTIVITY_STATE, v->waits ? ACTIVITY_HLT : ACTIVITY_ACTIVE);
            return VCPU_YIELD_HALT;
        case EXIT_KICK:
            return VCPU_YIELD_KICK;
        case EXIT_STOP:
            return VCPU_YIELD_STOP;
        }
    }
    return VCPU_YIELD_STOP;
}
