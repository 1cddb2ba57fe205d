/*
 * Several vCPUs, as a kernel uses them: starts the others by INIT and SIPI, counts with them, sends
 * interrupts between them, invalidates their TLBs, lets them halt with interrupts off, and starts
 * one again. Its command line is their number, and " xapic" if the local APICs are to be used by
 * their registers in memory, not as x2APICs, or " measure" if only an IPI is to be measured. Prints
 * what was wrong; the exit code counts it. SDM 3A "Multiple-Processor (MP) Initialization",
 * "Advanced Programmable Interrupt Controller (APIC)".
 */
#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/msr.h"
#include "test/guests/lib/guest.h"

#define CPUS_MAX       8u
#define ROUNDS         100u
#define COUNTS         20000u
#define LATENCIES      1000u
#define PATIENCE       200u /* seconds: in QEMU, of a computer that may do much else */

#define APIC_BASE      0xfee00000ul
#define APIC_X2        (1ull << 10)
#define APIC_EN        (1ull << 11)
#define APIC_EOI       0x0b0u
#define APIC_SVR       0x0f0u
#define APIC_ICR       0x300u
#define APIC_ICR_HIGH  0x310u
#define ICR_NMI        0x400u
#define ICR_INIT       0x500u
#define ICR_STARTUP    0x600u
#define ICR_ASSERT     0x4000u
#define ICR_OTHERS     0xc0000u
#define CPUID_X2APIC   (1u << 21) /* leaf 1, ECX */
#define CPUID_APIC     (1u << 9)  /* leaf 1, EDX */

#define VECTOR_NMI     2u
#define VECTOR_COUNT   0x40u /* handlers, see below */
#define VECTOR_FLUSH   0x41u
#define VECTOR_LATENCY 0x42u
#define VECTORS        256u

/* The code that SIPI starts, and its parameters behind it. */
#define AP_CODE        0x8000ul
#define AP_PARAMETERS  0x8f00ul
#define AP_STACK       4096u
struct parameters {
    uint32_t cr0, cr3, cr4, efer;
    uint64_t stack, entry;
    uint16_t limit;
    uint32_t base;
} __attribute__((packed));

extern const uint8_t ap_code[];
extern const uint32_t ap_code_size;
__asm__(".section .rodata\n"
        ".code16\n"
        "ap_code:\n"
        "    cli\n"
        "    xorw %ax, %ax\n"
        "    movw %ax, %ds\n"
        "    lgdtl 0x8f20\n"
        "    movl 0x8f08, %eax\n"
        "    movl %eax, %cr4\n"
        "    movl 0x8f04, %eax\n"
        "    movl %eax, %cr3\n"
        "    movl $0xc0000080, %ecx\n"
        "    xorl %edx, %edx\n"
        "    movl 0x8f0c, %eax\n"
        "    wrmsr\n"
        "    movl 0x8f00, %eax\n"
        "    movl %eax, %cr0\n"
        "    ljmpl $8, $0x8000 + ap_long - ap_code\n"
        ".code64\n"
        "ap_long:\n"
        "    movl $0x10, %eax\n"
        "    movl %eax, %ds\n"
        "    movl %eax, %es\n"
        "    movl %eax, %ss\n"
        "    movq 0x8f10, %rsp\n"
        "    callq *0x8f18\n"
        ".balign 4\n"
        "ap_code_size: .long . - ap_code\n"
        ".text\n");

struct gate {
    uint16_t low, selector;
    uint8_t ist, type;
    uint16_t middle;
    uint32_t high, reserved;
};
struct pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));
static struct gate idt[VECTORS];

static bool x2apic;
static unsigned wrong, cpus = 1;
static uint8_t stacks[CPUS_MAX][AP_STACK] __attribute__((aligned(16)));

/* What each vCPU does; vCPU 0 sets it. */
enum task { IDLE, COUNT, HALT, LOOK, SPIN, DEAF };
static volatile enum task tasks[CPUS_MAX];
static volatile uint32_t done[CPUS_MAX], here[CPUS_MAX], starts[CPUS_MAX];
static uint32_t interrupts[CPUS_MAX], flushes, nmis;

static void check(const char *what, bool ok, uint64_t a, uint64_t b)
{
    if (ok)
        return;
    wrong++;
    say("smp: %s: WRONG (%lu, %lu)\n", what, a, b);
}

/* False: in vain. */
static bool wait_for(const volatile uint32_t *p, uint32_t value)
{
    uint64_t end = tsc() + PATIENCE * tsc_hz();

    while (__atomic_load_n(p, __ATOMIC_ACQUIRE) != value) {
        if (tsc() > end)
            return false;
        __builtin_ia32_pause();
    }
    return true;
}

