/* SOURCES: arch/x86/inspect/decode.c arch/x86/inspect/decode_controls.c
 * arch/x86/inspect/decode_cr.c arch/x86/inspect/decode_event.c arch/x86/inspect/decode_exit.c
 * arch/x86/inspect/decode_guest_msr.c arch/x86/inspect/decode_instruction.c
 * arch/x86/inspect/decode_memory.c arch/x86/inspect/decode_msr.c arch/x86/inspect/decode_state.c
 * arch/x86/inspect/decode_bitmap.c arch/x86/inspect/fields.c arch/x86/inspect/names.c hv/fmt.c
 * hv/lib.c */
/* Control words, capability MSRs and provenance; test_decode_fields.c has the other fields. */
#include "arch/x86/inspect/decode.h"

#include "arch/x86/inspect/fields.h"
#include "arch/x86/vmx/vmx.h"
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define LINE 4096

/* Typed from the SDM's tables of the control words, not from ours. */
struct sdm_word {
    uint32_t encoding;
    uint64_t default1;
    uint32_t msr, true_msr;
    const char *titles[64];
};
static const struct sdm_word words[] = {
    {0x4000,
     1u << 1 | 1u << 2 | 1u << 4,
     0x481,
     0x48d,
     {[0] = "External-interrupt exiting",
      [3] = "NMI exiting",
      [5] = "Virtual NMIs",
      [6] = "Activate VMX-preemption timer",
      [7] = "Process posted interrupts"}},
    {0x4002,
     0x0401e172,
     0x482,
     0x48e,
     {[2] = "Interrupt-window exiting",
      [3] = "Use TSC offsetting",
      [7] = "HLT exiting",
      [9] = "INVLPG exiting",
      [10] = "MWAIT exiting",
      [11] = "RDPMC exiting",
      [12] = "RDTSC exiting",
      [15] = "CR3-load exiting",
      [16] = "CR3-store exiting",
      [17] = "Activate tertiary controls",
      [19] = "CR8-load exiting",
      [20] = "CR8-store exiting",
      [21] = "Use TPR shadow",
      [22] = "NMI-window exiting",
      [23] = "MOV-DR exiting",
      [24] = "Unconditional I/O exiting",
      [25] = "Use I/O bitmaps",
      [27] = "Monitor trap flag",
      [28] = "Use MSR bitmaps",
      [29] = "MONITOR exiting",
      [30] = "PAUSE exiting",
      [31] = "Activate secondary controls"}},
    {0x401e,
     0,
     0x48b,
     0x48b,
     {[0] = "Virtualize APIC accesses",
      [1] = "Enable EPT",
      [2] = "Descriptor-table exiting",
      [3] = "Enable RDTSCP",
      [4] = "Virtualize x2APIC mode",
      [5] = "Enable VPID",
      [6] = "WBINVD exiting",
      [7] = "Unrestricted guest",
      [8] = "APIC-register virtualization",
      [9] = "Virtual-interrupt delivery",
      [10] = "PAUSE-loop exiting",
      [11] = "RDRAND exiting",
      [12] = "Enable INVPCID",
      [13] = "Enable VM functions",
      [14] = "VMCS shadowing",
      [15] = "Enable ENCLS exiting",
      [16] = "RDSEED exiting",
      [17] = "Enable PML",
      [18] = "EPT-violation #VE",
      [19] = "Conceal VMX from PT",
      [20] = "Enable XSAVES/XRSTORS",
      [21] = "PASID translation",
      [22] = "Mode-based execute control for EPT",
      [23] = "Sub-page write permissions for EPT",
      [24] = "Intel PT uses guest physical addresses",
      [25] = "Use TSC scaling",
      [26] = "Enable user wait and pause",
      [27] = "Enable PCONFIG",
      [28] = "Enable ENCLV exiting",
      [30] = "VMM bus-lock detection",
      [31] = "Instruction timeout"}},
    {0x2034,
     0,
     0x492,
     0x492,
     {[0] = "LOADIWKEY exiting",
      [1] = "Enable HLAT",
      [2] = "EPT paging-write control",
      [3] = "Guest-paging verification",
      [4] = "IPI virtualization",
      [6] = "Enable MSR-list instructions",
      [7] = "Virtualize IA32_SPEC_CTRL"}},
    {0x400c,
     0x36dff,
     0x483,
     0x48f,
     {[2] = "Save debug controls",
      [9] = "Host address-space size",
      [12] = "Load IA32_PERF_GLOBAL_CTRL",
      [15] = "Acknowledge interrupt on exit",
      [18] = "Save IA32_PAT",
      [19] = "Load IA32_PAT",
      [20] = "Save IA32_EFER",
      [21] = "Load IA32_EFER",
      [22] = "Save VMX-preemption timer value",
      [23] = "Clear IA32_BNDCFGS",
      [24] = "Conceal VMX from PT",
      [25] = "Clear IA32_RTIT_CTL",
      [26] = "Clear IA32_LBR_CTL",
      [27] = "Clear UINV",
      [28] = "Load CET state",
      [29] = "Load PKRS",
      [30] = "Save IA32_PERF_GLOBAL_CTRL",
      [31] = "Activate secondary controls"}},
    {0x2044,
     0,
     0x493,
     0x493,
     {[0] = "Save IA32 FRED", [1] = "Load IA32 FRED", [3] = "Prematurely busy shadow stack"}},
    {0x4012,
     0x11ff,
     0x484,
     0x490,
     {[2] = "Load debug controls",
      [9] = "IA-32e mode guest",
      [10] = "Entry to SMM",
      [11] = "Deactivate dual-monitor treatment",
      [13] = "Load IA32_PERF_GLOBAL_CTRL",
      [14] = "Load IA32_PAT",
      [15] = "Load IA32_EFER",
      [16] = "Load IA32_BNDCFGS",
      [17] = "Conceal VMX from PT",
      [18] = "Load IA32_RTIT_CTL",
      [19] = "Load UINV",
      [20] = "Load CET state",
      [21] = "Load guest IA32_LBR_CTL",
      [22] = "Load PKRS",
      [23] = "Load IA32 FRED"}},
    {0x2018, 0, 0x491, 0x491, {[0] = "EPTP switching"}},
};

