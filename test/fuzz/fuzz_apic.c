/* SOURCES: hv/gmem.c @pc hv/lib.c */
/* Random accesses to local APICs, the IOAPIC and their inputs, by four vCPUs. */
#include "hv/pc/irqchip.h"

#include "test/fuzz/sequence.h"
#include "test/unit/pc_host.h"

#include <stdlib.h>

#define VCPUS     4u
#define TSC_HZ    2400000123ull
#define STEPS_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct platform p;
static uint32_t pages[VCPUS][LAPIC_PAGE / 4] __attribute__((aligned(4096)));

static void on_kick(void *ctx, unsigned vcpu)
{
    (void)ctx;
    if (vcpu >= VCPUS)
        abort();
}

static bool notified[VCPUS];
static void on_notify(void *ctx, unsigned vcpu)
{
    (void)ctx;
    if (vcpu >= VCPUS || !p.lapic[vcpu].posting)
        abort();
    notified[vcpu] = true;
}

static void on_ipi(void *ctx, unsigned vcpu, enum platform_ipi kind, uint8_t vector)
{
    (void)ctx;
    (void)vector;
    if (vcpu >= VCPUS || kind > PLATFORM_SIPI)
        abort();
    if (kind == PLATFORM_INIT)
        lapic_reset(&p.lapic[vcpu], TSC_HZ, true);
}

static void start(void)
{
    struct platform_host host = pc_host;

    host.kick = on_kick;
    host.notify = on_notify;
    memset(notified, 0, sizeof(notified));
    host.ipi = on_ipi;
    memset(&p, 0, sizeof(p));
    p.vcpus = VCPUS;
    for (unsigned i = 0; i < VCPUS; i++)
        p.lapic[i].regs = pages[i];
    if (platform_init(&p, DEV_PIC | DEV_APIC, 12345, TSC_HZ, 0, 1u << 24, &host))
        abort();
}

static int highest(const struct lapic *l, unsigned at)
{
    for (int i = 7; i >= 0; i--)
        for (int bit = 31; l->regs[at / 4 + (unsigned)i * 4] && bit >= 0; bit--)
            if (l->regs[at / 4 + (unsigned)i * 4] >> bit & 1)
                return i * 32 + bit;
    return -1;
}

static void check_lapic(const struct lapic *l)
{
    int request = highest(l, LAPIC_IRR), service = highest(l, LAPIC_ISR);
    uint32_t tpr = l->regs[LAPIC_TPR / 4], ppr = l->regs[LAPIC_PPR / 4];
    uint64_t mode = l->base & (LAPIC_BASE_EN | LAPIC_BASE_X2APIC);

    if (mode == LAPIC_BASE_X2APIC)
        abort();
    if ((l->regs[LAPIC_IRR / 4] | l->regs[LAPIC_ISR / 4]) & 0xffff)
        abort(); /* vectors 0 to 15 */
    if (ppr >> 4 !=
        (uint32_t)(service >= 0 && service >> 4 > (int)(tpr >> 4) ? service >> 4 : (int)(tpr >> 4)))
        abort();
    if (((*l->signals & LAPIC_INTERRUPT) != 0) != (request >> 4 > (int)(ppr >> 4)))
        abort();
    for (unsigned lvt = LAPIC_LVT_TIMER; lvt <= LAPIC_LVT_ERROR; lvt += 16)
        if (!(l->regs[LAPIC_SVR / 4] & 0x100) && !(l->regs[lvt / 4] & LAPIC_LVT_MASKED) &&
            !(lvt == LAPIC_LVT_LINT0 && l->vcpu == 0))
            abort();
    if (l->regs[LAPIC_ID / 4] != (lapic_is_x2apic(l) ? l->vcpu : l->vcpu << 24))
        abort();
    if (!(l->base & LAPIC_BASE_EN) && (request >= 0 || service >= 0 || l->deadline != NEVER))
        abort();
}

/* Nothing is left behind: the core looks. */
static void check_descriptor(const struct lapic *l)
{
    const struct lapic_descriptor *d = lapic_descriptor(l);
    bool any = d->vectors[0] | d->vectors[1] | d->vectors[2] | d->vectors[3];

    if ((any && !d->control) || (d->control && !(*l->signals & LAPIC_IN_CPU)) ||
        (d->vectors[0] & 0xffff))
        abort();
}

/* What a CPU does with a notification: SDM 3C "Posted-Interrupt Processing". */
static void take_notification(struct lapic *l)
{
    struct lapic_descriptor *d = lapic_descriptor(l);

    if (!notified[l->vcpu])
        return;
    notified[l->vcpu] = false;
    d->control = 0;
    for (unsigned i = 0; i < 8; i++)
        l->regs[LAPIC_IRR / 4 + i * 4] |= (uint32_t)(d->vectors[i / 2] >> i % 2 * 32);
    memset(d->vectors, 0, sizeof(d->vectors));
    (void)lapic_update(l);
}

static void check_ioapic(const struct ioapic *io)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t e = io->entry[pin];

        if ((e & IOAPIC_REMOTE_IRR) && !(e & IOAPIC_LEVEL))
            abort();
    }
}

