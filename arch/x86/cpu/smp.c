#include "arch/x86/cpu/smp.h"

#include "arch/x86/cpu/apic.h"
#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/paging.h"
#include "arch/x86/cpu/percpu.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/cpu/tsc.h"
#include "hv/arch.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/panic.h"

#define INIT_WAIT_US    10000u
#define STARTUP_WAIT_US 200u
#define ANSWER_TRIES    2000u /* of 100 us */
#define ONLINE_TRIES    10000u
#define NOBODY          UINT64_MAX

/* trampoline.asm */
extern const uint8_t trampoline[], trampoline_cr3[], trampoline_end[];
/* The APIC id of the core that may enter now. It takes the ticket by setting NOBODY; a core that
 * comes too late finds NOBODY or another id, and halts for good. */
extern uint64_t ap_ticket, ap_stack_top;
_Noreturn void ap_main(void);

static struct cpu *coming;
static void (*volatile core_main)(unsigned core);

static struct abi_thread threads[ABI_THREADS_MAX]; /* the boot core first, then as in the MADT */
static unsigned thread_count;
static uint32_t node_of_core[ARCH_CORES_MAX];
static unsigned physical_of_core[ARCH_CORES_MAX];
/* None if there is one node. */
static struct abi_near near[ACPI_MEMORY_MAX];
static unsigned near_count;

/* The TSCs must be in step. The new core takes its sample between two of the boot core's. */
static uint32_t sync_step;

static void sync_wait(uint32_t step)
{
    while (__atomic_load_n(&sync_step, __ATOMIC_ACQUIRE) != step)
        __builtin_ia32_pause();
}

static struct cpuid_regs ask_cpuid(void *ctx, uint32_t leaf, uint32_t subleaf)
{
    (void)ctx;
    return cpuid(leaf, subleaf);
}

/* Parked, a core takes nothing but NMIs and machine checks: it stays in the loop for good. */
_Noreturn __attribute__((no_stack_protector)) void ap_main(void)
{
    struct cpu *c = coming;

    desc_load(c);
    cpu_setup();
    apic_init_core();
    c->shape = topology_read(ask_cpuid, NULL);
    __atomic_store_n(&c->online, 1, __ATOMIC_RELEASE);
    sync_wait(1);
    c->tsc_sample = arch_tsc();
    __atomic_store_n(&sync_step, 2, __ATOMIC_RELEASE);
    while (!core_main || c->number == CPU_PARKED)
        __asm__ volatile("sti; hlt; cli" ::: "memory");
    core_main(c->number);
    panic("core %u came back from its main function", c->number);
}

void arch_cores_start(void (*main)(unsigned core))
{
    core_main = main;
    for (unsigned i = 0; i < arch_core_count(); i++)
        if (i != arch_core_self())
            arch_kick(i);
}

static void check_tsc(const struct cpu *c)
{
    uint64_t before = arch_tsc(), after;

    __atomic_store_n(&sync_step, 1, __ATOMIC_RELEASE);
    sync_wait(2);
    after = arch_tsc();
    if (c->tsc_sample < before || c->tsc_sample > after)
        log_warn("APIC id %u: its TSC is off by %ld ticks", c->apic_id,
                 (int64_t)(c->tsc_sample - before));
    __atomic_store_n(&sync_step, 0, __ATOMIC_RELEASE);
}

/* True if the core took the ticket. */
static bool answered(uint32_t apic_id)
{
    uint64_t expected = apic_id;

    for (unsigned i = 0; i < ANSWER_TRIES; i++) {
        if (__atomic_load_n(&ap_ticket, __ATOMIC_ACQUIRE) == NOBODY)
            return true;
        tsc_wait_us(100);
    }
    return !__atomic_compare_exchange_n(&ap_ticket, &expected, NOBODY, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE);
}

static bool start_core(struct core_block *b, uint32_t apic_id, uint8_t page)
{
    coming = &b->cpu;
    ap_stack_top = (uintptr_t)(b->stack + sizeof(b->stack));
    __atomic_store_n(&ap_ticket, apic_id, __ATOMIC_RELEASE);
    apic_send_startup(apic_id, page);
    tsc_wait_us(STARTUP_WAIT_US);
    if (__atomic_load_n(&ap_ticket, __ATOMIC_ACQUIRE) != NOBODY)
        apic_send_startup(apic_id, page);
    if (!answered(apic_id))
        return false;
    for (unsigned i = 0; i < ONLINE_TRIES; i++) {
        if (__atomic_load_n(&b->cpu.online, __ATOMIC_ACQUIRE))
            return true;
        tsc_wait_us(100);
    }
    panic("the core with APIC id %u stopped half-way through its start", apic_id);
}

static struct core_block *new_block(struct mem_map *m)
{
    struct core_block *b;
    hpa_t a;

    if (mem_alloc(m, sizeof(*b), PAGE_SIZE, UINT64_MAX, MEM_HOST, 0, &a))
        return NULL;
    b = arch_ptr(a);
    memset(b, 0, sizeof(*b));
    paging_guard(b);
    return b;
}

