#include "arch/x86/inspect/decode_format.h"

#include "arch/x86/inspect/fields.h"
#include "hv/lib.h"

/* Fields that hold MSRs of the guest or the host. SDM 4 "Model-Specific Registers (MSRs)". */

#define OFF_ON(n, NAME, TITLE) BIT(n, NAME, TITLE, "off", "on")

static const struct decode_bit efer_bits[] = {
    BIT(0, "SCE", "SYSCALL enable", "SYSCALL and SYSRET cause #UD",
        "SYSCALL and SYSRET are executed in 64-bit mode"),
    BIT(8, "LME", "IA-32e mode enable", "paging will not activate IA-32e mode",
        "paging activates IA-32e mode"),
    BIT(10, "LMA", "IA-32e mode active", "IA-32e mode is not active", "IA-32e mode is active"),
    BIT(11, "NXE", "execute disable bit enable", "bit 63 of page-table entries is reserved",
        "bit 63 of page-table entries forbids execution"),
};
static const struct decode_bit debugctl_bits[] = {
    BIT(0, "LBR", "last branch records", "branches are not recorded", "branches are recorded"),
    BIT(1, "BTF", "single-step on branches", "RFLAGS.TF steps instructions",
        "RFLAGS.TF steps branches"),
    BIT(2, "BLD", "bus-lock detection", "bus locks cause no #DB",
        "bus locks cause #DB above CPL 0"),
    BIT(6, "TR", "trace messages", "no branch trace messages", "branch trace messages are sent"),
    BIT(7, "BTS", "branch trace store", "messages are not stored",
        "branch trace messages go to the BTS buffer"),
    BIT(8, "BTINT", "branch trace interrupt", "the BTS buffer is circular",
        "a full BTS buffer causes an interrupt"),
    BIT(9, "BTS_OFF_OS", "BTS off at CPL 0", "BTS includes CPL 0", "BTS skips CPL 0"),
    BIT(10, "BTS_OFF_USR", "BTS off above CPL 0", "BTS includes CPL 1 to 3",
        "BTS skips CPL 1 to 3"),
    BIT(11, "FREEZE_LBRS_ON_PMI", "freeze LBRs on PMI", "a PMI does not freeze the LBRs",
        "a PMI freezes the LBRs"),
    BIT(12, "FREEZE_PERFMON_ON_PMI", "freeze performance monitoring on PMI",
        "a PMI does not freeze the counters", "a PMI freezes the counters"),
    BIT(13, "ENABLE_UNCORE_PMI", "enable uncore PMI", "no PMI by the uncore",
        "the uncore may cause a PMI"),
    BIT(14, "FREEZE_WHILE_SMM", "freeze while in SMM", "SMM is counted and traced",
        "SMM is neither counted nor traced"),
    BIT(15, "RTM_DEBUG", "RTM debugging", "no advanced debugging of RTM regions",
        "advanced debugging of RTM regions, with DR7.RTM"),
};

static const char *const pat_types[8] = {
    [0] = "UC, uncacheable",     [1] = "WC, write-combining", [4] = "WT, write-through",
    [5] = "WP, write-protected", [6] = "WB, write-back",      [7] = "UC-, uncached",
};
#define PAT_ENTRY(n) BITS_ONE_OF((n)*8 + 2, (n)*8, "PA" #n, "PA" #n, pat_types)
static const struct decode_bit pat_bits[] = {
    PAT_ENTRY(0), PAT_ENTRY(1), PAT_ENTRY(2), PAT_ENTRY(3),
    PAT_ENTRY(4), PAT_ENTRY(5), PAT_ENTRY(6), PAT_ENTRY(7),
};

#define COUNTER(n, NAME, TITLE) BIT(n, NAME, TITLE, "stopped", "counts as its own control says")
static const struct decode_bit perf_bits[] = {
    COUNTER(0, "PMC0", "general counter 0"),
    COUNTER(1, "PMC1", "general counter 1"),
    COUNTER(2, "PMC2", "general counter 2"),
    COUNTER(3, "PMC3", "general counter 3"),
    COUNTER(4, "PMC4", "general counter 4"),
    COUNTER(5, "PMC5", "general counter 5"),
    COUNTER(6, "PMC6", "general counter 6"),
    COUNTER(7, "PMC7", "general counter 7"),
    COUNTER(32, "FIXED_CTR0", "instructions retired"),
    COUNTER(33, "FIXED_CTR1", "unhalted core cycles"),
    COUNTER(34, "FIXED_CTR2", "unhalted reference cycles"),
    COUNTER(35, "FIXED_CTR3", "top-down slots"),
    COUNTER(48, "PERF_METRICS", "performance metrics"),
};

