/* Control registers, their bits (SDM 3A "Control Registers"), debug registers and the instructions
 * that reach them. */
#pragma once

#include "hv/types.h"

#define CR0_PE         (1ull << 0)
#define CR0_MP         (1ull << 1)
#define CR0_EM         (1ull << 2)
#define CR0_TS         (1ull << 3)
#define CR0_ET         (1ull << 4)
#define CR0_NE         (1ull << 5)
#define CR0_WP         (1ull << 16)
#define CR0_AM         (1ull << 18)
#define CR0_NW         (1ull << 29)
#define CR0_CD         (1ull << 30)
#define CR0_PG         (1ull << 31)

#define CR4_VME        (1ull << 0)
#define CR4_PVI        (1ull << 1)
#define CR4_TSD        (1ull << 2)
#define CR4_DE         (1ull << 3)
#define CR4_PSE        (1ull << 4)
#define CR4_PAE        (1ull << 5)
#define CR4_MCE        (1ull << 6)
#define CR4_PGE        (1ull << 7)
#define CR4_PCE        (1ull << 8)
#define CR4_OSFXSR     (1ull << 9)
#define CR4_OSXMMEXCPT (1ull << 10)
#define CR4_UMIP       (1ull << 11)
#define CR4_VMXE       (1ull << 13)
#define CR4_FSGSBASE   (1ull << 16)
#define CR4_PCIDE      (1ull << 17)
#define CR4_OSXSAVE    (1ull << 18)
#define CR4_SMEP       (1ull << 20)
#define CR4_SMAP       (1ull << 21)
#define CR4_CET        (1ull << 23)
#define CR4_FRED       (1ull << 32)

#define RFLAGS_FIXED   (1ull << 1)
#define RFLAGS_CF      (1ull << 0)
#define RFLAGS_PF      (1ull << 2)
#define RFLAGS_AF      (1ull << 4)
#define RFLAGS_ZF      (1ull << 6)
#define RFLAGS_SF      (1ull << 7)
#define RFLAGS_TF      (1ull << 8)
#define RFLAGS_IF      (1ull << 9)
#define RFLAGS_DF      (1ull << 10)
#define RFLAGS_OF      (1ull << 11)
#define RFLAGS_NT      (1ull << 14)
#define RFLAGS_RF      (1ull << 16)
#define RFLAGS_VM      (1ull << 17)
#define RFLAGS_AC      (1ull << 18)

/* SDM 3B "Debug Registers" */
#define DR6_RESET      0xffff0ff0ull /* these bits are 1 if nothing is reported */
#define DR6_B0         (1ull << 0)
#define DR6_B          0xfull /* B3..B0 */
#define DR6_BD         (1ull << 13)
#define DR6_BS         (1ull << 14)
#define DR6_BT         (1ull << 15)
#define DR7_RESET      0x400ull /* this bit is always 1 */
#define DR7_ENABLED    0xffull  /* L0 to G3 */
#define DR7_LOCAL      0x155ull /* L0 to L3, LE */
#define DR7_GD         (1ull << 13)

#define DEFINE_REGISTER(name)                                                                      \
    static inline uint64_t read_##name(void)                                                       \
    {                                                                                              \
        uint64_t v;                                                                                \
                                                                                                   \
        __asm__ volatile("mov %%" #name ", %0" : "=r"(v)::"memory");                               \
        return v;                                                                                  \
    }                                                                                              \
    static inline void write_##name(uint64_t v)                                                    \
    {                                                                                              \
        __asm__ volatile("mov %0, %%" #name ::"r"(v) : "memory");                                  \
    }

DEFINE_REGISTER(cr0)
DEFINE_REGISTER(cr2)
DEFINE_REGISTER(cr3)
DEFINE_REGISTER(cr4)
DEFINE_REGISTER(dr0)
DEFINE_REGISTER(dr1)
DEFINE_REGISTER(dr2)
DEFINE_REGISTER(dr3)
DEFINE_REGISTER(dr6)
DEFINE_REGISTER(dr7)

/* DR0 to DR3. */
static inline uint64_t read_breakpoint(unsigned n)
{
    switch (n) {
    case 0:
        return read_dr0();
    case 1:
        return read_dr1();
    case 2:
        return read_dr2();
    default:
        return read_dr3();
    }
}

static inline void write_breakpoint(unsigned n, uint64_t value)
{
    switch (n) {
    case 0:
        write_dr0(value);
        break;
    case 1:
        write_dr1(value);
        break;
    case 2:
        write_dr2(value);
        break;
    default:
        write_dr3(value);
        break;
    }
}

static inline uint64_t read_flags(void)
{
    uint64_t v;

    __asm__ volatile("pushfq; popq %0" : "=r"(v));
    return v;
}

static inline void irq_off(void)
{
    __asm__ volatile("cli" ::: "memory");
}

static inline void invlpg(const void *p)
{
    __asm__ volatile("invlpg (%0)" ::"r"(p) : "memory");
}

/* Clears buffers on CPUs with MD_CLEAR, if its operand is in memory. */
static inline void cpu_verw(const uint16_t *selector)
{
    __asm__ volatile("verw %0" ::"m"(*selector) : "cc", "memory");
}

/* Extended control register 0 (XCR0). CR4.OSXSAVE must be set. */
static inline uint64_t read_xcr0(void)
{
    uint32_t lo, hi;

    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

static inline void write_xcr0(uint64_t v)
{
    __asm__ volatile("xsetbv" ::"c"(0), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)));
}

/* False: there is none at present. */
static inline bool cpu_rdrand(uint64_t *value)
{
    bool there;

    __asm__ volatile("rdrand %0" : "=r"(*value), "=@ccc"(there));
    return there;
}

static inline bool cpu_rdseed(uint64_t *value)
{
    bool there;

    __asm__ volatile("rdseed %0" : "=r"(*value), "=@ccc"(there));
    return there;
}