static const struct decode_bit *bit_at(uint32_t encoding, unsigned n)
{
    unsigned count;
    const struct decode_bit *bits = vmcs_control_bits(encoding, &count);

    for (unsigned i = 0; i < count; i++)
        if (bits[i].low == n)
            return &bits[i];
    return NULL;
}

/* "EPT-violation #VE" is EPT_VIOLATION_VE. */
static void name_of(const char *title, char *name)
{
    for (; *title; title++)
        if (isalnum((unsigned char)*title))
            *name++ = (char)toupper((unsigned char)*title);
        else if (strncmp(title, "/O ", 3) != 0 && *title != '#')
            *name++ = '_';
    *name = 0;
}

static void control_bits_are_the_manuals(void **state)
{
    char name[128];

    (void)state;
    for (unsigned w = 0; w < ARRAY_LEN(words); w++) {
        unsigned count, seen = 0;

        assert_non_null(vmcs_control_bits(words[w].encoding, &count));
        for (unsigned n = 0; n < 64; n++) {
            const struct decode_bit *b = bit_at(words[w].encoding, n);

            assert_int_equal(b != NULL, words[w].titles[n] != NULL);
            if (!b)
                continue;
            seen++;
            assert_string_equal(b->title, words[w].titles[n]);
            name_of(b->title, name);
            assert_string_equal(b->name, name);
            assert_int_equal(b->high, b->low);
            assert_true(strlen(b->clear) > 0 && strlen(b->set) > 0);
            assert_string_not_equal(b->clear, b->set);
        }
        assert_int_equal(seen, count);
        assert_true(vmcs_control_default1(words[w].encoding) == words[w].default1);
        assert_int_equal(vmcs_control_msr(words[w].encoding, false), words[w].msr);
        assert_int_equal(vmcs_control_msr(words[w].encoding, true), words[w].true_msr);
    }
}

