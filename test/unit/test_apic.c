/* SOURCES: hv/gmem.c @pc hv/lib.c */
/* Local APICs, the IOAPIC and MSIs of a PC with four vCPUs. SDM 3A "Advanced Programmable Interrupt
 * Controller (APIC)"; 82093AA data sheet. */
#include "hv/pc/irqchip.h"

#include "hv/lib.h"
#include "test/unit/pc_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define TSC_HZ  3000000000ull
#define START   5000000000ull
#define VCPUS   4u
#define ENABLE  0x1ffu /* SVR, spurious vector 0xff */
#define TIMER   0x320u
#define LINT0   0x350u
#define ERROR   0x370u
#define COUNT   0x380u
#define CURRENT 0x390u
#define DIVIDE  0x3e0u

static struct platform p;
static uint32_t pages[VCPUS][LAPIC_PAGE / 4] __attribute__((aligned(4096)));
static unsigned kicks[VCPUS], notes[VCPUS];
static struct {
    unsigned vcpu, vector, count;
    enum platform_ipi kind;
} sent;

static void on_kick(void *ctx, unsigned vcpu)
{
    (void)ctx;
    kicks[vcpu]++;
}

static void on_notify(void *ctx, unsigned vcpu)
{
    (void)ctx;
    notes[vcpu]++;
}

static void on_ipi(void *ctx, unsigned vcpu, enum platform_ipi kind, uint8_t vector)
{
    (void)ctx;
    sent.vcpu = vcpu;
    sent.kind = kind;
    sent.vector = vector;
    sent.count++;
}

static struct lapic *at(unsigned n)
{
    return &p.lapic[n];
}

static uint32_t get(unsigned n, unsigned offset)
{
    return lapic_mmio_read(at(n), offset, 4, p.clock.now);
}

static void put(unsigned n, unsigned offset, uint32_t value)
{
    lapic_mmio_write(at(n), offset, 4, value, p.clock.now);
}

static bool wrmsr(unsigned n, unsigned reg, uint64_t value)
{
    return lapic_msr_write(at(n), reg, value, p.clock.now);
}

static uint64_t rdmsr(unsigned n, unsigned reg)
{
    uint64_t value = 0;

    assert_true(lapic_msr_read(at(n), reg, p.clock.now, &value));
    return value;
}

static bool base(unsigned n, uint64_t flags)
{
    return lapic_set_base(at(n), LAPIC_BASE | flags, 39);
}

static int setup(void **state)
{
    struct platform_host host = pc_host;

    (void)state;
    host.kick = on_kick;
    host.notify = on_notify;
    host.ipi = on_ipi;
    memset(&p, 0, sizeof(p));
    memset(pages, 0, sizeof(pages));
    memset(kicks, 0, sizeof(kicks));
    memset(notes, 0, sizeof(notes));
    memset(&sent, 0, sizeof(sent));
    p.vcpus = VCPUS;
    for (unsigned i = 0; i < VCPUS; i++)
        p.lapic[i].regs = pages[i];
    assert_int_equal(platform_init(&p, DEV_DEFAULT, START, TSC_HZ, 0, 16ull << 20, &host), 0);
    return 0;
}

/* All vCPUs enable their local APICs; flat logical ids as Debian 12 sets them. */
static int setup_enabled(void **state)
{
    (void)setup(state);
    for (unsigned i = 0; i < VCPUS; i++) {
        put(i, 0xf0, ENABLE);
        put(i, 0xd0, 1u << (24 + i));
    }
    return 0;
}

/* ... in x2APIC mode. */
static int setup_x2apic(void **state)
{
    (void)setup_enabled(state);
    for (unsigned i = 0; i < VCPUS; i++)
        assert_true(base(i, 0xc00));
    return 0;
}

static void pass(uint64_t ticks)
{
    p.clock.now += ticks;
    platform_timers(&p);
    for (unsigned i = 0; i < VCPUS; i++)
        irqchip_timers(&p, i, p.clock.now);
}

static void io(unsigned offset, uint32_t value)
{
    assert_true(mmio_write(&p.bus, 0xfec00000 + offset, 4, value));
}

static uint32_t io_get(unsigned index)
{
    uint64_t value;

    io(0, index);
    assert_true(mmio_read(&p.bus, 0xfec00010, 4, &value));
    return (uint32_t)value;
}

static void entry(unsigned pin, uint32_t low, uint32_t dest)
{
    io(0, 0x11 + 2 * pin);
    io(0x10, dest << 24);
    io(0, 0x10 + 2 * pin);
    io(0x10, low);
}

static void expect(unsigned n, unsigned vector)
{
    assert_true(irqchip_pending(&p, n));
    assert_int_equal(irqchip_ack(&p, n), vector);
}

/* Bit n: vCPU n has this interrupt, and nothing else has any. All are acknowledged and ended. */
static unsigned who_gets(unsigned vector)
{
    unsigned who = 0;

    for (unsigned i = 0; i < VCPUS; i++) {
        if (!irqchip_pending(&p, i))
            continue;
        assert_int_equal(irqchip_ack(&p, i), vector);
        assert_false(irqchip_pending(&p, i));
        who |= 1u << i;
        if (lapic_is_x2apic(at(i)))
            assert_true(wrmsr(i, 0xb, 0));
        else
            put(i, 0xb0, 0);
    }
    return who;
}

/* SDM 3A "Local APIC State After Power-Up or Reset", except LINT0 of vCPU 0. */
static void after_reset(void **state)
{
    static const uint16_t masked[] = {0x320, 0x330, 0x340, 0x360, 0x370};

    (void)state;
    for (unsigned n = 0; n < VCPUS; n++) {
        assert_int_equal(at(n)->base, n ? 0xfee00800 : 0xfee00900);
        assert_int_equal(get(n, 0x20), n << 24);
        assert_int_equal(get(n, 0x30), 0x01050014);
        assert_int_equal(get(n, 0xe0), 0xffffffff);
        assert_int_equal(get(n, 0xf0), 0xff);
        assert_int_equal(get(n, LINT0), n ? 0x10000 : 0x700);
        for (unsigned i = 0; i < ARRAY_LEN(masked); i++)
            assert_int_equal(get(n, masked[i]), 0x10000);
        for (unsigned i = 0; i < 0x400; i += 16)
            if (i != 0x20 && i != 0x30 && i != 0xe0 && i != 0xf0 && (i < 0x320 || i > 0x370) &&
                i != 0x280)
                assert_int_equal(pages[n][i / 4], 0);
        assert_false(irqchip_pending(&p, n));
        assert_true(irqchip_next_deadline(&p, n) == NEVER);
    }
}