/* ---- local APIC ---- */

static void apic_write(unsigned reg, uint32_t value)
{
    if (x2apic)
        wrmsr(0x800 + reg / 16, value);
    else
        *(volatile uint32_t *)(APIC_BASE + reg) = value;
}

static void send(unsigned to, uint32_t icr)
{
    if (x2apic) {
        wrmsr(0x800 + APIC_ICR / 16, (uint64_t)to << 32 | icr);
        return;
    }
    apic_write(APIC_ICR_HIGH, to << 24);
    apic_write(APIC_ICR, icr);
}

static void start_apic(void)
{
    if (x2apic)
        wrmsr(MSR_IA32_APIC_BASE, rdmsr(MSR_IA32_APIC_BASE) | APIC_X2);
    apic_write(APIC_SVR, 0x1ff);
}

static unsigned apic_id(void)
{
    return cpuid(1, 0).ebx >> 24;
}

/* ---- handlers ---- */

/* NAME_entry saves the registers and calls NAME with the TSC at the interrupt. */
#define HANDLER(name)                                                                              \
    extern void name##_entry(void);                                                                \
    void name(uint64_t at);                                                                        \
    __asm__(".text\n" #name "_entry:\n"                                                            \
            "pushq %rax; pushq %rdx\n"                                                             \
            "rdtsc; shlq $32, %rdx; orq %rdx, %rax\n"                                              \
            "pushq %rcx; pushq %rsi; pushq %rdi; pushq %r8; pushq %r9; pushq %r10; pushq %r11\n"   \
            "movq %rax, %rdi; cld; call " #name "\n"                                               \
            "popq %r11; popq %r10; popq %r9; popq %r8; popq %rdi; popq %rsi; popq %rcx\n"          \
            "popq %rdx; popq %rax; iretq\n");                                                      \
    void name(uint64_t at)

HANDLER(on_count)
{
    (void)at;
    __atomic_fetch_add(&interrupts[apic_id()], 1, __ATOMIC_RELEASE);
    apic_write(APIC_EOI, 0);
}

static uint8_t *const window = (uint8_t *)(1ul << 39); /* the second entry of the PML4 */
HANDLER(on_flush)
{
    (void)at;
    __asm__ volatile("invlpg (%0)" ::"r"(window) : "memory");
    __atomic_fetch_add(&flushes, 1, __ATOMIC_RELEASE);
    apic_write(APIC_EOI, 0);
}

static uint64_t arrived;
HANDLER(on_latency)
{
    apic_write(APIC_EOI, 0);
    __atomic_store_n(&arrived, at, __ATOMIC_RELEASE);
}

static void on_nmi(struct guest_frame *f)
{
    (void)f;
    __atomic_fetch_add(&nmis, 1, __ATOMIC_RELEASE);
}

static void set_gate(unsigned vector, uintptr_t handler)
{
    idt[vector] = (struct gate){.low = (uint16_t)handler,
                                .selector = 8,
                                .type = 0x8e,
                                .middle = (uint16_t)(handler >> 16),
                                .high = (uint32_t)(handler >> 32)};
}

static void load_idt(void)
{
    const struct pointer p = {sizeof(idt) - 1, (uintptr_t)idt};

    __asm__ volatile("lidt %0" ::"m"(p));
}

static void make_idt(void)
{
    struct pointer old;

    __asm__ volatile("sidt %0" : "=m"(old));
    memcpy(idt, (const void *)old.base, old.limit + 1u);
    set_gate(VECTOR_COUNT, (uintptr_t)on_count_entry);
    set_gate(VECTOR_FLUSH, (uintptr_t)on_flush_entry);
    set_gate(VECTOR_LATENCY, (uintptr_t)on_latency_entry);
    exception_handle(VECTOR_NMI, on_nmi);
    load_idt();
}

/* ---- the others ---- */

static volatile uint32_t sum;
static uint64_t last_tsc, warps;
static uint32_t tsc_lock;

/* SDM 3B "Time-Stamp Counter": read one after the other, by whichever vCPU, it does not go back. */
static void look_at_tsc(void)
{
    uint64_t now;

    while (__atomic_exchange_n(&tsc_lock, 1, __ATOMIC_ACQUIRE))
        __builtin_ia32_pause();
    now = tsc();
    if (now < last_tsc)
        warps++;
    last_tsc = now;
    __atomic_store_n(&tsc_lock, 0, __ATOMIC_RELEASE);
}