/* The root's constants and the explanations name the same bits. */
static void constants_agree(void **state)
{
    static const struct {
        uint32_t encoding;
        uint64_t bit;
        const char *title;
    } constants[] = {
        {0x4000, PIN_EXTERNAL_INTERRUPT_EXITING, "External-interrupt exiting"},
        {0x4000, PIN_PREEMPTION_TIMER, "Activate VMX-preemption timer"},
        {0x4000, PIN_POSTED_INTERRUPTS, "Process posted interrupts"},
        {0x4002, CPU1_HLT_EXITING, "HLT exiting"},
        {0x4002, CPU1_ACTIVATE_TERTIARY_CONTROLS, "Activate tertiary controls"},
        {0x4002, CPU1_MONITOR_TRAP_FLAG, "Monitor trap flag"},
        {0x4002, CPU1_USE_MSR_BITMAPS, "Use MSR bitmaps"},
        {0x401e, CPU2_ENABLE_EPT, "Enable EPT"},
        {0x401e, CPU2_UNRESTRICTED_GUEST, "Unrestricted guest"},
        {0x401e, CPU2_EPT_VIOLATION_VE, "EPT-violation #VE"},
        {0x401e, CPU2_ENABLE_XSAVES, "Enable XSAVES/XRSTORS"},
        {0x401e, CPU2_USE_TSC_SCALING, "Use TSC scaling"},
        {0x401e, CPU2_INSTRUCTION_TIMEOUT, "Instruction timeout"},
        {0x2034, CPU3_ENABLE_HLAT, "Enable HLAT"},
        {0x2034, CPU3_IPI_VIRTUALIZATION, "IPI virtualization"},
        {0x2034, CPU3_VIRTUALIZE_IA32_SPEC_CTRL, "Virtualize IA32_SPEC_CTRL"},
        {0x400c, EXITC_HOST_ADDRESS_SPACE_SIZE, "Host address-space size"},
        {0x400c, EXITC_SAVE_PREEMPTION_TIMER, "Save VMX-preemption timer value"},
        {0x400c, EXITC_LOAD_PKRS, "Load PKRS"},
        {0x400c, EXITC_ACTIVATE_SECONDARY, "Activate secondary controls"},
        {0x2044, EXITC2_LOAD_IA32_FRED, "Load IA32 FRED"},
        {0x4012, ENTRY_IA32E_MODE_GUEST, "IA-32e mode guest"},
        {0x4012, ENTRY_LOAD_IA32_FRED, "Load IA32 FRED"},
        {0x2018, VMFUNC_EPTP_SWITCHING, "EPTP switching"},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(constants); i++) {
        const struct decode_bit *b =
            vmcs_control_bit_by_name(constants[i].encoding, constants[i].title);

        assert_non_null(b);
        assert_true(1ull << b->low == constants[i].bit);
    }
}

struct seen {
    unsigned count;
    struct decode_part part[80];
    char meaning[80][192];
};

static void keep(void *arg, const struct decode_part *p)
{
    struct seen *s = arg;

    assert_true(s->count < ARRAY_LEN(s->part));
    s->part[s->count] = *p;
    (void)snprintf(s->meaning[s->count++], sizeof(s->meaning[0]), "%s", p->meaning);
}