/* SDM 3A figure "Local x2APIC State Transitions with IA32_APIC_BASE, INIT, and Reset". */
static void states(void **state)
{
    static const struct {
        uint64_t from, to;
        bool ok;
    } moves[] = {
        {0x800, 0x800, true}, {0x800, 0xc00, true},  {0x800, 0, true},  {0x800, 0x400, false},
        {0xc00, 0xc00, true}, {0xc00, 0x800, false}, {0xc00, 0, true},  {0xc00, 0x400, false},
        {0, 0, true},         {0, 0x800, true},      {0, 0xc00, false}, {0, 0x400, false},
    };

    for (unsigned i = 0; i < ARRAY_LEN(moves); i++) {
        (void)setup(state);
        if (moves[i].from != 0x800)
            assert_true(base(1, moves[i].from));
        assert_int_equal(base(1, moves[i].to), moves[i].ok);
        assert_int_equal(at(1)->base, LAPIC_BASE | (moves[i].ok ? moves[i].to : moves[i].from));
    }
    (void)setup_enabled(state);
    put(2, 0x80, 0x20);
    assert_true(base(2, 0xc00));
    assert_int_equal(rdmsr(2, 0x2), 2);
    assert_int_equal(rdmsr(2, 0x8), 0x20); /* kept */
    assert_int_equal(rdmsr(2, 0xd), 1 << 2);
    assert_null(irqchip_lapic_at(&p, 2, LAPIC_BASE));
    assert_true(base(2, 0));
    assert_null(irqchip_lapic_at(&p, 2, LAPIC_BASE));
    assert_true(base(2, 0x800));
    assert_int_equal(get(2, 0xf0), 0xff); /* as after power-up */
    assert_int_equal(get(2, 0x80), 0);
    for (unsigned bit = 0; bit < 64; bit++)
        if (bit < 8 || bit == 9 || bit >= 39)
            assert_false(lapic_set_base(at(2), (LAPIC_BASE | 0x800) ^ 1ull << bit, 39));
    assert_true(lapic_set_base(at(2), 0x12345800, 39));
    assert_ptr_equal(irqchip_lapic_at(&p, 2, 0x12345fff), at(2));
    assert_null(irqchip_lapic_at(&p, 2, LAPIC_BASE));
    assert_ptr_equal(irqchip_lapic_at(&p, 1, LAPIC_BASE), at(1));
}

/* INIT keeps the mode and the id. */
static void init(void **state)
{
    (void)state;
    put(1, 0x80, 0x55);
    put(1, 0xf0, ENABLE);
    assert_true(base(1, 0xc00));
    lapic_reset(at(1), TSC_HZ, true);
    assert_int_equal(rdmsr(1, 0x8), 0);
    assert_int_equal(rdmsr(1, 0x2), 1);
    assert_int_equal(rdmsr(1, 0xf), 0xff);
}

/* SDM 3A table "Local APIC Register Address Map Supported by x2APIC", and figure
 * "Spurious-Interrupt Vector Register": its bit 9 is defined, and Xen sets it. */
static void x2apic_registers(void **state)
{
    static const struct {
        uint8_t reg;
        bool read, write;
        uint64_t bits; /* that are not reserved */
    } regs[] = {
        {0x02, true, false, 0},
        {0x03, true, false, 0},
        {0x08, true, true, 0xff},
        {0x0a, true, false, 0},
        {0x0b, false, true, 0},
        {0x0d, true, false, 0},
        {0x0f, true, true, 0x13ff},
        {0x28, true, true, 0},
        {0x30, true, true, 0xffffffff000cdfff},
        {0x32, true, true, 0x710ff},
        {0x33, true, true, 0x117ff},
        {0x34, true, true, 0x117ff},
        {0x35, true, true, 0x1f7ff},
        {0x36, true, true, 0x1f7ff},
        {0x37, true, true, 0x110ff},
        {0x38, true, true, 0xffffffff},
        {0x39, true, false, 0},
        {0x3e, true, true, 0xb},
        {0x3f, false, true, 0xff},
    };

    for (unsigned reg = 0; reg <= 0xff; reg++) {
        bool read = reg >= 0x10 && reg <= 0x27, write = false;
        uint64_t bits = 0, value;

        for (unsigned i = 0; i < ARRAY_LEN(regs); i++)
            if (regs[i].reg == reg) {
                read = regs[i].read;
                write = regs[i].write;
                bits = regs[i].bits;
            }
        (void)setup_x2apic(state);
        assert_int_equal(lapic_msr_read(at(0), reg, p.clock.now, &value), read);
        for (unsigned bit = 0; bit < 64; bit++)
            assert_int_equal(wrmsr(0, reg, 1ull << bit), write && (bits >> bit & 1));
        assert_int_equal(wrmsr(0, reg, 0), write);
        /* None exists in xAPIC mode. */
        (void)setup_enabled(state);
        assert_false(lapic_msr_read(at(0), reg, p.clock.now, &value));
        assert_false(wrmsr(0, reg, 0));
    }
}

static void xapic_registers(void **state)
{
    static const struct {
        uint16_t offset;
        uint32_t bits, ones;
    } regs[] = {{0x80, 0xff, 0},     {0xd0, 0xff000000, 0},  {0xe0, 0xf0000000, 0x0fffffff},
                {0xf0, 0x11ff, 0},   {0x310, 0xff000000, 0}, {0x320, 0x700ff, 0},
                {0x330, 0x107ff, 0}, {0x340, 0x107ff, 0},    {0x350, 0x1a7ff, 0},
                {0x360, 0x1a7ff, 0}, {0x370, 0x100ff, 0},    {0x380, 0xffffffff, 0},
                {0x3e0, 0xb, 0}};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(regs); i++) {
        put(1, 0xf0, ENABLE);
        put(1, regs[i].offset, 0);
        put(1, 0xf0, ENABLE);
        if (regs[i].offset == 0x380)
            put(1, TIMER, 0x10020); /* one-shot */
        put(1, regs[i].offset, UINT32_MAX);
        assert_int_equal(get(1, regs[i].offset), regs[i].bits | regs[i].ones);
    }
    put(1, 0x20, 0x07000000);
    assert_int_equal(get(1, 0x20), 0x01000000);
    /* Parts of a register can be read; only 32 bits at its first byte are written. */
    put(1, 0xe0, 0x10000000);
    assert_int_equal(lapic_mmio_read(at(1), 0xe3, 1, p.clock.now), 0x1f);
    assert_int_equal(lapic_mmio_read(at(1), 0xe2, 2, p.clock.now), 0x1fff);
    assert_int_equal(lapic_mmio_read(at(1), 0xe4, 4, p.clock.now), 0);
    lapic_mmio_write(at(1), 0x80, 1, 0x33, p.clock.now);
    lapic_mmio_write(at(1), 0x84, 4, 0x33, p.clock.now);
    assert_int_equal(get(1, 0x80), 0xff);
    lapic_mmio_write(at(1), 0x80, 8, 0x33, p.clock.now);
    assert_int_equal(get(1, 0x80), 0x33);
}

