/* SOURCES: arch/x86/vmx/ept.c arch/x86/guest/nested.c hv/lib.c */
/* What a VMCS has from the measures against leaks: where VM exits arrive, and which MSRs they and
 * entries load. The source is included here. */
#include "arch/x86/cpu/desc.h"
#include "arch/x86/cpu/leaks.h"
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/guest/start.h"
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"
#include "hv/arch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static uint64_t fields[0x8000];
static void fake_vmwrite(uint32_t field, uint64_t value)
{
    assert_true(field < 0x8000);
    fields[field] = value;
}

#define vmwrite       fake_vmwrite
#define vmread(field) fields[field]
#define rdmsr(number) 0
#define read_cr0()    0
#define read_cr3()    0
#define read_cr4()    0
#undef VCPU_STATE
#define VCPU_STATE "arch/x86/vmx/vcpu_state.h"
#include "arch/x86/vmx/setup.c"

struct abi_cpu_faults cpu_faults;

void leaks_clear_buffers(void)
{
}

void cpu_desc_get(unsigned core, struct cpu_desc *d)
{
    (void)core;
    *d = (struct cpu_desc){.cs = 8};
}

unsigned arch_core_self(void)
{
    return 0;
}

int vmx_adjust(uint32_t want, uint32_t must, uint64_t cap, uint32_t *out)
{
    (void)must;
    (void)cap;
    *out = want;
    return 0;
}

const struct abi_caps *vmx_caps_common(void)
{
    static const struct abi_caps caps;

    return &caps;
}

_Noreturn void panic(const char *format, ...)
{
    fail_msg("%s", format);
    __builtin_unreachable();
}

/* Only their addresses count. */
void vmx_exit_point(void)
{
}

void vmx_exit_point_return(void)
{
}

void vmx_exit_point_returns(void)
{
}

void vmx_apicv_init(struct vmx_vcpu *x)
{
    (void)x;
}

void vmx_load(struct vmx_vcpu *x)
{
    (void)x;
}

void x86_begin(struct vcpu *v, const struct load_result *start)
{
    (void)v;
    (void)start;
}

static void set_up(uint32_t measures)
{
    static struct vmx_guest backend;
    static uint8_t bitmaps[3 * PAGE_SIZE];
    static struct guest guest = {.backend = &backend, .bitmaps = bitmaps};
    static struct abi_vcpu stats;
    static struct vcpu v = {.guest = &guest, .stats = &stats};
    static struct vmx_vcpu x = {.vcpu = &v};

    v.backend = &x;
    memset(fields, 0, sizeof(fields));
    cpu_faults.measures = measures;
    assert_int_equal(vmx_setup_controls(&x), 0);
    vmx_setup_state(&x, NULL);
}

static void exit_points(void **state)
{
    (void)state;
    set_up(0);
    assert_int_equal(fields[VMCS_HOST_RIP], (uintptr_t)vmx_exit_point);
    set_up(ABI_MEASURE_IBPB | ABI_MEASURE_RETURN);
    assert_int_equal(fields[VMCS_HOST_RIP], (uintptr_t)vmx_exit_point_return);
    set_up(ABI_MEASURE_RETURNS);
    assert_int_equal(fields[VMCS_HOST_RIP], (uintptr_t)vmx_exit_point_returns);
}

/* SDM 3C "VM-Exit Controls for MSRs": the index in bits 31:0, bits 63:32 reserved, the value. */
static void check_list(uint64_t address, uint64_t value)
{
    uint64_t entry[2];

    assert_int_equal(address % 16, 0);
    memcpy(entry, (const void *)(uintptr_t)address, sizeof(entry));
    assert_int_equal(entry[0], MSR_IA32_SPEC_CTRL);
    assert_int_equal(entry[1], value);
}

static void ibrs_by_exits(void **state)
{
    (void)state;
    set_up(ABI_MEASURE_IBRS | ABI_MEASURE_AUTO_IBRS);
    assert_int_equal(fields[VMCS_VM_EXIT_MSR_LOAD_COUNT], 0);
    assert_int_equal(fields[VMCS_VM_ENTRY_MSR_LOAD_COUNT], 0);
    set_up(ABI_MEASURE_IBRS_EXITS);
    assert_int_equal(fields[VMCS_VM_EXIT_MSR_STORE_COUNT], 0);
    assert_int_equal(fields[VMCS_VM_EXIT_MSR_LOAD_COUNT], 1);
    assert_int_equal(fields[VMCS_VM_ENTRY_MSR_LOAD_COUNT], 1);
    check_list(fields[VMCS_VM_EXIT_MSR_LOAD_ADDRESS], SPEC_CTRL_IBRS);
    check_list(fields[VMCS_VM_ENTRY_MSR_LOAD_ADDRESS], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exit_points),
        cmocka_unit_test(ibrs_by_exits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
