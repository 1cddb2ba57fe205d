/*
 * The local APIC and the IOAPIC as a guest sees them, in xAPIC and in x2APIC mode. Prints how many
 * results were right and wrong; the exit code counts the wrong ones. SDM 3A "Advanced Programmable
 * Interrupt Controller (APIC)", 82093AA data sheet.
 */
#include "test/guests/lib/apic.h"
#include "arch/x86/cpu/cpuid.h"
#include "test/guests/lib/guest.h"

#define ROUNDS      20u
#define IPI         0x41u
#define TIMER       0x52u
#define EDGE        0x63u
#define LEVEL       0x74u
#define SPURIOUS    0xffu
#define VECTOR_GP   13u
#define LEVEL_TIMES 3u
#define UART_IER    (UART + 1)
#define UART_IIR    (UART + 2)
#define ISR         0x100u
#define TMR         0x180u
#define IRR         0x200u

static unsigned right, wrong;
static bool x2;
static volatile unsigned seen[256];
static volatile uint64_t seen_tsc;

static void check(const char *name, bool ok, uint64_t a, uint64_t b)
{
    if (ok) {
        right++;
        return;
    }
    wrong++;
    say("apic: %s%s: WRONG (0x%lx, 0x%lx)\n", x2 ? "x2APIC " : "", name, a, b);
}

static uint32_t get(unsigned offset)
{
    return x2 ? (uint32_t)rdmsr(MSR_IA32_X2APIC_BASE + offset / 16) : apic_read(offset);
}

static void put(unsigned offset, uint32_t value)
{
    if (x2)
        wrmsr(MSR_IA32_X2APIC_BASE + offset / 16, value);
    else
        apic_write(offset, value);
}

static bool bit(unsigned registers, unsigned vector)
{
    return get(registers + vector / 32 * 16) >> (vector % 32) & 1;
}

void apic_interrupt(uint64_t vector)
{
    uint64_t now = tsc();

    seen_tsc = now;
    seen[vector]++;
    check("in service", bit(ISR, (unsigned)vector), vector, 0);
    check("processor priority", (get(0xa0) & 0xf0) == (vector & 0xf0), get(0xa0), vector);
    check("trigger mode", bit(TMR, (unsigned)vector) == (vector == LEVEL), vector, 0);
    if (vector == LEVEL && seen[LEVEL] >= LEVEL_TIMES)
        (void)inb(UART_IIR); /* until then the line stays asserted */
    put(0xb0, 0);
}

static void open_window(void)
{
    __asm__ volatile("sti; nop; nop; cli" ::: "memory");
}

/* It has come so many times since the last call, and nothing else has. */
static void expect(const char *name, unsigned vector, unsigned times)
{
    check(name, seen[vector] == times, seen[vector], times);
    seen[vector] = 0;
    for (unsigned i = 0; i < 256; i++)
        check("others", !seen[i], i, seen[i]);
}

static void ipi(uint32_t dest, uint32_t low)
{
    if (x2) {
        wrmsr(MSR_IA32_X2APIC_BASE + 0x30, (uint64_t)dest << 32 | low);
        return;
    }
    apic_write(0x310, dest << 24);
    apic_write(0x300, low);
}

static void try_ipis(void)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        ipi(0, APIC_SELF | IPI);
        check("request", bit(IRR, IPI) && !bit(ISR, IPI), i, 0);
        open_window();
        expect("self-IPI", IPI, 1);
    }
    ipi(0, IPI);
    open_window();
    expect("IPI to its id", IPI, 1);
    ipi(x2 ? UINT32_MAX : 0xff, IPI);
    open_window();
    expect("IPI to all", IPI, 1);
    ipi(0, 0x80000 | IPI);
    open_window();
    expect("IPI to all by shorthand", IPI, 1);
    ipi(0, 0xc0000 | IPI);
    open_window();
    expect("IPI to others", IPI, 0);
    ipi(1, 0x800 | IPI);
    open_window();
    expect("logical IPI", IPI, 1);
    ipi(1, 0x900 | IPI);
    open_window();
    expect("lowest priority", IPI, 1);
    ipi(2, IPI);
    open_window();
    expect("IPI to an absent one", IPI, 0);
    if (x2) {
        wrmsr(MSR_IA32_X2APIC_BASE + 0x3f, IPI);
        open_window();
        expect("SELF IPI", IPI, 1);
    }
    ipi(0, APIC_SELF | IPI); /* two of a kind are one */
    ipi(0, APIC_SELF | IPI);
    open_window();
    expect("twice", IPI, 1);
    ipi(0, APIC_SELF | IPI);
    __asm__ volatile("sti; hlt; cli" ::: "memory"); /* it must not sleep */
    expect("HLT", IPI, 1);
}

