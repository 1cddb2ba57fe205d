/*
 * A vCPU's local APIC: xAPIC registers in memory, x2APIC MSRs, the timer. SDM 3A "Advanced
 * Programmable Interrupt Controller (APIC)". Pure. The registers are in a page at the offsets that
 * the SDM gives them, so that the page can serve as VT-x's virtual-APIC page.
 *
 * Owned by the vCPU's core. Others read TPR and the destination registers, and call only the
 * functions that say so.
 *
 * The timer counts at CPUID 0x15's crystal clock: the TSC's frequency, or half of it from 2^32 Hz
 * on (lapic_clock_shift()). Times are host TSC, absolute, NEVER for none. A period shorter than
 * LAPIC_PERIOD_LEAST becomes that long: otherwise the guest would do nothing but exit.
 *
 * Differences from the real part: the ID register cannot be written. There is no CMCI, as CPUID
 * shows no machine-check architecture. SMIs are ignored. LINT0's delivery status and remote IRR
 * read 0, and its polarity is believed to be right.
 */
#pragma once

#include "hv/types.h"

#define LAPIC_BASE         0xfee00000u
#define LAPIC_PAGE         4096u
#define LAPIC_PERIOD_LEAST 1024u

static inline unsigned lapic_clock_shift(uint64_t tsc_hz)
{
    return tsc_hz >> 32 ? 1 : 0;
}

/* IA32_APIC_BASE. */
#define LAPIC_BASE_BSP    (1ull << 8)
#define LAPIC_BASE_X2APIC (1ull << 10)
#define LAPIC_BASE_EN     (1ull << 11)

/* Delivery modes of ICR, LVT, redirection entries and MSIs. */
enum lapic_mode {
    LAPIC_FIXED,
    LAPIC_LOWEST,
    LAPIC_SMI,
    LAPIC_NMI = 4,
    LAPIC_INIT,
    LAPIC_SIPI,
    LAPIC_EXTINT
};

#define LAPIC_VECTORS_RESERVED 16u

/* Offsets in the page, in bytes. */
#define LAPIC_ID               0x020u
#define LAPIC_VERSION          0x030u
#define LAPIC_TPR              0x080u
#define LAPIC_PPR              0x0a0u
#define LAPIC_EOI              0x0b0u
#define LAPIC_LDR              0x0d0u
#define LAPIC_DFR              0x0e0u
#define LAPIC_SVR              0x0f0u
#define LAPIC_ISR              0x100u /* eight registers each, 16 bytes apart */
#define LAPIC_TMR              0x180u
#define LAPIC_IRR              0x200u
#define LAPIC_ESR              0x280u
#define LAPIC_ICR              0x300u /* x2APIC: 64 bits */
#define LAPIC_ICR_HIGH         0x310u
#define LAPIC_LVT_TIMER        0x320u
#define LAPIC_LVT_THERMAL      0x330u
#define LAPIC_LVT_PMC          0x340u
#define LAPIC_LVT_LINT0        0x350u
#define LAPIC_LVT_LINT1        0x360u
#define LAPIC_LVT_ERROR        0x370u
#define LAPIC_INITIAL_COUNT    0x380u
#define LAPIC_CURRENT_COUNT    0x390u
#define LAPIC_DIVIDE           0x3e0u
#define LAPIC_SELF_IPI         0x3f0u

#define LAPIC_LVT_LEVEL        (1u << 15)
#define LAPIC_LVT_MASKED       (1u << 16)

/* What it needs from the others: set once, by lapic_connect(). */
struct lapic_bus {
    /* The ICR or SELF IPI was written. `dest` has 32 bits if `wide`, else 8. */
    void (*ipi)(void *ctx, unsigned vcpu, uint32_t icr, uint32_t dest, bool wide);
    /* The EOI of a level-triggered interrupt; `broadcast`: it goes to the IOAPIC. */
    void (*eoi)(void *ctx, unsigned vcpu, uint8_t vector, bool broadcast);
    /* What LINT0 does has changed. */
    void (*lint0)(void *ctx, unsigned vcpu);
};

/* *lapic.signals: apart from the rest, because it is looked at before each entry. */
#define LAPIC_INTERRUPT 1u /* an interrupt can be delivered */
#define LAPIC_POSTED    2u /* interrupts were posted since the last lapic_take_posted() */
#define LAPIC_CHANGED   4u /* with apicv: something may have changed */
#define LAPIC_IN_CPU    8u /* the same as LAPIC_POSTED, but the CPU may have taken them */