static void self(unsigned n, unsigned vector)
{
    put(n, 0x300, 0x40000 | vector);
}

/* SDM 3A "Task Priority", "Processor Priority", "EOI". */
static void priorities(void **state)
{
    (void)state;
    self(0, 0x35);
    assert_true(irqchip_pending(&p, 0));
    put(0, 0x80, 0x30); /* its class is not above */
    assert_false(irqchip_pending(&p, 0));
    assert_int_equal(get(0, 0xa0), 0x30);
    assert_int_equal(get(0, 0x210), 1u << 0x15);
    put(0, 0x80, 0x2f);
    assert_true(irqchip_pending(&p, 0));
    expect(0, 0x35);
    assert_int_equal(get(0, 0xa0), 0x30);
    assert_int_equal(get(0, 0x110), 1u << 0x15);
    assert_int_equal(get(0, 0x210), 0);
    self(0, 0x3f); /* the same class waits */
    assert_false(irqchip_pending(&p, 0));
    self(0, 0x41);
    self(0, 0xfe);
    expect(0, 0xfe);
    assert_false(irqchip_pending(&p, 0));
    assert_int_equal(get(0, 0xa0), 0xf0);
    put(0, 0xb0, 0);
    expect(0, 0x41);
    put(0, 0xb0, 0);
    assert_int_equal(get(0, 0xa0), 0x30);
    assert_false(irqchip_pending(&p, 0));
    put(0, 0xb0, 0);
    assert_int_equal(get(0, 0xa0), 0x2f);
    expect(0, 0x3f);
    put(0, 0xb0, 0);
    put(0, 0xb0, 0); /* nothing is in service */
    assert_int_equal(get(0, 0xa0), 0x2f);
    /* A request that has gone by the time of the acknowledgement. */
    self(0, 0x50);
    assert_true(irqchip_pending(&p, 0));
    put(0, 0x80, 0xff);
    assert_int_equal(irqchip_ack(&p, 0), 0xff);
    assert_int_equal(get(0, 0x120), 0);
    put(0, 0x80, 0);
    expect(0, 0x50);
}

static void shorthands(void **state)
{
    (void)state;
    put(2, 0x300, 0x40061);
    assert_int_equal(who_gets(0x61), 1 << 2);
    put(2, 0x300, 0x80062);
    assert_int_equal(who_gets(0x62), 0xf);
    put(2, 0x300, 0xc0063);
    assert_int_equal(who_gets(0x63), 0xb);
    assert_true(kicks[0] && kicks[1] && kicks[3]);
    put(1, 0xf0, 0xff); /* disabled */
    put(2, 0x300, 0x80064);
    assert_int_equal(who_gets(0x64), 0xd);
}

static unsigned ipi(unsigned dest, uint32_t low)
{
    put(0, 0x310, dest << 24);
    put(0, 0x300, low);
    return who_gets(low & 0xff);
}

/* Debian 13 sends to physical ids and never writes LDR or DFR; 12 to flat logical ones, IPI 0x8fd.
 */
static void destinations(void **state)
{
    (void)state;
    for (unsigned n = 0; n < VCPUS; n++) {
        assert_int_equal(ipi(n, 0xfd), 1u << n);
        assert_int_equal(ipi(1u << n, 0x8fd), 1u << n);
    }
    assert_int_equal(ipi(0xff, 0xfd), 0xf);
    assert_int_equal(ipi(0xff, 0x8fd), 0xf);
    assert_int_equal(ipi(4, 0xfd), 0);
    assert_int_equal(ipi(0x0a, 0x8fd), 0xa);
    assert_int_equal(ipi(0xf0, 0x8fd), 0);
    assert_int_equal(ipi(0, 0x8fd), 0);
    /* Clusters 1 and 2 of two members each. */
    for (unsigned n = 0; n < VCPUS; n++) {
        put(n, 0xe0, 0);
        put(n, 0xd0, ((n / 2 + 1) << 4 | 1u << (n % 2)) << 24);
    }
    assert_int_equal(ipi(0x11, 0x8fd), 1);
    assert_int_equal(ipi(0x13, 0x8fd), 3);
    assert_int_equal(ipi(0x22, 0x8fd), 8);
    assert_int_equal(ipi(0x2f, 0x8fd), 0xc);
    assert_int_equal(ipi(0x33, 0x8fd), 0);
    assert_int_equal(ipi(0xff, 0x8fd), 0xf);
}

static void x2apic_destinations(void **state)
{
    (void)state;
    for (unsigned n = 0; n < VCPUS; n++) {
        assert_true(wrmsr(1, 0x30, (uint64_t)n << 32 | 0xfd));
        assert_int_equal(rdmsr(1, 0x30), (uint64_t)n << 32 | 0xfd);
        assert_int_equal(who_gets(0xfd), 1u << n);
        assert_true(wrmsr(1, 0x30, 1ull << (32 + n) | 0x8fd));
        assert_int_equal(who_gets(0xfd), 1u << n);
    }
    assert_true(wrmsr(1, 0x30, UINT32_MAX * (1ull << 32) | 0xfd));
    assert_int_equal(who_gets(0xfd), 0xf);
    assert_true(wrmsr(1, 0x30, UINT32_MAX * (1ull << 32) | 0x8fd));
    assert_int_equal(who_gets(0xfd), 0xf);
    assert_true(wrmsr(1, 0x30, 0xffull << 32 | 0xfd)); /* an id like any other */
    assert_int_equal(who_gets(0xfd), 0);
    assert_true(wrmsr(1, 0x30, 0x10001ull << 32 | 0x8fd)); /* cluster 1 */
    assert_int_equal(who_gets(0xfd), 0);
    assert_true(wrmsr(1, 0x30, 6ull << 32 | 0x8fd));
    assert_int_equal(who_gets(0xfd), 6);
    assert_true(wrmsr(3, 0x3f, 0x77));
    assert_int_equal(who_gets(0x77), 8);
}

/* The lowest task priority, else in turn. */
static void lowest_priority(void **state)
{
    unsigned all = 0;

    (void)state;
    for (unsigned i = 0; i < VCPUS; i++) {
        unsigned who = ipi(0xff, 0x941);

        assert_int_equal(__builtin_popcount(who), 1);
        all |= who;
    }
    assert_int_equal(all, 0xf);
    for (unsigned i = 0; i < VCPUS; i++)
        put(i, 0x80, i == 2 ? 0x10 : 0x20);
    for (unsigned i = 0; i < VCPUS; i++)
        assert_int_equal(ipi(0xff, 0x941), 1 << 2);
    put(2, 0xf0, 0xff);
    assert_int_equal(ipi(0x04, 0x941), 0);
}

