#include "arch/x86/cpu/apic.h"

#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/errata.h"
#include "arch/x86/cpu/io.h"
#include "arch/x86/cpu/leaks.h"
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/percpu.h"
#include "arch/x86/cpu/trap.h"
#include "hv/arch.h"
#include "hv/log.h"
#include "hv/panic.h"

#define REG_ID            0x020u
#define REG_TPR           0x080u
#define REG_EOI           0x0b0u
#define REG_SPURIOUS      0x0f0u
#define REG_ESR           0x280u
#define REG_ICR           0x300u
#define REG_ICR_HIGH      0x310u
#define REG_LVT_TIMER     0x320u
#define REG_LVT_LINT0     0x350u
#define REG_LVT_LINT1     0x360u
#define REG_LVT_ERROR     0x370u
#define REG_TIMER_INITIAL 0x380u
#define REG_TIMER_CURRENT 0x390u
#define REG_TIMER_DIVIDE  0x3e0u

#define SPURIOUS_ENABLE   (1u << 8)
#define LVT_MASKED        (1u << 16)
#define LVT_NMI           (4u << 8)
#define LVT_TSC_DEADLINE  (2u << 17)
#define DIVIDE_BY_1       0xbu
#define RATIO_SHIFT       32
#define ICR_NMI           (4u << 8)
#define ICR_INIT          (5u << 8)
#define ICR_STARTUP       (6u << 8)
#define ICR_PENDING       (1u << 12)
#define ICR_ASSERT        (1u << 14)
#define ICR_TRIES         1000000u
#define XAPIC_DEFAULT     0xfee00000u

#define PIC1_COMMAND      0x20u
#define PIC1_DATA         0x21u
#define PIC2_COMMAND      0xa0u
#define PIC2_DATA         0xa1u

static volatile uint8_t *registers; /* xAPIC */
static bool ready, x2apic, tsc_deadline;
static uint64_t timer_longest; /* without TSC-deadline mode: ticks of the TSC */
static uint64_t timer_ratio;   /* what the timer counts in a tick of the TSC << RATIO_SHIFT */
static uint64_t armed[ARCH_CORES_MAX]; /* when apic_timer_set()'s interrupt comes; 0: not at all */

static uint32_t reg_read(uint32_t reg)
{
    if (x2apic)
        return (uint32_t)rdmsr(MSR_IA32_X2APIC_BASE + reg / 16);
    return *(volatile uint32_t *)(volatile void *)(registers + reg);
}

static void reg_write(uint32_t reg, uint32_t v)
{
    if (x2apic)
        wrmsr(MSR_IA32_X2APIC_BASE + reg / 16, v);
    else
        *(volatile uint32_t *)(volatile void *)(registers + reg) = v;
}

static void icr_write(uint32_t apic_id, uint32_t low)
{
    if (x2apic) {
        /* A WRMSR to the x2APIC does not order earlier stores; the receiver must see them. */
        __asm__ volatile("mfence; lfence" ::: "memory");
        wrmsr(MSR_IA32_X2APIC_BASE + REG_ICR / 16, (uint64_t)apic_id << 32 | low);
        return;
    }
    reg_write(REG_ICR_HIGH, apic_id << 24);
    reg_write(REG_ICR, low);
    for (unsigned i = 0; i < ICR_TRIES && reg_read(REG_ICR) & ICR_PENDING; i++)
        __builtin_ia32_pause();
}

uint32_t apic_id_self(void)
{
    uint32_t id = reg_read(REG_ID);

    return x2apic ? id : id >> 24;
}

void apic_eoi(void)
{
    reg_write(REG_EOI, 0);
}

bool apic_reaches(uint32_t apic_id)
{
    return x2apic ? apic_id != UINT32_MAX : apic_id <= APIC_ID_MAX;
}

void apic_send_init(uint32_t apic_id)
{
    icr_write(apic_id, ICR_INIT | ICR_ASSERT);
}

