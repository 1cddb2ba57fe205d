/* SOURCES: hv/lib.c hv/fmt.c */
/*
 * AMD-V on a core: what an entry needs, whose registers the core holds, a wait in HLT; and the
 * trial whether interrupts end guests. The sources are included here, and their privileged
 * instructions are replaced by a model of the core. FPU and MXCSR use the real processor.
 */
#undef VCPU_STATE
#define VCPU_STATE "arch/x86/svm/vcpu_state.h"
#include "arch/x86/cpu/apic.h"
#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/leaks.h"
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/cpu/trap.h"
#include "arch/x86/svm/vcpu.h"
#include "arch/x86/svm/vmrun.h"
#include "hv/hostmem.h"
#include "hv/log.h"
#include "test/unit/x87.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- a core ---- */

#define HZ    1000000000ull
#define ASIDS 4u /* 1 to 3 are guests' */

static struct {
    uint64_t tsc, due; /* of the timer; 0: it is off */
    uint64_t dr[4], cr2, tsc_aux, efer, hsave, cr4;
    const void *saved; /* VMSAVE's */
    unsigned writes;   /* of slow registers */
    unsigned timer_sets, windows, nmi_ticks;
    unsigned handlers; /* installed */
} processor;

/* A loop of the trial's guest takes this many ticks. */
static struct {
    uint64_t cost;
    bool interrupts_end_it, stands_still;
    unsigned entries;
} guest_model;

static bool nmi_fails;
static unsigned warnings;

uint64_t arch_test_clock(void)
{
    return processor.tsc += guest_model.stands_still ? 0 : 3;
}

uint64_t arch_tsc_hz(void)
{
    return HZ;
}

static uint64_t *msr_of(uint32_t number)
{
    assert_true(number == MSR_IA32_TSC_AUX || number == MSR_IA32_EFER || number == MSR_VM_HSAVE_PA);
    return number == MSR_IA32_TSC_AUX ? &processor.tsc_aux
           : number == MSR_IA32_EFER  ? &processor.efer
                                      : &processor.hsave;
}

static uint64_t fake_rdmsr(uint32_t number)
{
    return *msr_of(number);
}

static void fake_wrmsr(uint32_t number, uint64_t value)
{
    *msr_of(number) = value;
    processor.writes++;
}

static void set_dr(unsigned n, uint64_t value)
{
    processor.dr[n] = value;
    processor.writes++;
}

void apic_timer_set(uint64_t deadline)
{
    processor.due = deadline;
    processor.timer_sets++;
}

void apic_timer_came(void *ctx)
{
    (void)ctx;
    processor.due = 0;
}

void trap_set_handler(unsigned vector, void (*handler)(void *ctx), void *ctx)
{
    (void)ctx;
    assert_int_equal(vector, VECTOR_TIMER);
    assert_ptr_equal(handler, apic_timer_came);
    processor.handlers++;
}

void arch_irq_window(void)
{
    processor.windows++;
    if (processor.due && processor.due <= processor.tsc)
        apic_timer_came(NULL);
}

void arch_idle(uint64_t deadline, const uint32_t *wake)
{
    if (!*wake)
        processor.tsc = max_u64(processor.tsc, deadline);
}

int ioapic_nmi_ticks(void)
{
    processor.nmi_ticks++;
    return nmi_fails ? -E_NOTSUP : 0;
}

void log_warn(const char *format, ...)
{
    (void)format;
    warnings++;
}

static unsigned changes;
void leaks_change_guest(void)
{
    changes++;
}

void log_info(const char *format, ...)
{
    (void)format;
}

/* The guest of the trial: EAX times around, unless the timer's interrupt ends it. */
static void fake_vmrun(struct vmcb *b)
{
    uint64_t end = processor.tsc + b->save.rax * guest_model.cost;

    guest_model.entries++;
    assert_true(guest_model.entries < 100);
    assert_true(b->save.efer & EFER_SVME);
    assert_int_equal(b->save.rflags & RFLAGS_IF, 0);
    assert_true(b->control.guest_asid != 0 && (b->control.intercept_misc2 & INTERCEPT_VMRUN));
    b->control.exitcode = SVM_EXIT_VMMCALL;
    if (guest_model.interrupts_end_it && processor.due && processor.due <= end) {
        end = processor.due + 1;
        b->control.exitcode = SVM_EXIT_INTR;
    }
    if (!guest_model.stands_still)
        processor.tsc = end;
}