static void count(void)
{
    for (unsigned i = 0; i < COUNTS; i++) {
        __atomic_fetch_add(&sum, 1, __ATOMIC_RELAXED);
        if (i % 64 == 0)
            look_at_tsc();
    }
}

static volatile uint32_t looked_for, stale;
static void look(void)
{
    uint32_t wanted = looked_for;

    if (*(volatile uint32_t *)window != wanted)
        __atomic_fetch_add(&stale, 1, __ATOMIC_RELAXED);
}

/* Each task is done once; while it waits for the next, it takes interrupts. */
static _Noreturn void ap_main(void)
{
    unsigned me = apic_id();

    load_idt();
    start_apic();
    __atomic_fetch_add(&starts[me], 1, __ATOMIC_RELAXED);
    __atomic_store_n(&here[me], 1, __ATOMIC_RELEASE);
    for (;;) {
        enum task t = tasks[me];

        __asm__ volatile("sti");
        if (t == COUNT)
            count();
        else if (t == LOOK)
            look();
        else if (t == HALT)
            __asm__ volatile("cli; sti; hlt; cli" ::: "memory");
        if (t == DEAF) {
            __asm__ volatile("cli");
            __atomic_store_n(&done[me], DEAF, __ATOMIC_RELEASE);
            __asm__ volatile("hlt" ::: "memory");
        }
        if (t == HALT || t == SPIN || t == IDLE) {
            __builtin_ia32_pause();
            continue;
        }
        tasks[me] = IDLE;
        __atomic_store_n(&done[me], t, __ATOMIC_RELEASE);
    }
}

static bool start(unsigned id)
{
    struct parameters *p = (struct parameters *)AP_PARAMETERS;

    memcpy((void *)AP_CODE, ap_code, ap_code_size);
    *p = (struct parameters){.cr0 = (uint32_t)read_cr0(),
                             .cr3 = (uint32_t)read_cr3(),
                             .cr4 = (uint32_t)read_cr4(),
                             .efer = (uint32_t)rdmsr(MSR_IA32_EFER) & ~(uint32_t)EFER_LMA,
                             .stack = (uintptr_t)stacks[id] + AP_STACK,
                             .entry = (uintptr_t)ap_main};
    __asm__ volatile("sgdt %0" : "=m"(p->limit));
    here[id] = 0;
    tasks[id] = IDLE;
    send(id, ICR_INIT | ICR_ASSERT);
    send(id, ICR_STARTUP | ICR_ASSERT | AP_CODE >> 12);
    send(id, ICR_STARTUP | ICR_ASSERT | AP_CODE >> 12);
    return wait_for(&here[id], 1);
}

static void all_do(enum task t)
{
    for (unsigned i = 1; i < cpus; i++) {
        done[i] = IDLE;
        tasks[i] = t;
    }
}

static void all_have_done(const char *what, enum task t)
{
    for (unsigned i = 1; i < cpus; i++)
        check(what, wait_for(&done[i], t), i, done[i]);
}

/* ---- what is tried ---- */

static void counting(void)
{
    all_do(COUNT);
    count();
    all_have_done("counting", COUNT);
    check("the sum", sum == cpus * COUNTS, sum, cpus * COUNTS);
    check("the TSCs agree", warps == 0, warps, 0);
}

/* To each, halted and running; to all others at once; and back. */
static void interrupting(void)
{
    for (unsigned round = 1; round <= ROUNDS; round++) {
        all_do(round % 2 ? HALT : SPIN);
        for (unsigned i = 1; i < cpus; i++) {
            send(i, ICR_ASSERT | VECTOR_COUNT);
            check("an IPI", wait_for(&interrupts[i], 2 * round - 1), i, interrupts[i]);
        }
        send(0, ICR_ASSERT | ICR_OTHERS | VECTOR_COUNT);
        for (unsigned i = 1; i < cpus; i++)
            check("an IPI to all", wait_for(&interrupts[i], 2 * round), i, interrupts[i]);
    }
    all_do(IDLE);
}

