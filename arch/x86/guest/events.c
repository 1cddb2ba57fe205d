/* Events on their way into the guest. SDM 3A "Interrupt and Exception Handling", SDM 3C "Event
 * Injection", "Information for VM Exits That Occur During Event Delivery". */
#include "arch/x86/guest/vcpu_state.h"

#define DR6_REPORTED    (DR6_BT | DR6_BS | DR6_BD | DR6_B)
#define DEBUGCTL_CLEARS (DEBUGCTL_LBR | DEBUGCTL_BTF)

/* An interrupt ends HLT: the entry itself makes the vCPU active when it injects one. */
static inline void leave_halt(struct vcpu *v, uint64_t now)
{
    if (!v->halted)
        return;
    vcpu_leave_halt(v);
    v->woke_at = now;
}

/* Any other event ends it too, but few of them may be injected into activity state HLT: SDM 3C
 * "Checks on Guest Non-Register State". A running vCPU is not halted: v->halted must never stay
 * set. */
void x86_leave_halt(struct vcpu *v)
{
    if (!v->halted)
        return;
    leave_halt(v, v->exit->tsc);
    vcpu_set_halt(v, false);
}

void x86_inject_exception(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error)
{
    uint32_t event = EVENT_VALID | EVENT_EXCEPTION | vector;

    x86_leave_halt(v);
    /* In real-address mode exceptions push no error code, and VM entry requires that. */
    if (has_error && (vcpu_get_cr0(v) & CR0_PE)) {
        event |= EVENT_ERROR_CODE;
        vcpu_inject_error(v, error);
    }
    /* The fault ends the instruction's shadow; with TF set, VM entry would otherwise fail. */
    vcpu_end_shadow(v);
    vcpu_inject(v, event);
}

/* What a debug exception does to the debug registers before its delivery: SDM 3B "Debug Registers".
 */
static void note_debug_exception(struct vcpu *v, uint64_t conditions)
{
    /* Each new #DB clears B3..B0, and leaves the rest to the guest. */
    vcpu_set_dr(v, 6, (vcpu_get_dr(v, 6) & ~DR6_B) | (conditions & DR6_REPORTED));
    vcpu_set_dr7(v, vcpu_get_dr7(v) & ~DR7_GD);
    vcpu_set_debugctl(v, vcpu_get_debugctl(v) & ~DEBUGCTL_CLEARS);
}

/* The exceptions that push an error code. SDM 3A "Exception and Interrupt Reference". */
static bool has_error_code(uint8_t vector)
{
    return vector == VECTOR_AC || vector == VECTOR_DF ||
           (vector >= VECTOR_TS && vector <= VECTOR_PF);
}

/* SDM 3A "Resume Flag": set in the image of a fault, so that a breakpoint on the instruction does
 * not come twice. */
enum exit_action x86_raise_fault(struct vcpu *v, const struct guest_fault *f)
{
    if (f->vector == VECTOR_PF)
        vcpu_set_cr2(v, f->address);
    vcpu_set_rflags(v, vcpu_get_rflags(v) | RFLAGS_RF);
    x86_inject_exception(v, f->vector, has_error_code(f->vector), f->error);
    return EXIT_RESUME;
}

/* SDM 3A "Double Fault Exception". */
static bool is_contributory(uint8_t vector)
{
    return vector == VECTOR_DE || (vector >= VECTOR_TS && vector <= VECTOR_GP);
}

enum exit_action x86_raise_during(struct vcpu *v, uint32_t event, const struct guest_fault *f)
{
    const uint32_t exception = EVENT_VALID | EVENT_EXCEPTION;
    uint8_t first = event & EVENT_VECTOR;
    bool second = is_contributory(f->vector);

    if ((event & (EVENT_VALID | EVENT_TYPE)) != exception)
        return x86_raise_fault(v, f);
    if (first == VECTOR_DF && (second || f->vector == VECTOR_PF))
        return x86_crash(v, "triple fault");
    if ((second && (is_contributory(first) || first == VECTOR_PF)) ||
        (f->vector == VECTOR_PF && first == VECTOR_PF))
        return x86_raise_fault(v, &(struct guest_fault){.vector = VECTOR_DF});
    return x86_raise_fault(v, f);
}

