/* Runs a vCPU until its time is over or the core is wanted. */
#include "arch/x86/guest/vcpu_state.h"
#include "hv/arch.h"
#include "hv/virt.h"

/*
 * The guest is in HLT. If a timer will wake it, prepares everything in advance, so that between the
 * timer and the guest's interrupt handler there is one exit and one entry.
 */
static enum exit_action enter_halted(struct vcpu *v)
{
    struct platform *p = v->platform;
    struct irqchip_wake wake;
    enum exit_action action;
    int vector = irqchip_prepare_wake(p, v->number, v->until, &wake);
    if (vector >= 0 && p->lapic[v->number].by_cpu)
        vcpu_sync_apic(v);
    /* Whoever makes it earlier kicks this core. */
    uint64_t next = min_u64(v->until, irqchip_next_deadline(p, v->number));

    /* Counted when there is time for it again. */
    if (v->wake_late != NEVER)
        abi_histogram_add(&v->stats->wake_late, v->wake_late);
    v->wake_late = NEVER;
    /* Bochs saves a vCPU that an exit took out of HLT as active: it would continue after the HLT.
     */
    if (v->waits)
        vcpu_set_halt(v, true);
    action = vcpu_enter(v);
    if (vector < 0)
        return action;
    if (vcpu_deadline_came(v) && v->exit->tsc >= wake.due) {
        vcpu_inject(v, EVENT_VALID | EVENT_EXTERNAL | (uint32_t)vector);
        vcpu_set_deadline(v, next, v->exit->tsc);
        vcpu_leave_halt(v);
        v->woke_at = v->exit->tsc;
        v->stats->irqs++;
        v->wake_late = v->exit->tsc - wake.due;
        return vcpu_enter(v);
    }
    irqchip_undo_wake(p, v->number, &wake);
    return action;
}

/* Another vCPU has posted an interrupt, or its run ends earlier: the loop looks at it next, after
 * the request is gone. */
static bool only_an_event(struct vcpu *v)
{
    const uint32_t events = VCPU_REQ_EVENT | VCPU_REQ_UNTIL;

    if (__atomic_load_n(&v->entity.requests, __ATOMIC_RELAXED) & ~events)
        return false;
    __atomic_fetch_and(&v->entity.requests, ~events, __ATOMIC_SEQ_CST);
    return true;
}

/* The run is about to end. False: at once. A stretched one (hv/sched.h) closes again and again, as
 * often as its slices would end, because what the root does in an exit delays those that kick this
 * core: then it must first have been in the guest. */
static bool goes_on(struct vcpu *v, uint64_t now)
{
    if (v->closes == run_closes(v->until))
        return true;
    if (v->exit->tsc < v->closes)
        return false;
    v->closes = run_closes(min_u64(v->until, now + v->entity.sched.params.slice));
    return true;
}

bool x86_deadline_came(struct vcpu *v)
{
    uint64_t now = v->exit->tsc, next;

    if (now >= v->closes && (now >= v->until || !goes_on(v, now) || now >= v->closes))
        return false;
    if (!x86_timer_by_cpu(v, now))
        return false;
    next = irqchip_next_deadline(v->platform, v->number);
    vcpu_set_deadline(v, min_u64(v->until, next), now);
    return true;
}

enum vcpu_yield x86_run(struct vcpu *v, uint64_t until)
{
    struct platform *p = v->platform;

    v->until = until;
    vcpu_load(v);
    while (!v->stop) {
        uint64_t now = arch_tsc(), next;

        if (__builtin_expect(now >= v->closes, 0) && (now >= v->until || !goes_on(v, now)))
            return VCPU_YIELD_SLICE;
        if (__builtin_expect(__atomic_load_n(&v->entity.requests, __ATOMIC_RELAXED), 0) &&
            !only_an_event(v))
            return VCPU_YIELD_KICK;
        next = irqchip_next_deadline(p, v->number); /* whoever makes it earlier kicks this core */
        if (now >= next) {
            if (now >= v->closes)
                return VCPU_YIELD_SLICE;
            if (!x86_timer_by_cpu(v, now))
                exit_timers(v, now);
            next = irqchip_next_deadline(p, v->number);
            if (next <= now)
                continue; /* more of it, unless the time is over */
        }
        if (x86_events_pending(v))
            x86_prepare_events(v, now);
        vcpu_set_deadline(v, min_u64(v->until, next), now);
        switch (v->halted ? enter_halted(v) : vcpu_enter(v)) {
        case EXIT_RESUME:
        case EXIT_SKIP:
        case EXIT_DONE:
        case EXIT_DECODED: /* the backend gives these two as EXIT_SKIP and EXIT_DONE */
        case EXIT_SKIP_DECODED:
        case EXIT_DONE_DECODED:
            break;
        case EXIT_HALT:
            v->halted = true;
            vcpu_set_halt(v, v->waits);
            return VCPU_YIELD_HALT;
        case EXIT_KICK:
            if (v->spins || exit_core_is_wanted(v))
                return VCPU_YIELD_KICK;
            break;
        case EXIT_STOP:
            return VCPU_YIELD_STOP;
        }
    }
    return VCPU_YIELD_STOP;
}
