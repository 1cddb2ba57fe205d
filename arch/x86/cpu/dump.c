#include "arch/x86/cpu/dump.h"

#include "arch/x86/cpu/apic.h"
#include "arch/x86/cpu/board.h"
#include "arch/x86/cpu/console.h"
#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/percpu.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/cpu/stack.h"
#include "hv/arch.h"
#include "hv/fmt.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/panic.h"

#define STACK_WORDS     24u
#define REASON_MAX      160u
#define CORE_NAME_MAX   16u
#define CALLS_MAX       12u
#define CALLS_SEARCH    512u /* quadwords of stack that are searched for return addresses */
#define STOP_WAIT_TICKS 100000000ull
#define MCG_COUNT_MASK  0xffu
#define MC_VALID        (1ull << 63)

extern const uint8_t kernel_start[], kernel_text_end[];
extern const uint64_t kernel_linked;

/* The APIC id of the printing core plus one. */
static uint32_t owner;
static uint32_t reboot_seconds;

void arch_panic_reboot(uint32_t seconds)
{
    reboot_seconds = seconds;
}

const char *dump_trap_name(uint64_t vector)
{
    static const char *const names[] = {
        "#DE divide error",
        "#DB debug",
        "NMI",
        "#BP breakpoint",
        "#OF overflow",
        "#BR bound range exceeded",
        "#UD undefined opcode",
        "#NM no math coprocessor",
        "#DF double fault",
        "coprocessor segment overrun",
        "#TS invalid TSS",
        "#NP segment not present",
        "#SS stack-segment fault",
        "#GP general protection",
        "#PF page fault",
        "exception 15",
        "#MF math fault",
        "#AC alignment check",
        "#MC machine check",
        "#XM SIMD exception",
        "#VE virtualization exception",
        "#CP control protection",
    };

    return vector < ARRAY_LEN(names) ? names[vector] : "exception";
}

static void say(const char *format, ...) PRINTF(1, 2);

static void say(const char *format, ...)
{
    char line[200];
    size_t n;
    va_list ap;

    va_start(ap, format);
    n = fmt_v(line, sizeof(line), format, ap);
    va_end(ap);
    arch_console_write(line, n < sizeof(line) ? n : sizeof(line) - 1);
}

static _Noreturn void halt_forever(void)
{
    for (;;)
        __asm__ volatile("cli; hlt" ::: "memory");
}

/* After the report. */
static _Noreturn void rest(void)
{
    uint64_t from = arch_tsc(), hz = arch_tsc_hz();

    if (reboot_seconds == 0 || hz == 0) {
        say("*** All cores are halted. Reset the machine.\n");
        halt_forever();
    }
    say("*** All cores are halted. The machine resets in %u s.\n", reboot_seconds);
    while (arch_tsc() - from < hz * reboot_seconds)
        __builtin_ia32_pause();
    board_reset();
}

bool dump_in_progress(void)
{
    return __atomic_load_n(&owner, __ATOMIC_ACQUIRE) != 0;
}

_Noreturn void dump_stop_self(const struct trap_frame *f)
{
    struct cpu *c = cpu_self();

    if (!c->in_panic && !c->stopped.done) {
        c->stopped.rip = f ? f->rip : (uintptr_t)__builtin_return_address(0);
        c->stopped.rsp = f ? f->rsp : (uintptr_t)__builtin_frame_address(0);
        c->stopped.rflags = f ? f->rflags : read_flags();
        c->stopped.cr3 = read_cr3();
        __atomic_store_n(&c->stopped.done, 1, __ATOMIC_RELEASE);
    }
    halt_forever();
}

/* One core prints. Another that panics meanwhile counts as stopped; a fault while printing ends the
 * dump. */
