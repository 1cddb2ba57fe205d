/*
 * VT-x constants by the SDM's own names: control bits, exit reasons, interruption information.
 * SDM 3C "Virtual Machine Control Structures" and appendices A to C. Pure.
 */
#pragma once

#include "hv/types.h"

/* Pin-based VM-execution controls. */
#define PIN_EXTERNAL_INTERRUPT_EXITING    (1u << 0)
#define PIN_NMI_EXITING                   (1u << 3)
#define PIN_VIRTUAL_NMIS                  (1u << 5)
#define PIN_PREEMPTION_TIMER              (1u << 6)
#define PIN_POSTED_INTERRUPTS             (1u << 7)

/* Primary processor-based VM-execution controls. */
#define CPU1_INTERRUPT_WINDOW_EXITING     (1u << 2)
#define CPU1_USE_TSC_OFFSETTING           (1u << 3)
#define CPU1_HLT_EXITING                  (1u << 7)
#define CPU1_INVLPG_EXITING               (1u << 9)
#define CPU1_MWAIT_EXITING                (1u << 10)
#define CPU1_RDPMC_EXITING                (1u << 11)
#define CPU1_RDTSC_EXITING                (1u << 12)
#define CPU1_CR3_LOAD_EXITING             (1u << 15)
#define CPU1_CR3_STORE_EXITING            (1u << 16)
#define CPU1_ACTIVATE_TERTIARY_CONTROLS   (1u << 17)
#define CPU1_CR8_LOAD_EXITING             (1u << 19)
#define CPU1_CR8_STORE_EXITING            (1u << 20)
#define CPU1_USE_TPR_SHADOW               (1u << 21)
#define CPU1_NMI_WINDOW_EXITING           (1u << 22)
#define CPU1_MOV_DR_EXITING               (1u << 23)
#define CPU1_UNCONDITIONAL_IO_EXITING     (1u << 24)
#define CPU1_USE_IO_BITMAPS               (1u << 25)
#define CPU1_MONITOR_TRAP_FLAG            (1u << 27)
#define CPU1_USE_MSR_BITMAPS              (1u << 28)
#define CPU1_MONITOR_EXITING              (1u << 29)
#define CPU1_PAUSE_EXITING                (1u << 30)
#define CPU1_ACTIVATE_SECONDARY_CONTROLS  (1u << 31)

/* Secondary processor-based VM-execution controls. */
#define CPU2_VIRTUALIZE_APIC_ACCESSES     (1u << 0)
#define CPU2_ENABLE_EPT                   (1u << 1)
#define CPU2_ENABLE_RDTSCP                (1u << 3)
#define CPU2_VIRTUALIZE_X2APIC_MODE       (1u << 4)
#define CPU2_ENABLE_VPID                  (1u << 5)
#define CPU2_WBINVD_EXITING               (1u << 6)
#define CPU2_UNRESTRICTED_GUEST           (1u << 7)
#define CPU2_APIC_REGISTER_VIRTUALIZATION (1u << 8)
#define CPU2_VIRTUAL_INTERRUPT_DELIVERY   (1u << 9)
#define CPU2_PAUSE_LOOP_EXITING           (1u << 10)
#define CPU2_RDRAND_EXITING               (1u << 11)
#define CPU2_ENABLE_INVPCID               (1u << 12)
#define CPU2_ENABLE_VM_FUNCTIONS          (1u << 13)
#define CPU2_VMCS_SHADOWING               (1u << 14)
#define CPU2_ENABLE_ENCLS_EXITING         (1u << 15)
#define CPU2_RDSEED_EXITING               (1u << 16)
#define CPU2_ENABLE_PML                   (1u << 17)
#define CPU2_EPT_VIOLATION_VE             (1u << 18)
#define CPU2_ENABLE_XSAVES                (1u << 20)
#define CPU2_PASID_TRANSLATION            (1u << 21)
#define CPU2_MODE_BASED_EXECUTE_CONTROL   (1u << 22)
#define CPU2_SUB_PAGE_WRITE_PERMISSIONS   (1u << 23)
#define CPU2_PT_USES_GUEST_PHYSICAL       (1u << 24)
#define CPU2_USE_TSC_SCALING              (1u << 25)
#define CPU2_ENABLE_PCONFIG               (1u << 27)
#define CPU2_ENABLE_ENCLV_EXITING         (1u << 28)
#define CPU2_INSTRUCTION_TIMEOUT          (1u << 31)

