/*
 * Registers that a VM exit does not change: FPU and vector state, the SYSCALL MSRs, debug
 * registers, CR2. The guest must find them as after a reset, and later always as it left them,
 * while others on its core do the same. The command line is a number that determines values and
 * XCR0; in some rounds all guests use the same.
 */
#include "arch/x86/cpu/msr.h"
#include "arch/x86/guest/cpuid.h"
#include "test/guests/lib/guest.h"

#define MSR_COUNT     6u
#define STATE_SIZE    4096u
#define STATE_ST      32u /* SDM 1 "XSAVE Area": offsets in it */
#define STATE_ST_STEP 16u
#define STATE_ST_SIZE 10u
#define STATE_XMM     160u
#define STATE_XMM_END 416u
#define STATE_YMM     576u
#define STATE_YMM_END 832u
#define STATE_FTW     4u
#define STATE_MXCSR   24u
#define STATE_BV      512u
#define MXCSR_RESET   0x1f80u
#define UP_TO_SSE     (XCR0_X87 | XCR0_SSE)
#define UP_TO_AVX     (UP_TO_SSE | XCR0_AVX)
#define SPIN_MS       5u /* more than a slice */
#define ROUNDS        10u

static const uint32_t msrs[MSR_COUNT] = {MSR_IA32_STAR,  MSR_IA32_LSTAR,          MSR_IA32_CSTAR,
                                         MSR_IA32_FMASK, MSR_IA32_KERNEL_GS_BASE, MSR_IA32_TSC_AUX};
static uint8_t state[STATE_SIZE] __attribute__((aligned(64)));
static uint8_t seen[STATE_SIZE] __attribute__((aligned(64)));
static uint64_t xcr0;
static uint32_t wrong;

static void expect(const char *what, unsigned n, uint64_t is, uint64_t expected)
{
    if (is == expected)
        return;
    wrong++;
    say("registers: %s %u is 0x%lx and not 0x%lx\n", what, n, is, expected);
}

static void save_state(uint8_t *to)
{
    __asm__ volatile("xsave64 (%0)" ::"r"(to), "a"((uint32_t)xcr0), "d"(0) : "memory");
}

static void switch_on(void)
{
    write_cr0((read_cr0() | CR0_MP) & ~CR0_EM);
    write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE);
    write_xcr0(xcr0);
}

/* Nothing may be left from the core's previous guest. */
static void expect_reset(void)
{
    for (unsigned i = 0; i < MSR_COUNT; i++)
        expect("MSR", i, rdmsr(msrs[i]), 0);
    expect("DR", 0, read_dr0(), 0);
    expect("DR", 1, read_dr1(), 0);
    expect("DR", 2, read_dr2(), 0);
    expect("DR", 3, read_dr3(), 0);
    expect("DR", 6, read_dr6(), DR6_RESET);
    expect("CR", 2, read_cr2(), 0);
    save_state(seen);
    for (unsigned i = STATE_ST; i < STATE_XMM_END; i++)
        expect("state byte", i, seen[i], 0);
    for (unsigned i = STATE_YMM; xcr0 == UP_TO_AVX && i < STATE_YMM_END; i++)
        expect("state byte", i, seen[i], 0);
}

/* All of a round's values are this one plus something small; each is a canonical address. */
static uint64_t value(uint64_t seed, uint64_t round)
{
    return round % 3 == 0 ? 0 : round % 3 == 1 ? 0x111100 : 0x10000 * seed + 0x100 * (round & 0x7f);
}

static void fill(uint64_t v)
{
    const uint32_t mxcsr = MXCSR_RESET;

    for (unsigned i = 0; i < MSR_COUNT; i++)
        wrmsr(msrs[i], v + i);
    write_dr0(v);
    write_dr1(v + 1);
    write_dr2(v + 2);
    write_dr3(v + 3);
    write_dr6(DR6_RESET | (v >> 8 & 0xf));
    write_cr2(v + 2);
    memset(state, 0, sizeof(state));
    state[STATE_FTW] = 0xff;
    memcpy(state + STATE_MXCSR, &mxcsr, sizeof(mxcsr));
    memcpy(state + STATE_BV, &xcr0, sizeof(xcr0));
    for (unsigned i = 0; i < 8; i++)
        memcpy(state + STATE_ST + i * STATE_ST_STEP, &v, sizeof(v));
    for (unsigned at = STATE_XMM; at < STATE_XMM_END; at += sizeof(v))
        memcpy(state + at, &v, sizeof(v));
    for (unsigned at = STATE_YMM; xcr0 == UP_TO_AVX && at < STATE_YMM_END; at += sizeof(v))
        memcpy(state + at, &v, sizeof(v));
    __asm__ volatile("xrstor64 (%0)" ::"r"(state), "a"((uint32_t)xcr0), "d"(0) : "memory");
}

static void expect_filled(uint64_t v)
{
    for (unsigned i = 0; i < MSR_COUNT; i++)
        expect("MSR", i, rdmsr(msrs[i]), v + i);
    expect("DR", 0, read_dr0(), v);
    expect("DR", 1, read_dr1(), v + 1);
    expect("DR", 2, read_dr2(), v + 2);
    expect("DR", 3, read_dr3(), v + 3);
    expect("DR", 6, read_dr6(), DR6_RESET | (v >> 8 & 0xf));
    expect("CR", 2, read_cr2(), v + 2);
    expect("XCR", 0, read_xcr0(), xcr0);
    save_state(seen);
    for (unsigned i = 0; i < 8; i++)
        for (unsigned k = 0; k < STATE_ST_SIZE; k++)
            expect("ST", i, seen[STATE_ST + i * STATE_ST_STEP + k],
                   state[STATE_ST + i * STATE_ST_STEP + k]);
    for (unsigned i = STATE_XMM; i < STATE_XMM_END; i++)
        expect("state byte", i, seen[i], state[i]);
    for (unsigned i = STATE_YMM; xcr0 == UP_TO_AVX && i < STATE_YMM_END; i++)
        expect("state byte", i, seen[i], state[i]);
}

void guest_main(const char *cmdline)
{
    const uint64_t seed = (uint64_t)(cmdline[0] - '0'), spin = tsc_hz() / 1000 * SPIN_MS;

    xcr0 = seed % 2 ? UP_TO_AVX : UP_TO_SSE;
    switch_on();
    expect_reset();
    say("registers: as after a reset, %u wrong\n", wrong);
    for (uint64_t round = 1;; round++) {
        uint64_t v = value(seed, round), begun = tsc();

        fill(v);
        while (tsc() - begun < spin)
            ;
        expect_filled(v);
        if (round % ROUNDS == 0)
            say("registers: %lu rounds, %u wrong\n", round, wrong);
    }
}
