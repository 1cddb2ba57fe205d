#include "arch/x86/cpu/errata.h"

#include "arch/x86/cpu/msr.h"
#include "hv/lib.h"

#define STEPPING 0xfu /* in a signature's low bits: any */

/* Haswell to Kaby Lake. Of the server parts each stepping has its own revisions. */
uint32_t erratum_deadline_fixed_by(uint32_t signature)
{
    static const struct {
        uint32_t signature, any, revision;
    } rows[] = {
        {0x306c0, STEPPING, 0x22}, {0x40650, STEPPING, 0x20},
        {0x40660, STEPPING, 0x17}, {0x306f2, 0, 0x3a},
        {0x306f4, 0, 0x0f},        {0x306d0, STEPPING, 0x25},
        {0x40670, STEPPING, 0x17}, {0x406f0, STEPPING, 0x0b000020},
        {0x50662, 0, 0x11},        {0x50663, 0, 0x0700000e},
        {0x50664, 0, 0x0f00000c},  {0x50665, 0, 0x0e000003},
        {0x50653, 0, 0x01000136},  {0x50654, 0, 0x02000014},
        {0x406e0, STEPPING, 0xb2}, {0x506e0, STEPPING, 0xb2},
        {0x806e0, STEPPING, 0x52}, {0x906e0, STEPPING, 0x52},
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        if ((signature & SIGNATURE_STEPPINGS & ~rows[i].any) == rows[i].signature)
            return rows[i].revision;
    return 0;
}

#define ZEN_2(msr, bit)                                                                            \
    {0x17, 0x30, 0x4f, msr, 0, bit}, {0x17, 0x60, 0x7f, msr, 0, bit},                              \
        {0x17, 0x90, 0x91, msr, 0, bit},                                                           \
    {                                                                                              \
        0x17, 0xa0, 0xaf, msr, 0, bit                                                              \
    }

static const struct {
    uint32_t family, first, last; /* models */
    uint32_t msr;
    uint64_t clear, set;
} fixes[] = {
    /* 400: in C1E, to which firmware lets the chipset go once all cores are in HLT, the local
     * APIC's timer stands still: it would not wake them. C1eOnCmpHalt, SmiOnCmpHalt. */
    {0x10, 0x00, 0xff, MSR_AMD_INT_PENDING, 3ull << 27, 0},
    /* 383: a guest that changes the size of a page in use causes a machine check, which this makes
     * one that machine_check_is_guests() knows. */
    {0x10, 0x00, 0xff, MSR_AMD_DC_CFG, 0, 1ull << 47},
    /* 665: a DIV may give a wrong result. */
    {0x12, 0x00, 0xff, MSR_AMD_DE_CFG, 0, 1ull << 31},
    /* 793: locked instructions and write-combined stores may stop the core. */
    {0x16, 0x00, 0x0f, MSR_AMD_LS_CFG, 0, 1ull << 15},
    /* Zen 1: a floating-point division shows what is left of earlier ones. */
    {0x17, 0x00, 0x2f, MSR_AMD_FP_CFG, 0, 1ull << 9},
    {0x17, 0x50, 0x5f, MSR_AMD_FP_CFG, 0, 1ull << 9},
    /* "Zenbleed", CVE-2023-20593: vector registers show what others left there. With microcode that
     * has the fix this costs a little and changes nothing. */
    ZEN_2(MSR_AMD_DE_CFG, 1ull << 9),
    /* "Branch Type Confusion": what is no branch is not taken for one. */
    ZEN_2(MSR_AMD_DE_CFG2, 1ull << 1),
    /* Zen 4, 1485: with STIBP off, an instruction may be taken for an undefined one. */
    {0x19, 0x10, 0x1f, MSR_AMD_BP_CFG, 0, 1ull << 5},
    {0x19, 0x60, 0xaf, MSR_AMD_BP_CFG, 0, 1ull << 5},
};

void errata_fix_core(uint32_t signature)
{
    uint32_t family = signature_family(signature), model = signature_model(signature);

    for (unsigned i = 0; i < ARRAY_LEN(fixes); i++)
        if (family == fixes[i].family && model >= fixes[i].first && model <= fixes[i].last)
            msr_change(fixes[i].msr, fixes[i].clear, fixes[i].set);
}