static void each_control_bit_says_its_sense(void **state)
{
    (void)state;
    for (unsigned w = 0; w < ARRAY_LEN(words); w++) {
        unsigned count;
        const struct decode_bit *bits = vmcs_control_bits(words[w].encoding, &count);

        for (unsigned i = 0; i < count; i++) {
            struct seen s = {0};
            char line[LINE];

            assert_int_equal(vmcs_decode(words[w].encoding, 0, NULL, keep, &s), count);
            assert_int_equal(s.count, count);
            assert_string_equal(s.part[i].name, bits[i].name);
            assert_string_equal(s.meaning[i], bits[i].clear);
            assert_int_equal(s.part[i].value, 0);
            s.count = 0;
            (void)vmcs_decode(words[w].encoding, 1ull << bits[i].low, NULL, keep, &s);
            assert_string_equal(s.meaning[i], bits[i].set);
            assert_int_equal(s.part[i].value, 1);
            assert_int_equal(s.part[i].high, bits[i].low);
            (void)vmcs_decode_line(words[w].encoding, 1ull << bits[i].low, NULL, line, LINE);
            assert_string_equal(line, bits[i].name);
        }
    }
}

static void the_two_with_the_opposite_sense(void **state)
{
    (void)state;
    assert_string_equal(bit_at(0x4002, 28)->clear, "*all* RDMSR and WRMSR exit");
    assert_non_null(strstr(bit_at(0x4002, 28)->set, "bitmaps decide"));
    assert_non_null(strstr(bit_at(0x4002, 25)->clear, "*all*"));
    assert_string_equal(bit_at(0x4002, 7)->clear, "HLT does not exit");
    assert_string_equal(bit_at(0x4002, 7)->set, "HLT exits");
}

static void names_are_found_in_any_case(void **state)
{
    (void)state;
    assert_int_equal(vmcs_control_bit_by_name(0x4002, "hlt_exiting")->low, 7);
    assert_int_equal(vmcs_control_bit_by_name(0x4002, "HLT_EXITING")->low, 7);
    assert_int_equal(vmcs_control_bit_by_name(0x4002, "HLT exiting")->low, 7);
    assert_int_equal(vmcs_control_bit_by_name(0x4002, "use_io_bitmaps")->low, 25);
    assert_int_equal(vmcs_control_bit_by_name(0x4002, "Use I/O bitmaps")->low, 25);
    assert_int_equal(vmcs_control_bit_by_name(0x4012, "ia_32e_mode_guest")->low, 9);
    assert_int_equal(vmcs_control_bit_by_name(0x401e, "ept_violation_ve")->low, 18);
    assert_null(vmcs_control_bit_by_name(0x4002, ""));
    assert_null(vmcs_control_bit_by_name(0x4002, "hlt_exitin"));
    assert_null(vmcs_control_bit_by_name(0x4002, "hlt_exitingg"));
    assert_null(vmcs_control_bit_by_name(0x4000, "hlt_exiting"));
    assert_null(vmcs_control_bit_by_name(0x6800, "hlt_exiting"));
    assert_null(vmcs_control_bit_by_name(0xffffffff, "hlt_exiting"));
}

static void reserved_control_bits_show_when_set(void **state)
{
    struct seen s = {0};
    char line[LINE];

    (void)state;
    /* Bits 1, 2 and 4 are 1 by default; 8 and 9 have no meaning. */
    assert_int_equal(vmcs_decode(0x4000, 0x316, NULL, keep, &s), 5 + 3);
    assert_string_equal(s.part[1].name, "RESERVED");
    assert_true(s.part[1].reserved && s.part[1].low == 1 && s.part[1].high == 2);
    assert_true(s.part[1].value == 3);
    assert_true(s.part[3].reserved && s.part[3].low == 4 && s.part[3].high == 4);
    assert_true(s.part[7].reserved && s.part[7].low == 8 && s.part[7].high == 9);
    (void)vmcs_decode_line(0x4000, 0x316, NULL, line, LINE);
    assert_string_equal(line, "reserved bits 9:8");
    (void)vmcs_decode_line(0x4000, 0x17, NULL, line, LINE);
    assert_string_equal(line, "EXTERNAL_INTERRUPT_EXITING");
    (void)vmcs_decode_line(0x4000, 0x16, NULL, line, LINE);
    assert_string_equal(line, "none");
    (void)vmcs_decode_line(0x4000, 1ull << 63, NULL, line, LINE);
    assert_string_equal(line, "reserved bit 63");
}