static void copy_trampoline(uint64_t page)
{
    uint8_t *p = arch_ptr(hpa(page));
    uint64_t cr3 = paging_root();

    memcpy(p, trampoline, (uintptr_t)trampoline_end - (uintptr_t)trampoline);
    memcpy(p + ((uintptr_t)trampoline_cr3 - (uintptr_t)trampoline), &cr3, sizeof(cr3));
    paging_protect(page, PAGE_SIZE, PROT_RX);
}

static void add_thread(const struct acpi_info *a, uint32_t apic_id, enum abi_thread_state state)
{
    threads[thread_count++] = (struct abi_thread){
        .apic_id = apic_id, .node = acpi_node_of(&a->nodes, apic_id), .state = (uint16_t)state};
}

/* All that the MADT names, the boot core first. */
static void list_threads(const struct acpi_info *a)
{
    uint32_t self = arch_core_apic_id(0);

    boot_core_block.cpu.shape = topology_read(ask_cpuid, NULL);
    add_thread(a, self, ABI_THREAD_IDLE);
    topology_place(boot_core_block.cpu.shape, self, &threads[0]);
    for (unsigned i = 0; i < a->cpu_count && thread_count < ABI_THREADS_MAX; i++)
        if (a->apic_ids[i] != self)
            add_thread(a, a->apic_ids[i],
                       apic_reaches(a->apic_ids[i]) ? ABI_THREAD_SILENT : ABI_THREAD_UNREACHABLE);
}

/* Each by its id, so that none starts that the MADT calls disabled. One wait is for all. */
static void init_all(void)
{
    for (unsigned i = 0; i < thread_count; i++)
        if (threads[i].state == ABI_THREAD_SILENT)
            apic_send_init(threads[i].apic_id);
    tsc_wait_us(INIT_WAIT_US);
}

/* Starts it in `b`. False: it does not answer, and `b` is free for the next one. */
static bool start_thread(struct abi_thread *t, struct core_block *b, uint8_t page)
{
    cpu_prepare(&b->cpu, t->apic_id);
    if (!start_core(b, t->apic_id, page)) {
        log_warn("the core with APIC id %u does not answer: it is not used", t->apic_id);
        return false;
    }
    cpu_add(&b->cpu);
    check_tsc(&b->cpu);
    topology_place(b->cpu.shape, t->apic_id, t);
    t->state = ABI_THREAD_IDLE;
    return true;
}

static void start_all(struct mem_map *m, uint8_t page)
{
    struct core_block *b = NULL;

    for (unsigned i = 0; i < thread_count; i++) {
        struct abi_thread *t = &threads[i];

        if (t->state == ABI_THREAD_UNREACHABLE)
            log_warn("APIC id %u takes x2APIC mode, which the CPU lacks: it is not used",
                     t->apic_id);
        if (t->state != ABI_THREAD_SILENT)
            continue;
        if (!b && !(b = new_block(m))) {
            log_warn("no memory for the core with APIC id %u: it is not used", t->apic_id);
            t->state = ABI_THREAD_NO_MEMORY;
        } else if (start_thread(t, b, page)) {
            b = NULL;
        }
    }
}

void smp_start(const struct acpi_info *a, struct mem_map *m, uint64_t trampoline_page)
{
    near_count = a->nodes.count > 1 ? a->nodes.memory_count : 0;
    memcpy(near, a->nodes.memory, sizeof(near[0]) * near_count);
    list_threads(a);
    if (thread_count == 1)
        return;
    if (trampoline_page == 0) {
        log_warn("no free page below 1 MiB: only the boot core is used");
        return;
    }
    copy_trampoline(trampoline_page);
    init_all();
    start_all(m, (uint8_t)(trampoline_page >> 12));
}

static struct cpu *cpu_of(const struct abi_thread *t)
{
    struct cpu *c = NULL;

    for (unsigned i = 0; (c = cpu_started(i)) && c->apic_id != t->apic_id; i++)
        continue;
    return c;
}

void arch_cores_choose(bool smt)
{
    (void)topology_choose(threads, thread_count, smt, ARCH_CORES_MAX);
    for (unsigned i = 1; i < thread_count; i++)
        if (threads[i].state == ABI_THREAD_RUNS)
            cpu_number(cpu_of(&threads[i]));
    for (unsigned i = 0; i < thread_count; i++)
        if (threads[i].state == ABI_THREAD_RUNS) {
            node_of_core[threads[i].number] = threads[i].node;
            physical_of_core[threads[i].number] = topology_physical(threads, &threads[i]);
        }
}

const struct abi_thread *arch_thread(unsigned i)
{
    return i < thread_count ? &threads[i] : NULL;
}

unsigned arch_core_physical(unsigned core)
{
    return physical_of_core[core];
}

unsigned arch_core_node(unsigned core)
{
    return node_of_core[core];
}

const struct abi_near *arch_near_memory(unsigned i)
{
    return i < near_count ? &near[i] : NULL;
}

unsigned arch_thread_count(void)
{
    return thread_count;
}

struct abi_topology arch_topology(void)
{
    struct abi_topology t;

    topology_count(threads, thread_count, &t);
    return t;
}