/* SDM 3C "Posted-Interrupt Processing": the descriptor. The CPU uses no other bits of it. */
struct lapic_descriptor {
    uint64_t vectors[4]; /* PIR */
    uint64_t control;    /* LAPIC_ON: a notification is on its way, or the core looks anyway */
    uint64_t unused[3];
};
#define LAPIC_ON         1ull
#define LAPIC_DESCRIPTOR 0x400u /* where it is in the page: behind the registers */

struct lapic {
    uint32_t *regs; /* LAPIC_PAGE bytes, page-aligned. The owner of struct lapic provides it */
    const struct lapic_bus *bus;
    void *ctx;
    uint32_t *signals;     /* LAPIC_*. Atomic */
    bool apicv, by_cpu;    /* the CPU can work on the registers; it does now. The backend's */
    bool posting;          /* the CPU takes what is in the descriptor. The backend's. Atomic */
    bool extint;           /* LINT0 lets the 8259s' interrupts through */
    bool level_changed;    /* TMR has changed: for VT-x's EOI-exit bitmap. The backend clears it */
    bool tsc_mode;         /* the timer is in TSC-deadline mode */
    unsigned vcpu;         /* its initial APIC id, too */
    unsigned shift;        /* a unit of the timer's count is 1 << shift ticks */
    unsigned clock_shift;  /* lapic_clock_shift() */
    uint32_t errors;       /* for ESR, which shows them after it is written */
    uint64_t base;         /* IA32_APIC_BASE */
    uint64_t deadline;     /* of the timer */
    uint64_t period;       /* ticks; 0: not periodic, or stopped */
    uint64_t tsc_deadline; /* IA32_TSC_DEADLINE; 0: not armed */
    /* What others posted otherwise: vectors, and which of them are level-triggered. Atomic */
    uint64_t posted[4], posted_level[4];
};

/* Once, before lapic_reset(). */
void lapic_connect(struct lapic *l, unsigned vcpu, uint32_t *regs, uint32_t *signals,
                   const struct lapic_bus *bus, void *ctx);
/*
 * Power-on as a BIOS leaves it: vCPU 0 has LINT0 set to ExtINT and unmasked, so a guest that never
 * touches its local APIC gets the interrupts of the 8259s (MP specification "Virtual Wire Mode").
 * `init`: as INIT leaves it; IA32_APIC_BASE and the id stay. SDM 3A "Local APIC State After
 * Power-Up or Reset", "... After It Receives an INIT-Deassert IPI".
 */
void lapic_reset(struct lapic *l, uint64_t tsc_hz, bool init);

static inline uint32_t lapic_reg(const struct lapic *l, unsigned offset)
{
    return __atomic_load_n(&l->regs[offset / 4], __ATOMIC_RELAXED);
}

/* What others posted while `posting`. Atomic. */
static inline struct lapic_descriptor *lapic_descriptor(const struct lapic *l)
{
    return (struct lapic_descriptor *)(void *)&l->regs[LAPIC_DESCRIPTOR / 4];
}

static inline bool lapic_is_x2apic(const struct lapic *l)
{
    return __atomic_load_n(&l->base, __ATOMIC_RELAXED) & LAPIC_BASE_X2APIC;
}

/* True if its registers are at this guest-physical address: in xAPIC mode. */
static inline bool lapic_is_mapped_at(const struct lapic *l, uint64_t gpa)
{
    return (l->base & (LAPIC_BASE_EN | LAPIC_BASE_X2APIC)) == LAPIC_BASE_EN &&
           (gpa ^ l->base) / LAPIC_PAGE == 0;
}

/* ---- for other cores, too ---- */

/* Posts an interrupt. What its core must be told: nothing, as another has told it; to look
 * (host.kick); that the CPU finds it in the descriptor (host.notify). */
