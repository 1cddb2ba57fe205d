#include "hv/pc/irqchip.h"

#include "hv/lib.h"

#define ISA_IRQS        16u
#define PIT_PIN         2u
#define ICR_MODE_SHIFT  8
#define ICR_LOGICAL     (1u << 11)
#define ICR_ASSERT      (1u << 14)
#define ICR_LEVEL       (1u << 15)
#define ICR_SHORT_SHIFT 18
#define LVT_MODE        (7u << ICR_MODE_SHIFT)
#define MSI_BASE        0xfeeu
#define MSI_BASE_SHIFT  20
#define MSI_DEST_SHIFT  12
#define MSI_LOGICAL     (1u << 2)
#define MSI_HINT        (1u << 3) /* to the one with the lowest priority */
#define MSI_MODE_SHIFT  8
#define MSI_LEVEL       (1u << 15)

enum { SHORT_NONE, SHORT_SELF, SHORT_ALL, SHORT_OTHERS };

_Static_assert(sizeof(struct pit) <= IRQCHIP_WAKE_STATE, "a timer that wakes quickly");

/* What travels from an IOAPIC, a device or a local APIC to local APICs. */
struct message {
    uint32_t dest;
    bool logical, wide, level;
    bool others;          /* not to its sender */
    uint8_t mode, vector; /* enum lapic_mode */
    unsigned sender;
};

/* An only vCPU posts to itself, and looks before its next entry. */
static void tell(struct platform *p, unsigned vcpu, enum lapic_news news)
{
    if (news == LAPIC_NO_NEWS || !platform_is_shared(p))
        return;
    if (news == LAPIC_NOTIFY)
        p->host.notify(p->host.ctx, vcpu);
    else
        p->host.kick(p->host.ctx, vcpu);
}

/* False: the local APIC does not take it. ExtINT messages have no effect: vCPU 0 looks at pin 0
 * itself. */
static bool send_to(struct platform *p, unsigned vcpu, const struct message *m)
{
    static const uint8_t kinds[8] = {
        [LAPIC_NMI] = PLATFORM_NMI, [LAPIC_INIT] = PLATFORM_INIT, [LAPIC_SIPI] = PLATFORM_SIPI};

    switch (m->mode) {
    case LAPIC_FIXED:
    case LAPIC_LOWEST:
        if (!lapic_takes(&p->lapic[vcpu]))
            return false;
        tell(p, vcpu, lapic_post(&p->lapic[vcpu], m->vector, m->level));
        return true;
    case LAPIC_NMI:
    case LAPIC_INIT:
    case LAPIC_SIPI:
        p->host.ipi(p->host.ctx, vcpu, (enum platform_ipi)kinds[m->mode], m->vector);
        return true;
    default:
        return false;
    }
}

static bool is_to(const struct platform *p, unsigned vcpu, const struct message *m)
{
    return lapic_is_at(&p->lapic[vcpu], m->dest, m->logical, m->wide) &&
           !(m->others && vcpu == m->sender);
}

/* Of those addressed, the one whose task priority is lowest; if equal, they take turns. */
static int lowest(struct platform *p, const struct message *m)
{
    unsigned from = __atomic_fetch_add(&p->turn, 1, __ATOMIC_RELAXED), best = UINT32_MAX;
    int found = -1;

    for (unsigned i = 0; i < p->vcpus; i++) {
        unsigned n = (from + i) % p->vcpus;
        const struct lapic *l = &p->lapic[n];

        if (!is_to(p, n, m) || !lapic_takes(l) || lapic_reg(l, LAPIC_TPR) >> 4 >= best)
            continue;
        best = lapic_reg(l, LAPIC_TPR) >> 4;
        found = (int)n;
    }
    return found;
}

