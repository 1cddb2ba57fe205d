#include "mgmt/cpu_faults.h"

#include "hv/lib.h"
#include "hv/options.h"

#define BUFFERS (ABI_MEASURE_L1D | ABI_MEASURE_VERW)
#define IBRS    (ABI_MEASURE_IBRS | ABI_MEASURE_IBRS_EXITS | ABI_MEASURE_AUTO_IBRS)
#define CLEARED "buffers are cleared when a run of a vCPU begins"
#define OLD     "this needs newer microcode: a firmware update"

typedef bool test(const struct abi_host *h);

static bool has_tsx(const struct abi_host *h)
{
    return h->cpu_faults.leaf7_ebx & CPUID_7_EBX_RTM;
}

/* Older microcode flushes the L1 cache without clearing buffers. */
static bool clears_for_mds(const struct abi_host *h)
{
    return (h->cpu_faults.measures & BUFFERS) && (h->cpu_faults.leaf7_edx & CPUID_7_EDX_MD_CLEAR);
}

static bool clears_for_rfds(const struct abi_host *h)
{
    return (h->cpu_faults.measures & BUFFERS) &&
           (h->cpu_faults.arch_capabilities & ARCH_CAPABILITIES_RFDS_CLEAR);
}

static bool clears_for_tsa(const struct abi_host *h)
{
    return (h->cpu_faults.measures & ABI_MEASURE_VERW) &&
           (h->cpu_faults.ext21_eax & CPUID_821_EAX_VERW_CLEAR);
}

static bool says_gds_ctrl(const struct abi_host *h)
{
    return h->cpu_faults.arch_capabilities & ARCH_CAPABILITIES_GDS_CTRL;
}

static bool is_mended(const struct abi_host *h)
{
    return (h->cpu_faults.measures & ABI_MEASURE_IBPB) && (h->cpu_faults.measures & IBRS);
}

static bool splits(const struct abi_host *h)
{
    return h->nx_large;
}

static bool always(const struct abi_host *h)
{
    (void)h;
    return true;
}

static uint32_t family(const struct abi_host *h)
{
    return signature_family(h->cpu_signature);
}

static bool is_10h(const struct abi_host *h)
{
    return family(h) == 0x10;
}

static bool confuses_returns(const struct abi_host *h)
{
    return family(h) >= 0x15 && family(h) <= 0x19 &&
           !(h->cpu_faults.ext21_eax & CPUID_821_EAX_SRSO_NO);
}

static bool is_zen_1_or_2(const struct abi_host *h)
{
    return family(h) == 0x17;
}

static bool has_tsa(const struct abi_host *h)
{
    const uint32_t no = CPUID_821_ECX_TSA_SQ_NO | CPUID_821_ECX_TSA_L1_NO;

    return family(h) == 0x19 && (h->cpu_faults.ext21_ecx & no) != no;
}

/* `no`: bits of IA32_ARCH_CAPABILITIES, each of which says that the CPU is not affected. `affects`:
 * false, neither is this one. Any of `measures`, or `helped`, is enough. `threads`: nothing helps
 * between the threads of a core. `unknown`: without help the CPU may not be affected. */