/* "Valid Combinations": to all but itself it is valid, and goes to one. What the table calls
 * invalid goes to one of those that the shorthand names. */
static void lowest_priority_by_shorthand(void **state)
{
    unsigned all = 0;

    (void)state;
    for (unsigned i = 0; i < 2 * VCPUS; i++) {
        unsigned who = ipi(0, 0xc0141);

        assert_int_equal(__builtin_popcount(who), 1);
        all |= who;
    }
    assert_int_equal(all, 0xe);
    put(2, 0x80, 0x10);
    put(3, 0x80, 0x20);
    put(0, 0x80, 0x30);
    for (unsigned i = 0; i < VCPUS; i++) {
        assert_int_equal(ipi(0, 0xc0141), 1 << 1);
        assert_int_equal(ipi(0, 0x80141), 1 << 1);
    }
    put(1, 0x80, 0x40);
    assert_int_equal(ipi(0, 0xc0141), 1 << 2);
    assert_int_equal(ipi(0, 0x40141), 1); /* itself */
}

static void other_ipis(void **state)
{
    (void)state;
    /* As Debian starts a CPU: INIT, its end, SIPI twice. */
    assert_int_equal(ipi(1, 0xc500), 0);
    assert_int_equal(sent.count, 1);
    assert_true(sent.vcpu == 1 && sent.kind == PLATFORM_INIT);
    assert_int_equal(ipi(1, 0x8500), 0);
    assert_int_equal(sent.count, 1);
    assert_int_equal(ipi(1, 0x699), 0);
    assert_int_equal(ipi(1, 0x699), 0);
    assert_int_equal(sent.count, 3);
    assert_true(sent.vcpu == 1 && sent.kind == PLATFORM_SIPI && sent.vector == 0x99);
    put(0, 0x300, 0xc0400);
    assert_int_equal(sent.count, 6);
    assert_true(sent.vcpu == 3 && sent.kind == PLATFORM_NMI);
    assert_int_equal(ipi(1, 0x200), 0); /* SMI: ignored */
    assert_int_equal(sent.count, 6);
    /* A disabled local APIC takes these. */
    put(2, 0xf0, 0xff);
    assert_int_equal(ipi(2, 0x400), 0);
    assert_true(sent.vcpu == 2 && sent.count == 7);
}

/* SDM 3A "Error Handling". */
static void errors(void **state)
{
    (void)state;
    self(0, 0x0f);
    assert_int_equal(get(0, 0x280), 0); /* until it is written */
    put(0, 0x280, 0);
    assert_int_equal(get(0, 0x280), 0x20);
    put(0, 0x280, 0);
    assert_int_equal(get(0, 0x280), 0);
    put(0, ERROR, 0xfc);
    put(0, 0x300, 0x40005);
    assert_int_equal(who_gets(0xfc), 1);
    put(0, 0x280, 0);
    assert_int_equal(get(0, 0x280), 0x20);
    (void)get(0, 0x400); /* no such register */
    put(0, 0x40, 0);
    put(0, 0x280, 0);
    assert_int_equal(get(0, 0x280), 0x80);
    assert_int_equal(who_gets(0xfc), 1);
    /* Received, and from the LVT; an illegal error vector does not loop. */
    put(0, ERROR, 0x03);
    assert_int_equal(irqchip_msi(&p, 0xfee00000, 0x0e), 0);
    assert_int_equal(who_gets(0), 0);
    put(0, 0x280, 0);
    assert_int_equal(get(0, 0x280), 0x40);
    /* A level-triggered line with an illegal vector does not block the others. */
    entry(5, 0x8007, 0);
    irqchip_raise(&p, 5, true);
    assert_int_equal(who_gets(0), 0);
}

static void disabled(void **state)
{
    (void)state;
    put(0, LINT0, 0x700);
    put(0, TIMER, 0x20040);
    self(0, 0x45);
    put(0, 0xf0, 0xff);
    assert_int_equal(get(0, LINT0), 0x10700);
    assert_int_equal(get(0, TIMER), 0x30040);
    put(0, TIMER, 0x20040); /* the mask stays */
    assert_int_equal(get(0, TIMER), 0x30040);
    assert_int_equal(who_gets(0x45), 1); /* what is pending stays */
    self(0, 0x46);
    assert_int_equal(irqchip_msi(&p, 0xfee00000, 0x47), 0);
    put(0, COUNT, 100);
    pass(1000);
    assert_int_equal(who_gets(0), 0);
    put(0, 0xf0, ENABLE);
    assert_int_equal(who_gets(0), 0);
    assert_int_equal(get(0, TIMER), 0x30040);
}

/* VT-x writes a register's new value to the page first. */
static void written(unsigned n, unsigned offset, uint32_t value)
{
    pages[n][offset / 4] = value;
    lapic_written(at(n), offset, p.clock.now);
}

static void written_by_cpu(void **state)
{
    (void)state;
    written(1, 0x20, 0x77000000);
    assert_int_equal(get(1, 0x20), 0x01000000);
    written(1, 0xe0, 0);
    assert_int_equal(get(1, 0xe0), 0x0fffffff);
    written(1, TIMER, 0xffffffff & ~0x60000u);
    assert_int_equal(get(1, TIMER), 0x100ff);
    written(1, TIMER, 0x40);
    written(1, DIVIDE, 0xb);
    written(1, COUNT, 1000);
    pass(1000);
    assert_int_equal(who_gets(0x40), 2);
    written(1, 0x310, 2u << 24);
    written(1, 0x300, 0x63);
    assert_int_equal(who_gets(0x63), 4);
    written(1, 0xf0, 0xff);
    assert_int_equal(get(1, TIMER), 0x10040);
    assert_true(base(2, 0xc00));
    written(2, 0x3f0, 5); /* an illegal vector */
    assert_true(wrmsr(2, 0x28, 0));
    assert_int_equal(rdmsr(2, 0x28), 0x20);
}

/* ---- timer ---- */

