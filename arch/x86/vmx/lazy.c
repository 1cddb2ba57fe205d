/*
 * Tracks which vCPU's registers a core holds. The VMCS switches most; the others (FPU and vector
 * registers, SYSCALL MSRs, debug registers) stay in the core until another vCPU runs there: the
 * root does not use them.
 */
#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"
#include "hv/arch.h"
#include "hv/lib.h"

/* x87, SSE, AVX, and AVX-512's three. State larger than a page (AMX) is not offered. */
#define XCR0_OFFERED (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512)

static struct vmx_vcpu *current[ARCH_CORES_MAX];

/* All cores are alike (vmx_caps_same and the same CPU model): read once. */
uint64_t vmx_xcr0_allowed(void)
{
    static uint64_t allowed;
    static bool known;

    if (__atomic_load_n(&known, __ATOMIC_ACQUIRE))
        return allowed;
    allowed = fpu_components(XCR0_OFFERED);
    __atomic_store_n(&known, true, __ATOMIC_RELEASE);
    return allowed;
}

#define EXCHANGE_MSR(n, number)                                                                    \
    do {                                                                                           \
        held->msr[n] = rdmsr(number);                                                              \
        if (held->msr[n] != l->msr[n])                                                             \
            wrmsr(number, l->msr[n]);                                                              \
    } while (0)

#define EXCHANGE_DR(n, is, wanted)                                                                 \
    do {                                                                                           \
        (is) = read_dr##n();                                                                       \
        if ((is) != (wanted))                                                                      \
            write_dr##n(wanted);                                                                   \
    } while (0)

/* Saves the core's state to `held` and loads `l`. WRMSR and MOV to DR are slow, and few guests use
 * these registers: writes only those that differ. */
static void exchange(struct vmx_lazy *held, const struct vmx_lazy *l)
{
    fpu_exchange(&held->fpu, &l->fpu, vmx_xcr0_allowed());
    EXCHANGE_MSR(0, MSR_IA32_STAR);
    EXCHANGE_MSR(1, MSR_IA32_LSTAR);
    EXCHANGE_MSR(2, MSR_IA32_CSTAR);
    EXCHANGE_MSR(3, MSR_IA32_FMASK);
    EXCHANGE_MSR(4, MSR_IA32_KERNEL_GS_BASE);
    EXCHANGE_MSR(5, MSR_IA32_TSC_AUX);
    EXCHANGE_DR(0, held->dr[0], l->dr[0]);
    EXCHANGE_DR(1, held->dr[1], l->dr[1]);
    EXCHANGE_DR(2, held->dr[2], l->dr[2]);
    EXCHANGE_DR(3, held->dr[3], l->dr[3]);
    EXCHANGE_DR(6, held->dr6, l->dr6);
    held->cr2 = read_cr2();
    write_cr2(l->cr2);
}

void vmx_lazy_reset(struct vmx_lazy *l)
{
    uint8_t *area = l->fpu.area;

    memset(l, 0, sizeof(*l));
    l->fpu.area = area;
    fpu_reset(&l->fpu);
    l->dr6 = DR6_RESET;
}

static void load_region(const struct vmx_vcpu *x)
{
    if (vmptrld((uintptr_t)x->vmcs))
        panic("VMPTRLD of the VMCS of guest %u failed", x->vcpu->guest->number);
}

void vmx_reload(unsigned core)
{
    if (current[core])
        load_region(current[core]);
}

void vmx_load(struct vmx_vcpu *x)
{
    struct vmx_vcpu **slot = &current[x->vcpu->entity.core];
    struct vmx_lazy nobody;

    if (__builtin_expect(*slot == x, 1))
        return;
    load_region(x);
    nobody.fpu.area = NULL; /* state without an owner has no place and is not saved */
    exchange(*slot ? &(*slot)->lazy : &nobody, &x->lazy);
    *slot = x;
}

void vmx_unload(struct vmx_vcpu *x)
{
    struct vmx_vcpu **slot = &current[x->vcpu->entity.core];

    if (*slot == x)
        *slot = NULL;
    if (vmclear((uintptr_t)x->vmcs))
        panic("VMCLEAR of the VMCS of guest %u failed", x->vcpu->guest->number);
    x->launched = false;
    x->host_rsp = 0;
}