static const struct fault {
    const char *name;
    bool amd;
    uint64_t no;
    test *affects;
    uint32_t measures;
    test *helped;
    bool threads, unknown;
    const char *with, *without;
} faults[] = {
    {"L1TF", .no = ARCH_CAPABILITIES_RDCL_NO | ARCH_CAPABILITIES_SKIP_L1DFL,
     .measures = ABI_MEASURE_L1D, .threads = true,
     .with = "the L1 data cache is flushed when a run of a vCPU begins", .without = OLD},
    {"MDS", .no = ARCH_CAPABILITIES_MDS_NO, .helped = clears_for_mds, .threads = true,
     .with = CLEARED, .without = OLD},
    {"TAA", .no = ARCH_CAPABILITIES_TAA_NO, .affects = has_tsx, .measures = ABI_MEASURE_NO_TSX,
     .helped = clears_for_mds, .with = "transactions are off, or " CLEARED, .without = OLD},
    {"RFDS", .no = ARCH_CAPABILITIES_RFDS_NO, .helped = clears_for_rfds, .unknown = true,
     .with = CLEARED, .without = "only Atoms and efficient cores have it; the CPU does not say"},
    {"MMIO stale data", .helped = always, .with = "guests reach no registers of host devices"},
    {"GDS", .no = ARCH_CAPABILITIES_GDS_NO, .helped = says_gds_ctrl, .unknown = true,
     .with = "the microcode does it, unless firmware has switched that off",
     .without = "the CPU does not say"},
    {"Spectre v2", .helped = is_mended,
     .with = "predictors forget between guests, and IBRS is on in the root",
     .without = "a guest may steer branches of the root, or of the next guest; " OLD},
    {"BHI", .no = ARCH_CAPABILITIES_BHI_NO,
     .measures = ABI_MEASURE_BHI_DIS_S | ABI_MEASURE_IBRS_EXITS,
     .with = "BHI_DIS_S is set, or the CPU has no enhanced IBRS",
     .without = "a guest may steer branches of the root by those it took before"},
    {"return predictions", .no = ARCH_CAPABILITIES_PBRSB_NO,
     .measures = ABI_MEASURE_RETURNS | ABI_MEASURE_RETURN,
     .with = "VM exits fill the return predictor", .without = OLD},
    {"ITS", .no = ARCH_CAPABILITIES_ITS_NO, .unknown = true,
     .without = "some CPUs from Skylake to Rocket Lake have it; the root does nothing"},
    {"iTLB multihit", .no = ARCH_CAPABILITIES_PSCHANGE_MC_NO, .helped = splits,
     .with = "large pages are split before a guest executes them",
     .without = "nx_large is off: a guest may stop the machine"},
    {"Spectre v2", .amd = true, .helped = is_mended,
     .with = "predictors forget between guests, and IBRS is on in the root",
     .without =
         "a guest may steer branches of the root, or, with old microcode, of the next guest"},
    {"Retbleed, SRSO", .amd = true, .affects = confuses_returns,
     .without = "a guest may steer returns of the root"},
    {"TSA", .amd = true, .affects = has_tsa, .helped = clears_for_tsa, .threads = true,
     .unknown = true, .with = CLEARED,
     .without = CLEARED ", if the microcode is of July 2025 or later; the CPU does not say"},
    {"Zenbleed, DIV", .amd = true, .affects = is_zen_1_or_2, .helped = always,
     .with = "the CPU is set to hide old vector registers, and a division hides the last guest's"},
    {"erratum 383", .amd = true, .affects = is_10h, .helped = always,
     .with = "a guest that causes this machine check ends"},
};

static void put(struct json_out *j, const struct abi_host *h, const struct fault *f)
{
    const struct abi_cpu_faults *c = &h->cpu_faults;
    const char *status = f->unknown ? "unknown" : "open", *note = f->without;

    if (c->arch_capabilities & f->no || (f->affects && !f->affects(h))) {
        status = "not-affected";
        note = "";
    } else if (c->measures & f->measures || (f->helped && f->helped(h))) {
        bool beside = f->threads && h->options.smt == SMT_ON;

        status = beside ? "open" : "mitigated";
        note =
            beside ? "smt is on: a guest on the other thread of a core is not kept out" : f->with;
    }
    json_object(j, NULL);
    json_str(j, "name", f->name);
    json_str(j, "status", status);
    json_str(j, "note", note);
    json_end(j);
}

void put_cpu_faults(struct json_out *j, const struct abi_host *h)
{
    json_hex(j, "microcode", h->cpu_faults.microcode, 1);
    json_array(j, "cpu_faults");
    for (size_t i = 0; i < ARRAY_LEN(faults); i++)
        if (faults[i].amd == (h->state_kind == ABI_STATE_SVM))
            put(j, h, &faults[i]);
    json_end(j);
}
