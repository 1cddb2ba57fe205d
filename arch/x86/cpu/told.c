#include "arch/x86/cpu/told.h"

#include "arch/x86/cpu/msr.h"
#include "hv/lib.h"

#define KHZ             1000ull
#define MHZ             1000000ull
#define HZ_MIN          MHZ /* no TSC is slower, or faster */
#define HZ_MAX          (20000 * MHZ)

#define LEAF_CRYSTAL    0x15u
#define LEAF_BASE       0x16u
#define LEAF_HYPERVISOR 0x40000000u
#define LEAF_RATES      0x40000010u

#define PSTATE_HZ       (200 * MHZ)
#define PSTATE_DFS_MIN  8u

struct model {
    uint8_t number;
    uint32_t khz;
};

/* The core crystal of CPUs whose leaf 0x15 leaves it 0 (SDM 3B "Determining the Processor Base
 * Frequency", table of nominal core crystal clock frequencies). Model 0x55 has 25 MHz in servers
 * and 24 MHz in others: leaf 0x16, which they have, tells when it is wrong. */
static const struct model crystals[] = {
    {0x4e, 24000}, {0x5e, 24000}, {0x8e, 24000}, {0x9e, 24000}, {0x55, 25000}, {0x5c, 19200},
};

/* The bus clock that MSR_PLATFORM_INFO's ratio multiplies (SDM 4, the tables by microarchitecture:
 * Nehalem, Westmere; Sandy Bridge to Sapphire Rapids). */
static const struct model buses[] = {
    {0x1a, 133333}, {0x1e, 133333}, {0x1f, 133333}, {0x2e, 133333}, {0x25, 133333}, {0x2c, 133333},
    {0x2f, 133333}, {0x2a, 100000}, {0x2d, 100000}, {0x3a, 100000}, {0x3e, 100000}, {0x3c, 100000},
    {0x3f, 100000}, {0x45, 100000}, {0x46, 100000}, {0x3d, 100000}, {0x47, 100000}, {0x4f, 100000},
    {0x56, 100000}, {0x4e, 100000}, {0x5e, 100000}, {0x55, 100000}, {0x8e, 100000}, {0x9e, 100000},
    {0x66, 100000}, {0x6a, 100000}, {0x6c, 100000}, {0x7d, 100000}, {0x7e, 100000}, {0x8c, 100000},
    {0x8d, 100000}, {0xa5, 100000}, {0xa6, 100000}, {0xa7, 100000}, {0x97, 100000}, {0x9a, 100000},
    {0x8f, 100000},
};

static uint64_t khz_of(const struct model *m, size_t n, uint32_t model)
{
    for (size_t i = 0; i < n; i++)
        if (m[i].number == model)
            return m[i].khz;
    return 0;
}

static uint64_t possible(uint64_t hz)
{
    return hz >= HZ_MIN && hz <= HZ_MAX ? hz : 0;
}

/* SDM 2A "CPUID": family and model with their extensions. */
static void identify(uint32_t signature, uint32_t *family, uint32_t *model)
{
    *family = signature >> 8 & 0xf;
    *model = signature >> 4 & 0xf;
    if (*family == 0xf || *family == 6)
        *model |= signature >> 12 & 0xf0;
    if (*family == 0xf)
        *family += signature >> 20 & 0xff;
}

static bool is_vendor(const struct cpuid_regs *zero, const char *name)
{
    return memcmp(&zero->ebx, name, 4) == 0 && memcmp(&zero->edx, name + 4, 4) == 0 &&
           memcmp(&zero->ecx, name + 8, 4) == 0;
}

/* The leaf that VMware defined and QEMU and we have too. Hyper-V's leaves from 0x40000000 on are
 * others. */
static uint64_t by_hypervisor(const struct told_ops *o)
{
    struct cpuid_regs r;
    char name[12];

    if (!(o->cpuid(o->ctx, 1).ecx & CPUID_1_ECX_HYPERVISOR))
        return 0;
    r = o->cpuid(o->ctx, LEAF_HYPERVISOR);
    memcpy(name, &r.ebx, 4);
    memcpy(name + 4, &r.ecx, 4);
    memcpy(name + 8, &r.edx, 4);
    if (r.eax < LEAF_RATES || r.eax > LEAF_HYPERVISOR + 0xffff ||
        memcmp(name, "Microsoft Hv", sizeof(name)) == 0)
        return 0;
    return o->cpuid(o->ctx, LEAF_RATES).eax * KHZ;
}

/* EAX is the denominator, EBX the numerator, ECX the crystal in Hz. */
static uint64_t by_crystal(const struct told_ops *o, uint64_t crystal_khz)
{
    struct cpuid_regs r = o->cpuid(o->ctx, LEAF_CRYSTAL);
    uint64_t crystal = r.ecx ? r.ecx : crystal_khz * KHZ;

    return r.eax ? crystal * r.ebx / r.eax : 0;
}

/* SDM 4 "MSR_PLATFORM_INFO": the ratio of the TSC to the bus clock in bits 15:8. */
static uint64_t by_platform_info(const struct told_ops *o, uint64_t bus_khz)
{
    uint64_t v = 0;

    if (bus_khz == 0 || o->rdmsr(o->ctx, MSR_PLATFORM_INFO, &v))
        return 0;
    return (v >> 8 & 0xff) * bus_khz * KHZ;
}

/* PPR for families 17h and 19h, "PStateDef", "HWCR": the TSC counts at P0's frequency if TscFreqSel
 * is set, which is FID * 200 MHz / DFS. Other families define it otherwise. */
static uint64_t by_pstate(const struct told_ops *o)
{
    uint64_t control = 0, p0 = 0;
    uint64_t dfs;

    if (o->rdmsr(o->ctx, MSR_AMD_HWCR, &control) || !(control & HWCR_TSC_FREQ_SEL) ||
        o->rdmsr(o->ctx, MSR_AMD_PSTATE_DEF0, &p0) || !(p0 & PSTATE_EN))
        return 0;
    dfs = p0 >> 8 & 0x3f;
    return dfs >= PSTATE_DFS_MIN ? (p0 & 0xff) * PSTATE_HZ / dfs : 0;
}

void told_tsc_hz(const struct told_ops *o, uint64_t hz[CALIBRATE_SOURCES])
{
    struct cpuid_regs zero = o->cpuid(o->ctx, 0);
    bool intel = is_vendor(&zero, "GenuineIntel"), amd = is_vendor(&zero, "AuthenticAMD");
    uint32_t family, model;

    identify(o->cpuid(o->ctx, 1).eax, &family, &model);
    intel = intel && family == 6;
    for (unsigned i = CALIBRATE_TOLD; i < CALIBRATE_SOURCES; i++)
        hz[i] = 0;
    hz[CALIBRATE_HYPERVISOR] = possible(by_hypervisor(o));
    if (zero.eax >= LEAF_CRYSTAL)
        hz[CALIBRATE_CPUID_15] =
            possible(by_crystal(o, intel ? khz_of(crystals, ARRAY_LEN(crystals), model) : 0));
    if (intel)
        hz[CALIBRATE_PLATFORM_INFO] =
            possible(by_platform_info(o, khz_of(buses, ARRAY_LEN(buses), model)));
    if (amd && (family == 0x17 || family == 0x19))
        hz[CALIBRATE_PSTATE] = possible(by_pstate(o));
    if (zero.eax >= LEAF_BASE)
        hz[CALIBRATE_CPUID_16] = possible((o->cpuid(o->ctx, LEAF_BASE).eax & 0xffff) * MHZ);
}
