/* SOURCES: mgmt/cpu_faults.c mgmt/json.c hv/fmt.c hv/lib.c */
/* What /v1/host says of the CPU's faults. */
#include "mgmt/cpu_faults.h"

#include "hv/lib.h"
#include "hv/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define INTEL_SAFE                                                                                 \
    (ARCH_CAPABILITIES_RDCL_NO | ARCH_CAPABILITIES_MDS_NO | ARCH_CAPABILITIES_TAA_NO |             \
     ARCH_CAPABILITIES_RFDS_NO | ARCH_CAPABILITIES_GDS_NO | ARCH_CAPABILITIES_BHI_NO |             \
     ARCH_CAPABILITIES_PBRSB_NO | ARCH_CAPABILITIES_ITS_NO | ARCH_CAPABILITIES_PSCHANGE_MC_NO)

static char text[8192];

static const char *say(const struct abi_host *h)
{
    struct json_out j;

    json_begin(&j, text, sizeof(text) - 1, false);
    json_object(&j, NULL);
    put_cpu_faults(&j, h);
    json_end(&j);
    text[j.len] = 0;
    return text;
}

/* That this fault has this state. */
static void expect(const struct abi_host *h, const char *name, const char *status)
{
    char wanted[128];

    (void)snprintf(wanted, sizeof(wanted), "{\"name\":\"%s\",\"status\":\"%s\",", name, status);
    if (!strstr(say(h), wanted))
        fail_msg("no %s in %s", wanted, text);
}

static void intel(void **state)
{
    static const char *const all[] = {
        "L1TF", "MDS", "TAA", "RFDS", "GDS", "BHI", "ITS", "return predictions", "iTLB multihit"};
    struct abi_host h = {.state_kind = ABI_STATE_VMX, .cpu_signature = 0x506e3};

    (void)state;
    h.cpu_faults.microcode = 0xb2;
    assert_non_null(strstr(say(&h), "{\"microcode\":\"0xb2\",\"cpu_faults\":[{\"name\":\"L1TF\""));
    assert_null(strstr(text, "SRSO"));
    expect(&h, "L1TF", "open");
    expect(&h, "MDS", "open");
    expect(&h, "TAA", "not-affected"); /* it has no transactions */
    expect(&h, "RFDS", "unknown");
    expect(&h, "MMIO stale data", "mitigated");
    expect(&h, "GDS", "unknown");
    expect(&h, "Spectre v2", "open");
    expect(&h, "BHI", "open");
    expect(&h, "return predictions", "open");
    expect(&h, "ITS", "unknown");
    expect(&h, "iTLB multihit", "open");

    h.nx_large = 1;
    h.cpu_faults.leaf7_ebx = CPUID_7_EBX_RTM;
    h.cpu_faults.arch_capabilities = ARCH_CAPABILITIES_GDS_CTRL | ARCH_CAPABILITIES_RFDS_CLEAR;
    h.cpu_faults.leaf7_edx = CPUID_7_EDX_MD_CLEAR;
    h.cpu_faults.measures =
        ABI_MEASURE_IBPB | ABI_MEASURE_L1D | ABI_MEASURE_IBRS_EXITS | ABI_MEASURE_RETURNS;
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        expect(&h, all[i], strcmp(all[i], "ITS") == 0 ? "unknown" : "mitigated");
    expect(&h, "Spectre v2", "mitigated");
    h.cpu_faults.leaf7_edx = 0; /* a flush that clears no buffers */
    h.cpu_faults.arch_capabilities = 0;
    expect(&h, "L1TF", "mitigated");
    expect(&h, "MDS", "open");
    expect(&h, "TAA", "open");
    expect(&h, "RFDS", "unknown");
    h.cpu_faults.measures |= ABI_MEASURE_NO_TSX;
    expect(&h, "TAA", "mitigated");
    h.cpu_faults.measures = ABI_MEASURE_IBPB; /* the root is open all the same */
    expect(&h, "Spectre v2", "open");

    h.cpu_faults.arch_capabilities = INTEL_SAFE;
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        expect(&h, all[i], "not-affected");
}

/* What is done when a core changes its guest does not help against the thread beside it. */
static void threads(void **state)
{
    struct abi_host h = {.state_kind = ABI_STATE_VMX};

    (void)state;
    h.cpu_faults.measures = ABI_MEASURE_L1D | ABI_MEASURE_IBPB | ABI_MEASURE_IBRS;
    h.cpu_faults.leaf7_edx = CPUID_7_EDX_MD_CLEAR;
    h.options.smt = SMT_ON;
    expect(&h, "L1TF", "open");
    expect(&h, "MDS", "open");
    expect(&h, "Spectre v2", "mitigated");
    h.options.smt = SMT_ONE_NETWORK; /* those trust each other */
    expect(&h, "L1TF", "mitigated");
    expect(&h, "MDS", "mitigated");
}

static void amd(void **state)
{
    struct abi_host h = {.state_kind = ABI_STATE_SVM, .cpu_signature = 0x100f43};

    (void)state;
    assert_null(strstr(say(&h), "L1TF"));
    expect(&h, "erratum 383", "mitigated");
    expect(&h, "Spectre v2", "open");
    expect(&h, "Retbleed, SRSO", "not-affected");
    expect(&h, "Zenbleed, DIV", "not-affected");
    h.cpu_signature = 0x830f10; /* Zen 2 */
    h.cpu_faults.measures = ABI_MEASURE_IBPB | ABI_MEASURE_IBRS;
    expect(&h, "erratum 383", "not-affected");
    expect(&h, "Spectre v2", "mitigated");
    expect(&h, "Retbleed, SRSO", "open");
    expect(&h, "Zenbleed, DIV", "mitigated");
    expect(&h, "TSA", "not-affected");
    h.cpu_signature = 0xa10f11; /* Zen 4 */
    h.cpu_faults.measures = ABI_MEASURE_IBPB | ABI_MEASURE_AUTO_IBRS | ABI_MEASURE_VERW;
    expect(&h, "TSA", "unknown"); /* the microcode does not say what VERW does */
    h.cpu_faults.ext21_eax = CPUID_821_EAX_VERW_CLEAR;
    expect(&h, "TSA", "mitigated");
    expect(&h, "Spectre v2", "mitigated");
    h.cpu_faults.ext21_ecx = CPUID_821_ECX_TSA_SQ_NO | CPUID_821_ECX_TSA_L1_NO;
    h.cpu_faults.ext21_eax = CPUID_821_EAX_SRSO_NO;
    expect(&h, "TSA", "not-affected");
    expect(&h, "Retbleed, SRSO", "not-affected");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intel),
        cmocka_unit_test(threads),
        cmocka_unit_test(amd),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