void apic_send_startup(uint32_t apic_id, uint8_t page)
{
    icr_write(apic_id, ICR_STARTUP | ICR_ASSERT | page);
}

/* One after another: a processor that has not started is not ours to interrupt. */
void apic_nmi_others(void)
{
    const struct cpu *c;

    for (unsigned i = 0; ready && (c = cpu_started(i)); i++)
        if (c != cpu_self())
            icr_write(c->apic_id, ICR_NMI | ICR_ASSERT);
}

static void send(unsigned core, uint32_t vector)
{
    uint32_t id = arch_core_apic_id(core);

    if (id != UINT32_MAX)
        icr_write(id, ICR_ASSERT | vector);
}

void arch_kick(unsigned core)
{
    send(core, VECTOR_KICK);
}

void arch_notify(unsigned core)
{
    send(core, VECTOR_NOTIFY);
}

static void mask_pics(void)
{
    /* First remap the PICs away from the exceptions' vectors, then mask all inputs. */
    outb(PIC1_COMMAND, 0x11);
    outb(PIC2_COMMAND, 0x11);
    outb(PIC1_DATA, VECTOR_PIC);
    outb(PIC2_DATA, VECTOR_PIC + 8);
    outb(PIC1_DATA, 4);
    outb(PIC2_DATA, 2);
    outb(PIC1_DATA, 1);
    outb(PIC2_DATA, 1);
    outb(PIC1_DATA, 0xff);
    outb(PIC2_DATA, 0xff);
}

static bool needs_x2apic(const struct acpi_info *a)
{
    for (unsigned i = 0; i < a->cpu_count; i++)
        if (a->apic_ids[i] > APIC_ID_MAX)
            return true;
    return false;
}