static uint64_t read_cr8(void)
{
    uint64_t v;

    __asm__ volatile("mov %%cr8, %0" : "=r"(v));
    return v;
}

static void write_cr8(uint64_t v)
{
    __asm__ volatile("mov %0, %%cr8" : : "r"(v) : "memory");
}

static void try_priorities(void)
{
    put(0x80, 0x4f);
    check("CR8", read_cr8() == 4, read_cr8(), 4);
    ipi(0, APIC_SELF | IPI);
    open_window();
    expect("below TPR", IPI, 0);
    ipi(0, APIC_SELF | TIMER);
    open_window();
    expect("above TPR", TIMER, 1);
    write_cr8(3);
    check("TPR", get(0x80) == 0x30, get(0x80), 0x30);
    open_window();
    expect("TPR lowered", IPI, 1);
    write_cr8(15);
    ipi(0, APIC_SELF | IPI);
    __asm__ volatile("sti" ::: "memory");
    check("masked", seen[IPI] == 0, seen[IPI], 0);
    write_cr8(0); /* comes at once */
    __asm__ volatile("nop; cli" ::: "memory");
    expect("CR8 lowered", IPI, 1);
    put(0x80, 0xf0);
    ipi(0, APIC_SELF | IPI);
    __asm__ volatile("sti" ::: "memory");
    put(0x80, 0);
    __asm__ volatile("nop; cli" ::: "memory");
    expect("TPR lowered at once", IPI, 1);
}

/* Neither early, nor much later than a slice of another guest. */
static void timely(const char *name, uint64_t due, uint64_t hz)
{
    check(name, seen_tsc >= due && seen_tsc < due + hz, seen_tsc, due);
}

static void try_timer(void)
{
    uint64_t hz = tsc_hz(), start, due;
    uint32_t count;

    put(0x3e0, 0xb);
    put(0x320, TIMER);
    for (unsigned i = 0; i < ROUNDS; i++) {
        start = tsc();
        put(0x380, 1000 + 777 * i);
        check("one-shot runs", get(0x390) <= 1000 + 777 * i, get(0x390), i);
        sleep_until_irq();
        timely("one-shot", start + 1000 + 777 * i, hz);
        expect("one-shot", TIMER, 1);
        check("one-shot ends", get(0x390) == 0, get(0x390), 0);
    }
    put(0x3e0, 3); /* 16 */
    put(0x320, 0x20000 | TIMER);
    start = tsc();
    put(0x380, 10000); /* much longer than the handler, also on a core that is shared */
    for (unsigned i = 1; i <= ROUNDS; i++) {
        sleep_until_irq();
        timely("periodic", start + 160000 * i, hz);
        seen[TIMER] = seen[TIMER] > 0; /* more come at once after another guest's slice */
        expect("periodic", TIMER, 1);
    }
    count = get(0x390);
    check("periodic runs on", count > 0 && count <= 10000, count, 0);
    put(0x320, 0x30000 | TIMER);
    open_window(); /* one may have come before that */
    seen[TIMER] = 0;
    start = tsc();
    while (tsc() < start + 400000)
        ;
    open_window();
    expect("masked timer", TIMER, 0);
    put(0x380, 0);
    put(0x320, 0x40000 | TIMER);
    for (unsigned i = 0; i < ROUNDS; i++) {
        due = tsc() + 500 + 999 * i;
        wrmsr(MSR_IA32_TSC_DEADLINE, due);
        check("TSC deadline", rdmsr(MSR_IA32_TSC_DEADLINE) == due || tsc() >= due, due, 0);
        sleep_until_irq();
        timely("TSC deadline", due, hz);
        expect("TSC deadline", TIMER, 1);
        check("TSC deadline is over", rdmsr(MSR_IA32_TSC_DEADLINE) == 0, 0, 0);
    }
    wrmsr(MSR_IA32_TSC_DEADLINE, 1); /* long past */
    open_window();
    expect("past deadline", TIMER, 1);
    wrmsr(MSR_IA32_TSC_DEADLINE, tsc() + hz);
    wrmsr(MSR_IA32_TSC_DEADLINE, 0);
    start = tsc();
    while (tsc() < start + 40000)
        ;
    open_window();
    expect("disarmed", TIMER, 0);
}

static void set_entry(unsigned pin, uint32_t low)
{
    ioapic_write(0x11 + 2 * pin, 0);
    ioapic_write(0x10 + 2 * pin, low);
}