static void one_shot(void **state)
{
    static const uint8_t divide[] = {0xb, 0, 1, 2, 3, 8, 9, 10};

    (void)state;
    put(0, TIMER, 0x40);
    for (unsigned i = 0; i < ARRAY_LEN(divide); i++) {
        put(0, DIVIDE, divide[i]);
        put(0, COUNT, 1000);
        assert_int_equal(get(0, COUNT), 1000);
        assert_int_equal(get(0, CURRENT), 1000);
        assert_true(irqchip_next_deadline(&p, 0) == p.clock.now + (1000ull << i));
        pass((400ull << i) - 1);
        assert_int_equal(get(0, CURRENT), i ? 601 : 601);
        pass(1);
        assert_int_equal(get(0, CURRENT), 600);
        pass((600ull << i) - 1);
        assert_int_equal(who_gets(0), 0);
        pass(1);
        assert_int_equal(get(0, CURRENT), 0);
        assert_int_equal(who_gets(0x40), 1);
        assert_true(irqchip_next_deadline(&p, 0) == NEVER);
    }
    put(0, COUNT, 1000);
    put(0, COUNT, 0); /* stops it */
    pass(1u << 30);
    assert_int_equal(who_gets(0), 0);
    put(0, TIMER, 0x10040);
    put(0, COUNT, 1000); /* masked, it counts */
    pass(128 * 500);
    assert_int_equal(get(0, CURRENT), 500);
    pass(128 * 500);
    assert_int_equal(who_gets(0), 0);
    assert_int_equal(get(0, CURRENT), 0);
}

static void periodic(void **state)
{
    uint64_t due;

    (void)state;
    put(0, DIVIDE, 3); /* 16 */
    put(0, TIMER, 0x20041);
    put(0, COUNT, 1000);
    due = p.clock.now;
    for (unsigned i = 0; i < 100; i++) {
        due += 16000;
        assert_true(irqchip_next_deadline(&p, 0) == due);
        pass(due + i - p.clock.now); /* late by a little */
        assert_int_equal(who_gets(0x41), 1);
    }
    pass(16000 * 7 + 5); /* missed ones merge, in phase */
    assert_int_equal(who_gets(0x41), 1);
    assert_int_equal((irqchip_next_deadline(&p, 0) - due) % 16000, 0);
    assert_in_range(irqchip_next_deadline(&p, 0) - p.clock.now, 1, 16000);
    pass(irqchip_next_deadline(&p, 0) - p.clock.now - 1600);
    assert_int_equal(get(0, CURRENT), 100);
    put(0, DIVIDE, 0xb); /* what is left of the count stays */
    assert_int_equal(get(0, CURRENT), 100);
    pass(100);
    assert_int_equal(who_gets(0x41), 1);
    /* A period that would leave no time for anything else. */
    put(0, COUNT, 1);
    for (unsigned i = 0; i < 10; i++) {
        pass(1);
        if (irqchip_next_deadline(&p, 0) > p.clock.now + 1)
            break;
    }
    assert_int_equal(who_gets(0x41), 1);
    assert_in_range(irqchip_next_deadline(&p, 0) - p.clock.now, 1000, 1024);
    put(0, COUNT, 0);
    assert_true(irqchip_next_deadline(&p, 0) == NEVER);
    put(0, COUNT, 5000);
    platform_shift(&p, 700); /* the guest was paused */
    p.clock.now += 700;
    assert_int_equal(get(0, CURRENT), 5000);
}

static void tsc_deadline(void **state)
{
    struct lapic *l = at(0);

    (void)state;
    lapic_set_tsc_deadline(l, 500, p.clock.now + 500);
    assert_true(l->deadline == NEVER && l->tsc_deadline == 0); /* another mode */
    put(0, TIMER, 0x40042);
    lapic_set_tsc_deadline(l, 77777, p.clock.now + 500);
    assert_true(l->tsc_deadline == 77777);
    assert_int_equal(get(0, CURRENT), 0);
    put(0, COUNT, 10); /* ignored */
    assert_int_equal(get(0, COUNT), 0);
    pass(499);
    assert_int_equal(who_gets(0), 0);
    pass(1);
    assert_int_equal(who_gets(0x42), 1);
    assert_true(l->tsc_deadline == 0 && l->deadline == NEVER);
    lapic_set_tsc_deadline(l, 77777, p.clock.now + 500);
    lapic_shift_tsc(l, 100); /* the guest's TSC is set forward */
    assert_true(l->deadline == p.clock.now + 400);
    lapic_shift_tsc(l, (uint64_t)-200);
    assert_true(l->deadline == p.clock.now + 600);
    lapic_shift_tsc(l, INT64_MAX);
    assert_true(l->deadline == 0);
    pass(1);
    assert_int_equal(who_gets(0x42), 1);
    lapic_set_tsc_deadline(l, 77777, NEVER);
    assert_true(l->deadline == NEVER - 1);
    lapic_shift_tsc(l, (uint64_t)INT64_MIN);
    assert_true(l->deadline == NEVER - 1);
    lapic_set_tsc_deadline(l, 0, p.clock.now); /* disarms */
    assert_true(l->deadline == NEVER);
    lapic_set_tsc_deadline(l, 5, p.clock.now + 5);
    put(0, TIMER, 0x42); /* so does leaving the mode */
    assert_true(l->deadline == NEVER && l->tsc_deadline == 0);
    put(0, COUNT, 5000);
    put(0, TIMER, 0x40042); /* and entering it */
    assert_true(l->deadline == NEVER);
}

/* From 2^32 Hz on CPUID 0x15 tells a crystal of half the frequency. */
static void fast_clock(void **state)
{
    (void)state;
    lapic_reset(at(0), 1ull << 32, false);
    put(0, 0xf0, ENABLE);
    put(0, TIMER, 0x40);
    put(0, DIVIDE, 0xb);
    put(0, COUNT, 1000);
    assert_true(at(0)->deadline == p.clock.now + 2000);
}

/* For a vCPU in HLT: everything but the vector in advance, and undone. */
static void wakes(void **state)
{
    static struct platform before;
    static uint32_t page[LAPIC_PAGE / 4];
    struct irqchip_wake w;

    (void)state;
    for (unsigned mode = 0; mode < 3; mode++) {
        uint64_t due = p.clock.now + 5000;

        put(1, DIVIDE, 0xb);
        put(1, TIMER, mode << 17 | 0x51);
        if (mode == 2)
            lapic_set_tsc_deadline(at(1), 5, due);
        else
            put(1, COUNT, 5000);
        before = p;
        memcpy(page, pages[1], sizeof(page));
        assert_int_equal(irqchip_prepare_wake(&p, 1, due, &w), -1); /* not before then */
        assert_int_equal(irqchip_prepare_wake(&p, 1, NEVER, &w), 0x51);
        assert_true(w.due == due);
        assert_int_equal(pages[1][(LAPIC_ISR + 0x20) / 4], 1 << 0x11);
        irqchip_undo_wake(&p, 1, &w);
        assert_memory_equal(&p, &before, sizeof(p));
        assert_memory_equal(page, pages[1], sizeof(page));
        put(1, 0x80, 0x50);
        assert_int_equal(irqchip_prepare_wake(&p, 1, NEVER, &w), -1);
        put(1, 0x80, 0x4f);
        assert_int_equal(irqchip_prepare_wake(&p, 1, NEVER, &w), 0x51);
        p.clock.now = due;
        assert_false(irqchip_pending(&p, 1));
        put(1, 0xb0, 0);
        assert_true(at(1)->deadline == (mode == 1 ? due + 5000 : NEVER));
    }
    put(1, TIMER, 0x10051);
    put(1, COUNT, 5000);
    assert_int_equal(irqchip_prepare_wake(&p, 1, NEVER, &w), -1); /* masked */
}