void apic_init_core(void)
{
    uint64_t base = rdmsr(MSR_IA32_APIC_BASE);

    /* EN is never cleared: some machines cannot set it again. */
    if (!(base & APIC_BASE_EN))
        wrmsr(MSR_IA32_APIC_BASE, base | APIC_BASE_EN);
    /* In two steps: a disabled APIC cannot go to x2APIC mode at once (SDM 3A "x2APIC State
     * Transitions"). */
    if (x2apic && !(base & APIC_BASE_X2APIC))
        wrmsr(MSR_IA32_APIC_BASE, base | APIC_BASE_EN | APIC_BASE_X2APIC);
    reg_write(REG_SPURIOUS, SPURIOUS_ENABLE | VECTOR_SPURIOUS);
    reg_write(REG_TPR, 0);
    reg_write(REG_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
    reg_write(REG_LVT_LINT0, LVT_MASKED);
    reg_write(REG_LVT_LINT1, LVT_NMI);
    reg_write(REG_LVT_ERROR, VECTOR_APIC_ERROR);
    reg_write(REG_ESR, 0);
    if (tsc_deadline) {
        reg_write(REG_LVT_TIMER, LVT_TSC_DEADLINE | VECTOR_TIMER);
    } else {
        reg_write(REG_TIMER_DIVIDE, DIVIDE_BY_1);
        reg_write(REG_LVT_TIMER, VECTOR_TIMER);
    }
}

/* It may come early: timer_arm(). */
void apic_timer_came(void *ctx)
{
    (void)ctx;
    armed[cpu_self()->number] = 0;
}

/* Emulators and other hypervisors have no microcode, or show one that says nothing. */
static bool deadline_works(const struct cpuid_regs *one)
{
    uint32_t fixed_by = erratum_deadline_fixed_by(one->eax), has = cpu_faults.microcode;

    if (has == 0 || has >= fixed_by || (one->ecx & CPUID_1_ECX_HYPERVISOR))
        return true;
    log_warn("this CPU's TSC-deadline timer is faulty before microcode revision 0x%x, and it has "
             "0x%x: a counter is used instead. A firmware update brings newer microcode",
             fixed_by, has);
    return false;
}

void apic_init(const struct acpi_info *a)
{
    struct cpuid_regs one = cpuid(1, 0);
    uint64_t base = rdmsr(MSR_IA32_APIC_BASE);
    uint64_t address = a->lapic_address ? a->lapic_address : base & APIC_BASE_ADDRESS;

    mask_pics();
    x2apic = (base & APIC_BASE_X2APIC) || (needs_x2apic(a) && one.ecx & CPUID_1_ECX_X2APIC);
    tsc_deadline = one.ecx & CPUID_1_ECX_TSC_DEADLINE && deadline_works(&one);
    if (!x2apic) {
        registers = arch_map_mmio(hpa(address ? address : XAPIC_DEFAULT), PAGE_SIZE);
        if (!registers)
            panic("the local APIC at %016lx cannot be mapped", address);
    }
    apic_init_core();
    ready = true;
    log_info("local APIC: %s, timer: %s", x2apic ? "x2APIC" : "xAPIC",
             tsc_deadline ? "TSC deadline" : "counter");
}

/* The counter's frequency against the TSC's, for CPUs without TSC-deadline mode. */
void apic_timer_init(void)
{
    uint64_t ticks = arch_tsc_hz() / 100, from;
    uint64_t counted;

    if (tsc_deadline)
        return;
    reg_write(REG_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
    from = arch_tsc();
    reg_write(REG_TIMER_INITIAL, UINT32_MAX);
    while (arch_tsc() - from < ticks)
        __builtin_ia32_pause();
    counted = UINT32_MAX - reg_read(REG_TIMER_CURRENT);
    reg_write(REG_TIMER_INITIAL, 0);
    reg_write(REG_LVT_TIMER, VECTOR_TIMER);
    timer_ratio = (counted << RATIO_SHIFT) / ticks;
    /* A second, if the register holds that. */
    timer_longest =
        min_u64(arch_tsc_hz(), ((uint64_t)UINT32_MAX << RATIO_SHIFT) / (timer_ratio + 1));
}

static void timer_arm(uint64_t deadline)
{
    uint64_t now, delta, count;

    if (tsc_deadline) {
        /* The LVT write through memory must be done before the deadline is set (SDM 3A
         * "TSC-Deadline Mode"). */
        __asm__ volatile("mfence" ::: "memory");
        wrmsr(MSR_IA32_TSC_DEADLINE, deadline);
        return;
    }
    now = arch_tsc();
    /* Far deadlines are shortened: the caller checks the clock and comes back. */
    delta = deadline > now ? min_u64(deadline - now, timer_longest) : 0;
    count = (uint64_t)((unsigned __int128)delta * timer_ratio >> RATIO_SHIFT) + 1;
    reg_write(REG_TIMER_INITIAL, (uint32_t)count);
}

static void timer_disarm(void)
{
    if (tsc_deadline)
        wrmsr(MSR_IA32_TSC_DEADLINE, 0);
    else
        reg_write(REG_TIMER_INITIAL, 0);
}

void apic_timer_set(uint64_t deadline)
{
    uint64_t *a = &armed[cpu_self()->number];

    if (*a == deadline)
        return;
    *a = deadline;
    timer_arm(deadline);
}

/* Whoever wakes is in a hurry: a timer that has come is off by itself. */
void arch_idle(uint64_t deadline, const uint32_t *wake)
{
    if (__atomic_load_n(wake, __ATOMIC_ACQUIRE) || deadline <= arch_tsc())
        return;
    if (deadline != NEVER)
        timer_arm(deadline);
    armed[cpu_self()->number] = 0;
    /* STI takes effect after the next instruction: nothing can come between the check and HLT. */
    __asm__ volatile("sti; hlt; cli" ::: "memory");
    if (deadline != NEVER && arch_tsc() < deadline)
        timer_disarm();
}

void arch_irq_window(void)
{
    __asm__ volatile("sti; nop; cli" ::: "memory");
}