static const struct decode_bit bndcfgs_bits[] = {
    BIT(0, "EN", "MPX enable", "MPX is off at CPL 0", "MPX is on at CPL 0"),
    BIT(1, "BNDPRESERVE", "bounds preserve", "branches without BND clear the bounds",
        "branches keep the bounds"),
    BITS(63, 12, "FRAME", "page frame of the bound directory"),
};
static const struct decode_bit rtit_bits[] = {
    OFF_ON(0, "TRACEEN", "trace"),
    OFF_ON(1, "CYCEN", "cycle-count packets"),
    BIT(2, "OS", "trace CPL 0", "CPL 0 is not traced", "CPL 0 is traced"),
    BIT(3, "USER", "trace CPL 1 to 3", "CPL 1 to 3 are not traced", "CPL 1 to 3 are traced"),
    OFF_ON(4, "PWREVTEN", "power-event packets"),
    OFF_ON(5, "FUPONPTW", "FUP after PTWRITE"),
    BIT(6, "FABRICEN", "trace output", "to memory", "to the trace transport"),
    BIT(7, "CR3FILTER", "CR3 filter", "any CR3 is traced", "only the matching CR3 is traced"),
    BIT(8, "TOPA", "output scheme", "single-range output", "table of physical addresses"),
    OFF_ON(9, "MTCEN", "mini-time-counter packets"),
    OFF_ON(10, "TSCEN", "TSC packets"),
    BIT(11, "DISRETC", "RET compression", "returns are compressed", "returns are not compressed"),
    OFF_ON(12, "PTWEN", "PTWRITE packets"),
    OFF_ON(13, "BRANCHEN", "branch packets"),
    BITS(17, 14, "MTCFREQ", "MTC frequency"),
    BITS(22, 19, "CYCTHRESH", "CYC threshold"),
    BITS(27, 24, "PSBFREQ", "PSB frequency"),
    OFF_ON(31, "EVENTEN", "event packets"),
    BITS(35, 32, "ADDR0_CFG", "address range 0"),
    BITS(39, 36, "ADDR1_CFG", "address range 1"),
    BITS(43, 40, "ADDR2_CFG", "address range 2"),
    BITS(47, 44, "ADDR3_CFG", "address range 3"),
    BIT(55, "DISTNT", "TNT packets", "TNT packets are made", "TNT packets are left out"),
    OFF_ON(56, "INJECTPSBPMIONENABLE", "injection of PSB and PMI on enable"),
};
static const struct decode_bit lbr_bits[] = {
    OFF_ON(0, "LBREN", "last branch records"),
    BIT(1, "OS", "record at CPL 0", "not at CPL 0", "at CPL 0, too"),
    BIT(2, "USR", "record at CPL 1 to 3", "not at CPL 1 to 3", "at CPL 1 to 3, too"),
    OFF_ON(3, "CALL_STACK", "call-stack mode"),
    BIT(16, "COND", "conditional branches", "not recorded", "recorded"),
    BIT(17, "NEAR_REL_JMP", "near relative jumps", "not recorded", "recorded"),
    BIT(18, "NEAR_IND_JMP", "near indirect jumps", "not recorded", "recorded"),
    BIT(19, "NEAR_REL_CALL", "near relative calls", "not recorded", "recorded"),
    BIT(20, "NEAR_IND_CALL", "near indirect calls", "not recorded", "recorded"),
    BIT(21, "NEAR_RET", "near returns", "not recorded", "recorded"),
    BIT(22, "OTHER_BRANCH", "other branches", "not recorded", "recorded"),
};
static const struct decode_bit cet_bits[] = {
    OFF_ON(0, "SH_STK_EN", "shadow stacks"),
    BIT(1, "WR_SHSTK_EN", "WRSS", "WRSS causes #UD", "WRSS is executed"),
    OFF_ON(2, "ENDBR_EN", "indirect branch tracking"),
    OFF_ON(3, "LEG_IW_EN", "legacy compatibility treatment of indirect branches"),
    BIT(4, "NO_TRACK_EN", "no-track prefix", "ignored", "honoured"),
    BIT(5, "SUPPRESS_DIS", "suppression disable", "tracking may be suppressed",
        "tracking is not suppressed"),
    BIT(10, "SUPPRESS", "suppressed", "indirect branch tracking works",
        "indirect branch tracking is suppressed"),
    BIT(11, "TRACKER", "tracker", "idle", "waits for ENDBRANCH"),
    BITS(63, 12, "FRAME", "page frame of the legacy code page bitmap"),
};
static const struct decode_bit spec_ctrl_bits[] = {
    OFF_ON(0, "IBRS", "indirect branch restricted speculation"),
    OFF_ON(1, "STIBP", "single thread indirect branch predictors"),
    OFF_ON(2, "SSBD", "speculative store bypass disable"),
    OFF_ON(3, "IPRED_DIS_U", "indirect predictor disable, CPL 3"),
    OFF_ON(4, "IPRED_DIS_S", "indirect predictor disable, CPL 0 to 2"),
    OFF_ON(5, "RRSBA_DIS_U", "RRSBA disable, CPL 3"),
    OFF_ON(6, "RRSBA_DIS_S", "RRSBA disable, CPL 0 to 2"),
    OFF_ON(7, "PSFD", "fast store forwarding predictor disable"),
    OFF_ON(8, "DDPD_U", "data dependent prefetcher disable, CPL 3"),
    OFF_ON(10, "BHI_DIS_S", "branch history injection disable, CPL 0 to 2"),
};