/* ---- IOAPIC ---- */

static void ioapic_registers(void **state)
{
    (void)state;
    assert_int_equal(io_get(0), VCPUS << 24);
    assert_int_equal(io_get(1), 0x170020);
    assert_int_equal(io_get(3), 0);
    assert_int_equal(io_get(0x40), 0);
    for (unsigned pin = 0; pin < 24; pin++) {
        assert_int_equal(io_get(0x10 + 2 * pin), 0x10000);
        assert_int_equal(io_get(0x11 + 2 * pin), 0);
        entry(pin, UINT32_MAX, 0xff);
        assert_int_equal(io_get(0x10 + 2 * pin), 0x1afff);
        assert_int_equal(io_get(0x11 + 2 * pin), 0xff000000);
    }
    io(0, 0);
    io(0x10, UINT32_MAX);
    assert_int_equal(io_get(0), 0x0f000000);
}

static bool count_messages(void *ctx, uint64_t e)
{
    (void)e;
    ++*(unsigned *)ctx;
    return true;
}

/* In any state of a pin a pulse is a low line, then a high one. */
static void pin_pulses(void **state)
{
    static const uint64_t bits[] = {IOAPIC_MASKED, IOAPIC_LEVEL, IOAPIC_REMOTE_IRR};

    (void)state;
    for (unsigned n = 0; n < 16; n++) {
        unsigned sent_by[2] = {0, 0};
        struct ioapic io[2] = {{.send = count_messages, .lines = n & 8 ? 1u << 7 : 0}};

        for (unsigned i = 0; i < ARRAY_LEN(bits); i++)
            io[0].entry[7] |= n >> i & 1 ? bits[i] : 0;
        io[1] = io[0];
        io[0].ctx = &sent_by[0];
        io[1].ctx = &sent_by[1];
        ioapic_pulse(&io[0], 7);
        ioapic_set(&io[1], 7, false);
        ioapic_set(&io[1], 7, true);
        assert_int_equal(sent_by[0], sent_by[1]);
        assert_int_equal(io[0].lines, io[1].lines);
        assert_memory_equal(io[0].entry, io[1].entry, sizeof(io[0].entry));
    }
}

static void edges(void **state)
{
    (void)state;
    entry(4, 0x821, 0xff); /* Debian 12's form */
    irqchip_raise(&p, 4, true);
    assert_int_equal(who_gets(0x21), 0xf);
    irqchip_raise(&p, 4, true); /* no edge */
    assert_int_equal(who_gets(0), 0);
    irqchip_raise(&p, 4, false);
    irqchip_raise(&p, 4, true);
    assert_int_equal(who_gets(0x21), 0xf);
    entry(4, 0x10821, 4);
    irqchip_raise(&p, 4, false);
    irqchip_raise(&p, 4, true); /* lost: masked */
    entry(4, 0x821, 4);
    assert_int_equal(who_gets(0), 0);
    irqchip_pulse(&p, 4);
    assert_int_equal(who_gets(0x21), 4);
    /* The PIT is on pin 2. */
    entry(2, 0x30, 3);
    entry(0, 0x31, 3);
    irqchip_pulse(&p, 0);
    assert_int_equal(who_gets(0x30), 8);
    irqchip_pulse(&p, 2); /* the cascade: no line */
    assert_int_equal(who_gets(0), 0);
    entry(23, 0x32, 3);
    irqchip_pulse(&p, 23);
    assert_int_equal(who_gets(0x32), 8);
    irqchip_pulse(&p, 24);
}

static void levels(void **state)
{
    (void)state;
    entry(10, 0x80b1, 1);
    irqchip_raise(&p, 10, true);
    assert_int_equal(io_get(0x24), 0xc0b1); /* remote IRR */
    assert_true(irqchip_pending(&p, 1));
    assert_int_equal(get(1, 0x180 + 0x50), 1 << 0x11);
    expect(1, 0xb1);
    irqchip_raise(&p, 10, true);
    assert_false(irqchip_pending(&p, 1));
    put(1, 0xb0, 0); /* still asserted: again */
    assert_true(irqchip_pending(&p, 1));
    expect(1, 0xb1);
    irqchip_raise(&p, 10, false);
    put(1, 0xb0, 0);
    assert_false(irqchip_pending(&p, 1));
    assert_int_equal(io_get(0x24), 0x80b1);
    /* Masked while asserted: it comes when it is unmasked. */
    entry(10, 0x180b1, 1);
    irqchip_raise(&p, 10, true);
    assert_int_equal(who_gets(0), 0);
    entry(10, 0x80b1, 1);
    assert_true(irqchip_pending(&p, 1));
    /* To edge and back, as Linux ends one without an EOI. */
    entry(10, 0x100b1, 1);
    assert_int_equal(io_get(0x24), 0x100b1);
    expect(1, 0xb1);
    put(1, 0xb0, 0);
    /* With suppressed broadcasts the IOAPIC's EOI register ends it. */
    put(1, 0xf0, ENABLE | 0x1000);
    entry(10, 0x80b1, 1);
    expect(1, 0xb1);
    put(1, 0xb0, 0);
    assert_false(irqchip_pending(&p, 1));
    io(0x40, 0xb0);
    assert_false(irqchip_pending(&p, 1));
    io(0x40, 0xb1);
    expect(1, 0xb1);
    irqchip_raise(&p, 10, false);
    put(1, 0xb0, 0);
    io(0x40, 0xb1);
    assert_int_equal(io_get(0x24), 0x80b1);
    /* No one takes it: no EOI would come, so it waits for none. */
    entry(10, 0x80b1, 9);
    irqchip_raise(&p, 10, true);
    assert_int_equal(io_get(0x24), 0x80b1);
    entry(10, 0x80b1, 2);
    expect(2, 0xb1);
}

