/* The cost of exits, seen from inside: ticks for one operation, minus the loop itself. */
#include "test/guests/lib/apic.h"
#include "test/guests/lib/guest.h"

#define N           50u
#define RUNS        100u
#define WAKES       100u
#define APIC_VECTOR 0x41u /* as in the code below */
#define LINES       20u
#define COLUMNS     60u

static volatile uint64_t handler_tsc;

static void on_tick(void)
{
    handler_tsc = tsc();
}

#define MEASURE(result, setup, operation)                                                          \
    do {                                                                                           \
        uint64_t t0_, t1_;                                                                         \
        uint32_t i_ = N;                                                                           \
                                                                                                   \
        t0_ = tsc();                                                                               \
        __asm__ volatile("1:\n\t" setup "\n\t" operation "\n\tsubl $1, %%esi\n\tjnz 1b"            \
                         : "+S"(i_)                                                                \
                         :                                                                         \
                         : "rax", "rbx", "rcx", "rdx", "memory", "cc");                            \
        t1_ = tsc();                                                                               \
        result = t1_ - t0_;                                                                        \
    } while (0)

/* The minimum of many short runs: one without another guest's slice in it. */
#define REPORT(name, setup, operation)                                                             \
    do {                                                                                           \
        uint64_t with_, without_, least_with_ = UINT64_MAX, least_without_ = UINT64_MAX;           \
                                                                                                   \
        for (unsigned k_ = 0; k_ < RUNS; k_++) {                                                   \
            MEASURE(without_, setup, "");                                                          \
            MEASURE(with_, setup, operation);                                                      \
            least_with_ = with_ < least_with_ ? with_ : least_with_;                               \
            least_without_ = without_ < least_without_ ? without_ : least_without_;                \
        }                                                                                          \
        say("bench: %s %lu\n", name, (least_with_ - least_without_ + N / 2) / N);                  \
    } while (0)

/* From the end of the PIT's count to the handler's first read of the TSC, with the guest in HLT. */
static void measure_wake(void)
{
    uint64_t hz = tsc_hz(), sum = 0, worst = 0, least = UINT64_MAX;

    irq_handle(IRQ_PIT, on_tick);
    for (unsigned i = 0; i < WAKES; i++) {
        uint64_t start, due, late;

        outb(0x43, 0x30);
        outb(0x40, 0xa9);
        start = tsc();
        outb(0x40, 0x04); /* the count is complete, and starts, within this instruction */
        due = start + 0x4a9 * hz / PIT_HZ;
        sleep_until_irq();
        late = handler_tsc > due ? handler_tsc - due : 0;
        sum += late;
        worst = late > worst ? late : worst;
        least = late < least ? late : least;
    }
    say("bench: timer-wake %lu\n", least);
    say("bench: timer-wake-mean %lu\n", sum / WAKES);
    say("bench: timer-wake-worst %lu\n", worst);
}

/* Interrupt handlers: RDTSC and EOI alone, and one that keeps the time of its first instruction. */
__asm__("bench_handler:\n"
        "rdtsc\n"
        "movl $0xfee000b0, %eax\n"
        "movl %eax, (%rax)\n"
        "iretq\n"
        "bench_timer:\n"
        "rdtsc\n"
        "shl $32, %rdx\n"
        "or %rdx, %rax\n"
        "mov %rax, bench_tsc\n"
        "movl $0xfee000b0, %eax\n"
        "movl %eax, (%rax)\n"
        "iretq\n");
extern const char bench_handler[], bench_timer[];
volatile uint64_t bench_tsc;

/* As measure_wake(), with the local APIC's timer. */
static void measure_apic_wake(void)
{
    uint64_t sum = 0, worst = 0, least = UINT64_MAX;

    apic_write(0x320, 0x40000 | APIC_VECTOR);
    for (unsigned i = 0; i < WAKES; i++) {
        uint64_t due = tsc() + 20000, late;

        wrmsr(MSR_IA32_TSC_DEADLINE, due);
        __asm__ volatile("sti; hlt; cli" ::: "rax", "rdx", "memory");
        late = bench_tsc - due;
        sum += late;
        worst = late > worst ? late : worst;
        least = late < least ? late : least;
    }
    say("bench: apic-wake %lu\n", least);
    say("bench: apic-wake-mean %lu\n", sum / WAKES);
    say("bench: apic-wake-worst %lu\n", worst);
}

static void measure_apic(void)
{
    apic_vectors();
    apic_write(0xf0, 0x1ff);
    apic_write(0x350, 0x10700);
    apic_gate(APIC_VECTOR, bench_handler);
    REPORT("self-ipi", "movl $0xfee00300, %%edx", "movl $0x40041, (%%rdx); sti; nop; cli");
    REPORT("apic-eoi", "movl $0xfee000b0, %%edx", "movl $0, (%%rdx)");
    REPORT("apic-tpr", "movl $0xfee00080, %%edx", "movl $0, (%%rdx)");
    REPORT("cr8", "xorl %%eax, %%eax", "mov %%rax, %%cr8");
    apic_gate(APIC_VECTOR, bench_timer);
    measure_apic_wake();
}

/* The longest OUT of a byte to the console, within a line and at its end. */
static void measure_console(void)
{
    uint64_t within = 0, end = 0, least = UINT64_MAX;

    for (unsigned i = 0; i < LINES; i++) {
        for (unsigned k = 0; k <= COLUMNS; k++) {
            uint64_t before = tsc(), *longest = k < COLUMNS ? &within : &end, took;

            outb(UART, k < COLUMNS ? '-' : '\n');
            took = tsc() - before;
            *longest = took > *longest ? took : *longest;
            least = took < least ? took : least;
        }
    }
    say("bench: out-console %lu, at most %lu within a line, %lu at its end\n", least, within, end);
}

static bool is_amd(void)
{
    uint32_t eax = 0, ebx, ecx, edx;

    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
    return ecx == 0x444d4163; /* the last letters of AuthenticAMD */
}

void guest_main(const char *cmdline)
{
    (void)cmdline;
    REPORT("cpuid", "xorl %%eax, %%eax", "cpuid");
    REPORT("vmcall", "movl $0x12345678, %%eax", "vmcall");
    if (is_amd())
        REPORT("vmmcall", "movl $0x12345678, %%eax", "vmmcall");
    REPORT("rdmsr", "movl $0x8b, %%ecx", "rdmsr");
    REPORT("in-pic", "", "inb $0x21, %%al");
    REPORT("out-unclaimed", "", "outb %%al, $0x80");
    REPORT("mmio-read", "movl $0xfec00000, %%ebx", "movl (%%rbx), %%eax"); /* IOAPIC: IOREGSEL */
    measure_wake();
    measure_console();
    measure_apic();
    say("bench: done\n");
}
