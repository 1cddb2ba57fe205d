#include "arch/x86/guest/lazy.h"

#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/guest/cpuid.h"
#include "hv/lib.h"

#define FCW_RESET    0x037fu
#define MXCSR_RESET  0x1f80u
#define MXCSR_OFFSET 24u
#define XSTATE_BV    512u /* in the XSAVE header */
#define CPUID_XSAVE  0xdu
/* State larger than a page (AMX) is not offered. */
#define XCR0_OFFERED (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512)

static uint64_t components(void)
{
    uint64_t allowed;
    struct cpuid_regs r;

    if (!(cpuid(1, 0).ecx & CPUID_1_ECX_XSAVE) || cpuid(0, 0).eax < CPUID_XSAVE)
        return 0;
    allowed = cpuid(CPUID_XSAVE, 0).eax & XCR0_OFFERED;
    if ((allowed & XCR0_AVX512) != XCR0_AVX512)
        allowed &= ~XCR0_AVX512;
    /* The state must fit its page, in the standard format, whose offsets are fixed. */
    if (allowed & XCR0_AVX512) {
        r = cpuid(CPUID_XSAVE, XCR0_LAST_AVX512);
        if (r.eax + r.ebx > PAGE_SIZE)
            allowed &= ~XCR0_AVX512;
    }
    return allowed;
}

/* All cores are alike: read once. */
uint64_t x86_xcr0_allowed(void)
{
    static uint64_t allowed;
    static bool known;

    if (__atomic_load_n(&known, __ATOMIC_ACQUIRE))
        return allowed;
    allowed = components();
    __atomic_store_n(&known, true, __ATOMIC_RELEASE);
    return allowed;
}

/* AMD's CPUs up to Zen neither save nor load x87's last instruction, operand and opcode unless an
 * exception waits, so the next vCPU would see another guest's: FNINIT clears them. APM vol. 5
 * "FXRSTOR", "XRSTOR". */
static void forget_pointers(void)
{
    __asm__ volatile("fninit");
}

static void exchange_extended(struct x86_lazy *held, const struct x86_lazy *l, uint64_t all)
{
    held->xcr0 = read_xcr0();
    if (held->xcr0 != all)
        write_xcr0(all);
    if (held->area)
        __asm__ volatile("xsave64 %0"
                         : "=m"(*(uint8_t(*)[PAGE_SIZE])held->area)
                         : "a"((uint32_t)all), "d"((uint32_t)(all >> 32))
                         : "memory");
    forget_pointers();
    __asm__ volatile("xrstor64 %0" ::"m"(*(const uint8_t(*)[PAGE_SIZE])l->area), "a"((uint32_t)all),
                     "d"((uint32_t)(all >> 32))
                     : "memory");
    if (l->xcr0 != all)
        write_xcr0(l->xcr0);
}

static void exchange_legacy(struct x86_lazy *held, const struct x86_lazy *l)
{
    if (held->area)
        __asm__ volatile("fxsave64 %0" : "=m"(*(uint8_t(*)[512])held->area));
    forget_pointers();
    __asm__ volatile("fxrstor64 %0" ::"m"(*(const uint8_t(*)[512])l->area));
}

#define EXCHANGE_DR(n)                                                                             \
    do {                                                                                           \
        held->dr[n] = read_dr##n();                                                                \
        if (held->dr[n] != l->dr[n])                                                               \
            write_dr##n(l->dr[n]);                                                                 \
    } while (0)

/* WRMSR and MOV to DR are slow, and few guests use these registers: writes only those that differ.
 */
void x86_lazy_exchange(struct x86_lazy *held, const struct x86_lazy *l)
{
    uint64_t all = x86_xcr0_allowed();

    if (all)
        exchange_extended(held, l, all);
    else
        exchange_legacy(held, l);
    held->tsc_aux = rdmsr(MSR_IA32_TSC_AUX);
    if (held->tsc_aux != l->tsc_aux)
        wrmsr(MSR_IA32_TSC_AUX, l->tsc_aux);
    EXCHANGE_DR(0);
    EXCHANGE_DR(1);
    EXCHANGE_DR(2);
    EXCHANGE_DR(3);
}

void x86_lazy_reset(struct x86_lazy *l)
{
    const uint16_t fcw = FCW_RESET;
    const uint32_t mxcsr = MXCSR_RESET;
    const uint64_t present = XCR0_X87 | XCR0_SSE;

    *l = (struct x86_lazy){.area = l->area, .xcr0 = XCR0_X87};
    memset(l->area, 0, PAGE_SIZE);
    memcpy(l->area, &fcw, sizeof(fcw));
    memcpy(l->area + MXCSR_OFFSET, &mxcsr, sizeof(mxcsr));
    memcpy(l->area + XSTATE_BV, &present, sizeof(present));
}