/* False: no local APIC takes it. */
static bool deliver(struct platform *p, const struct message *m)
{
    bool taken = false;

    if (m->mode == LAPIC_LOWEST) {
        int n = lowest(p, m);

        return n >= 0 && send_to(p, (unsigned)n, m);
    }
    if (!m->logical && m->dest < p->vcpus) /* an id is the vCPU's number */
        return send_to(p, m->dest, m);
    for (unsigned i = 0; i < p->vcpus; i++)
        if (is_to(p, i, m))
            taken |= send_to(p, i, m);
    return taken;
}

/* ---- from local APICs ---- */

/* SDM 3A "Valid Combinations ... Local xAPIC Interrupt Command Register". A shorthand stands for a
 * destination, also with the delivery modes that the table calls invalid. */
static void on_ipi(void *ctx, unsigned vcpu, uint32_t icr, uint32_t dest, bool wide)
{
    unsigned which = icr >> ICR_SHORT_SHIFT & 3;
    struct message m = {
        .dest = dest,
        .logical = icr & ICR_LOGICAL,
        .wide = wide,
        .others = which == SHORT_OTHERS,
        .mode = icr >> ICR_MODE_SHIFT & 7,
        .vector = (uint8_t)icr,
        .sender = vcpu,
    };

    /* INIT level de-assert, which did something on the Pentium only. */
    if (m.mode == LAPIC_INIT && (icr & (ICR_ASSERT | ICR_LEVEL)) == ICR_LEVEL)
        return;
    if (which != SHORT_NONE) {
        m.dest = which == SHORT_SELF ? vcpu : UINT32_MAX;
        m.logical = false;
        m.wide = true;
    }
    (void)deliver(ctx, &m);
}

static uint32_t lint0_of(const struct platform *p)
{
    return lapic_reg(&p->lapic[0], LAPIC_LVT_LINT0);
}

static bool lint0_is_level(const struct platform *p)
{
    return (lint0_of(p) & (LAPIC_LVT_LEVEL | LVT_MODE)) == LAPIC_LVT_LEVEL;
}

/* The 8259s' output at LINT0 of vCPU 0, when that has a vector of its own: each edge, or a level
 * until it falls, again after each EOI. SDM 3A "Local Vector Table". */
static void set_lint0(void *ctx, unsigned irq, bool up)
{
    struct platform *p = ctx;
    const struct message m = {.level = lint0_is_level(p),
                              .mode = lint0_of(p) >> ICR_MODE_SHIFT & 7,
                              .vector = (uint8_t)lint0_of(p)};

    (void)irq;
    if (up && !p->lint0_served)
        p->lint0_served = send_to(p, 0, &m) && m.level;
}

static void on_lint0(void *ctx, unsigned vcpu)
{
    struct platform *p = ctx;
    bool wired;

    if (vcpu != 0)
        return;
    wired = !p->lapic[0].extint && !(lint0_of(p) & LAPIC_LVT_MASKED);
    if (!wired && !p->pic.wire.set)
        return;
    if (platform_is_shared(p))
        platform_lock(p, 0);
    p->pic.wire = (struct irq_line){.set = wired ? set_lint0 : NULL, .ctx = p};
    if (!lint0_is_level(p))
        p->lint0_served = false;
    else if (wired)
        set_lint0(p, 0, p->pic.intr);
    platform_leave(p, vcpu);
}

static void on_eoi(void *ctx, unsigned vcpu, uint8_t vector, bool broadcast)
{
    struct platform *p = ctx;

    if (platform_is_shared(p))
        platform_lock(p, 0);
    if (broadcast)
        ioapic_eoi(&p->ioapic, vector);
    if (vcpu == 0 && p->lint0_served && (uint8_t)lint0_of(p) == vector) {
        p->lint0_served = false;
        irq_set(&p->pic.wire, p->pic.intr);
    }
    platform_leave(p, vcpu);
}

static const struct lapic_bus lapic_bus = {on_ipi, on_eoi, on_lint0};

/* ---- from devices ---- */

