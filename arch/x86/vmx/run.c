/* Enter, exit, dispatch: until the time is over or somebody else needs the core. */
#include "arch/x86/cpu/regs.h"
#include "arch/x86/inspect/names.h"
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"
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

/* The next place in the flight recorder: its ring is aligned to twice its size. */
static inline struct abi_exit *next_exit(const struct vcpu *v)
{
    return (struct abi_exit *)((uintptr_t)(v->exit + 1) & ~(ABI_EXITS * sizeof(struct abi_exit)));
}

/* `make bench` measures the recorder against a kernel without it. What handlers go by is in the
 * record all the same. */
#ifdef VMX_UNRECORDED
enum { RECORDED = false };
#else
enum { RECORDED = true };
#endif

/* Handlers whose reason defines a qualification or a detail add it; entry_tsc is written by the
 * next entry, until when it is older than `tsc`. Outcomes other than the commonest are noted later.
 */
static inline void record(struct vcpu *v, uint32_t reason, uint32_t basic, uint64_t now)
{
    struct abi_vcpu *s = v->stats;
    struct abi_exit *e = RECORDED ? next_exit(v) : v->exit;

    e->tsc = now;
    e->rip = vmread(VMCS_GUEST_RIP);
    e->reason = reason;
    if (!RECORDED)
        return;
    v->exit = e;
    s->entries++;
    s->exits[basic]++;
    e->outcome = ABI_OUTCOME_SKIP;
}

static inline void no_details(const struct vcpu *v)
{
    if (!RECORDED)
        return;
    v->exit->qualification = 0;
    v->exit->detail = 0;
    v->exit->instruction_length = 0;
}

static inline enum exit_action general_exit(struct vmx_vcpu *x, uint32_t reason, uint64_t now)
{
    enum exit_action action;

    x->vcpu->platform->clock.now = now;
    no_details(x->vcpu);
    action = vmx_handle_exit(x, reason);
    x->vcpu->exit->outcome = action;
    return action;
}

/* Neither a reason that the table knows nor an exit that was counted by its number. */
static enum exit_action unusual_exit(struct vmx_vcpu *x, uint32_t reason, uint64_t now)
{
    uint32_t basic = reason & VMX_EXIT_BASIC_MASK;

    if (reason == VMX_ENTER_FAILED)
        return entry_failed(x);
    record(x->vcpu, reason, basic < ABI_EXIT_REASONS ? basic : ABI_EXIT_REASONS - 1, now);
    return general_exit(x, reason, now);
}

/* The end of an instruction with TF or RF set. RF ends with it (SDM 3B "Resume Flag"): exits that
 * an instruction causes save it clear, an EPT violation saves it set (SDM 3C "Saving RIP, RSP,
 * RFLAGS, and SSP"). */
static __attribute__((noinline)) void end_of_step(uint64_t flags)
{
    if (flags & RFLAGS_RF)
        vmwrite(VMCS_GUEST_RFLAGS, flags & ~RFLAGS_RF);
    if (vmx_steps(flags))
        vmwrite(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS,
                vmread(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS) | PENDING_DEBUG_BS);
}

/* The instruction that exited is done: its shadow ends, and a single step is due. The only place
 * where the guest's RIP moves (but for CPUID, which enter.asm answers by the same rules). */
static inline void skip(const struct vcpu *v)
{
    uint64_t blocking = vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE);
    uint64_t length = vmread(VMCS_VM_EXIT_INSTRUCTION_LENGTH), flags;
    struct abi_exit *e = v->exit;

    e->instruction_length = length;
    vmwrite(VMCS_GUEST_RIP, e->rip + length);
    if (__builtin_expect(blocking & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS), 0))
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY_STATE,
                blocking & ~(uint64_t)(BLOCKING_BY_STI | BLOCKING_BY_MOV_SS));
    flags = vmread(VMCS_GUEST_RFLAGS);
    if (__builtin_expect(flags & (RFLAGS_TF | RFLAGS_RF), 0))
        end_of_step(flags);
}

/* Entries and exits until something is due, or an exit wants more than going on. Not inlined: it
 * wants all registers for itself. */
