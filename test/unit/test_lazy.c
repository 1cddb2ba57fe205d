/* SOURCES: hv/lib.c */
/*
 * Registers that stay in a core until another vCPU runs there. The source is included here, and its
 * privileged instructions are replaced by a simulated core. FPU, MXCSR and reading XCR0 use the
 * real processor.
 */
#include "arch/x86/cpu/leaks.h"
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"
#include "hv/panic.h"
#include "test/unit/x87.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- a core ---- */

#define MSRS 6u
static const uint32_t msr_numbers[MSRS] = {MSR_IA32_STAR,           MSR_IA32_LSTAR,
                                           MSR_IA32_CSTAR,          MSR_IA32_FMASK,
                                           MSR_IA32_KERNEL_GS_BASE, MSR_IA32_TSC_AUX};
static struct {
    uint64_t msr[MSRS], dr[7], cr2;
    uint64_t vmcs; /* current */
} processor;
static unsigned writes; /* of slow registers */
static uint64_t cleared;
static bool fail_load, fail_clear;

static unsigned msr_index(uint32_t number)
{
    for (unsigned i = 0; i < MSRS; i++)
        if (msr_numbers[i] == number)
            return i;
    fail_msg("MSR 0x%x is not switched", number);
    return 0;
}
static uint64_t fake_rdmsr(uint32_t number)
{
    return processor.msr[msr_index(number)];
}
static void fake_wrmsr(uint32_t number, uint64_t v)
{
    processor.msr[msr_index(number)] = v;
    writes++;
}
static void set_dr(unsigned n, uint64_t v)
{
    processor.dr[n] = v;
    writes++;
}
static int fake_vmptrld(uint64_t at)
{
    processor.vmcs = at;
    return fail_load ? -E_STATE : 0;
}
static int fake_vmclear(uint64_t at)
{
    cleared = at;
    return fail_clear ? -E_STATE : 0;
}

static unsigned changes;
void leaks_change_guest(void)
{
    changes++;
}

static jmp_buf panicked;
_Noreturn void panic(const char *format, ...)
{
    (void)format;
    longjmp(panicked, 1);
}

#define rdmsr         fake_rdmsr
#define wrmsr         fake_wrmsr
#define read_dr0()    processor.dr[0]
#define read_dr1()    processor.dr[1]
#define read_dr2()    processor.dr[2]
#define read_dr3()    processor.dr[3]
#define read_dr6()    processor.dr[6]
#define write_dr0(v)  set_dr(0, v)
#define write_dr1(v)  set_dr(1, v)
#define write_dr2(v)  set_dr(2, v)
#define write_dr3(v)  set_dr(3, v)
#define write_dr6(v)  set_dr(6, v)
#define read_cr2()    processor.cr2
#define write_cr2(v)  (processor.cr2 = (v))
#define write_xcr0(v) ((void)(v))
#define vmptrld       fake_vmptrld
#define vmclear       fake_vmclear
#include "arch/x86/guest/lazy.c"
#include "arch/x86/vmx/lazy.c"

/* ---- two vCPUs on core 0, one on core 1 ---- */

static struct guest guest;
static struct vcpu vcpus[3];
static struct vmx_vcpu backends[3];
static uint8_t pages[3][PAGE_SIZE] __attribute__((aligned(4096)));
static uint8_t regions[3][PAGE_SIZE] __attribute__((aligned(4096)));

static int setup(void **state)
{
    (void)state;
    memset(&processor, 0, sizeof(processor));
    memset(current, 0, sizeof(current));
    writes = 0;
    fail_load = fail_clear = false;
    for (unsigned i = 0; i < 3; i++) {
        vcpus[i] = (struct vcpu){.guest = &guest, .number = i, .entity.core = i == 2};
        backends[i] = (struct vmx_vcpu){
            .vcpu = &vcpus[i], .vmcs = regions[i], .lazy.x86.area = pages[i], .launched = true};
        vmx_lazy_reset(&backends[i].lazy);
    }
    return 0;
}

/* SDM 3A "Processor State Following Power-up, Reset, or INIT", of FNINIT where they differ. */
static void as_after_reset(void **state)
{
    const struct vmx_lazy *l = &backends[0].lazy;
    uint16_t fcw;
    uint32_t mxcsr;

    (void)state;
    memcpy(&fcw, l->x86.area, 2);
    memcpy(&mxcsr, l->x86.area + 24, 4);
    assert_int_equal(fcw, 0x37f);
    assert_int_equal(mxcsr, 0x1f80);
    assert_int_equal(l->x86.xcr0, 1);
    assert_int_equal(l->dr6, 0xffff0ff0);
    assert_ptr_equal(l->x86.area, pages[0]);
}

/* A vCPU gets its registers back after another ran on the core, and only values that differ are
 * written. */
