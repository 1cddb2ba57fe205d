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

#define FCW_RESET    0x037fu
#define MXCSR_RESET  0x1f80u
#define MXCSR_OFFSET 24u
#define XSTATE_BV    512u /* in the XSAVE header */
#define CPUID_XSAVE  0xdu
/* x87, SSE, AVX, and AVX-512's three. State larger than a page (AMX) is not offered. */
#define XCR0_OFFERED (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512)

static struct vmx_vcpu *current[ARCH_CORES_MAX];

/* All cores are alike (vmx_caps_same and the same CPU model): read once. */
uint64_t vmx_xcr0_allowed(void)
{
    static uint64_t allowed;
    static bool known;
    struct cpuid_regs r;

    if (__atomic_load_n(&known, __ATOMIC_ACQUIRE))
        return allowed;
    if (cpuid(1, 0).ecx & CPUID_1_ECX_XSAVE) {
        r = cpuid(CPUID_XSAVE, 0);
        allowed = r.eax & XCR0_OFFERED;
        if ((allowed & XCR0_AVX512) != XCR0_AVX512)
            allowed &= ~XCR0_AVX512;
        /* The state must fit its page, in the standard format, whose offsets are fixed. */
        if (allowed & XCR0_AVX512) {
            r = cpuid(CPUID_XSAVE, XCR0_LAST_AVX512);
            if (r.eax + r.ebx > PAGE_SIZE)
                allowed &= ~XCR0_AVX512;
        }
    }
    __atomic_store_n(&known, true, __ATOMIC_RELEASE);
    return allowed;
}

/* State without an owner, see vmx_load(), has no place and is not saved. */
static void exchange_fpu(struct vmx_lazy *held, const struct vmx_lazy *l)
{
    uint64_t all = vmx_xcr0_allowed();

    if (!all) {
        if (held->fpu)
            __asm__ volatile("fxsave64 %0" : "=m"(*(uint8_t(*)[512])held->fpu));
        __asm__ volatile("fxrstor64 %0" ::"m"(*(const uint8_t(*)[512])l->fpu));
        return;
    }
    held->xcr0 = read_xcr0();
    if (held->xcr0 != all)
        write_xcr0(all);
    if (held->fpu)
        __asm__ volatile("xsave64 %0"
                         : "=m"(*(uint8_t(*)[PAGE_SIZE])held->fpu)
                         : "a"((uint32_t)all), "d"((uint32_t)(all >> 32))
                         : "memory");
    __asm__ volatile("xrstor64 %0" ::"m"(*(const uint8_t(*)[PAGE_SIZE])l->fpu), "a"((uint32_t)all),
                     "d"((uint32_t)(all >> 32))
                     : "memory");
    if (l->xcr0 != all)
        write_xcr0(l->xcr0);
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
    exchange_fpu(held, l);
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
    const uint16_t fcw = FCW_RESET;
    const uint32_t mxcsr = MXCSR_RESET;
    const uint64_t present = XCR0_X87 | XCR0_SSE;
    uint8_t *fpu = l->fpu;

    memset(l, 0, sizeof(*l));
    l->fpu = fpu;
    memset(fpu, 0, PAGE_SIZE);
    memcpy(fpu, &fcw, sizeof(fcw));
    memcpy(fpu + MXCSR_OFFSET, &mxcsr, sizeof(mxcsr));
    memcpy(fpu + XSTATE_BV, &present, sizeof(present));
    l->xcr0 = XCR0_X87;
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
    nobody.fpu = NULL;
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
