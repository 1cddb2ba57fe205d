/*
 * What stands between the devices of a PC and its vCPUs: today the pair of 8259s, whose output goes
 * to vCPU 0, as on a PC that starts (MP specification "PIC Mode"). The core that the PC belongs to.
 */
#pragma once

#include "hv/abi/control.h"
#include "hv/pc/platform.h"

/* Does it ask for this vCPU? Cheap: for each entry. */
static inline bool irqchip_pending(const struct platform *p, unsigned vcpu)
{
    return (ABI_VCPUS_MAX == 1 || vcpu == 0) && p->pic.intr;
}

/* The vector (interrupt acknowledge cycle). Only when pending. */
uint8_t irqchip_ack(struct platform *p, unsigned vcpu);

/* A global system interrupt: 0 to 15 are the PC's IRQs. Others have no input here. */
void irqchip_raise(struct platform *p, unsigned gsi, bool level);
/* An edge of one that no device drives. */
void irqchip_pulse(struct platform *p, unsigned gsi);
/* A message-signalled interrupt. -E_NOTSUP: no local APIC is there to take it; nothing has
 * happened.
 */
int irqchip_msi(struct platform *p, uint64_t address, uint32_t data) MUST_CHECK;

/* When the vCPU is to be looked at again at the latest: absolute ticks, NEVER. */
static inline uint64_t irqchip_next_deadline(const struct platform *p, unsigned vcpu)
{
    return ABI_VCPUS_MAX == 1 || vcpu == 0 ? p->next_event : NEVER;
}

#define IRQCHIP_WAKE_STATE 400u

/* What irqchip_prepare_wake() changed, as it was before. */
struct irqchip_wake {
    uint64_t due, now;
    const struct platform_timer *timer;
    struct pic pic;
    uint64_t state[IRQCHIP_WAKE_STATE / 8]; /* of the timer's device */
};

/*
 * For a vCPU in HLT, which sees nothing of its devices until it is woken: moves them on to its next
 * deadline as if that had come, and acknowledges the interrupt, so that at that moment, w->due,
 * only the vector has to be delivered. The vector; or -1, and nothing is changed, when no single
 * device would bring an interrupt before `until`. If anything else ends the HLT first,
 * irqchip_undo_wake().
 */
int irqchip_prepare_wake(struct platform *p, unsigned vcpu, uint64_t until, struct irqchip_wake *w);
void irqchip_undo_wake(struct platform *p, const struct irqchip_wake *w);
