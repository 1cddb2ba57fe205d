/* SOURCES: arch/x86/inspect/names.c hv/lib.c */
#include "arch/x86/inspect/names.h"
#include "arch/x86/vmx/vmx.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* SDM 3C appendix C, typed from its table. NULL: not defined. */
static const char *const reasons[] = {
    "EXCEPTION_OR_NMI",
    "EXTERNAL_INTERRUPT",
    "TRIPLE_FAULT",
    "INIT_SIGNAL",
    "STARTUP_IPI",
    "IO_SMI",
    "OTHER_SMI",
    "INTERRUPT_WINDOW",
    "NMI_WINDOW",
    "TASK_SWITCH",
    "CPUID",
    "GETSEC",
    "HLT",
    "INVD",
    "INVLPG",
    "RDPMC",
    "RDTSC",
    "RSM",
    "VMCALL",
    "VMCLEAR",
    "VMLAUNCH",
    "VMPTRLD",
    "VMPTRST",
    "VMREAD",
    "VMRESUME",
    "VMWRITE",
    "VMXOFF",
    "VMXON",
    "CONTROL_REGISTER_ACCESS",
    "MOV_DR",
    "IO_INSTRUCTION",
    "RDMSR",
    "WRMSR",
    "ENTRY_FAILURE_GUEST_STATE",
    "ENTRY_FAILURE_MSR_LOADING",
    NULL,
    "MWAIT",
    "MONITOR_TRAP_FLAG",
    NULL,
    "MONITOR",
    "PAUSE",
    "ENTRY_FAILURE_MACHINE_CHECK",
    NULL,
    "TPR_BELOW_THRESHOLD",
    "APIC_ACCESS",
    "VIRTUALIZED_EOI",
    "GDTR_OR_IDTR_ACCESS",
    "LDTR_OR_TR_ACCESS",
    "EPT_VIOLATION",
    "EPT_MISCONFIGURATION",
    "INVEPT",
    "RDTSCP",
    "PREEMPTION_TIMER",
    "INVVPID",
    "WBINVD",
    "XSETBV",
    "APIC_WRITE",
    "RDRAND",
    "INVPCID",
    "VMFUNC",
    "ENCLS",
    "RDSEED",
    "PML_FULL",
    "XSAVES",
    "XRSTORS",
    "PCONFIG",
    "SPP_EVENT",
    "UMWAIT",
    "TPAUSE",
    "LOADIWKEY",
    "ENCLV",
    NULL,
    "ENQCMD_PASID_FAILURE",
    "ENQCMDS_PASID_FAILURE",
    "BUS_LOCK",
    "INSTRUCTION_TIMEOUT",
    "SEAMCALL",
    "TDCALL",
    "RDMSRLIST",
    "WRMSRLIST",
};

static void exit_reasons(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 0x10000; i++) {
        const char *name = i < ARRAY_LEN(reasons) ? reasons[i] : NULL;

        assert_string_equal(vmx_exit_reason_name(i), name ? name : "UNDEFINED");
    }
    assert_int_equal(VMX_EXIT_WRMSRLIST, ARRAY_LEN(reasons) - 1);
}

/* Bits 31:16 say how the exit came about, not why: entry failure, enclave, root operation. */
static void high_bits(void **state)
{
    (void)state;
    for (unsigned bit = 16; bit < 32; bit++)
        assert_string_equal(vmx_exit_reason_name(1u << bit | 33), "ENTRY_FAILURE_GUEST_STATE");
    assert_string_equal(vmx_exit_reason_name(0xffff0030), "EPT_VIOLATION");
    assert_string_equal(vmx_exit_reason_name(UINT32_MAX), "UNDEFINED");
}

static void instruction_errors(void **state)
{
    static const uint32_t undefined[] = {0, 14, 21, 27, 29, 30, 255, 1u << 31, UINT32_MAX};
    const char *name;

    (void)state;
    assert_non_null(strstr(vmx_instruction_error_name(1), "VMCALL executed in VMX root"));
    assert_non_null(strstr(vmx_instruction_error_name(4), "VMLAUNCH with non-clear VMCS"));
    assert_non_null(strstr(vmx_instruction_error_name(5), "VMRESUME with non-launched VMCS"));
    assert_non_null(strstr(vmx_instruction_error_name(7), "invalid control field"));
    assert_non_null(strstr(vmx_instruction_error_name(8), "invalid host-state field"));
    assert_non_null(strstr(vmx_instruction_error_name(11), "revision identifier"));
    assert_non_null(strstr(vmx_instruction_error_name(12), "unsupported VMCS component"));
    assert_non_null(strstr(vmx_instruction_error_name(13), "read-only VMCS component"));
    assert_non_null(strstr(vmx_instruction_error_name(15), "VMXON executed in VMX root"));
    assert_non_null(strstr(vmx_instruction_error_name(26), "blocked by MOV SS"));
    assert_non_null(strstr(vmx_instruction_error_name(28), "INVEPT/INVVPID"));
    for (unsigned i = 0; i < ARRAY_LEN(undefined); i++)
        assert_string_equal(vmx_instruction_error_name(undefined[i]),
                            "undefined VM-instruction error");
    /* All others have a unique name. */
    for (uint32_t i = 1; i <= 28; i++) {
        if (i == 14 || i == 21 || i == 27)
            continue;
        name = vmx_instruction_error_name(i);
        assert_null(strstr(name, "undefined"));
        for (uint32_t j = 1; j < i; j++)
            assert_string_not_equal(name, vmx_instruction_error_name(j));
    }
}

/* SDM 3C "Machine-Check Events During VM Entry", "Information for VM Exits Due to Vectored Events".
 */
static void machine_checks(void **state)
{
    (void)state;
    assert_true(vmx_is_machine_check(1u << 31 | 41, 0));
    assert_false(vmx_is_machine_check(41, 0)); /* without bit 31 there is no such reason */
    assert_false(vmx_is_machine_check(1u << 31 | 33, 0));
    assert_false(vmx_is_machine_check(1u << 31 | 34, 1u << 31 | 3u << 8 | 18));
    /* Valid, a hardware exception, vector 18. */
    assert_true(vmx_is_machine_check(0, 1u << 31 | 3u << 8 | 18));
    assert_false(vmx_is_machine_check(0, 3u << 8 | 18));
    assert_false(vmx_is_machine_check(0, 1u << 31 | 3u << 8 | 17));
    assert_false(vmx_is_machine_check(0, 1u << 31 | 2u << 8 | 2));  /* an NMI */
    assert_false(vmx_is_machine_check(0, 1u << 31 | 6u << 8 | 18)); /* a software exception */
    assert_false(vmx_is_machine_check(1, 1u << 31 | 3u << 8 | 18)); /* an external interrupt */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exit_reasons),
        cmocka_unit_test(high_bits),
        cmocka_unit_test(instruction_errors),
        cmocka_unit_test(machine_checks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
