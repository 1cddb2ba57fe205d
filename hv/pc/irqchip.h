/*
 * The interrupt controller between the devices of a PC and its vCPUs: today the pair of 8259s,
 * whose output goes to vCPU 0, as on a PC that starts (MP specification "PIC Mode").
 */
#pragma once

#include "hv/abi/control.h"
#include "hv/pc/platform.h"

/* True if an interrupt is pending for this vCPU. Cheap: used at each entry. */
static inline bool irqchip_pending(const struct platform *p, unsigned vcpu)
{
    return vcpu == 0 && __atomic_load_n(&p->pic.intr, __ATOMIC_RELAXED);
}

/* Acknowledges the interrupt and returns its vector. Only when pending; it may have been withdrawn
 * since, and is then spurious. The caller does not hold the PC's lock. */
uint8_t irqchip_ack(struct platform *p, unsigned vcpu);

/* A global system interrupt: 0 to 15 are the PC's IRQs. Others have no input here. */
void irqchip_raise(struct platform *p, unsigned gsi, bool level);
/* An edge on an input that no device drives. */
void irqchip_pulse(struct platform *p, unsigned gsi);
/* A message-signalled interrupt. -E_NOTSUP: there is no local APIC to take it, and nothing has
 * changed. */
int irqchip_msi(struct platform *p, uint64_t address, uint32_t data) MUST_CHECK;

/* The latest time to check the vCPU again: absolute ticks, NEVER. */
static inline uint64_t irqchip_next_deadline(const struct platform *p, unsigned vcpu)
{
    return vcpu == 0 ? __atomic_load_n(&p->next_event, __ATOMIC_RELAXED) : NEVER;
}

#define IRQCHIP_WAKE_STATE 400u

/* The state before irqchip_prepare_wake() changed it. */
struct irqchip_wake {
    uint64_t due, now;
    const struct platform_timer *timer;
    struct pic pic;
    uint64_t state[IRQCHIP_WAKE_STATE / 8]; /* of the timer's device */
};

/*
 * For a vCPU in HLT, which does not see its devices until it wakes: advances them to its next
 * deadline in advance and acknowledges the interrupt, so that at that time, w->due, only the vector
 * has to be delivered. Returns the vector; or -1, with nothing changed, if no single device would
 * raise an interrupt before `until`. If something else ends the HLT first, call
 * irqchip_undo_wake().
 */
int irqchip_prepare_wake(struct platform *p, unsigned vcpu, uint64_t until, struct irqchip_wake *w);
void irqchip_undo_wake(struct platform *p, const struct irqchip_wake *w);