/* Tertiary processor-based VM-execution controls. */
#define CPU3_ENABLE_HLAT                  (1ull << 1)
#define CPU3_EPT_PAGING_WRITE             (1ull << 2)
#define CPU3_GUEST_PAGING_VERIFICATION    (1ull << 3)
#define CPU3_IPI_VIRTUALIZATION           (1ull << 4)
#define CPU3_VIRTUALIZE_IA32_SPEC_CTRL    (1ull << 7)

/* Primary VM-exit controls. */
#define EXITC_SAVE_DEBUG_CONTROLS         (1u << 2)
#define EXITC_HOST_ADDRESS_SPACE_SIZE     (1u << 9)
#define EXITC_LOAD_PERF_GLOBAL_CTRL       (1u << 12)
#define EXITC_ACK_INTERRUPT_ON_EXIT       (1u << 15)
#define EXITC_SAVE_IA32_PAT               (1u << 18)
#define EXITC_LOAD_IA32_PAT               (1u << 19)
#define EXITC_SAVE_IA32_EFER              (1u << 20)
#define EXITC_LOAD_IA32_EFER              (1u << 21)
#define EXITC_SAVE_PREEMPTION_TIMER       (1u << 22)
#define EXITC_CLEAR_IA32_BNDCFGS          (1u << 23)
#define EXITC_CLEAR_IA32_RTIT_CTL         (1u << 25)
#define EXITC_CLEAR_IA32_LBR_CTL          (1u << 26)
#define EXITC_CLEAR_UINV                  (1u << 27)
#define EXITC_LOAD_CET_STATE              (1u << 28)
#define EXITC_LOAD_PKRS                   (1u << 29)
#define EXITC_ACTIVATE_SECONDARY          (1u << 31)

/* Secondary VM-exit controls. */
#define EXITC2_LOAD_IA32_FRED             (1ull << 1)

/* VM-entry controls. */
#define ENTRY_LOAD_DEBUG_CONTROLS         (1u << 2)
#define ENTRY_IA32E_MODE_GUEST            (1u << 9)
#define ENTRY_TO_SMM                      (1u << 10)
#define ENTRY_DEACTIVATE_DUAL_MONITOR     (1u << 11)
#define ENTRY_LOAD_PERF_GLOBAL_CTRL       (1u << 13)
#define ENTRY_LOAD_IA32_PAT               (1u << 14)
#define ENTRY_LOAD_IA32_EFER              (1u << 15)
#define ENTRY_LOAD_IA32_BNDCFGS           (1u << 16)
#define ENTRY_LOAD_IA32_RTIT_CTL          (1u << 18)
#define ENTRY_LOAD_UINV                   (1u << 19)
#define ENTRY_LOAD_CET_STATE              (1u << 20)
#define ENTRY_LOAD_IA32_LBR_CTL           (1u << 21)
#define ENTRY_LOAD_PKRS                   (1u << 22)
#define ENTRY_LOAD_IA32_FRED              (1u << 23)

/* IA32_VMX_BASIC, IA32_VMX_MISC, IA32_VMX_EPT_VPID_CAP, IA32_FEATURE_CONTROL. */
#define VMX_BASIC_REVISION_MASK           0x7fffffffull
#define VMX_BASIC_32_BIT_ADDRESSES        (1ull << 48)
#define VMX_BASIC_INS_OUTS_INFO           (1ull << 54)
#define VMX_BASIC_TRUE_CONTROLS           (1ull << 55)
#define VMX_BASIC_ANY_ERROR_CODE          (1ull << 56)
#define VMX_BASIC_NESTED_EXCEPTION        (1ull << 58)
#define VMX_MISC_TIMER_SHIFT_MASK         0x1full
#define VMX_MISC_ACTIVITY_HLT             (1ull << 6)
#define VMX_MISC_INSTRUCTION_LENGTH_0     (1ull << 30)
#define EPT_CAP_WALK_4                    (1ull << 6)
#define EPT_CAP_WALK_5                    (1ull << 7)
#define EPT_CAP_MEMORY_TYPE_UC            (1ull << 8)
#define EPT_CAP_MEMORY_TYPE_WB            (1ull << 14)
#define EPT_CAP_PAGE_2M                   (1ull << 16)
#define EPT_CAP_PAGE_1G                   (1ull << 17)
#define EPT_CAP_INVEPT                    (1ull << 20)
#define EPT_CAP_ACCESSED_DIRTY            (1ull << 21)
#define EPT_CAP_SHADOW_STACK              (1ull << 23)
#define EPT_CAP_INVEPT_SINGLE             (1ull << 25)
#define EPT_CAP_INVEPT_ALL                (1ull << 26)
#define EPT_CAP_INVVPID                   (1ull << 32)
#define EPT_CAP_INVVPID_SINGLE            (1ull << 41)
#define EPT_CAP_INVVPID_ALL               (1ull << 42)
#define VMFUNC_EPTP_SWITCHING             (1ull << 0)
#define FEATURE_CONTROL_LOCKED            (1ull << 0)
#define FEATURE_CONTROL_VMX               (1ull << 2)