static uint8_t page[PAGE_SIZE] __attribute__((aligned(4096)));
static bool no_memory;
void *hostmem_alloc_zeroed(uint64_t size, enum mem_owner_kind kind)
{
    assert_int_equal(size, PAGE_SIZE);
    assert_int_equal(kind, MEM_HOST);
    return no_memory ? NULL : page;
}

static struct svm_caps caps = {.abi = {.present = 1, .svm_asids = ASIDS}};
static int probed;
const struct svm_caps *svm_caps_common(void)
{
    return &caps;
}

int svm_caps_probe(unsigned core)
{
    (void)core;
    return probed;
}

#define rdmsr         fake_rdmsr
#define wrmsr         fake_wrmsr
#define read_cr4()    processor.cr4
#define read_dr0()    processor.dr[0]
#define read_dr1()    processor.dr[1]
#define read_dr2()    processor.dr[2]
#define read_dr3()    processor.dr[3]
#define write_dr0(v)  set_dr(0, v)
#define write_dr1(v)  set_dr(1, v)
#define write_dr2(v)  set_dr(2, v)
#define write_dr3(v)  set_dr(3, v)
#define write_cr2(v)  (processor.cr2 = (v))
#define write_xcr0(v) ((void)(v))
#define svm_vmsave(p) ((void)(processor.saved = (p)))
#define svm_vmrun     fake_vmrun
#include "arch/x86/guest/lazy.c"
#include "arch/x86/svm/core.c"
#include "arch/x86/svm/trial.c"

/* ---- vCPUs: the last is on core 1, all others on core 0 ---- */

#define VCPUS 5u

static struct guest guest;
static struct vcpu vcpus[VCPUS];
static struct svm_vcpu backends[VCPUS];
static struct vmcb vmcbs[VCPUS];
static uint8_t areas[VCPUS][PAGE_SIZE] __attribute__((aligned(4096)));
static struct abi_exit records[ABI_EXITS];
static struct abi_vcpu stats;

static void on_both_cores(void)
{
    static uint8_t save[2][PAGE_SIZE] __attribute__((aligned(4096)));

    for (unsigned core = 0; core < 2; core++) {
        assert_int_equal(svm_core_on(core, save[core]), 0);
        assert_int_equal(processor.hsave, (uintptr_t)save[core]);
        assert_ptr_equal(processor.saved, page);
    }
}

static int setup(void **state)
{
    (void)state;
    memset(&processor, 0, sizeof(processor));
    memset(&guest_model, 0, sizeof(guest_model));
    memset(cores, 0, sizeof(cores));
    memset(vmcbs, 0, sizeof(vmcbs));
    memset(records, 0, sizeof(records));
    memset(&stats, 0, sizeof(stats));
    no_memory = nmi_fails = false;
    caps.abi.svm_features = CPUID_SVM_NP;
    warnings = 0;
    processor.tsc = 1000;
    for (unsigned i = 0; i < VCPUS; i++) {
        vcpus[i] = (struct vcpu){.guest = &guest,
                                 .number = i,
                                 .entity.core = i == VCPUS - 1,
                                 .exits = records,
                                 .exit = records,
                                 .stats = &stats};
        backends[i] = (struct svm_vcpu){
            .vcpu = &vcpus[i], .vmcb = &vmcbs[i], .lazy.area = areas[i], .deadline = 5000 + i};
        x86_lazy_reset(&backends[i].lazy);
    }
    on_both_cores();
    return 0;
}

/* ---- a core is switched on ---- */

static void switched_on(void **state)
{
    (void)state;
    assert_true(processor.efer & EFER_SVME);
    assert_true(cores[0].host && cores[1].host);
    no_memory = true;
    processor.efer = 0;
    assert_int_equal(svm_core_on(1, page), -E_NOMEM);
    assert_int_equal(processor.efer, 0);
}