/* SDM 3A "Propagation of Paging-Structure Changes to Multiple Processors" */
static uint64_t tables[3][512] __attribute__((aligned(4096)));
static uint32_t pages[2][1024] __attribute__((aligned(4096)));
static void shooting_down(void)
{
    uint64_t *pml4 = (uint64_t *)(read_cr3() & ~0xffful);

    pml4[1] = (uintptr_t)tables[0] | 3;
    tables[0][0] = (uintptr_t)tables[1] | 3;
    tables[1][0] = (uintptr_t)tables[2] | 3;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t *page = pages[round % 2];

        page[0] = looked_for = round + 1;
        __atomic_store_n(&tables[2][0], (uintptr_t)page | 3, __ATOMIC_RELEASE);
        flushes = 0;
        send(0, ICR_ASSERT | ICR_OTHERS | VECTOR_FLUSH);
        __asm__ volatile("invlpg (%0)" ::"r"(window) : "memory");
        check("flushes", wait_for(&flushes, cpus - 1), round, flushes);
        pages[1 - round % 2][0] = 0xdead;
        all_do(LOOK);
        all_have_done("a look", LOOK);
    }
    check("stale translations", stale == 0, stale, 0);
}

/* An NMI wakes what halted with interrupts off; INIT and SIPI start it again. */
static void again(void)
{
    unsigned last = cpus - 1;
    uint32_t before = starts[last];

    done[last] = IDLE;
    tasks[last] = DEAF;
    check("a vCPU halts with interrupts off", wait_for(&done[last], DEAF), last, done[last]);
    send(last, ICR_ASSERT | VECTOR_COUNT);
    for (unsigned i = 0; i < 100000; i++)
        __builtin_ia32_pause();
    check("no interrupt", interrupts[last] == 2 * ROUNDS, interrupts[last], 2 * ROUNDS);
    /* The first one may come before its HLT. */
    for (uint64_t end = tsc() + PATIENCE * tsc_hz();
         tsc() < end && __atomic_load_n(&interrupts[last], __ATOMIC_ACQUIRE) == 2 * ROUNDS;) {
        send(last, ICR_ASSERT | ICR_NMI);
        for (unsigned i = 0; i < 10000; i++)
            __builtin_ia32_pause();
    }
    check("an NMI", nmis > 0, nmis, 1);
    check("it goes on", wait_for(&interrupts[last], 2 * ROUNDS + 1), interrupts[last], 0);
    check("it starts again", start(last) && starts[last] == before + 1, starts[last], before);
    sum = 0;
    counting();
}

static volatile uint32_t ticks;
static void on_tick(void)
{
    ticks++;
}

/* The PIC's interrupts go to vCPU 0. */
static void timing(void)
{
    irq_handle(IRQ_PIT, on_tick);
    pit_once(1000);
    while (!ticks)
        sleep_until_irq();
}

static void sort(uint64_t *v, unsigned n)
{
    for (unsigned i = 1; i < n; i++)
        for (unsigned k = i; k && v[k - 1] > v[k]; k--) {
            uint64_t swap = v[k];

            v[k] = v[k - 1];
            v[k - 1] = swap;
        }
}

/* From before the write of the ICR to the first instruction of the handler, on another core. */
static void measure(void)
{
    static uint64_t took[LATENCIES];

    all_do(SPIN);
    for (unsigned i = 0; i < LATENCIES; i++) {
        uint64_t from;

        arrived = 0;
        from = tsc();
        send(1, ICR_ASSERT | VECTOR_LATENCY);
        while (!__atomic_load_n(&arrived, __ATOMIC_ACQUIRE))
            __builtin_ia32_pause();
        took[i] = arrived - from;
    }
    sort(took, LATENCIES);
    say("smp: IPI to a running vCPU: median %lu ticks, 10 %% %lu, 90 %% %lu\n", took[LATENCIES / 2],
        took[LATENCIES / 10], took[LATENCIES * 9 / 10]);
    all_do(IDLE);
}

static void try_all(void)
{
    counting();
    interrupting();
    shooting_down();
    timing();
    if (cpus > 1)
        again();
}

void guest_main(const char *cmdline)
{
    struct cpuid_regs c = cpuid(1, 0);

    if (!(c.edx & CPUID_APIC)) {
        say("smp: there is no local APIC\n");
        guest_exit(1);
    }
    x2apic = strncmp(cmdline + 1, " xapic", 6) != 0 && (c.ecx & CPUID_X2APIC);
    make_idt();
    start_apic();
    check("the first vCPU", apic_id() == 0, apic_id(), 0);
    for (; cpus < CPUS_MAX && (int)cpus < cmdline[0] - '0'; cpus++)
        check("a start", start(cpus), cpus, 0);
    say("smp: %u vCPUs, %s\n", cpus, x2apic ? "x2APIC" : "xAPIC");
    if (strncmp(cmdline + 1, " measure", 8) != 0)
        try_all();
    if (cpus > 1)
        measure();
    say("smp: %u wrong\n", wrong);
    guest_exit(wrong);
}
