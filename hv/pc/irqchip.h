/*
 * The interrupt controllers between the devices of a PC and its vCPUs: the pair of 8259s, the
 * IOAPIC, and a local APIC for each vCPU. Without DEV_APIC the 8259s' output goes straight to vCPU
 * 0; with it, to LINT0 of vCPU 0 and to pin 0 of the IOAPIC, which takes it as ExtINT only.
 *
 * A local APIC belongs to its vCPU's core; its registers are used without the PC's lock. The rest
 * belongs to the PC (platform.h).
 */
#pragma once

#include "hv/abi/control.h"
#include "hv/pc/platform.h"

#define IRQCHIP_EXTINT_PIN 0u /* of the IOAPIC: the 8259s' output */

/* Does the 8259s' output reach vCPU 0? */
static inline bool irqchip_takes_pic(const struct platform *p)
{
    const uint64_t extint = (uint64_t)LAPIC_EXTINT << IOAPIC_MODE_SHIFT;

    return p->lapic[0].extint ||
           (p->ioapic.entry[IRQCHIP_EXTINT_PIN] & (IOAPIC_MASKED | IOAPIC_MODE)) == extint;
}

/* The rest of irqchip_pending(). */
bool irqchip_look(struct platform *p, unsigned vcpu);

/* True if an interrupt can be delivered to this vCPU. Its core. Cheap: used at each entry. */
static inline bool irqchip_pending(struct platform *p, unsigned vcpu)
{
    return (vcpu == 0 && __atomic_load_n(&p->pic.intr, __ATOMIC_RELAXED) && irqchip_takes_pic(p)) ||
           (p->signals[vcpu] && irqchip_look(p, vcpu));
}

/* Cheaper than irqchip_pending(), and true whenever that is; it may be true when that is not. Its
 * core. */
static inline bool irqchip_may_be_pending(const struct platform *p, unsigned vcpu)
{
    return __atomic_load_n(&p->pic.intr, __ATOMIC_RELAXED) | p->signals[vcpu];
}

/* Acknowledges the interrupt and returns its vector. Only when pending; it may have been withdrawn
 * since, and is then spurious. Its core; the caller does not hold the PC's lock. */
uint8_t irqchip_ack(struct platform *p, unsigned vcpu);

/* A line of the PC: 0 to 15 are the ISA IRQs, which go to the 8259s and to the pin of the same
 * number (IRQ 0: pin 2); from 16 on the IOAPIC's pins. Shared. */
void irqchip_raise(struct platform *p, unsigned gsi, bool level);
/* What has become of its last edge. Shared. */
enum irq_state irqchip_state(const struct platform *p, unsigned gsi);
/* An edge on an input that no device drives. Shared. */
void irqchip_pulse(struct platform *p, unsigned gsi);
/* A message-signalled interrupt. Any core. -E_NOTSUP: there is no local APIC to take it, or the
 * address is not one of theirs (0xfeexxxxx); nothing has changed. */
int irqchip_msi(struct platform *p, uint64_t address, uint32_t data) MUST_CHECK;

/* The local APIC whose registers are at this guest-physical address, for this vCPU: use it with
 * lapic_mmio_read() and lapic_mmio_write() and the offset in the page. NULL: none. Its core. */
static inline struct lapic *irqchip_lapic_at(struct platform *p, unsigned vcpu, uint64_t gpa)
{
    struct lapic *l = &p->lapic[vcpu];

    return (p->devices & DEV_APIC) && lapic_is_mapped_at(l, gpa) ? l : NULL;
}

/* The vCPU's local APIC; NULL: the guest has none. */
static inline struct lapic *irqchip_lapic(struct platform *p, unsigned vcpu)
{
    return p->devices & DEV_APIC ? &p->lapic[vcpu] : NULL;
}

/* The latest time to check the vCPU again: absolute ticks, NEVER. Its core. */
static inline uint64_t irqchip_next_deadline(const struct platform *p, unsigned vcpu)
{
    uint64_t devices = vcpu == 0 ? __atomic_load_n(&p->next_event, __ATOMIC_RELAXED) : NEVER;

    return min_u64(devices, p->lapic[vcpu].deadline);
}

/* Brings the vCPU's timer up to `now`. Its core. */
static inline void irqchip_timers(struct platform *p, unsigned vcpu, uint64_t now)
{
    if (now >= p->lapic[vcpu].deadline)
        lapic_timer(&p->lapic[vcpu], now);
}

/* Power-on of the vCPU's local APIC, and with vCPU 0's of the rest; without DEV_APIC: nothing
 * there. Part of platform_plug(). */
void irqchip_reset(struct platform *p, unsigned vcpu);

/* The vCPU gets INIT. Its core. */
void irqchip_init(struct platform *p, unsigned vcpu);

#define IRQCHIP_WAKE_STATE 400u

/* The state before irqchip_prepare_wake() changed it. */
struct irqchip_wake {
    uint64_t due, now;
    const struct platform_timer *timer; /* NULL: the local APIC's */
    struct lapic_wake lapic;
    struct pic pic;
    uint32_t lines;                         /* of the IOAPIC */
    uint64_t state[IRQCHIP_WAKE_STATE / 8]; /* of the timer's device */
};

/*
 * For a vCPU in HLT, which does not see its devices until it wakes: advances them to its next
 * deadline in advance and acknowledges the interrupt, so that at that time, w->due, only the vector
 * has to be delivered. Returns the vector; or -1, with nothing changed, if no single timer would
 * raise an interrupt before `until`, or if it would take another way than from the local APIC or
 * through the 8259s of a guest with one vCPU. If something else ends the HLT first, call
 * irqchip_undo_wake(). Its core.
 */
int irqchip_prepare_wake(struct platform *p, unsigned vcpu, uint64_t until, struct irqchip_wake *w);
void irqchip_undo_wake(struct platform *p, unsigned vcpu, const struct irqchip_wake *w);