#define KEY(n)                                                                                     \
    BIT((n)*2, "AD" #n, "access disable, key " #n, "data accesses are allowed",                    \
        "no data accesses"),                                                                       \
        BIT((n)*2 + 1, "WD" #n, "write disable, key " #n, "writes are allowed",                    \
            "no writes to supervisor pages with CR0.WP")
static const struct decode_bit pkrs_bits[] = {
    KEY(0), KEY(1), KEY(2),  KEY(3),  KEY(4),  KEY(5),  KEY(6),  KEY(7),
    KEY(8), KEY(9), KEY(10), KEY(11), KEY(12), KEY(13), KEY(14), KEY(15),
};

static const struct decode_bit fred_config_bits[] = {
    BITS(1, 0, "CSL", "current stack level"),
    BIT(3, "SSP_DECREMENT", "decrement SSP", "SSP is not decremented without a change of stack",
        "SSP is decremented by 8 without a change of stack"),
    BITS(8, 6, "RSP_DECREMENT", "decrement RSP, in 64 bytes"),
    BITS(10, 9, "INTERRUPT_STACK_LEVEL", "stack level of maskable interrupts"),
    BITS(63, 12, "FRAME", "page frame of the FRED event handlers"),
};
#define LEVEL(n) BITS((n)*2 + 1, (n)*2, "VECTOR_" #n, "stack level of vector " #n)
static const struct decode_bit fred_levels_bits[] = {
    LEVEL(0),  LEVEL(1),  LEVEL(2),  LEVEL(3),  LEVEL(4),  LEVEL(5),  LEVEL(6),  LEVEL(7),
    LEVEL(8),  LEVEL(9),  LEVEL(10), LEVEL(11), LEVEL(12), LEVEL(13), LEVEL(14), LEVEL(15),
    LEVEL(16), LEVEL(17), LEVEL(18), LEVEL(19), LEVEL(20), LEVEL(21), LEVEL(22), LEVEL(23),
    LEVEL(24), LEVEL(25), LEVEL(26), LEVEL(27), LEVEL(28), LEVEL(29), LEVEL(30), LEVEL(31),
};

#define FLAGS(name) static const struct decode_format name = DECODE_FORMAT(name##_bits, .ones = 0)
#define PROSE(name)                                                                                \
    static const struct decode_format name = DECODE_FORMAT(name##_bits, .prose = true)
FLAGS(efer);
FLAGS(debugctl);
FLAGS(perf);
FLAGS(rtit);
FLAGS(lbr);
FLAGS(spec_ctrl);
FLAGS(pkrs);
FLAGS(bndcfgs);
FLAGS(cet);
PROSE(pat);
PROSE(fred_config);
static const struct decode_format spec_ctrl_mask =
    DECODE_FORMAT(spec_ctrl_bits, .clear = "the guest may change the bit",
                  .set = "the bit stays as the host set it");
static const struct decode_format fred_levels = DECODE_FORMAT(fred_levels_bits, .ones = 0);

static const struct {
    uint16_t encoding;
    const struct decode_format *format;
} fields[] = {
    {VMCS_GUEST_IA32_EFER, &efer},
    {VMCS_HOST_IA32_EFER, &efer},
    {VMCS_GUEST_IA32_DEBUGCTL, &debugctl},
    {VMCS_GUEST_IA32_PAT, &pat},
    {VMCS_HOST_IA32_PAT, &pat},
    {VMCS_GUEST_IA32_PERF_GLOBAL_CTRL, &perf},
    {VMCS_HOST_IA32_PERF_GLOBAL_CTRL, &perf},
    {VMCS_GUEST_IA32_BNDCFGS, &bndcfgs},
    {VMCS_GUEST_IA32_RTIT_CTL, &rtit},
    {VMCS_GUEST_IA32_LBR_CTL, &lbr},
    {VMCS_GUEST_IA32_PKRS, &pkrs},
    {VMCS_HOST_IA32_PKRS, &pkrs},
    {VMCS_GUEST_IA32_S_CET, &cet},
    {VMCS_HOST_IA32_S_CET, &cet},
    {VMCS_GUEST_IA32_FRED_CONFIG, &fred_config},
    {VMCS_HOST_IA32_FRED_CONFIG, &fred_config},
    {VMCS_GUEST_IA32_FRED_STKLVLS, &fred_levels},
    {VMCS_HOST_IA32_FRED_STKLVLS, &fred_levels},
    {VMCS_IA32_SPEC_CTRL_MASK, &spec_ctrl_mask},
    {VMCS_IA32_SPEC_CTRL_SHADOW, &spec_ctrl},
};

const struct decode_format *decode_guest_msr(uint32_t encoding)
{
    for (unsigned i = 0; i < ARRAY_LEN(fields); i++)
        if (fields[i].encoding == encoding)
            return fields[i].format;
    return NULL;
}