/* Whether a timer's last edge was taken: hv/pc/ticks.h. */
static void states_of_a_line(void **state)
{
    (void)state;
    irqchip_raise(&p, 0, true);
    assert_int_equal(irqchip_state(&p, 0), IRQ_MASKED); /* at both controllers */
    irqchip_raise(&p, 0, false);
    entry(2, 0x31, 0xff); /* the PIT's pin, to all */
    assert_int_equal(irqchip_state(&p, 0), IRQ_TAKEN);
    irqchip_pulse(&p, 0);
    assert_int_equal(irqchip_state(&p, 0), IRQ_WAITS); /* posted */
    for (unsigned i = 0; i < VCPUS; i++)
        assert_true(irqchip_look(&p, i));
    assert_int_equal(irqchip_state(&p, 0), IRQ_WAITS); /* in IRR */
    for (unsigned i = 0; i < VCPUS; i++) {
        assert_int_equal(irqchip_state(&p, 0), IRQ_WAITS);
        assert_int_equal(irqchip_ack(&p, i), 0x31);
    }
    assert_int_equal(irqchip_state(&p, 0), IRQ_TAKEN);
    entry(2, 1u << 16 | 0x31, 0xff);
    assert_int_equal(irqchip_state(&p, 0), IRQ_MASKED);
    assert_int_equal(irqchip_state(&p, 2), IRQ_MASKED); /* nobody's */
    assert_int_equal(irqchip_state(&p, 99), IRQ_MASKED);
    io_out(&p.bus, 0x21, 1, 0); /* the 8259s, through LINT0 */
    irqchip_pulse(&p, 0);
    assert_int_equal(irqchip_state(&p, 0), IRQ_WAITS);
    put(0, LINT0, 0x10700);
    assert_int_equal(irqchip_state(&p, 0), IRQ_MASKED);
}

/* An edge with the vector of a level-triggered interrupt: TMR says what came last. */
static void trigger_mode(void **state)
{
    (void)state;
    entry(10, 0x80b1, 0);
    irqchip_raise(&p, 10, true);
    expect(0, 0xb1);
    irqchip_raise(&p, 10, false);
    put(0, 0xb0, 0);
    self(0, 0xb1);
    assert_true(irqchip_pending(&p, 0));
    assert_int_equal(get(0, 0x1d0), 0);
}

static void messages(void **state)
{
    (void)state;
    assert_int_equal(irqchip_msi(&p, 0xfee02000, 0x61), 0);
    assert_int_equal(who_gets(0x61), 4);
    assert_int_equal(irqchip_msi(&p, 0xfee0a00c, 0x4162), 0); /* logical, lowest priority */
    assert_int_equal(__builtin_popcount(who_gets(0x62) & 0xa), 1);
    assert_int_equal(irqchip_msi(&p, 0xfee0a00c, 0x62), 0); /* the same by its redirection hint */
    assert_int_equal(__builtin_popcount(who_gets(0x62) & 0xa), 1);
    assert_int_equal(irqchip_msi(&p, 0xfee02008, 0x62), 0);
    assert_int_equal(who_gets(0x62), 4);
    assert_int_equal(irqchip_msi(&p, 0xfeeff000, 0x63), 0);
    assert_int_equal(who_gets(0x63), 0xf);
    assert_int_equal(irqchip_msi(&p, 0xfee03000, 0x0400), 0);
    assert_true(sent.count == 1 && sent.vcpu == 3 && sent.kind == PLATFORM_NMI);
    assert_int_equal(irqchip_msi(&p, 0xfed00000, 0x61), -E_NOTSUP);
    assert_int_equal(irqchip_msi(&p, 0x1fee00000, 0x61), -E_NOTSUP);
    assert_int_equal(who_gets(0), 0);
}

/* ---- the 8259s ---- */

static void start_pics(void)
{
    static const uint8_t steps[][2] = {{0x20, 0x11}, {0x21, 0x20}, {0x21, 4}, {0x21, 1}, {0x21, 0}};

    for (unsigned i = 0; i < ARRAY_LEN(steps); i++)
        io_out(&p.bus, steps[i][0], 1, steps[i][1]);
}

static bool comes(void)
{
    irqchip_pulse(&p, 5);
    if (!irqchip_pending(&p, 0)) {
        irqchip_raise(&p, 5, false);
        return false;
    }
    expect(0, 0x25);
    io_out(&p.bus, 0x20, 1, 0x20);
    assert_false(irqchip_pending(&p, 1));
    return true;
}

static void virtual_wire(void **state)
{
    (void)state;
    start_pics();
    assert_true(comes());
    put(0, 0x80, 0xff); /* ExtINT has no priority */
    assert_true(comes());
    put(0, 0xf0, ENABLE);
    assert_true(comes());
    put(0, LINT0, 0x10700);
    assert_false(comes());
    put(1, 0xf0, ENABLE);
    put(1, LINT0, 0x700); /* only vCPU 0's is wired */
    assert_false(comes());
    entry(0, 0x700, 0); /* through the IOAPIC's pin 0 */
    assert_true(comes());
    entry(0, 0x10700, 0);
    assert_false(comes());
    assert_true(base(0, 0x100)); /* disabled, LINT0 is INTR */
    assert_true(comes());
    assert_true(base(0, 0x900));
    assert_false(comes());
    /* Both have something: the 8259s' goes first. */
    put(0, 0xf0, ENABLE);
    put(0, LINT0, 0x700);
    self(0, 0x99);
    irqchip_pulse(&p, 5);
    expect(0, 0x25);
    expect(0, 0x99);
}

/* SDM 3A "Local Vector Table": without ExtINT the wire has a vector of its own, and nothing
 * acknowledges the 8259s. Linux tries that if the PIT's other ways fail (check_timer()). */
static void lint0_fixed(void **state)
{
    (void)state;
    start_pics();
    irqchip_pulse(&p, 5);
    put(0, LINT0, 0x31); /* the edge was before */
    assert_int_equal(who_gets(0), 0);
    irqchip_raise(&p, 5, false);
    for (unsigned i = 0; i < 3; i++) {
        irqchip_pulse(&p, 0); /* the PIT's: low for a moment */
        assert_int_equal(who_gets(0x31), 1);
        assert_int_equal(who_gets(0), 0);
    }
    irqchip_raise(&p, 0, false);
    irqchip_raise(&p, 5, true);
    assert_int_equal(who_gets(0x31), 1);
    irqchip_raise(&p, 6, true); /* the wire is up already */
    assert_int_equal(who_gets(0), 0);
    io_out(&p.bus, 0x21, 1, 0xff);
    io_out(&p.bus, 0x21, 1, 0);
    assert_int_equal(who_gets(0x31), 1);
    io_out(&p.bus, 0x21, 1, 0xff);
    put(0, LINT0, 0x10031);
    io_out(&p.bus, 0x21, 1, 0);
    assert_int_equal(who_gets(0), 0);
    put(0, LINT0, 0x700); /* the 8259s still wait to be acknowledged */
    expect(0, 0x25);
    irqchip_raise(&p, 5, false);
    irqchip_raise(&p, 6, false);
    io_out(&p.bus, 0x20, 1, 0x20);
    assert_int_equal(who_gets(0), 0);
}