static void become_owner(const struct trap_frame *f)
{
    struct cpu *c = cpu_self();
    uint32_t expected = 0;

    irq_off();
    if (!__atomic_compare_exchange_n(&owner, &expected, c->apic_id + 1, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        if (!c->in_panic)
            dump_stop_self(f);
        if (c->in_panic++ == 1) {
            say("\n(%s at %016lx while this was printed)\n",
                f ? dump_trap_name(f->vector) : "panic", f ? f->rip : 0);
            rest();
        }
        if (reboot_seconds)
            board_triple_fault();
        halt_forever();
    }
    c->in_panic = 1;
}

static void stop_others(void)
{
    uint64_t from = arch_tsc();
    const struct cpu *c;

    apic_nmi_others();
    for (unsigned i = 0; (c = cpu_started(i)); i++) {
        while (c != cpu_self() && !__atomic_load_n(&c->stopped.done, __ATOMIC_ACQUIRE) &&
               arch_tsc() - from < STOP_WAIT_TICKS)
            __builtin_ia32_pause();
    }
}

static void say_registers(const struct trap_frame *f)
{
    say("rax %016lx  rbx %016lx  rcx %016lx\n", f->rax, f->rbx, f->rcx);
    say("rdx %016lx  rsi %016lx  rdi %016lx\n", f->rdx, f->rsi, f->rdi);
    say("rbp %016lx  rsp %016lx  r8  %016lx\n", f->rbp, f->rsp, f->r8);
    say("r9  %016lx  r10 %016lx  r11 %016lx\n", f->r9, f->r10, f->r11);
    say("r12 %016lx  r13 %016lx  r14 %016lx\n", f->r12, f->r13, f->r14);
    say("r15 %016lx  rip %016lx  flags %lx\n", f->r15, f->rip, f->rflags);
    say("cs %lx  ss %lx  error code %lx\n", f->cs, f->ss, f->error);
}

static void say_control(void)
{
    say("cr0 %016lx  cr2 %016lx  cr3 %016lx\n", read_cr0(), read_cr2(), read_cr3());
    say("cr4 %016lx  efer %016lx  gs %016lx\n", read_cr4(), rdmsr(MSR_IA32_EFER),
        rdmsr(MSR_IA32_GS_BASE));
}

static bool within(uint64_t a, const uint8_t *page)
{
    return a - (uintptr_t)page < PAGE_SIZE;
}

/* Names the guard page that holds the faulting address: the most likely reason of a double fault.
 */
static void say_guard(uint64_t address)
{
    for (unsigned i = 0; i < arch_core_count(); i++) {
        const struct core_block *b = container_of(cpu_get(i), struct core_block, cpu);
        const char *stack = within(address, b->guard_stack)           ? "stack"
                            : within(address, b->guard_nmi)           ? "NMI stack"
                            : within(address, b->guard_double_fault)  ? "double fault stack"
                            : within(address, b->guard_machine_check) ? "machine check stack"
                                                                      : NULL;

        if (stack)
            say("stack overflow: %016lx is in the guard page under core %u's %s\n", address, i,
                stack);
    }
    for (unsigned i = 0; i < ARCH_STACKS; i++)
        if (within(address, stack_guard(i)))
            say("stack overflow: %016lx is in the guard page under the stack of guest %u's job\n",
                address, i);
}

static void say_stack(uint64_t rsp)
{
    const uint64_t *p = (const uint64_t *)(uintptr_t)(rsp & ~7ull);
    unsigned calls = 0;
    uint64_t v;

    /* In a guard page after an overflow: the stack begins right above it. */
    if (mem_read_safe(p, &v))
        p = (const uint64_t *)(uintptr_t)align_up((uintptr_t)p + 1, PAGE_SIZE);
    say("stack from %016lx:", (uintptr_t)p);
    for (unsigned i = 0; i < STACK_WORDS; i++) {
        if (mem_read_safe(p + i, &v)) {
            say(" (not readable from %016lx on)", (uintptr_t)(p + i));
            break;
        }
        say("%s%016lx", i % 4 == 0 ? "\n  " : " ", v);
    }
    /* Without frame pointers: every word that points into the code may be a return address. */
    say("\npossible return addresses:");
    for (unsigned i = 0; i < CALLS_SEARCH && calls < CALLS_MAX; i++) {
        if (mem_read_safe(p + i, &v))
            break;
        if (v >= (uintptr_t)kernel_start && v < (uintptr_t)kernel_text_end)
            say("%s%lx", calls++ % 8 == 0 ? "\n  " : " ", v);
    }
    say("\n");
}

static void say_machine_check(void)
{
    uint64_t cap, status, v;

    if (!(cpuid(1, 0).edx & CPUID_1_EDX_MCA) || msr_read_safe(MSR_IA32_MCG_CAP, &cap))
        return;
    if (!msr_read_safe(MSR_IA32_MCG_STATUS, &v))
        say("IA32_MCG_STATUS %016lx, %lu banks\n", v, cap & MCG_COUNT_MASK);
    for (uint32_t bank = 0; bank < (cap & MCG_COUNT_MASK); bank++) {
        if (msr_read_safe(MSR_IA32_MC0_STATUS + 4 * bank, &status) || !(status & MC_VALID))
            continue;
        say("IA32_MC%u_STATUS %016lx", bank, status);
        if (!msr_read_safe(MSR_IA32_MC0_ADDR + 4 * bank, &v))
            say("  ADDR %016lx", v);
        if (!msr_read_safe(MSR_IA32_MC0_MISC + 4 * bank, &v))
            say("  MISC %016lx", v);
        say("\n");
    }
}

static void core_name(const struct cpu *c, char out[CORE_NAME_MAX])
{
    if (c->number == CPU_PARKED)
        (void)str_copy(out, CORE_NAME_MAX, "parked core");
    else
        (void)fmt(out, CORE_NAME_MAX, "core %u", c->number);
}

static void say_cores(void)
{
    const struct cpu *c;

    for (unsigned i = 0; (c = cpu_started(i)); i++) {
        bool stopped = __atomic_load_n(&c->stopped.done, __ATOMIC_ACQUIRE);
        char name[CORE_NAME_MAX];

        core_name(c, name);
        if (c == cpu_self())
            say("%s (APIC %u): this one\n", name, c->apic_id);
        else if (!stopped)
            say("%s (APIC %u): did not stop\n", name, c->apic_id);
        else if (c->number != CPU_PARKED)
            say("%s (APIC %u): stopped at rip %016lx rsp %016lx flags %lx cr3 %lx\n", name,
                c->apic_id, c->stopped.rip, c->stopped.rsp, c->stopped.rflags, c->stopped.cr3);
    }
}

static _Noreturn void dump(const struct trap_frame *f, uint64_t rip, const char *reason)
{
    char name[CORE_NAME_MAX];

    become_owner(f);
    stop_others();
    log_flush();
    core_name(cpu_self(), name);
    say("\n*** Bulkhead stopped: %s\n*** %s, rip %016lx\n", reason, name, rip);
    if (kernel_linked != (uintptr_t)kernel_start)
        say("the kernel is 0x%lx bytes above where its file has it\n",
            (uintptr_t)kernel_start - kernel_linked);
    if (f)
        say_registers(f);
    say_control();
    if (f && (f->vector == TRAP_PAGE_FAULT || f->vector == TRAP_DOUBLE_FAULT))
        say_guard(read_cr2());
    if (f && f->vector == TRAP_MACHINE_CHECK)
        say_machine_check();
    say_stack(f ? f->rsp : (uintptr_t)__builtin_frame_address(0));
    say_cores();
    rest();
}

_Noreturn void arch_reboot(void)
{
    become_owner(NULL);
    stop_others();
    board_reset();
}

_Noreturn void dump_frame(const struct trap_frame *f, const char *format, ...)
{
    char reason[REASON_MAX];
    va_list ap;

    va_start(ap, format);
    (void)fmt_v(reason, sizeof(reason), format, ap);
    va_end(ap);
    dump(f, f->rip, reason);
}

_Noreturn void panic(const char *format, ...)
{
    char reason[REASON_MAX];
    va_list ap;

    va_start(ap, format);
    (void)fmt_v(reason, sizeof(reason), format, ap);
    va_end(ap);
    dump(NULL, (uintptr_t)__builtin_return_address(0), reason);
}