/* LINT0's own interrupts: only while it is neither masked nor ExtINT. */
static void check_lint0(void)
{
    uint32_t entry = lapic_reg(&p.lapic[0], LAPIC_LVT_LINT0);
    bool wired = !p.lapic[0].extint && !(entry & LAPIC_LVT_MASKED);

    if (wired != (p.pic.wire.set != NULL) ||
        (p.lint0_served && wired && !(entry & LAPIC_LVT_LEVEL)))
        abort();
}

static void access_lapic(struct lapic *l, uint8_t how)
{
    unsigned reg = byte() & 0x3f;
    uint64_t value = number(1u << (how & 3)), read;

    switch (how >> 2 & 3) {
    case 0:
        if (irqchip_lapic_at(&p, l->vcpu, LAPIC_BASE))
            lapic_mmio_write(l, reg << 4 | (how & 0x80 ? byte() & 15 : 0), how & 0x40 ? 1 : 4,
                             (uint32_t)value, p.clock.now);
        break;
    case 1:
        if (irqchip_lapic_at(&p, l->vcpu, LAPIC_BASE))
            (void)lapic_mmio_read(l, reg << 4 | (how & 0x80 ? byte() & 15 : 0), 4, p.clock.now);
        break;
    case 2:
        (void)lapic_msr_write(l, reg, value, p.clock.now);
        break;
    default:
        if (lapic_msr_read(l, reg, p.clock.now, &read) && !lapic_is_x2apic(l))
            abort();
    }
}

static void enable(struct lapic *l, uint8_t how)
{
    if (how & 1)
        (void)lapic_set_base(l, LAPIC_BASE | (uint64_t)(how >> 1) << 8, 39);
    else
        lapic_mmio_write(l, LAPIC_SVR, 4, 0x1ff, p.clock.now);
}

static void wake(unsigned n)
{
    static uint32_t page[LAPIC_PAGE / 4];
    struct lapic before;
    struct irqchip_wake w;
    uint32_t signals;
    int vector;

    (void)irqchip_pending(&p, n);
    before = p.lapic[n];
    signals = p.signals[n];
    memcpy(page, pages[n], sizeof(page));
    vector = irqchip_prepare_wake(&p, n, NEVER, &w);
    if (vector >= 0) {
        if (vector < 16 || irqchip_pending(&p, n) || highest(&p.lapic[n], LAPIC_ISR) != vector)
            abort();
        irqchip_undo_wake(&p, n, &w);
    }
    if (memcmp(page, pages[n], sizeof(page)) != 0 || before.deadline != p.lapic[n].deadline ||
        signals != p.signals[n])
        abort();
}

static void pass(uint64_t ticks)
{
    p.clock.now += ticks;
    for (unsigned i = 0; i < VCPUS; i++) {
        irqchip_timers(&p, i, p.clock.now);
        if (irqchip_next_deadline(&p, i) <= p.clock.now)
            abort(); /* the run loop would spin */
    }
}

static void take(unsigned n)
{
    bool pic = n == 0 && p.pic.intr && irqchip_takes_pic(&p);
    int request;
    uint8_t vector;

    if (!irqchip_pending(&p, n))
        return;
    request = highest(&p.lapic[n], LAPIC_IRR);
    vector = irqchip_ack(&p, n);
    if (!pic && (vector != request || highest(&p.lapic[n], LAPIC_ISR) != request))
        abort();
}

static void step(void)
{
    uint8_t what = byte(), how = byte();
    unsigned n = what >> 4 & 3;
    struct lapic *l = &p.lapic[n];

    switch (what & 15) {
    case 0:
        enable(l, how);
        break;
    case 1:
        irqchip_raise(&p, how & 31, what & 0x80);
        break;
    case 2:
        (void)!irqchip_msi(&p, LAPIC_BASE | number(2) << 4, (uint32_t)number(2));
        break;
    case 3:
    case 4:
        (void)mmio_write(&p.bus, IOAPIC_BASE, 4, 0x10 + how % 48);
        (void)mmio_write(&p.bus, IOAPIC_BASE + 0x10, 4, number(4) & ~(how & 0x80 ? 0x10000u : 0));
        break;
    case 5:
        (void)mmio_write(&p.bus, IOAPIC_BASE + 0x40, 4, how);
        break;
    case 6:
        take(n);
        break;
    case 7:
        pass((uint64_t)(how + 1) << (byte() & 31));
        break;
    case 8:
        wake(n);
        break;
    case 9:
        lapic_set_tsc_deadline(l, number(4), p.clock.now + (uint64_t)how * 100);
        lapic_shift_tsc(l, (uint64_t)(int64_t)(int32_t)number(4));
        pass(0);
        break;
    case 10:
        take_notification(l);
        break;
    case 11:
        l->posting = how & 1;
        break;
    case 12:
        io_out(&p.bus, PIC_MASTER_PORT + (how & 1), 1, (uint32_t)number(1));
        break;
    default:
        access_lapic(l, how);
        pass(0);
    }
    for (unsigned i = 0; i < VCPUS; i++)
        check_lapic(&p.lapic[i]), check_descriptor(&p.lapic[i]);
    check_ioapic(&p.ioapic);
    check_lint0();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    start();
    sequence_begin(data, size, 256);
    for (unsigned i = 0; i < STEPS_MAX && (left || more); i++)
        step();
    return 0;
}