enum exit_action x86_trap_db(struct vcpu *v, uint64_t conditions)
{
    note_debug_exception(v, conditions);
    x86_inject_exception(v, VECTOR_DB, false, 0);
    return EXIT_RESUME;
}

enum exit_action x86_raise_db(struct vcpu *v, uint64_t conditions)
{
    note_debug_exception(v, conditions);
    return x86_raise_fault(v, &(struct guest_fault){.vector = VECTOR_DB});
}

/* Only benign exceptions come here (#DB and #AC), so an event that they interrupted is delivered
 * after them unless it repeats by itself (SDM 3A "Double Fault Exception": "handle exceptions
 * serially"). */
enum exit_action x86_reflect_exception(struct vcpu *v, uint32_t event, uint32_t error,
                                       uint64_t conditions)
{
    struct x86_vcpu *x = vcpu_x86(v);
    uint32_t type = x->reinject & EVENT_TYPE;
    uint8_t vector = event & EVENT_VECTOR;

    if (type != EVENT_EXTERNAL && type != EVENT_NMI)
        x->reinject = 0; /* the instruction that caused it will do so again */
    if (vector == VECTOR_DB)
        note_debug_exception(v, conditions);
    x86_inject_exception(v, vector, event & EVENT_ERROR_CODE, error);
    return EXIT_RESUME;
}

void x86_note_vectoring(struct vcpu *v, uint32_t event, uint32_t error, uint32_t length)
{
    struct x86_vcpu *x = vcpu_x86(v);

    if (!(event & EVENT_VALID))
        return;
    x->reinject = event & (EVENT_VALID | EVENT_ERROR_CODE | EVENT_TYPE | EVENT_VECTOR);
    x->reinject_error = error;
    x->reinject_length = length;
}

static ALWAYS_INLINE bool can_take_irq(const struct vcpu *v)
{
    return (vcpu_get_rflags(v) & RFLAGS_IF) && !vcpu_in_shadow(v);
}

static bool can_take_nmi(const struct vcpu *v)
{
    return !vcpu_in_shadow(v) && !vcpu_nmi_blocked(v);
}

/* The event that an exit interrupted must not be lost: it is delivered before anything new. */
static bool inject_again(struct vcpu *v)
{
    struct x86_vcpu *x = vcpu_x86(v);
    uint32_t type = x->reinject & EVENT_TYPE;

    if (type == EVENT_EXTERNAL && !can_take_irq(v))
        return false;
    x86_leave_halt(v);
    /* The first attempt already blocked NMIs; with virtual NMIs, VM entry would otherwise fail. */
    if (type == EVENT_NMI)
        vcpu_block_nmi(v, false);
    if (x->reinject & EVENT_ERROR_CODE)
        vcpu_inject_error(v, x->reinject_error);
    vcpu_inject_length(v, x->reinject_length);
    vcpu_inject(v, x->reinject);
    x->reinject = 0;
    return true;
}

/* The CPU delivers the local APIC's interrupts. In HLT it does not (Bochs), so one that can be
 * delivered makes the vCPU active. */
static void hand_over(struct vcpu *v, uint64_t now)
{
    bool comes = irqchip_look(v->platform, v->number);

    vcpu_sync_apic(v);
    if (!comes || !v->platform->lapic[v->number].by_cpu)
        return;
    v->stats->irqs++;
    if (!v->halted || !can_take_irq(v))
        return;
    leave_halt(v, now);
    vcpu_set_halt(v, false);
}

/* The interrupts that wait in a local APIC that the CPU works on: 0, 1, or more. A loop of few
 * steps: each IPI comes here. */
static unsigned count_waiting(const struct lapic *l)
{
    uint64_t any = 0, sum = 0;

    if (!l->by_cpu)
        return 0;
#pragma GCC unroll 8
    for (unsigned at = LAPIC_IRR; at < LAPIC_ESR; at += 16) {
        any |= lapic_reg(l, at);
        sum += lapic_reg(l, at);
    }
    return !any ? 0 : (any & (any - 1)) || sum != any ? 2 : 1;
}

