/* Exits that guests cause only when a control was changed to ask for them (patch.c): each does what
 * the instruction would have done. SDM 3C "Instructions That Cause VM Exits". */
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"
#include "hv/arch.h"

#define DR_NUMBER_MASK       7u /* exit qualification for MOV DR */
#define DR_READ              (1u << 4)
#define DR_REGISTER_SHIFT    8
#define DR6_WRITABLE         (DR6_BT | DR6_BS | DR6_BD | DR6_B)
#define DR7_WRITABLE         0xffff2bffull

#define INFO_REGISTER_SHIFT  3 /* instruction information for RDRAND and RDSEED */
#define INFO_SIZE_SHIFT      11
#define INFO_REGISTER2_SHIFT 28 /* for INVPCID */
#define INVPCID_TYPE_MAX     3u
#define ARITHMETIC_FLAGS     (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

enum exit_action vmx_on_invlpg(struct vmx_vcpu *x)
{
    x->vcpu->exit->qualification = vmread(VMCS_EXIT_QUALIFICATION);
    /* More than was asked for, which is always allowed. */
    vmx_flush_tlb(x);
    return EXIT_SKIP;
}

/* Exits with INVLPG exiting. The descriptor says what to invalidate; all of it may always be. */
enum exit_action vmx_on_invpcid(struct vmx_vcpu *x)
{
    unsigned reg = (unsigned)(vmread(VMCS_VM_EXIT_INSTRUCTION_INFO) >> INFO_REGISTER2_SHIFT & 0xf);

    if (vmx_read_gpr(x, reg) > INVPCID_TYPE_MAX)
        return vmx_raise_gp(x);
    vmx_flush_tlb(x);
    return EXIT_SKIP;
}

enum exit_action vmx_on_rdtsc(struct vmx_vcpu *x)
{
    uint64_t now = arch_tsc();

    if (x->cpu1 & CPU1_USE_TSC_OFFSETTING)
        now += vmread(VMCS_TSC_OFFSET);
    x->vcpu->regs.rax = (uint32_t)now;
    x->vcpu->regs.rdx = now >> 32;
    return EXIT_SKIP;
}

enum exit_action vmx_on_rdtscp(struct vmx_vcpu *x)
{
    x->vcpu->regs.rcx = (uint32_t)rdmsr(MSR_IA32_TSC_AUX); /* the guest's: lazily switched */
    return vmx_on_rdtsc(x);
}

static uint64_t read_dr(unsigned n)
{
    switch (n) {
    case 0:
        return read_dr0();
    case 1:
        return read_dr1();
    case 2:
        return read_dr2();
    case 3:
        return read_dr3();
    case 6:
        return read_dr6();
    default:
        return vmread(VMCS_GUEST_DR7);
    }
}

static void write_dr(unsigned n, uint64_t v)
{
    switch (n) {
    case 0:
        write_dr0(v);
        break;
    case 1:
        write_dr1(v);
        break;
    case 2:
        write_dr2(v);
        break;
    case 3:
        write_dr3(v);
        break;
    case 6:
        write_dr6((v & DR6_WRITABLE) | DR6_RESET);
        break;
    default:
        vmwrite(VMCS_GUEST_DR7, (v & DR7_WRITABLE) | DR7_RESET);
        break;
    }
}

/* The exit comes before the privilege check and before #UD for DR4 and DR5 (SDM 3C "Relative
 * Priority of Faults and VM Exits"). */
enum exit_action vmx_on_mov_dr(struct vmx_vcpu *x)
{
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION), v;
    unsigned n = q & DR_NUMBER_MASK, reg = q >> DR_REGISTER_SHIFT & 0xf;

    x->vcpu->exit->qualification = q;
    if (vmx_cpl() != 0)
        return vmx_raise_gp(x);
    if ((n == 4 || n == 5) && (vmread(VMCS_GUEST_CR4) & CR4_DE))
        return vmx_raise_ud(x);
    if (vmread(VMCS_GUEST_DR7) & DR7_GD)
        return vmx_raise_db(x, DR6_BD);
    n = n == 4 ? 6 : n == 5 ? 7 : n;
    if (q & DR_READ) {
        vmx_write_gpr(x, reg, read_dr(n));
        return EXIT_SKIP;
    }
    v = vmx_read_gpr(x, reg);
    if (n >= 6 && v >> 32)
        return vmx_raise_gp(x);
    write_dr(n, v);
    return EXIT_SKIP;
}

static bool random_number(bool seed, uint64_t *v)
{
    bool there;

    if (seed)
        __asm__ volatile("rdseed %0" : "=r"(*v), "=@ccc"(there));
    else
        __asm__ volatile("rdrand %0" : "=r"(*v), "=@ccc"(there));
    return there;
}

enum exit_action vmx_on_random(struct vmx_vcpu *x)
{
    uint32_t info = (uint32_t)vmread(VMCS_VM_EXIT_INSTRUCTION_INFO);
    unsigned reg = info >> INFO_REGISTER_SHIFT & 0xf, size = info >> INFO_SIZE_SHIFT & 3;
    uint64_t v = 0, flags = vmread(VMCS_GUEST_RFLAGS) & ~(uint64_t)ARITHMETIC_FLAGS;
    bool there = random_number(x->vcpu->exit->reason == VMX_EXIT_RDSEED, &v);

    if (!there)
        v = 0;
    if (size == 0)
        v = (vmx_read_gpr(x, reg) & ~0xffffull) | (uint16_t)v;
    else if (size == 1)
        v = (uint32_t)v;
    vmx_write_gpr(x, reg, v);
    vmwrite(VMCS_GUEST_RFLAGS, flags | (there ? RFLAGS_CF : 0));
    return EXIT_SKIP;
}
