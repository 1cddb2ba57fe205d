#include "arch/x86/guest/fpu.h"

#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/guest/cpuid.h"
#include "hv/lib.h"

#define FCW_RESET    0x037fu
#define MXCSR_RESET  0x1f80u
#define MXCSR_OFFSET 24u
#define XSTATE_BV    512u /* in the XSAVE header */
#define CPUID_XSAVE  0xdu

uint64_t fpu_components(uint64_t offered)
{
    uint64_t allowed;
    struct cpuid_regs r;

    if (!(cpuid(1, 0).ecx & CPUID_1_ECX_XSAVE))
        return 0;
    allowed = cpuid(CPUID_XSAVE, 0).eax & offered;
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

void fpu_exchange(struct fpu_state *held, const struct fpu_state *l, uint64_t all)
{
    if (!all) {
        if (held->area)
            __asm__ volatile("fxsave64 %0" : "=m"(*(uint8_t(*)[512])held->area));
        __asm__ volatile("fxrstor64 %0" ::"m"(*(const uint8_t(*)[512])l->area));
        return;
    }
    held->xcr0 = read_xcr0();
    if (held->xcr0 != all)
        write_xcr0(all);
    if (held->area)
        __asm__ volatile("xsave64 %0"
                         : "=m"(*(uint8_t(*)[PAGE_SIZE])held->area)
                         : "a"((uint32_t)all), "d"((uint32_t)(all >> 32))
                         : "memory");
    __asm__ volatile("xrstor64 %0" ::"m"(*(const uint8_t(*)[PAGE_SIZE])l->area), "a"((uint32_t)all),
                     "d"((uint32_t)(all >> 32))
                     : "memory");
    if (l->xcr0 != all)
        write_xcr0(l->xcr0);
}

void fpu_reset(struct fpu_state *f)
{
    const uint16_t fcw = FCW_RESET;
    const uint32_t mxcsr = MXCSR_RESET;
    const uint64_t present = XCR0_X87 | XCR0_SSE;

    memset(f->area, 0, PAGE_SIZE);
    memcpy(f->area, &fcw, sizeof(fcw));
    memcpy(f->area + MXCSR_OFFSET, &mxcsr, sizeof(mxcsr));
    memcpy(f->area + XSTATE_BV, &present, sizeof(present));
    f->xcr0 = XCR0_X87;
}