/* The CPU must not recognize an interrupt while the guest has interrupts off: Bochs (2.7, 3.0)
 * delivers it as soon as the core itself is interrupted, whatever the guest's IF. So interrupts
 * that wait at such an entry wait for the window, with which the CPU recognizes none. Of several
 * the root injects the first: otherwise the CPU would recognize the next one at the EOI, in a
 * handler that has interrupts off. True: the window is needed. */
static bool wait_for_window(struct vcpu *v, bool busy)
{
    struct lapic *l = &v->platform->lapic[v->number];
    unsigned waiting = count_waiting(l);

    if (waiting == 0)
        return false;
    if (!can_take_irq(v) || vcpu_injects(v))
        return true;
    if (waiting == 1 || busy)
        return false;
    (void)lapic_update(l);
    if (*l->signals & LAPIC_INTERRUPT)
        vcpu_inject(v, EVENT_VALID | EVENT_EXTERNAL | lapic_ack(l));
    vcpu_sync_apic(v);
    return vcpu_injects(v);
}

void x86_prepare_events(struct vcpu *v, uint64_t now)
{
    const struct x86_vcpu *x = vcpu_x86(v);
    struct platform *p = v->platform;
    /* One event per entry: an exception that a handler has queued goes first. */
    bool busy = vcpu_injects(v), window;

    if (p->signals[v->number] && p->lapic[v->number].apicv)
        hand_over(v, now);
    if (__builtin_expect(x->reinject != 0, 0) && !busy)
        busy = inject_again(v);
    /* The trap of the last instruction comes before NMIs and interrupts (SDM 3A "Priority Among
     * Concurrent Events"), and an entry that injects one of those would lose it (SDM 3C "Delivery
     * of Pending Debug Exceptions after VM Entry"): they wait for their window. */
    busy = busy || vcpu_trap_is_due(v);
    if (__builtin_expect(v->nmi, 0) && !busy && !x->reinject && can_take_nmi(v)) {
        vcpu_inject(v, EVENT_VALID | EVENT_NMI | VECTOR_NMI);
        v->nmi = false;
        leave_halt(v, now);
        busy = true;
    }
    if (irqchip_pending(p, v->number) && !busy && !x->reinject && can_take_irq(v)) {
        vcpu_inject(v, EVENT_VALID | EVENT_EXTERNAL | irqchip_ack(p, v->number));
        v->stats->irqs++;
        leave_halt(v, now);
        if (p->signals[v->number] & LAPIC_CHANGED) /* it was posted after hand_over() */
            vcpu_sync_apic(v);
    }
    window = wait_for_window(v, busy || x->reinject);
    vcpu_set_windows(v, window || irqchip_pending(p, v->number) || x->reinject, v->nmi);
}

bool x86_timer_by_cpu(struct vcpu *v, uint64_t now)
{
    struct platform *p = v->platform;
    struct lapic *l = &p->lapic[v->number];
    int vector;

    if (!l->by_cpu || now < l->deadline ||
        now >= __atomic_load_n(&p->next_event, __ATOMIC_RELAXED) || v->halted ||
        x86_events_pending(v) || vcpu_injects(v) || vcpu_apic_waits(v))
        return false;
    vector = lapic_timer_by_cpu(l, now);
    if (vector < 0)
        return false;
    vcpu_request_vector(v, (uint8_t)vector);
    if (!can_take_irq(v)) /* see wait_for_window() */
        vcpu_set_windows(v, true, false);
    v->stats->irqs++;
    return true;
}

/* RF ends with the instruction (SDM 3B "Resume Flag"): an exit caused by an instruction saves it as
 * 0, an EPT violation saves it as 1 (SDM 3C "Saving RIP, RSP, RFLAGS, and SSP"). */
void x86_end_of_instruction(struct vcpu *v)
{
    uint64_t flags = vcpu_get_rflags(v);
    uint16_t port;
    unsigned size;

    vcpu_end_shadow(v);
    if (flags & RFLAGS_RF)
        vcpu_set_rflags(v, flags & ~RFLAGS_RF);
    if (x86_steps(v, flags))
        vcpu_set_trap_due(v, DR6_BS);
    if (vcpu_exit_port(v, &port, &size))
        x86_watch_port(v, port, size);
}