/* Once, on the boot core, if it has what is needed. */
static void interrupts_are_tried_once(void **state)
{
    (void)state;
    guest_model.cost = 2;
    guest_model.interrupts_end_it = true;
    probed = -E_NOTSUP;
    assert_int_equal(svm_core_probe(0), -E_NOTSUP);
    probed = 0;
    assert_int_equal(svm_core_probe(1), 0);
    assert_int_equal(guest_model.entries, 0);
    assert_int_equal(svm_core_probe(0), 0);
    assert_int_equal(guest_model.entries, 1);
    assert_int_equal(processor.handlers, 1);
    assert_int_equal(processor.nmi_ticks, 0);
    assert_int_equal(svm_core_probe(0), 0);
    assert_int_equal(guest_model.entries, 1);
}

static void nmis_where_they_do_not(void **state)
{
    (void)state;
    guest_model.cost = 2;
    choose_ticks();
    assert_int_equal(processor.nmi_ticks, 1);
    assert_int_equal(warnings, 0);
    nmi_fails = true;
    choose_ticks();
    assert_int_equal(warnings, 1);
}

/* ---- the trial ---- */

static void interrupts_end_guests(void **state)
{
    (void)state;
    guest_model.interrupts_end_it = true;
    guest_model.cost = 1;
    assert_true(svm_interrupts_end_guests());
    assert_int_equal(processor.due, 0); /* it was taken */
}

static void interrupts_do_not(void **state)
{
    (void)state;
    guest_model.cost = 1;
    assert_false(svm_interrupts_end_guests());
    assert_true(guest_model.entries > 1); /* the first loop is over too early to say it */
    assert_int_equal(processor.due, 0);
}

/* A loop that is over before the interrupt says nothing: it becomes longer, up to a limit. */
static void a_fast_cpu(void **state)
{
    const uint64_t delay = HZ / 1000000 * MICROS;

    (void)state;
    guest_model.interrupts_end_it = true;
    guest_model.cost = 0;
    assert_false(svm_interrupts_end_guests());
    assert_int_equal(guest_model.entries, 15);
    assert_true(processor.tsc < 1000 + delay);
    guest_model.stands_still = true;
    guest_model.entries = 0;
    assert_false(svm_interrupts_end_guests());
    assert_int_equal(guest_model.entries, 15);
}

/* ---- entries ---- */

static void enter(unsigned i, uint8_t control, uint32_t asid)
{
    svm_load(&backends[i]);
    /* enter.asm, and after each exit. */
    if (backends[i].changed)
        svm_take_asid(&backends[i]);
    assert_int_equal(vmcbs[i].control.tlb_control, control);
    assert_int_equal(vmcbs[i].control.guest_asid, asid);
    backends[i].changed = vmcbs[i].control.tlb_control = 0;
}

static void entries(void **state)
{
    (void)state;
    enter(0, TLB_FLUSH_ALL, 1);
    enter(1, TLB_DO_NOTHING, 2);
    enter(0, TLB_DO_NOTHING, 1);
    svm_flush(&backends[0]);
    enter(0, TLB_DO_NOTHING, 3); /* a new one instead of a flush */
    enter(0, TLB_DO_NOTHING, 3);
    enter(2, TLB_FLUSH_ALL, 1); /* none is left */
    enter(1, TLB_DO_NOTHING, 2);
    enter(0, TLB_DO_NOTHING, 3);
    enter(4, TLB_FLUSH_ALL, 1); /* another core has its own */
    caps.abi.svm_features |= CPUID_SVM_FLUSH_BY_ASID;
    on_both_cores();
    enter(3, TLB_FLUSH_ALL, 1);
    svm_flush(&backends[3]);
    enter(3, TLB_FLUSH_ASID, 1);
    enter(3, TLB_DO_NOTHING, 1);
}