static void provenance(void **state)
{
    const struct decode_bit *hlt = bit_at(0x4002, 7);
    struct control_provenance p;

    (void)state;
    /* Free: neither forced. */
    p = vmcs_control_provenance(0x4002, hlt, 0x80, 0x80ull << 32, 0x80);
    assert_ptr_equal(p.bit, hlt);
    assert_true(p.wanted && !p.forced0 && !p.forced1 && p.effective);
    /* Must be 1. */
    p = vmcs_control_provenance(0x4002, hlt, 0, 0x80ull << 32 | 0x80, 0x80);
    assert_true(!p.wanted && !p.forced0 && p.forced1 && p.effective);
    /* May not be 1. */
    p = vmcs_control_provenance(0x4002, hlt, 0x80, ~(0x80ull << 32) & ~0x80ull, 0);
    assert_true(p.wanted && p.forced0 && !p.forced1 && !p.effective);
    /* 64-bit words: the MSR has no must-be-1 half, and its bit 33 does not stand for bit 1. */
    p = vmcs_control_provenance(0x2034, bit_at(0x2034, 1), 2, 2, 2);
    assert_true(p.wanted && !p.forced0 && !p.forced1 && p.effective);
    p = vmcs_control_provenance(0x2034, bit_at(0x2034, 1), 2, 2ull << 32, 0);
    assert_true(p.forced0 && !p.forced1);
    p = vmcs_control_provenance(0x2044, bit_at(0x2044, 0), 1, 1, 1);
    assert_true(!p.forced0 && !p.forced1);
    assert_true(vmcs_control_is_wide(0x2018) && !vmcs_control_is_wide(0x4012) &&
                !vmcs_control_is_wide(0xdead));
}

static const char *msr_line(uint32_t msr, uint64_t value)
{
    static char text[LINE];

    (void)vmx_msr_decode_line(msr, value, text, sizeof(text));
    return text;
}