/* The IOAPIC's pin of a line; IOAPIC_PINS and above: none. IRQ 0 is on pin 2, so IRQ 2, by which
 * the 8259s are cascaded, has none. */
static unsigned pin_of(unsigned gsi)
{
    return gsi == 0 ? PIT_PIN : gsi == PIT_PIN ? IOAPIC_PINS : gsi;
}

static bool send_entry(void *ctx, uint64_t entry)
{
    const struct message m = {
        .dest = (uint32_t)(entry >> IOAPIC_DEST_SHIFT),
        .logical = entry & IOAPIC_LOGICAL,
        .level = entry & IOAPIC_LEVEL,
        .mode = (uint8_t)((entry & IOAPIC_MODE) >> IOAPIC_MODE_SHIFT),
        .vector = (uint8_t)entry,
    };

    return deliver(ctx, &m);
}

void irqchip_raise(struct platform *p, unsigned gsi, bool level)
{
    unsigned pin = pin_of(gsi);

    if (p->devices & DEV_PIC)
        pic_set_irq(&p->pic, gsi, level);
    if ((p->devices & DEV_APIC) && pin < IOAPIC_PINS)
        ioapic_set(&p->ioapic, pin, level);
}

/* Does the entry's vector still wait in a local APIC that it goes to? */
static __attribute__((noinline)) bool vector_waits(const struct platform *p, uint64_t entry)
{
    uint32_t dest = (uint32_t)(entry >> IOAPIC_DEST_SHIFT);

    for (unsigned i = 0; i < p->vcpus; i++)
        if (lapic_is_at(&p->lapic[i], dest, entry & IOAPIC_LOGICAL, false) &&
            lapic_waits(&p->lapic[i], (uint8_t)entry))
            return true;
    return false;
}

enum irq_state irqchip_state(const struct platform *p, unsigned gsi)
{
    unsigned pin = pin_of(gsi);

    if ((p->devices & DEV_APIC) && pin < IOAPIC_PINS) {
        uint64_t entry = p->ioapic.entry[pin];

        if (!(entry & IOAPIC_MASKED))
            return vector_waits(p, entry) ? IRQ_WAITS : IRQ_TAKEN;
    }
    if (!(p->devices & DEV_PIC) || gsi >= ISA_IRQS || !irqchip_takes_pic(p))
        return IRQ_MASKED;
    return pic_irq_state(&p->pic, gsi);
}

void irqchip_pulse(struct platform *p, unsigned gsi)
{
    unsigned pin = pin_of(gsi);

    /* The line stays high afterwards: a falling edge would withdraw the request. (A guest that
     * makes this input level-triggered is interrupted forever.) */
    if (p->devices & DEV_PIC)
        pic_pulse(&p->pic, gsi);
    if ((p->devices & DEV_APIC) && pin < IOAPIC_PINS)
        ioapic_pulse(&p->ioapic, pin);
}

int irqchip_msi(struct platform *p, uint64_t address, uint32_t data)
{
    struct message m = {
        .dest = (uint32_t)(address >> MSI_DEST_SHIFT & 0xff),
        .logical = address & MSI_LOGICAL,
        .level = data & MSI_LEVEL,
        .mode = data >> MSI_MODE_SHIFT & 7,
        .vector = (uint8_t)data,
    };

    if (!(p->devices & DEV_APIC) || address >> MSI_BASE_SHIFT != MSI_BASE)
        return -E_NOTSUP;
    if ((address & MSI_HINT) &&
        m.mode == LAPIC_FIXED) /* SDM 3A "Message Address Register Format" */
        m.mode = LAPIC_LOWEST;
    (void)deliver(p, &m);
    return 0;
}

/* ---- to vCPUs ---- */