static __attribute__((noinline)) enum exit_action enter_until(struct vmx_vcpu *x, struct vcpu *v)
{
    for (;;) {
        uint32_t reason = vmx_enter(v);
        uint64_t now;
        enum exit_action action;

        now = arch_tsc();
        /* The most frequent one does not go by the table. */
        if (__builtin_expect(reason == VMX_EXIT_IO_INSTRUCTION, 1)) {
            record(v, VMX_EXIT_IO_INSTRUCTION, VMX_EXIT_IO_INSTRUCTION, now);
            action = vmx_on_io(v);
            if (action != EXIT_SKIP)
                v->exit->outcome = action;
        } else if (reason == VMX_EXIT_PREEMPTION_TIMER) {
            record(v, VMX_EXIT_PREEMPTION_TIMER, VMX_EXIT_PREEMPTION_TIMER, now);
            no_details(v);
            v->exit->outcome = EXIT_RESUME;
            return EXIT_RESUME;
        } else if (__builtin_expect(reason < ABI_EXIT_REASONS, 1)) {
            record(v, reason, reason, now);
            action = general_exit(x, reason, now);
        } else {
            return unusual_exit(x, reason, now);
        }
        if (action != EXIT_SKIP)
            return action;
        skip(v);
        if (now >= x->deadline || __atomic_load_n(&v->requests, __ATOMIC_RELAXED))
            return EXIT_RESUME;
    }
}

/*
 * The guest is in HLT. Where the PIT will wake it, all that this takes is done before, so that
 * between the timer and the guest's interrupt handler there is one exit, one VMWRITE and one entry.
 */
static enum exit_action enter_halted(struct vmx_vcpu *x, struct vcpu *v, uint64_t until)
{
    struct platform *p = v->platform;
    struct platform_wake wake;
    uint32_t reason;
    uint64_t now;
    int vector = pit_deadline(&p->pit) < until ? platform_wake_prepare(p, &wake) : -1;

    /* Counted when there is time for it again. */
    if (v->wake_late != NEVER)
        abi_histogram_add(&v->stats->wake_late, v->wake_late);
    v->wake_late = NEVER;
    /* Bochs notes a vCPU that an exit took out of its HLT as active: it would go on behind it. */
    if (v->waits)
        vmwrite(VMCS_GUEST_ACTIVITY_STATE, ACTIVITY_HLT);
    if (vector < 0)
        return enter_until(x, v);
    reason = vmx_enter(v);
    now = arch_tsc();
    if (reason == VMX_EXIT_PREEMPTION_TIMER && now >= wake.due) {
        vmwrite(VMCS_VM_ENTRY_INTERRUPTION_INFO,
                INTR_INFO_VALID | INTR_INFO_EXTERNAL | (uint32_t)vector);
        x->deadline = min_u64(until, p->next_event);
        v->halted = false;
        v->woke_at = now;
        v->stats->irqs++;
        v->wake_late = now - wake.due;
        record(v, VMX_EXIT_PREEMPTION_TIMER, VMX_EXIT_PREEMPTION_TIMER, now);
        no_details(v);
        v->exit->outcome = EXIT_RESUME;
        return enter_until(x, v);
    }
    platform_wake_undo(p, &wake);
    if (reason >= ABI_EXIT_REASONS)
        return unusual_exit(x, reason, now);
    record(v, reason, reason, now);
    return general_exit(x, reason, now);
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
        if (__atomic_load_n(&v->requests, __ATOMIC_RELAXED))
            return VCPU_YIELD_KICK;
        if (now >= p->next_event) {
            p->clock.now = now;
            platform_timers(p);
            if (p->next_event <= now)
                continue; /* more of it, unless the time is over */
        }
        if (vmx_events_pending(x))
            vmx_prepare_events(x, now);
        x->deadline = min_u64(min_u64(until, p->next_event), now + (TIMER_SPAN << x->timer_shift));
        switch (v->halted ? enter_halted(x, v, until) : enter_until(x, v)) {
        case EXIT_RESUME:
            break;
        case EXIT_SKIP:
        case EXIT_DONE:
            skip(v);
            break;
        case EXIT_HALT:
            skip(v);
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