enum lapic_news { LAPIC_NO_NEWS, LAPIC_LOOK, LAPIC_NOTIFY };
enum lapic_news lapic_post(struct lapic *l, uint8_t vector, bool level) MUST_CHECK;
/* True if the message's destination includes this APIC. */
bool lapic_is_at(const struct lapic *l, uint32_t dest, bool logical, bool wide);
/* True if this vector was posted, or is in IRR: its handler has not begun. */
static inline bool lapic_waits(const struct lapic *l, uint8_t vector)
{
    uint64_t posted = __atomic_load_n(&l->posted[vector >> 6], __ATOMIC_RELAXED) |
                      __atomic_load_n(&lapic_descriptor(l)->vectors[vector >> 6], __ATOMIC_RELAXED);

    return (posted >> (vector & 63) |
            lapic_reg(l, LAPIC_IRR + (vector >> 5) * 16u) >> (vector & 31)) &
           1;
}
/* True if it is enabled, so that it takes interrupts with vectors. */
bool lapic_takes(const struct lapic *l);

/* ---- for its core ---- */

/* Moves what was posted into IRR. */
void lapic_take_posted(struct lapic *l);
/* Computes PPR and LAPIC_INTERRUPT from TPR, ISR and IRR. Returns the highest vector in IRR, or -1.
 */
int lapic_update(struct lapic *l);
/* The highest vector in LAPIC_ISR or LAPIC_IRR; -1: none. */
int lapic_highest(const struct lapic *l, unsigned registers);
/* The CPU knows of all changes; with by_cpu it delivers the interrupts. */
void lapic_hand_over(struct lapic *l);
/* Acknowledges the interrupt with the highest priority: its vector, or the spurious vector. */
uint8_t lapic_ack(struct lapic *l);

/* A register in memory, with `now`. Accesses that are not 32 bits wide at a register's first byte
 * read what is there, and write nothing. */
uint32_t lapic_mmio_read(struct lapic *l, unsigned offset, unsigned size, uint64_t now);
void lapic_mmio_write(struct lapic *l, unsigned offset, unsigned size, uint32_t value,
                      uint64_t now);
/* x2APIC MSR 0x800 + `reg`. False: #GP. */
bool lapic_msr_read(struct lapic *l, unsigned reg, uint64_t now, uint64_t *value);
bool lapic_msr_write(struct lapic *l, unsigned reg, uint64_t value, uint64_t now);
/* IA32_APIC_BASE. False: #GP. `address_bits`: CPUID's physical address width. */
bool lapic_set_base(struct lapic *l, uint64_t value, unsigned address_bits);
/* IA32_TSC_DEADLINE; `at` is the host's time when the guest's TSC reaches `value`. Does nothing
 * unless the timer is in TSC-deadline mode. */
static inline void lapic_set_tsc_deadline(struct lapic *l, uint64_t value, uint64_t at)
{
    if (!l->tsc_mode)
        return;
    l->tsc_deadline = value;
    l->deadline = value ? min_u64(at, NEVER - 1) : NEVER;
}
void lapic_set_tpr(struct lapic *l, uint32_t value);
/* After the guest's EOI of a vector, once it has left ISR. */
void lapic_note_eoi(struct lapic *l, uint8_t vector);
/* The guest has written this register, whose new value is already in the page (VT-x "APIC-Write
 * Emulation"). */
void lapic_written(struct lapic *l, unsigned offset, uint64_t now);

/* `deadline` has passed: the timer's interrupt comes. */
void lapic_timer(struct lapic *l, uint64_t now);
/* The same with by_cpu and nothing in IRR: the vector, which is there now, and of which the CPU
 * must be told; it delivers the interrupt at once. -1: lapic_timer() must do it, nothing has
 * changed. */
int lapic_timer_by_cpu(struct lapic *l, uint64_t now);
/* The guest's time, and its TSC with it, stood still for `ticks`. */
void lapic_shift(struct lapic *l, uint64_t ticks);
/* The guest's TSC was set, and now reads `ticks` more than it would have. */
void lapic_shift_tsc(struct lapic *l, uint64_t ticks);

/* For a vCPU in HLT, see irqchip_prepare_wake(): what the timer does at its deadline, and the
 * acknowledgement. The vector; or -1, with nothing changed. */
struct lapic_wake {
    uint64_t deadline, tsc_deadline, period;
    uint32_t ppr;
    uint8_t vector;
    bool level;
};
int lapic_prepare_wake(struct lapic *l, struct lapic_wake *w);
void lapic_undo_wake(struct lapic *l, const struct lapic_wake *w);