static void each_has_its_own(void **state)
{
    struct vmx_vcpu *a = &backends[0], *b = &backends[1];
    uint16_t mine = x87_control();
    uint16_t of_a, of_b;

    (void)state;
    vmx_load(a);
    assert_int_equal(processor.vmcs, (uintptr_t)regions[0]);
    assert_int_equal(x87_control(), 0x37f);
    writes = 0;
    vmx_load(a); /* already loaded */
    assert_int_equal(writes, 0);
    /* As the guest would do it. */
    processor.msr[1] = 0x1111;
    processor.dr[2] = 0x2222;
    processor.cr2 = 0x3333;
    set_x87_control(0x27f);
    vmx_load(b);
    of_b = x87_control();
    assert_int_equal(processor.vmcs, (uintptr_t)regions[1]);
    assert_int_equal(processor.msr[1], 0);
    assert_int_equal(processor.dr[2], 0);
    assert_int_equal(processor.cr2, 0);
    assert_int_equal(writes, 2);
    writes = 0;
    vmx_load(a);
    of_a = x87_control();
    set_x87_control(mine);
    assert_int_equal(of_b, 0x37f);
    assert_int_equal(of_a, 0x27f);
    assert_int_equal(processor.msr[1], 0x1111);
    assert_int_equal(processor.dr[2], 0x2222);
    assert_int_equal(processor.cr2, 0x3333);
    assert_int_equal(writes, 2);
}

/* x87's last instruction and operand say what another guest does. AMD's CPUs leave them alone when
 * they load a state without an exception. */
static void pointers_do_not_stay(void **state)
{
    const double operand = 1.5;
    uint32_t before[7], after[7]; /* FNSTENV: [3] is FIP, [5] FDP */
    uint16_t mine = x87_control();

    (void)state;
    vmx_load(&backends[0]);
    __asm__ volatile("fldl %1; fstp %%st; fnstenv %0" : "=m"(before) : "m"(operand));
    vmx_load(&backends[1]);
    __asm__ volatile("fnstenv %0" : "=m"(after));
    set_x87_control(mine);
    assert_true(before[3] != 0);
    assert_int_equal(after[3], 0);
    assert_int_equal(after[5], 0);
}

/* Nothing is saved for a vCPU that is gone; other cores are not affected. */
static void unloaded(void **state)
{
    struct vmx_vcpu *a = &backends[0], *b = &backends[1], *elsewhere = &backends[2];
    uint16_t mine = x87_control();

    (void)state;
    vmx_load(a);
    vmx_load(elsewhere);
    processor.msr[0] = 0x77; /* left in this test's core: not saved for any vCPU */
    vmx_unload(a);
    assert_int_equal(cleared, (uintptr_t)regions[0]);
    assert_false(a->launched);
    assert_int_equal(a->lazy.msr[0], 0);
    vmx_load(b);
    assert_int_equal(processor.msr[0], 0);
    assert_int_equal(a->lazy.msr[0], 0);
    assert_ptr_equal(current[1], elsewhere);
    /* A vCPU that is not loaded is cleared too. */
    vmx_unload(a);
    assert_ptr_equal(current[0], b);
    vmx_reload(0);
    assert_int_equal(processor.vmcs, (uintptr_t)regions[1]);
    set_x87_control(mine);
}

/* Predictors forget between guests, and for whoever comes after one that is gone; not between the
 * vCPUs of one guest. */
static void another_guest(void **state)
{
    uint16_t mine = x87_control();
    struct guest other = {0};

    (void)state;
    changes = 0;
    vmx_load(&backends[0]);
    assert_int_equal(changes, 1);
    vmx_load(&backends[0]);
    vmx_load(&backends[1]);
    assert_int_equal(changes, 1);
    vcpus[1].guest = &other;
    vmx_load(&backends[0]);
    assert_int_equal(changes, 2);
    vmx_load(&backends[1]);
    assert_int_equal(changes, 3);
    vmx_unload(&backends[1]);
    vmx_load(&backends[0]);
    assert_int_equal(changes, 4);
    set_x87_control(mine);
}

static void failures(void **state)
{
    (void)state;
    if (setjmp(panicked) == 0) {
        fail_load = true;
        vmx_load(&backends[0]);
        fail();
    }
    fail_load = false;
    if (setjmp(panicked) == 0) {
        fail_clear = true;
        vmx_unload(&backends[0]);
        fail();
    }
}

static void offered(void **state)
{
    uint64_t all = x86_xcr0_allowed();

    (void)state;
    assert_int_equal(all & ~(uint64_t)XCR0_OFFERED, 0);
    assert_true(all == 0 || (all & (XCR0_X87 | XCR0_SSE)) == (XCR0_X87 | XCR0_SSE));
    assert_true((all & XCR0_AVX512) == 0 || (all & XCR0_AVX512) == XCR0_AVX512);
    assert_int_equal(x86_xcr0_allowed(), all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(as_after_reset, setup),
        cmocka_unit_test_setup(each_has_its_own, setup),
        cmocka_unit_test_setup(pointers_do_not_stay, setup),
        cmocka_unit_test_setup(unloaded, setup),
        cmocka_unit_test_setup(another_guest, setup),
        cmocka_unit_test_setup(failures, setup),
        cmocka_unit_test(offered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
