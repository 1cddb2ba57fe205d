/* The guest's accesses to its local APIC. SDM 3A "Advanced Programmable Interrupt Controller
 * (APIC)". */
#include "arch/x86/guest/vcpu_state.h"
#include "hv/arch.h"

#define TPR_CLASS_SHIFT 4
/* What a guest without a local APIC reads: no EN. Some look for the boot processor's flag. */
#define NO_APIC_BASE    (LAPIC_BASE | LAPIC_BASE_BSP)

static struct lapic *lapic_of(const struct vcpu *v)
{
    return irqchip_lapic(v->platform, v->number);
}

bool x86_apic_read(struct vcpu *v, uint32_t msr, uint64_t *value)
{
    struct lapic *l = lapic_of(v);
    uint64_t now = v->exit->tsc;

    switch (msr) {
    case MSR_IA32_APIC_BASE:
        *value = l ? l->base : NO_APIC_BASE;
        return true;
    case MSR_IA32_TSC_DEADLINE:
        if (!l)
            return false;
        irqchip_timers(v->platform, v->number, now);
        *value = l->tsc_deadline;
        return true;
    default:
        return l && lapic_msr_read(l, msr - MSR_IA32_X2APIC_BASE, now, value);
    }
}

/* Host time when the guest's TSC reaches `value`. */
static uint64_t time_of(const struct vcpu *v, uint64_t value)
{
    uint64_t now = v->exit->tsc, guest_now = now + vcpu_get_tsc_offset(v);

    if (value <= guest_now)
        return now;
    return value - guest_now < NEVER - now ? now + (value - guest_now) : NEVER;
}

static bool set_base(struct vcpu *v, struct lapic *l, uint64_t value)
{
    struct cpuid_policy *c = &vcpu_x86(v)->cpuid;

    if (!lapic_set_base(l, value, c->extended[8].eax & 0xff))
        return false;
    cpuid_policy_apic(c, value & LAPIC_BASE_EN);
    return true;
}

static bool write(struct vcpu *v, struct lapic *l, uint32_t msr, uint64_t value)
{
    if (!l)
        return msr == MSR_IA32_APIC_BASE && value == NO_APIC_BASE;
    switch (msr) {
    case MSR_IA32_APIC_BASE:
        return set_base(v, l, value);
    default:
        return lapic_msr_write(l, msr - MSR_IA32_X2APIC_BASE, value, v->exit->tsc);
    }
}

/* What the write has done: ended the guest, made something pending, set the timer. */
static enum exit_action action_after(const struct vcpu *v, const struct lapic *l, uint64_t deadline)
{
    if (v->stop)
        return EXIT_STOP;
    return v->nmi || irqchip_may_be_pending(v->platform, v->number) || l->deadline != deadline
               ? EXIT_DONE
               : EXIT_SKIP;
}

bool x86_apic_write(struct vcpu *v, uint32_t msr, uint64_t value, enum exit_action *action)
{
    struct lapic *l = &v->platform->lapic[v->number]; /* without DEV_APIC its timer stands still */
    uint64_t deadline = l->deadline;

    if (!write(v, lapic_of(v), msr, value))
        return false;
    *action = action_after(v, l, deadline);
    return true;
}

enum exit_action x86_write_tsc_deadline(struct vcpu *v, uint64_t value)
{
    struct platform *p = v->platform;
    unsigned n = v->number;
    uint64_t now = v->exit->tsc, next = v->until;

    lapic_set_tsc_deadline(&p->lapic[n], value, time_of(v, value));
    next = min_u64(next, irqchip_next_deadline(p, n));
    if (next <= now)
        return EXIT_DONE;
    vcpu_change_deadline(v, next, now);
    return EXIT_SKIP;
}

uint64_t x86_get_cr8(const struct vcpu *v)
{
    const struct lapic *l = lapic_of(v);

    return l ? lapic_reg(l, LAPIC_TPR) >> TPR_CLASS_SHIFT : vcpu_x86(v)->cr8;
}

enum exit_action x86_set_cr8(struct vcpu *v, uint64_t value)
{
    struct lapic *l = lapic_of(v);

    vcpu_x86(v)->cr8 = value;
    if (!l)
        return EXIT_SKIP;
    lapic_set_tpr(l, (uint32_t)value << TPR_CLASS_SHIFT);
    return irqchip_pending(v->platform, v->number) ? EXIT_DONE : EXIT_SKIP;
}

void x86_set_tsc(struct vcpu *v, uint64_t value)
{
    struct lapic *l = lapic_of(v);
    uint64_t before = vcpu_get_tsc(v);

    vcpu_set_tsc(v, value);
    if (l)
        lapic_shift_tsc(l, value - before);
}