/* The PIT on pin 2; the UART on pin 4, as if it were a PCI device's. */
static void try_ioapic(void)
{
    check("IOAPIC's version", ioapic_read(1) == 0x170020, ioapic_read(1), 0);
    set_entry(2, EDGE);
    for (unsigned i = 0; i < ROUNDS; i++) {
        pit_once((uint16_t)(20 + 7 * i));
        sleep_until_irq();
        expect("edge", EDGE, 1);
    }
    set_entry(2, 0x10000 | EDGE);
    outb(UART_IER, 0);
    set_entry(4, 0x8000 | LEVEL);
    outb(UART_IER, 2); /* the transmitter is empty */
    open_window();
    while (seen[LEVEL] < LEVEL_TIMES)
        open_window();
    open_window();
    expect("level", LEVEL, LEVEL_TIMES);
    check("remote IRR", ioapic_read(0x18) == (0x8000 | LEVEL), ioapic_read(0x18), LEVEL);
    outb(UART_IER, 0);
    set_entry(4, 0x18000 | LEVEL);
}

static volatile unsigned faults;

/* WRMSR and RDMSR have two bytes. */
static void on_gp(struct guest_frame *f)
{
    faults++;
    f->rip += 2;
}

static void try_errors(void)
{
    put(0x280, 0);
    put(0x280, 0);
    ipi(0, APIC_SELF | 9);
    put(0x280, 0);
    check("ESR", get(0x280) == 0x20, get(0x280), 0x20);
    put(0x280, 0);
    check("ESR is over", get(0x280) == 0, get(0x280), 0);
    put(0xf0, SPURIOUS); /* disabled */
    check("masked LVT", get(0x320) >> 16 & 1, get(0x320), 0);
    ipi(0, APIC_SELF | IPI);
    open_window();
    expect("disabled", IPI, 0);
    put(0xf0, 0x100 | SPURIOUS);
}

static void try_mode(void)
{
    if (!x2)
        put(0xd0, 1u << 24);
    put(0xf0, 0x100 | SPURIOUS);
    put(0x350, 0x10700);
    try_ipis();
    try_priorities();
    try_timer();
    try_ioapic();
    try_errors();
    say("apic: %s done\n", x2 ? "x2APIC" : "xAPIC");
}

static void try_faults(void)
{
    static const struct {
        uint32_t msr;
        uint64_t value;
    } bad[] = {{0x1b, 0xfee00400}, {0x1b, 0xfee00900},  {0x1b, 0xfee00d01}, {0x802, 0},
               {0x803, 0},         {0x808, 0x100},      {0x80a, 0},         {0x80b, 1},
               {0x80d, 0},         {0x80e, 0},          {0x80f, 0x2000},    {0x810, 0},
               {0x828, 1},         {0x82f, 0},          {0x830, 0x100000},  {0x831, 0},
               {0x832, 1u << 20},  {0x838, 1ull << 32}, {0x839, 0},         {0x83e, 4},
               {0x83f, 0x100},     {0x840, 0},          {0x8ff, 0}};

    exception_handle(VECTOR_GP, on_gp);
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        faults = 0;
        wrmsr(bad[i].msr, bad[i].value);
        check("#GP", faults == 1, bad[i].msr, bad[i].value);
    }
    for (unsigned msr = 0x800; msr < 0x900; msr++) {
        unsigned r = msr - 0x800;
        bool there = r == 2 || r == 3 || r == 8 || r == 0xa || r == 0xd || r == 0xf ||
                     (r >= 0x10 && r <= 0x28) || r == 0x30 || (r >= 0x32 && r <= 0x39) || r == 0x3e;

        faults = 0;
        (void)rdmsr(msr);
        check("RDMSR", faults == !there, msr, faults);
    }
}

void guest_main(const char *cmdline)
{
    struct cpuid_regs r = cpuid(1, 0);

    (void)cmdline;
    check("CPUID", (r.edx >> 9 & 1) && (r.ecx >> 21 & 1) && (r.ecx >> 24 & 1), r.edx, r.ecx);
    check("its id", r.ebx >> 24 == 0 && cpuid(0xb, 0).edx == 0, r.ebx, 0);
    check("IA32_APIC_BASE", rdmsr(MSR_IA32_APIC_BASE) == 0xfee00900, rdmsr(MSR_IA32_APIC_BASE), 0);
    apic_vectors();
    try_mode();
    wrmsr(MSR_IA32_APIC_BASE, 0xfee00d00);
    x2 = true;
    check("logical id", get(0xd0) == 1, get(0xd0), 1);
    try_mode();
    try_faults();
    wrmsr(MSR_IA32_APIC_BASE, 0xfee00100); /* off, and on again */
    check("CPUID", !(cpuid(1, 0).edx >> 9 & 1), cpuid(1, 0).edx, 0);
    wrmsr(MSR_IA32_APIC_BASE, 0xfee00900);
    x2 = false;
    check("as after a reset", get(0xf0) == 0xff && get(0x80) == 0 && get(0x350) == 0x10000,
          get(0xf0), get(0x350));
    try_mode();
    say("apic: %u right, %u wrong\n", right, wrong);
    guest_exit(wrong);
}
