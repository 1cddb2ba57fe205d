#include "hv/pc/irqchip.h"

#include "hv/lib.h"

_Static_assert(sizeof(struct pit) <= IRQCHIP_WAKE_STATE, "a timer that wakes quickly");

uint8_t irqchip_ack(struct platform *p, unsigned vcpu)
{
    uint8_t vector;

    if (!platform_is_shared(p))
        return pic_ack(&p->pic);
    platform_lock(p, 0);
    vector = pic_ack(&p->pic);
    platform_unlock(p, vcpu);
    return vector;
}

void irqchip_raise(struct platform *p, unsigned gsi, bool level)
{
    if (p->devices & DEV_PIC)
        pic_set_irq(&p->pic, gsi, level);
}

void irqchip_pulse(struct platform *p, unsigned gsi)
{
    /* The line stays high afterwards: a falling edge would withdraw the request. (A guest that
     * makes this input level-triggered is interrupted forever.) */
    irqchip_raise(p, gsi, false);
    irqchip_raise(p, gsi, true);
}

int irqchip_msi(struct platform *p, uint64_t address, uint32_t data)
{
    (void)p;
    (void)address;
    (void)data;
    return -E_NOTSUP;
}

/* The timer with the single earliest deadline; NULL: there is none, or a tie. */
static const struct platform_timer *first_timer(const struct platform *p)
{
    const struct platform_timer *first = NULL;
    uint64_t due = NEVER;

    for (unsigned i = 0; i < PLATFORM_TIMERS; i++) {
        uint64_t deadline = *p->timers[i].deadline;

        if (deadline < due)
            first = &p->timers[i];
        else if (deadline == due)
            first = NULL;
        due = min_u64(due, deadline);
    }
    return first;
}

int irqchip_prepare_wake(struct platform *p, unsigned vcpu, uint64_t until, struct irqchip_wake *w)
{
    const struct platform_timer *t;

    /* The other vCPUs must not see a PC that is ahead of time. */
    if (platform_is_shared(p) || irqchip_next_deadline(p, vcpu) >= until ||
        irqchip_pending(p, vcpu))
        return -1;
    t = first_timer(p);
    if (!t || t->device->state == 0 || t->device->state > sizeof(w->state))
        return -1;
    w->timer = t;
    w->due = *t->deadline;
    w->now = p->clock.now;
    w->pic = p->pic;
    memcpy(w->state, t->dev, t->device->state);
    p->clock.now = w->due;
    platform_timers(p);
    if (irqchip_pending(p, vcpu)) {
        uint8_t vector = irqchip_ack(p, vcpu);

        if (!irqchip_pending(p, vcpu))
            return vector;
    }
    irqchip_undo_wake(p, w);
    return -1;
}

void irqchip_undo_wake(struct platform *p, const struct irqchip_wake *w)
{
    p->clock.now = w->now;
    p->pic = w->pic;
    memcpy(w->timer->dev, w->state, w->timer->device->state);
    platform_set_event(p, platform_deadline(p));
}