static void capability_msrs(void **state)
{
    struct seen s = {0};

    (void)state;
    for (uint32_t msr = 0x480; msr <= 0x493; msr++) {
        assert_non_null(vmx_msr_name(msr));
        assert_true(strncmp(vmx_msr_name(msr), "IA32_VMX_", 9) == 0);
        assert_true(vmx_msr_decode(msr, UINT64_MAX, NULL, NULL) > 0);
        assert_true(vmx_msr_decode(msr, 0, NULL, NULL) > 0);
    }
    assert_null(vmx_msr_name(0x47f));
    assert_null(vmx_msr_name(0x494));
    assert_int_equal(vmx_msr_decode(0x10, 1, NULL, NULL), 0);
    assert_string_equal(msr_line(0x10, 1), "");
    assert_string_equal(vmx_msr_name(0x3a), "IA32_FEATURE_CONTROL");
    assert_string_equal(vmx_msr_name(0x490), "IA32_VMX_TRUE_ENTRY_CTLS");

    /* Pin-based: external-interrupt exiting is free, NMI exiting must be 1, virtual NMIs must be 0,
     * the timer contradicts itself. */
    assert_int_equal(vmx_msr_decode(0x481, (0x9ull << 32) | 0x48, keep, &s), 5);
    assert_int_equal(s.part[0].value, 2);
    assert_string_equal(s.meaning[0], "may be 0 or 1");
    assert_int_equal(s.part[1].value, 3);
    assert_string_equal(s.meaning[1], "must be 1");
    assert_int_equal(s.part[2].value, 0);
    assert_string_equal(s.meaning[2], "must be 0");
    assert_int_equal(s.part[3].value, 1);
    assert_string_equal(msr_line(0x481, (0x9ull << 32) | 0x48),
                        "EXTERNAL_INTERRUPT_EXITING | NMI_EXITING");
    assert_string_equal(msr_line(0x491, 1), "EPTP_SWITCHING");

    /* What Bochs's Skylake-X says. */
    assert_string_equal(msr_line(0x480, 0x00d810000000002bull),
                        "VMCS revision identifier 0x2b, bytes of a VMXON or VMCS region 0x1000, "
                        "memory type for VMX structures 6 (WB, write-back), "
                        "INS and OUTS information, TRUE capability MSRs");
    assert_string_equal(msr_line(0x3a, 5), "lock, enable VMX outside SMX operation, "
                                           "SENTER local function enables 0");
    assert_string_equal(msr_line(0x48a, 0x2e), "highest index of a VMCS encoding 0x17");
    assert_string_equal(msr_line(0x486, 0x80000021), "PE | NE | PG");
    assert_string_equal(msr_line(0x48c, 1ull << 6 | 1 << 14 | 1 << 20 | 1ull << 32),
                        "WALK_4 | TYPE_WB | INVEPT | INVVPID");
    assert_non_null(strstr(msr_line(0x485, 5), "once in 32 ticks"));
    assert_non_null(strstr(msr_line(0x485, 7ull << 25), "(4096 MSRs)"));
    assert_non_null(strstr(msr_line(0x485, 4ull << 16), "number of CR3-target values 4"));

    s.count = 0;
    (void)vmx_msr_decode(0x486, 1, keep, &s);
    assert_string_equal(s.meaning[0], "must be 1 in VMX operation");
    assert_string_equal(s.meaning[1], "may be 0 in VMX operation");
    s.count = 0;
    (void)vmx_msr_decode(0x489, 1, keep, &s);
    assert_string_equal(s.meaning[0], "may be 1 in VMX operation");
    assert_string_equal(s.meaning[1], "must be 0 in VMX operation");
}

/* Every buffer size gives the same length and a terminated prefix, and nothing beyond it is
 * touched. */
static void lines_never_overrun(void **state)
{
    static const struct {
        uint32_t encoding;
        uint64_t value;
    } some[] = {
        {0x4002, UINT64_MAX}, {0x4002, 0},      {0x4816, 0xa09b}, {0x201c, 0x5555555555555555},
        {0x2010, 1ull << 63}, {0x2804, 0x0606}, {0x6800, 0},      {0x1234, 7}};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(some); i++) {
        char whole[LINE], cut[LINE];
        size_t n = vmcs_decode_line(some[i].encoding, some[i].value, NULL, whole, sizeof(whole));

        assert_int_equal(strlen(whole), n);
        assert_int_equal(vmcs_decode_line(some[i].encoding, some[i].value, NULL, NULL, 0), n);
        for (size_t size = 1; size <= n + 2; size++) {
            memset(cut, '~', sizeof(cut));
            assert_int_equal(vmcs_decode_line(some[i].encoding, some[i].value, NULL, cut, size), n);
            assert_int_equal(strlen(cut), n < size ? n : size - 1);
            assert_memory_equal(cut, whole, strlen(cut));
            assert_int_equal(cut[size], '~');
        }
    }
    assert_int_equal(vmx_msr_decode_line(0x10, 1, NULL, 0), 0);
    assert_true(vmx_msr_decode_line(0x481, UINT64_MAX, NULL, 0) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_bits_are_the_manuals),
        cmocka_unit_test(constants_agree),
        cmocka_unit_test(each_control_bit_says_its_sense),
        cmocka_unit_test(the_two_with_the_opposite_sense),
        cmocka_unit_test(names_are_found_in_any_case),
        cmocka_unit_test(reserved_control_bits_show_when_set),
        cmocka_unit_test(provenance),
        cmocka_unit_test(capability_msrs),
        cmocka_unit_test(lines_never_overrun),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
