/*
 * AMD-V constants by the APM's own names, those that are used: intercepts, exit codes, fields of
 * the VMCB. APM vol. 2 "Secure Virtual Machine" and appendices B and C. Pure.
 */
#pragma once

#include "hv/types.h"

/* intercept_misc1 */
#define INTERCEPT_INTR        (1u << 0)
#define INTERCEPT_NMI         (1u << 1)
#define INTERCEPT_SMI         (1u << 2)
#define INTERCEPT_INIT        (1u << 3)
#define INTERCEPT_VINTR       (1u << 4)
#define INTERCEPT_RDTSC       (1u << 14)
#define INTERCEPT_RDPMC       (1u << 15)
#define INTERCEPT_CPUID       (1u << 18)
#define INTERCEPT_IRET        (1u << 20)
#define INTERCEPT_INVD        (1u << 22)
#define INTERCEPT_PAUSE       (1u << 23)
#define INTERCEPT_HLT         (1u << 24)
#define INTERCEPT_INVLPG      (1u << 25)
#define INTERCEPT_INVLPGA     (1u << 26)
#define INTERCEPT_IOIO_PROT   (1u << 27)
#define INTERCEPT_MSR_PROT    (1u << 28)
#define INTERCEPT_TASK_SWITCH (1u << 29)
#define INTERCEPT_FERR_FREEZE (1u << 30)
#define INTERCEPT_SHUTDOWN    (1u << 31)

/* intercept_misc2 */
#define INTERCEPT_VMRUN       (1u << 0)
#define INTERCEPT_VMMCALL     (1u << 1)
#define INTERCEPT_VMLOAD      (1u << 2)
#define INTERCEPT_VMSAVE      (1u << 3)
#define INTERCEPT_STGI        (1u << 4)
#define INTERCEPT_CLGI        (1u << 5)
#define INTERCEPT_SKINIT      (1u << 6)
#define INTERCEPT_RDTSCP      (1u << 7)
#define INTERCEPT_WBINVD      (1u << 9)
#define INTERCEPT_MONITOR     (1u << 10)
#define INTERCEPT_MWAIT       (1u << 11)
#define INTERCEPT_MWAIT_ARMED (1u << 12)
#define INTERCEPT_XSETBV      (1u << 13)
#define INTERCEPT_RDPRU       (1u << 14)

/* tlb_control */
#define TLB_DO_NOTHING        0u
#define TLB_FLUSH_ALL         1u
#define TLB_FLUSH_ASID        3u

/* vintr */
#define VINTR_IRQ             (1ull << 8)
#define VINTR_PRIO_SHIFT      16
#define VINTR_PRIO            (0xfull << VINTR_PRIO_SHIFT)
#define VINTR_IGN_TPR         (1ull << 20)
#define VINTR_MASKING         (1ull << 24)

/* interrupt_shadow */
#define INTERRUPT_SHADOW      (1ull << 0)
#define GUEST_INTERRUPT_MASK  (1ull << 1)

#define NP_ENABLE             (1ull << 0)

/* eventinj and exitintinfo: bits 31:0 are an event as arch/x86/guest/vcpu.h has it. */
#define EVENT_ERROR_SHIFT     32

/* exitcode. The names are in vmexit_codes.def; these are followed by one for each register or
 * vector. */
#define SVM_EXIT_READ_CR0     0x000u
#define SVM_EXIT_WRITE_CR0    0x010u
#define SVM_EXIT_READ_DR0     0x020u
#define SVM_EXIT_WRITE_DR0    0x030u
#define SVM_EXIT_EXCP0        0x040u

enum svm_exit_code {
#define VMEXIT(code, name, when) SVM_EXIT_##name = code,
#define VMEXIT_16(first, before, behind, when)
#define VMEXIT_32(first, before, behind, when)
#include "arch/x86/inspect/vmexit_codes.def"
#undef VMEXIT
#undef VMEXIT_16
#undef VMEXIT_32
};

/* exitinfo1 of IOIO */
#define IOIO_IN                 (1u << 0) /* TYPE */
#define IOIO_STR                (1u << 2)
#define IOIO_REP                (1u << 3)
#define IOIO_SIZE_SHIFT         4 /* SZ8, SZ16, SZ32: the number of bytes */
#define IOIO_SIZE_MASK          7u
#define IOIO_PORT_SHIFT         16

/* exitinfo1 of a nested page fault: a page fault's error code, and these. */
#define NPF_PRESENT             (1ull << 0)
#define NPF_WRITE               (1ull << 1)
#define NPF_USER                (1ull << 2)
#define NPF_RESERVED            (1ull << 3)
#define NPF_FETCH               (1ull << 4)
#define NPF_FINAL               (1ull << 32) /* the access itself */
#define NPF_WALK                (1ull << 33) /* of the guest's page tables */

/* exitinfo2 of a task switch */
#define TASK_BY_IRET            (1ull << 36)
#define TASK_BY_JUMP            (1ull << 38)
#define TASK_HAS_ERROR          (1ull << 44)
#define TASK_RF                 (1ull << 48)

/* MSRs and CPUID Fn8000_000A. */
#define MSR_VM_CR               0xc0010114u
#define VM_CR_LOCK              (1ull << 3)
#define VM_CR_SVMDIS            (1ull << 4)
#define MSR_VM_HSAVE_PA         0xc0010117u
#define EFER_SVME               (1ull << 12)
#define CPUID_SVM               0x8000000au
#define CPUID_EXT1_ECX_SVM      (1u << 2)
#define CPUID_SVM_NP            (1u << 0)
#define CPUID_SVM_LBR           (1u << 1)
#define CPUID_SVM_NRIPS         (1u << 3)
#define CPUID_SVM_FLUSH_BY_ASID (1u << 6)