static void lint0_level(void **state)
{
    (void)state;
    start_pics();
    irqchip_raise(&p, 5, true);
    put(0, LINT0, 0x8031);
    for (unsigned i = 0; i < 3; i++) { /* until it falls, again after each EOI */
        put(0, 0xf0, i == 1 ? ENABLE | 0x1000 : ENABLE);
        expect(0, 0x31);
        irqchip_raise(&p, 6, true);
        irqchip_raise(&p, 6, false);
        assert_int_equal(who_gets(0), 0);
        put(0, 0xb0, 0);
    }
    expect(0, 0x31);
    irqchip_raise(&p, 5, false);
    put(0, 0xb0, 0);
    assert_int_equal(who_gets(0), 0);
    assert_int_equal(get(0, 0x280), 0);
}

/* Linux's old NMI watchdog. */
static void lint0_nmi(void **state)
{
    struct irqchip_wake w;

    (void)state;
    start_pics();
    put(0, LINT0, 0x400);
    irqchip_pulse(&p, 0);
    irqchip_pulse(&p, 0);
    assert_true(sent.count == 2 && sent.vcpu == 0 && sent.kind == PLATFORM_NMI);
    assert_int_equal(who_gets(0), 0);
    /* Not in advance: it could not be undone. */
    p.vcpus = 1;
    io_out(&p.bus, 0x43, 1, 0x34);
    io_out(&p.bus, 0x40, 1, 0);
    io_out(&p.bus, 0x40, 1, 1);
    p.next_event = platform_deadline(&p);
    assert_int_equal(irqchip_prepare_wake(&p, 0, NEVER, &w), -1);
    assert_int_equal(sent.count, 2);
    irqchip_init(&p, 0); /* masks it */
    irqchip_pulse(&p, 0);
    assert_int_equal(sent.count, 2);
}

/* ---- posted to a CPU that takes them itself ---- */

/* What it does with the notification: SDM 3C "Posted-Interrupt Processing". */
static void cpu_takes(unsigned n)
{
    struct lapic_descriptor *d = lapic_descriptor(at(n));

    d->control &= ~LAPIC_ON;
    for (unsigned i = 0; i < 8; i++) {
        pages[n][LAPIC_IRR / 4 + i * 4] |= (uint32_t)(d->vectors[i / 2] >> i % 2 * 32);
        d->vectors[i / 2] &= i % 2 ? UINT32_MAX : ~(uint64_t)UINT32_MAX;
    }
}

static void send(unsigned vector)
{
    assert_int_equal(irqchip_msi(&p, LAPIC_BASE | 1u << 12, vector), 0);
}

static bool waits(unsigned vector)
{
    return lapic_waits(at(1), (uint8_t)vector);
}

static void assert_told(unsigned kicked, unsigned notified)
{
    assert_int_equal(kicks[1], kicked);
    assert_int_equal(notes[1], notified);
}

static void posted(void **state)
{
    (void)state;
    kicks[1] = 0;
    at(1)->posting = true;
    send(0x41);
    send(0x91);
    send(0x41);
    assert_told(0, 1);
    assert_true(waits(0x41) && waits(0x91) && !waits(0x51));
    assert_int_equal(get(1, 0x220), 0);
    cpu_takes(1);
    assert_true(waits(0x41) && waits(0x91));
    send(0xa1);
    assert_told(0, 2);
    /* The core looks for another reason: nothing is lost or comes twice. */
    assert_int_equal(who_gets(0xa1), 2);
    assert_int_equal(who_gets(0x91), 2);
    assert_int_equal(who_gets(0x41), 2);
    assert_int_equal(who_gets(0), 0);
    assert_false(waits(0x41) || waits(0x91) || waits(0xa1));
    /* The notification comes late, and finds nothing; the next one is sent all the same. */
    cpu_takes(1);
    send(0x42);
    assert_told(0, 3);
    assert_int_equal(who_gets(0x42), 2);
}

/* The CPU would not set TMR, or clear it. */
static void posted_levels(void **state)
{
    (void)state;
    kicks[1] = 0;
    at(1)->posting = true;
    send(0x41);
    send(0xc051);
    send(0xc041);
    assert_told(1, 1);
    assert_int_equal(who_gets(0x51), 2);
    assert_int_equal(get(1, 0x1a0), 1u << 0x11);
    put(1, 0xb0, 0);
    assert_int_equal(who_gets(0x41), 2);
    send(0x51);
    assert_told(2, 1);
    assert_int_equal(who_gets(0x51), 2);
    assert_int_equal(get(1, 0x1a0), 0);
    send(0x51);
    assert_told(2, 2);
    send(0x0e); /* the CPU would accept it */
    assert_told(3, 2);
}

/* INIT, or a CPU that stops to work on the registers. */
static void posted_in_vain(void **state)
{
    (void)state;
    kicks[1] = 0;
    at(1)->posting = true;
    send(0x41);
    lapic_reset(at(1), TSC_HZ, true);
    assert_int_equal(who_gets(0), 0);
    assert_false(waits(0x41));
    put(1, 0xf0, ENABLE);
    send(0x42);
    assert_told(0, 2);
    at(1)->posting = false;
    send(0x43);
    assert_told(1, 2);
    assert_int_equal(who_gets(0x43), 2);
    assert_int_equal(who_gets(0x42), 2);
    assert_int_equal(lapic_descriptor(at(1))->control, 0);
}

int main(void)
{
#define TEST(f)    cmocka_unit_test_setup(f, setup)
#define ENABLED(f) cmocka_unit_test_setup(f, setup_enabled)
#define X2APIC(f)  cmocka_unit_test_setup(f, setup_x2apic)
    const struct CMUnitTest tests[] = {
        TEST(after_reset),
        ENABLED(states_of_a_line),
        TEST(states),
        TEST(init),
        TEST(x2apic_registers),
        TEST(xapic_registers),
        ENABLED(priorities),
        ENABLED(shorthands),
        ENABLED(destinations),
        X2APIC(x2apic_destinations),
        ENABLED(lowest_priority),
        ENABLED(lowest_priority_by_shorthand),
        ENABLED(other_ipis),
        ENABLED(errors),
        ENABLED(disabled),
        ENABLED(one_shot),
        ENABLED(periodic),
        ENABLED(tsc_deadline),
        ENABLED(written_by_cpu),
        TEST(fast_clock),
        ENABLED(wakes),
        TEST(ioapic_registers),
        TEST(pin_pulses),
        ENABLED(edges),
        ENABLED(levels),
        ENABLED(trigger_mode),
        ENABLED(messages),
        TEST(virtual_wire),
        ENABLED(lint0_fixed),
        ENABLED(lint0_level),
        ENABLED(lint0_nmi),
        ENABLED(posted),
        ENABLED(posted_levels),
        ENABLED(posted_in_vain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