static void waits(void **state)
{
    struct vcpu *v = &vcpus[0];

    (void)state;
    vmcbs[0].save.rip = 0x1234;
    for (unsigned i = 0; i < ABI_EXITS; i++)
        records[i] = (struct abi_exit){
            .entry_tsc = 1, .detail = 2, .qualification = 3, .instruction_length = 4, .guest = 7};
    svm_wait(&backends[0]);
    assert_ptr_equal(v->exit, &records[1]);
    assert_int_equal(records[0].entry_tsc, 1003);
    assert_memory_equal(
        &records[1],
        (&(struct abi_exit){
            .tsc = 5003, .rip = 0x1234, .reason = SVM_EXIT_INTR, .outcome = EXIT_KICK, .guest = 7}),
        sizeof(records[1]));
    assert_int_equal(stats.entries, 1);
    assert_int_equal(stats.exits[SVM_EXIT_INTR], 1);
    v->exit = &records[ABI_EXITS - 1];
    v->entity.requests = 1; /* it does not wait */
    svm_wait(&backends[0]);
    assert_ptr_equal(v->exit, &records[0]);
    assert_int_equal(records[0].tsc, 5009);
}

/* ---- lazy registers ---- */

static void each_has_its_own(void **state)
{
    uint16_t mine = x87_control(), of_a, of_b;

    (void)state;
    vmcbs[0].save.cr2 = 0x3333;
    svm_load(&backends[0]);
    assert_int_equal(backends[0].host, (uintptr_t)page);
    assert_int_equal(processor.cr2, 0x3333);
    processor.writes = 0;
    svm_load(&backends[0]); /* it is loaded */
    assert_int_equal(processor.writes, 0);
    /* As the guest would do it. */
    processor.dr[2] = 0x2222;
    processor.tsc_aux = 0x1111;
    set_x87_control(0x27f);
    svm_load(&backends[1]);
    of_b = x87_control();
    assert_true(processor.dr[2] == 0 && processor.tsc_aux == 0 && processor.cr2 == 0);
    assert_int_equal(processor.writes, 2); /* what differs */
    svm_load(&backends[0]);
    of_a = x87_control();
    set_x87_control(mine);
    assert_int_equal(of_a, 0x27f);
    assert_int_equal(of_b, 0x37f);
    assert_true(processor.dr[2] == 0x2222 && processor.tsc_aux == 0x1111);
}

/* Nothing is saved for a vCPU that is gone; other cores are not affected. */
static void unloaded(void **state)
{
    uint16_t mine = x87_control();

    (void)state;
    svm_load(&backends[0]);
    svm_load(&backends[VCPUS - 1]);
    svm_unload(&backends[0]);
    processor.tsc_aux = 0x77;
    svm_load(&backends[1]);
    set_x87_control(mine);
    assert_int_equal(backends[0].lazy.tsc_aux, 0);
    assert_int_equal(processor.tsc_aux, 0);
    svm_unload(&backends[0]); /* it is another's core */
    assert_ptr_equal(cores[0].current, &backends[1]);
    assert_ptr_equal(cores[1].current, &backends[VCPUS - 1]);
}

/* Predictors forget between guests, and for whoever comes after one that is gone; not between the
 * vCPUs of one guest. */
static void another_guest(void **state)
{
    uint16_t mine = x87_control();
    struct guest other = {0};

    (void)state;
    changes = 0;
    svm_load(&backends[0]);
    svm_load(&backends[0]);
    svm_load(&backends[1]);
    assert_int_equal(changes, 1);
    vcpus[1].guest = &other;
    svm_load(&backends[0]);
    assert_int_equal(changes, 2);
    svm_unload(&backends[0]);
    svm_load(&backends[0]);
    assert_int_equal(changes, 3);
    set_x87_control(mine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(switched_on, setup),
        cmocka_unit_test_setup(interrupts_are_tried_once, setup),
        cmocka_unit_test_setup(nmis_where_they_do_not, setup),
        cmocka_unit_test_setup(interrupts_end_guests, setup),
        cmocka_unit_test_setup(interrupts_do_not, setup),
        cmocka_unit_test_setup(a_fast_cpu, setup),
        cmocka_unit_test_setup(entries, setup),
        cmocka_unit_test_setup(waits, setup),
        cmocka_unit_test_setup(each_has_its_own, setup),
        cmocka_unit_test_setup(unloaded, setup),
        cmocka_unit_test_setup(another_guest, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