bool irqchip_look(struct platform *p, unsigned vcpu)
{
    struct lapic *l = &p->lapic[vcpu];

    if (__atomic_load_n(&p->signals[vcpu], __ATOMIC_RELAXED) & (LAPIC_POSTED | LAPIC_IN_CPU))
        lapic_take_posted(l);
    return __atomic_load_n(&p->signals[vcpu], __ATOMIC_RELAXED) & LAPIC_INTERRUPT;
}

uint8_t irqchip_ack(struct platform *p, unsigned vcpu)
{
    uint8_t vector;

    if (vcpu != 0 || !p->pic.intr || !irqchip_takes_pic(p))
        return lapic_ack(&p->lapic[vcpu]);
    if (!platform_is_shared(p))
        return pic_ack(&p->pic);
    platform_lock(p, 0);
    vector = pic_ack(&p->pic);
    platform_unlock(p, vcpu);
    return vector;
}

void irqchip_reset(struct platform *p, unsigned vcpu)
{
    struct lapic *l = &p->lapic[vcpu];

    if (vcpu == 0) {
        ioapic_reset(&p->ioapic, p->vcpus, send_entry, p);
        p->turn = 0;
        p->lint0_served = false;
    }
    lapic_connect(l, vcpu, l->regs, &p->signals[vcpu], &lapic_bus, p);
    if ((p->devices & DEV_APIC) && vcpu < p->vcpus)
        lapic_reset(l, p->clock.tsc_hz, false);
    else
        l->extint = true;
}

void irqchip_init(struct platform *p, unsigned vcpu)
{
    if (p->devices & DEV_APIC)
        lapic_reset(&p->lapic[vcpu], p->clock.tsc_hz, true);
}

/* ---- a vCPU in HLT ---- */

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

/* A device's line leads to the 8259s alone. */
static bool is_pic_line(const struct platform *p, unsigned irq)
{
    unsigned pin = pin_of(irq);

    return pin < IOAPIC_PINS && (p->ioapic.entry[pin] & IOAPIC_MASKED);
}

static int prepare_lapic(struct lapic *l, struct irqchip_wake *w)
{
    w->timer = NULL;
    w->due = l->deadline;
    return lapic_prepare_wake(l, &w->lapic);
}

int irqchip_prepare_wake(struct platform *p, unsigned vcpu, uint64_t until, struct irqchip_wake *w)
{
    const struct platform_timer *t;
    uint64_t due = irqchip_next_deadline(p, vcpu), devices = vcpu == 0 ? p->next_event : NEVER;

    if (due >= until || irqchip_pending(p, vcpu))
        return -1;
    if (devices > due)
        return prepare_lapic(&p->lapic[vcpu], w);
    t = first_timer(p);
    /* The other vCPUs must not see a PC that is ahead of time. */
    if (platform_is_shared(p) || p->pic.wire.set || !t || t->device->state == 0 ||
        t->device->state > sizeof(w->state) || p->lapic[vcpu].deadline <= due ||
        !is_pic_line(p, t->device->irq))
        return -1;
    w->timer = t;
    w->due = *t->deadline;
    w->now = p->clock.now;
    w->pic = p->pic;
    w->lines = p->ioapic.lines;
    memcpy(w->state, t->dev, t->device->state);
    p->clock.now = w->due;
    platform_timers(p);
    if (irqchip_pending(p, vcpu)) {
        uint8_t vector = irqchip_ack(p, vcpu);

        if (!irqchip_pending(p, vcpu))
            return vector;
    }
    irqchip_undo_wake(p, vcpu, w);
    return -1;
}

void irqchip_undo_wake(struct platform *p, unsigned vcpu, const struct irqchip_wake *w)
{
    if (!w->timer) {
        lapic_undo_wake(&p->lapic[vcpu], &w->lapic);
        return;
    }
    p->clock.now = w->now;
    p->pic = w->pic;
    p->ioapic.lines = w->lines;
    memcpy(w->timer->dev, w->state, w->timer->device->state);
    platform_set_event(p, platform_deadline(p));
}
