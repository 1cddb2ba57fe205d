/*
 * AMD-V constants by the APM's own names: intercepts, exit codes, fields of the VMCB. APM vol. 2
 * "Secure Virtual Machine" and appendices B and C. Pure.
 */
#pragma once

#include "hv/types.h"

/* intercept_misc1 */
#define INTERCEPT_INTR           (1u << 0)
#define INTERCEPT_NMI            (1u << 1)
#define INTERCEPT_SMI            (1u << 2)
#define INTERCEPT_INIT           (1u << 3)
#define INTERCEPT_VINTR          (1u << 4)
#define INTERCEPT_CR0_SEL_WRITE  (1u << 5)
#define INTERCEPT_IDTR_READ      (1u << 6)
#define INTERCEPT_GDTR_READ      (1u << 7)
#define INTERCEPT_LDTR_READ      (1u << 8)
#define INTERCEPT_TR_READ        (1u << 9)
#define INTERCEPT_IDTR_WRITE     (1u << 10)
#define INTERCEPT_GDTR_WRITE     (1u << 11)
#define INTERCEPT_LDTR_WRITE     (1u << 12)
#define INTERCEPT_TR_WRITE       (1u << 13)
#define INTERCEPT_RDTSC          (1u << 14)
#define INTERCEPT_RDPMC          (1u << 15)
#define INTERCEPT_PUSHF          (1u << 16)
#define INTERCEPT_POPF           (1u << 17)
#define INTERCEPT_CPUID          (1u << 18)
#define INTERCEPT_RSM            (1u << 19)
#define INTERCEPT_IRET           (1u << 20)
#define INTERCEPT_SWINT          (1u << 21)
#define INTERCEPT_INVD           (1u << 22)
#define INTERCEPT_PAUSE          (1u << 23)
#define INTERCEPT_HLT            (1u << 24)
#define INTERCEPT_INVLPG         (1u << 25)
#define INTERCEPT_INVLPGA        (1u << 26)
#define INTERCEPT_IOIO_PROT      (1u << 27)
#define INTERCEPT_MSR_PROT       (1u << 28)
#define INTERCEPT_TASK_SWITCH    (1u << 29)
#define INTERCEPT_FERR_FREEZE    (1u << 30)
#define INTERCEPT_SHUTDOWN       (1u << 31)

/* intercept_misc2 */
#define INTERCEPT_VMRUN          (1u << 0)
#define INTERCEPT_VMMCALL        (1u << 1)
#define INTERCEPT_VMLOAD         (1u << 2)
#define INTERCEPT_VMSAVE         (1u << 3)
#define INTERCEPT_STGI           (1u << 4)
#define INTERCEPT_CLGI           (1u << 5)
#define INTERCEPT_SKINIT         (1u << 6)
#define INTERCEPT_RDTSCP         (1u << 7)
#define INTERCEPT_ICEBP          (1u << 8)
#define INTERCEPT_WBINVD         (1u << 9)
#define INTERCEPT_MONITOR        (1u << 10)
#define INTERCEPT_MWAIT          (1u << 11)
#define INTERCEPT_MWAIT_ARMED    (1u << 12)
#define INTERCEPT_XSETBV         (1u << 13)
#define INTERCEPT_RDPRU          (1u << 14)
#define INTERCEPT_EFER_WRITE     (1u << 15) /* after it */

/* tlb_control */
#define TLB_DO_NOTHING           0u
#define TLB_FLUSH_ALL            1u
#define TLB_FLUSH_ASID           3u
#define TLB_FLUSH_ASID_LOCAL     7u

/* vintr */
#define VINTR_TPR                0xffull
#define VINTR_IRQ                (1ull << 8)
#define VINTR_GIF                (1ull << 9)
#define VINTR_PRIO_SHIFT         16
#define VINTR_PRIO               (0xfull << VINTR_PRIO_SHIFT)
#define VINTR_IGN_TPR            (1ull << 20)
#define VINTR_MASKING            (1ull << 24)
#define VINTR_GIF_ENABLE         (1ull << 25)
#define VINTR_AVIC_ENABLE        (1ull << 31)
#define VINTR_VECTOR_SHIFT       32

/* interrupt_shadow */
#define INTERRUPT_SHADOW         (1ull << 0)
#define GUEST_INTERRUPT_MASK     (1ull << 1)

#define NP_ENABLE                (1ull << 0)

/* eventinj and exitintinfo: bits 31:0 are an event as arch/x86/guest/vcpu.h has it. */
#define EVENT_ERROR_SHIFT        32