#define INVEPT_SINGLE_CONTEXT             1ul
#define INVEPT_ALL_CONTEXT                2ul
#define INVVPID_SINGLE_CONTEXT            1ul
#define INVVPID_ALL_CONTEXT               2ul

/* The exit-reason field. The names are in exit_reasons.def. */
#define VMX_EXIT_BASIC_MASK               0xffffu
#define VMX_EXIT_ENTRY_FAILURE            (1u << 31)

enum vmx_exit_reason {
#define VMX_EXIT(number, name) VMX_EXIT_##name = number,
#include "arch/x86/inspect/exit_reasons.def"
#undef VMX_EXIT
};

/* VM-entry and VM-exit interruption information, IDT-vectoring information: one format. */
#define INTR_INFO_VECTOR_MASK     0xffu
#define VMX_VECTOR_MC             18u
#define INTR_INFO_TYPE_MASK       0x700u
#define INTR_INFO_EXTERNAL        (0u << 8)
#define INTR_INFO_NMI             (2u << 8)
#define INTR_INFO_HARD_EXCEPTION  (3u << 8)
#define INTR_INFO_SOFT_INTERRUPT  (4u << 8)
#define INTR_INFO_PRIVILEGED_SOFT (5u << 8)
#define INTR_INFO_SOFT_EXCEPTION  (6u << 8)
#define INTR_INFO_OTHER_EVENT     (7u << 8)
#define INTR_INFO_ERROR_CODE      (1u << 11)
#define INTR_INFO_NMI_UNBLOCKING  (1u << 12)
#define INTR_INFO_NESTED          (1u << 13)
#define INTR_INFO_VALID           (1u << 31)

/* Guest interruptibility state. */
#define BLOCKING_BY_STI           (1u << 0)
#define BLOCKING_BY_MOV_SS        (1u << 1)
#define BLOCKING_BY_SMI           (1u << 2)
#define BLOCKING_BY_NMI           (1u << 3)
#define ENCLAVE_INTERRUPTION      (1u << 4)

#define PENDING_DEBUG_BUS_LOCK    (1u << 11)
#define PENDING_DEBUG_ENABLED     (1u << 12)
#define PENDING_DEBUG_BS          (1u << 14)
#define PENDING_DEBUG_RTM         (1u << 16)

/* Guest activity state. */
#define ACTIVITY_ACTIVE           0u
#define ACTIVITY_HLT              1u
#define ACTIVITY_SHUTDOWN         2u
#define ACTIVITY_WAIT_FOR_SIPI    3u

/* Segment access rights. */
#define AR_TYPE_MASK              0xfu
#define AR_CODE                   0xbu /* execute, read, accessed */
#define AR_DATA                   0x3u /* read, write, accessed */
#define AR_TSS_BUSY               0xbu
#define AR_S                      (1u << 4)
#define AR_DPL_SHIFT              5
#define AR_DPL_MASK               (3u << AR_DPL_SHIFT)
#define AR_P                      (1u << 7)
#define AR_L                      (1u << 13)
#define AR_DB                     (1u << 14)
#define AR_G                      (1u << 15)
#define AR_UNUSABLE               (1u << 16)

/* True if an exit reports a machine check. `reason` is the whole field, `intr` the VM-exit
 * interruption information (used only with reason 0). It came while the guest ran, or during VM
 * entry: then the guest is not at fault. SDM 3C "Machine-Check Events During VM Entry". */
static inline bool vmx_is_machine_check(uint32_t reason, uint32_t intr)
{
    const uint32_t kind = INTR_INFO_VALID | INTR_INFO_TYPE_MASK | INTR_INFO_VECTOR_MASK;

    if (reason == VMX_EXIT_EXCEPTION_OR_NMI)
        return (intr & kind) == (INTR_INFO_VALID | INTR_INFO_HARD_EXCEPTION | VMX_VECTOR_MC);
    return reason == (VMX_EXIT_ENTRY_FAILURE | VMX_EXIT_ENTRY_FAILURE_MACHINE_CHECK);
}