/* exitcode */
#define SVM_EXIT_READ_CR0        0x000u /* to 0x00f */
#define SVM_EXIT_WRITE_CR0       0x010u
#define SVM_EXIT_READ_DR0        0x020u
#define SVM_EXIT_WRITE_DR0       0x030u
#define SVM_EXIT_EXCP0           0x040u /* to 0x05f */
#define SVM_EXIT_INTR            0x060u
#define SVM_EXIT_NMI             0x061u
#define SVM_EXIT_SMI             0x062u
#define SVM_EXIT_INIT            0x063u
#define SVM_EXIT_VINTR           0x064u
#define SVM_EXIT_CR0_SEL_WRITE   0x065u
#define SVM_EXIT_IDTR_READ       0x066u
#define SVM_EXIT_GDTR_READ       0x067u
#define SVM_EXIT_LDTR_READ       0x068u
#define SVM_EXIT_TR_READ         0x069u
#define SVM_EXIT_IDTR_WRITE      0x06au
#define SVM_EXIT_GDTR_WRITE      0x06bu
#define SVM_EXIT_LDTR_WRITE      0x06cu
#define SVM_EXIT_TR_WRITE        0x06du
#define SVM_EXIT_RDTSC           0x06eu
#define SVM_EXIT_RDPMC           0x06fu
#define SVM_EXIT_PUSHF           0x070u
#define SVM_EXIT_POPF            0x071u
#define SVM_EXIT_CPUID           0x072u
#define SVM_EXIT_RSM             0x073u
#define SVM_EXIT_IRET            0x074u
#define SVM_EXIT_SWINT           0x075u
#define SVM_EXIT_INVD            0x076u
#define SVM_EXIT_PAUSE           0x077u
#define SVM_EXIT_HLT             0x078u
#define SVM_EXIT_INVLPG          0x079u
#define SVM_EXIT_INVLPGA         0x07au
#define SVM_EXIT_IOIO            0x07bu
#define SVM_EXIT_MSR             0x07cu
#define SVM_EXIT_TASK_SWITCH     0x07du
#define SVM_EXIT_FERR_FREEZE     0x07eu
#define SVM_EXIT_SHUTDOWN        0x07fu
#define SVM_EXIT_VMRUN           0x080u
#define SVM_EXIT_VMMCALL         0x081u
#define SVM_EXIT_VMLOAD          0x082u
#define SVM_EXIT_VMSAVE          0x083u
#define SVM_EXIT_STGI            0x084u
#define SVM_EXIT_CLGI            0x085u
#define SVM_EXIT_SKINIT          0x086u
#define SVM_EXIT_RDTSCP          0x087u
#define SVM_EXIT_ICEBP           0x088u
#define SVM_EXIT_WBINVD          0x089u
#define SVM_EXIT_MONITOR         0x08au
#define SVM_EXIT_MWAIT           0x08bu
#define SVM_EXIT_MWAIT_ARMED     0x08cu
#define SVM_EXIT_XSETBV          0x08du
#define SVM_EXIT_RDPRU           0x08eu
#define SVM_EXIT_EFER_WRITE_TRAP 0x08fu
#define SVM_EXIT_NPF             0x400u
#define SVM_EXIT_AVIC_INCOMPLETE 0x401u
#define SVM_EXIT_AVIC_NOACCEL    0x402u
#define SVM_EXIT_INVALID         0xffffffffu /* of VMEXIT_INVALID, -1, the low half */

/* exitinfo1 of IOIO */
#define IOIO_IN                  (1u << 0) /* TYPE */
#define IOIO_STR                 (1u << 2)
#define IOIO_REP                 (1u << 3)
#define IOIO_SIZE_SHIFT          4 /* SZ8, SZ16, SZ32: the number of bytes */
#define IOIO_SIZE_MASK           7u
#define IOIO_PORT_SHIFT          16

/* exitinfo1 of a nested page fault: a page fault's error code, and these. */
#define NPF_PRESENT              (1ull << 0)
#define NPF_WRITE                (1ull << 1)
#define NPF_USER                 (1ull << 2)
#define NPF_RESERVED             (1ull << 3)
#define NPF_FETCH                (1ull << 4)
#define NPF_FINAL                (1ull << 32) /* the access itself */
#define NPF_WALK                 (1ull << 33) /* of the guest's page tables */

/* exitinfo2 of a task switch */
#define TASK_ERROR_MASK          0xffffffffull
#define TASK_BY_IRET             (1ull << 36)
#define TASK_BY_JUMP             (1ull << 38)
#define TASK_HAS_ERROR           (1ull << 44)
#define TASK_RF                  (1ull << 48)

/* MSRs and CPUID Fn8000_000A. */
#define MSR_VM_CR                0xc0010114u
#define VM_CR_LOCK               (1ull << 3)
#define VM_CR_SVMDIS             (1ull << 4)
#define MSR_VM_HSAVE_PA          0xc0010117u
#define EFER_SVME                (1ull << 12)
#define CPUID_SVM                0x8000000au
#define CPUID_EXT1_ECX_SVM       (1u << 2)
#define CPUID_SVM_NP             (1u << 0)
#define CPUID_SVM_LBR            (1u << 1)
#define CPUID_SVM_LOCK           (1u << 2)
#define CPUID_SVM_NRIPS          (1u << 3)
#define CPUID_SVM_FLUSH_BY_ASID  (1u << 6)
