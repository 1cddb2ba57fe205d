/* SOURCES: arch/x86/inspect/vmcb_fields.c arch/x86/inspect/decode_vmexit.c
 * arch/x86/inspect/decode_vmcb.c arch/x86/inspect/decode_vmcb_exit.c
 * arch/x86/inspect/decode_vmcb_state.c arch/x86/inspect/decode_compare.c arch/x86/inspect/decode.c
 * arch/x86/inspect/decode_controls.c arch/x86/inspect/decode_cr.c arch/x86/inspect/decode_event.c
 * arch/x86/inspect/decode_exit.c arch/x86/inspect/decode_guest_msr.c
 * arch/x86/inspect/decode_instruction.c arch/x86/inspect/decode_memory.c
 * arch/x86/inspect/decode_msr.c arch/x86/inspect/decode_state.c arch/x86/inspect/decode_bitmap.c
 * arch/x86/inspect/decode_fields.c arch/x86/inspect/fields.c arch/x86/inspect/names.c hv/fmt.c
 * hv/lib.c */
#include "arch/x86/inspect/decode_compare.h"
#include "arch/x86/inspect/decode_vmcb.h"
#include "arch/x86/inspect/decode_fields.h"
#include "arch/x86/inspect/decode_vmexit.h"
#include "arch/x86/svm/exit_profile.h"
#include "arch/x86/svm/svm.h"
#include "arch/x86/svm/vmcb.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* ---- the table ---- */

/* APM 2 appendix B, typed from its tables: offsets that a slip would move. */
static void offsets(void **state)
{
    static const struct {
        uint16_t offset;
        uint8_t bytes;
        const char *name;
    } apm[] = {
        {0x000, 4, "INTERCEPT_CR"},
        {0x00c, 4, "INTERCEPT_MISC1"},
        {0x040, 8, "IOPM_BASE_PA"},
        {0x048, 8, "MSRPM_BASE_PA"},
        {0x050, 8, "TSC_OFFSET"},
        {0x058, 4, "GUEST_ASID"},
        {0x05c, 1, "TLB_CONTROL"},
        {0x060, 8, "V_INTR"},
        {0x068, 8, "INTERRUPT_SHADOW"},
        {0x070, 8, "EXITCODE"},
        {0x078, 8, "EXITINFO1"},
        {0x080, 8, "EXITINFO2"},
        {0x088, 8, "EXITINTINFO"},
        {0x090, 8, "NESTED_CTL"},
        {0x0a8, 8, "EVENTINJ"},
        {0x0b0, 8, "N_CR3"},
        {0x0c0, 4, "VMCB_CLEAN"},
        {0x0c8, 8, "NRIP"},
        {0x0d0, 1, "FETCHED_BYTES"},
        {0x400, 2, "ES_SELECTOR"},
        {0x412, 2, "CS_ATTRIB"},
        {0x424, 4, "SS_LIMIT"},
        {0x438, 8, "DS_BASE"},
        {0x464, 4, "GDTR_LIMIT"},
        {0x488, 8, "IDTR_BASE"},
        {0x498, 8, "TR_BASE"},
        {0x4cb, 1, "CPL"},
        {0x4d0, 8, "EFER"},
        {0x548, 8, "CR4"},
        {0x550, 8, "CR3"},
        {0x558, 8, "CR0"},
        {0x560, 8, "DR7"},
        {0x568, 8, "DR6"},
        {0x570, 8, "RFLAGS"},
        {0x578, 8, "RIP"},
        {0x5d8, 8, "RSP"},
        {0x5f8, 8, "RAX"},
        {0x600, 8, "STAR"},
        {0x620, 8, "KERNEL_GS_BASE"},
        {0x628, 8, "SYSENTER_CS"},
        {0x640, 8, "CR2"},
        {0x668, 8, "G_PAT"},
        {0x670, 8, "DBGCTL"},
        {0x690, 8, "LASTEXCPTO"},
        {0x698, 8, "DBGEXTNCFG"},
        {0x6e0, 8, "SPEC_CTRL"},
        {0xa70, 8, "LBR_STACK_FROM_0"},
        {0xb68, 8, "LBR_STACK_TO_15"},
        {0xb70, 8, "LBR_SELECT"},
        {0xb78, 8, "IBS_FETCH_CTL"},
        {0xbc0, 8, "IC_IBS_EXTD_CTL"},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(apm) / sizeof(apm[0]); i++) {
        const struct vmcb_field *f = vmcb_field_by_offset(apm[i].offset);

        assert_non_null(f);
        assert_string_equal(f->name, apm[i].name);
        assert_int_equal(f->bytes, apm[i].bytes);
    }
    assert_null(vmcb_field_by_offset(0x001));
    assert_null(vmcb_field_by_offset(0x20000));
    assert_null(vmcb_field(VMCB_ROWS));
}

/* The structure that the backend writes has each field where the table reads it. */
static void as_the_backend(void **state)
{
#define AT(area, member, NAME)                                                                     \
    {                                                                                              \
        offsetof(struct vmcb, area.member), sizeof(((struct vmcb *)0)->area.member),               \
            VMCB_ROW_##NAME                                                                        \
    }
#define SEGMENT(member, NAME)                                                                      \
    AT(save, member.selector, NAME##_SELECTOR), AT(save, member.attrib, NAME##_ATTRIB),            \
        AT(save, member.limit, NAME##_LIMIT), AT(save, member.base, NAME##_BASE)
    static const struct {
        size_t offset, bytes;
        unsigned row;
    } members[] = {
        AT(control, intercept_exceptions, INTERCEPT_EXCEPTIONS),
        AT(control, intercept_misc1, INTERCEPT_MISC1),
        AT(control, intercept_misc2, INTERCEPT_MISC2),
        AT(control, intercept_misc3, INTERCEPT_MISC3),
        AT(control, pause_filter_threshold, PAUSE_FILTER_THRESHOLD),
        AT(control, pause_filter_count, PAUSE_FILTER_COUNT),
        AT(control, iopm_base_pa, IOPM_BASE_PA),
        AT(control, msrpm_base_pa, MSRPM_BASE_PA),
        AT(control, tsc_offset, TSC_OFFSET),
        AT(control, guest_asid, GUEST_ASID),
        AT(control, tlb_control, TLB_CONTROL),
        AT(control, vintr, V_INTR),
        AT(control, interrupt_shadow, INTERRUPT_SHADOW),
        AT(control, exitcode, EXITCODE),
        AT(control, exitinfo1, EXITINFO1),
        AT(control, exitinfo2, EXITINFO2),
        AT(control, exitintinfo, EXITINTINFO),
        AT(control, np_enable, NESTED_CTL),
        AT(control, avic_apic_bar, AVIC_APIC_BAR),
        AT(control, ghcb_pa, GHCB_GPA),
        AT(control, eventinj, EVENTINJ),
        AT(control, n_cr3, N_CR3),
        AT(control, lbr_virtualization_enable, VIRT_EXT),
        AT(control, vmcb_clean, VMCB_CLEAN),
        AT(control, nrip, NRIP),
        AT(control, bytes_fetched, FETCHED_BYTES),
        AT(control, avic_apic_backing_page, AVIC_BACKING_PAGE),
        AT(control, avic_logical_table, AVIC_LOGICAL_TABLE),
        AT(control, avic_physical_table, AVIC_PHYSICAL_TABLE),
        AT(control, vmsa_pointer, VMSA_POINTER),
        SEGMENT(es, ES),
        SEGMENT(cs, CS),
        SEGMENT(ss, SS),
        SEGMENT(ds, DS),
        SEGMENT(fs, FS),
        SEGMENT(gs, GS),
        SEGMENT(ldtr, LDTR),
        SEGMENT(tr, TR),
        AT(save, gdtr.limit, GDTR_LIMIT),
        AT(save, gdtr.base, GDTR_BASE),
        AT(save, idtr.limit, IDTR_LIMIT),
        AT(save, idtr.base, IDTR_BASE),
        AT(save, cpl, CPL),
        AT(save, efer, EFER),
        AT(save, cr4, CR4),
        AT(save, cr3, CR3),
        AT(save, cr0, CR0),
        AT(save, dr7, DR7),
        AT(save, dr6, DR6),
        AT(save, rflags, RFLAGS),
        AT(save, rip, RIP),
        AT(save, rsp, RSP),
        AT(save, s_cet, S_CET),
        AT(save, ssp, SSP),
        AT(save, isst_addr, ISST_ADDR),
        AT(save, rax, RAX),
        AT(save, star, STAR),
        AT(save, lstar, LSTAR),
        AT(save, cstar, CSTAR),
        AT(save, sfmask, SFMASK),
        AT(save, kernel_gs_base, KERNEL_GS_BASE),
        AT(save, sysenter_cs, SYSENTER_CS),
        AT(save, sysenter_esp, SYSENTER_ESP),
        AT(save, sysenter_eip, SYSENTER_EIP),
        AT(save, cr2, CR2),
        AT(save, g_pat, G_PAT),
        AT(save, dbgctl, DBGCTL),
        AT(save, br_from, BR_FROM),
        AT(save, br_to, BR_TO),
        AT(save, lastexcpfrom, LASTEXCPFROM),
        AT(save, lastexcpto, LASTEXCPTO),
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        assert_int_equal(members[i].offset, vmcb_field(members[i].row)->offset);
        assert_int_equal(members[i].bytes, vmcb_field(members[i].row)->bytes);
    }
    /* Reads and writes of CRs and DRs are two words of the structure, and one field. */
    assert_int_equal(offsetof(struct vmcb, control.intercept_cr_write), 2);
    assert_int_equal(offsetof(struct vmcb, control.intercept_dr_write), VMCB_AT_INTERCEPT_DR + 2);
    assert_int_equal(offsetof(struct vmcb, control.guest_instruction_bytes),
                     VMCB_AT_GUEST_INSTRUCTION_LOW);
}

static void sorted_and_apart(void **state)
{
    unsigned end = 0;

    (void)state;
    for (unsigned row = 0; row < VMCB_ROWS; row++) {
        const struct vmcb_field *f = vmcb_field(row);

        assert_true(f->offset >= end);
        assert_true(f->group != VMCS_GROUP_HOST);
        /* A field that its area misplaces says why. */
        assert_true(f->group == vmcb_area(f->offset) || f->reason[0]);
        assert_true((f->condition == VMCB_IF_ALWAYS) == !vmcb_field_absence(f)[0]);
        end = f->offset + f->bytes;
    }
    assert_true(end <= VMCB_SIZE);
}

/* Every byte of a field, lowest first, and none of its neighbours'. */
static void values(void **state)
{
    static uint8_t vmcb[VMCB_SIZE];
    const struct abi_caps all = {
        .svm_features = UINT32_MAX, .svm_memory = UINT32_MAX, .svm_branches = UINT32_MAX};
    static struct abi_vmcs v;

    (void)state;
    for (unsigned i = 0; i < sizeof(vmcb); i++)
        vmcb[i] = (uint8_t)(i * 37 + 1);
    vmcb_read_fields(vmcb, &all, &v);
    for (unsigned row = 0; row < VMCB_ROWS; row++) {
        const struct vmcb_field *f = vmcb_field(row);
        uint64_t want = 0;

        for (unsigned i = 0; i < f->bytes; i++)
            want |= (uint64_t)vmcb[f->offset + i] << (8 * i);
        assert_true(vmcs_has(&v, row));
        assert_true(v.value[row] == want);
    }
    for (unsigned row = VMCB_ROWS; row < ABI_SNAPSHOT_FIELDS; row++)
        assert_false(vmcs_has(&v, row));
}

static void fields_of_a_small_cpu(void **state)
{
    static const uint8_t vmcb[VMCB_SIZE];
    const struct abi_caps qemu = {.svm_features = 1}; /* nested paging, nothing else */
    static struct abi_vmcs v;

    (void)state;
    memset(&v, 0xff, sizeof(v));
    vmcb_read_fields(vmcb, &qemu, &v);
    assert_true(vmcs_has(&v, VMCB_ROW_N_CR3) && vmcs_has(&v, VMCB_ROW_G_PAT));
    assert_false(vmcs_has(&v, VMCB_ROW_NRIP) || vmcs_has(&v, VMCB_ROW_DBGCTL));
    assert_int_equal(v.value[VMCB_ROW_NRIP], 0);
    assert_non_null(strstr(vmcb_field_absence(vmcb_field(VMCB_ROW_NRIP)), "EDX bit 3"));
}

/* ---- exit codes ---- */

static void exit_names(void **state)
{
    static const struct {
        uint64_t code;
        const char *name;
    } apm[] = {
        {0x00, "CR0_READ"},
        {0x0f, "CR15_READ"},
        {0x13, "CR3_WRITE"},
        {0x18, "CR8_WRITE"},
        {0x27, "DR7_READ"},
        {0x30, "DR0_WRITE"},
        {0x40, "EXCP0"},
        {0x4e, "EXCP14"},
        {0x5f, "EXCP31"},
        {0x60, "INTR"},
        {0x61, "NMI"},
        {0x64, "VINTR"},
        {0x6e, "RDTSC"},
        {0x72, "CPUID"},
        {0x75, "SWINT"},
        {0x78, "HLT"},
        {0x7b, "IOIO"},
        {0x7c, "MSR"},
        {0x7d, "TASK_SWITCH"},
        {0x7f, "SHUTDOWN"},
        {0x80, "VMRUN"},
        {0x81, "VMMCALL"},
        {0x87, "RDTSCP"},
        {0x8d, "XSETBV"},
        {0x90, "CR0_WRITE_TRAP"},
        {0xa2, "INVPCID"},
        {0x400, "NPF"},
        {0x403, "VMGEXIT"},
        {0xffffffff, "INVALID"},
        {UINT64_MAX, "INVALID"},
        {0xa7, "UNDEFINED"},
        {0x404, "UNDEFINED"},
    };

    (void)state;
    for (unsigned i = 0; i < sizeof(apm) / sizeof(apm[0]); i++) {
        assert_string_equal(vmexit_name(apm[i].code), apm[i].name);
        assert_true(vmexit_when(apm[i].code)[0] || !strcmp(apm[i].name, "UNDEFINED"));
    }
}

/* Every code has a counter that leads back to it, and no two share one. */
static void counters(void **state)
{
    uint32_t code;

    (void)state;
    for (uint64_t c = 0; c <= UINT32_MAX; c = c == 0x500 ? 0xfffffff0u : c + 1) {
        uint32_t counter = abi_svm_exit(c);

        assert_true(counter < ABI_EXIT_REASONS);
        assert_int_equal(counter,
                         abi_svm_exit(c | 0xffffffffull << 32)); /* the high half does not count */
        if (vmexit_of_counter(counter, &code))
            assert_int_equal(code, (uint32_t)c);
        else
            assert_true(c > ABI_SVM_NPF || !strcmp(vmexit_name(c), "UNDEFINED"));
    }
    assert_int_equal(abi_svm_exit(UINT64_MAX), abi_svm_exit(UINT32_MAX));
    assert_false(vmexit_of_counter(ABI_SVM_EXIT_OTHER, &code));
    assert_false(vmexit_of_counter(UINT32_MAX, &code));
}

/* ---- decoding ---- */

static const char *line(unsigned row, uint64_t value, const struct abi_vmcs *all)
{
    static char text[1024];

    assert_true(vmcb_decode_line(row, value, all, text, sizeof(text)) < sizeof(text));
    return text;
}

static const struct abi_vmcs *after(uint64_t exit_code)
{
    static struct abi_vmcs v;

    memset(&v, 0, sizeof(v));
    vmcs_set(&v, VMCB_ROW_EXITCODE, exit_code);
    return &v;
}

static void decoded(void **state)
{
    (void)state;
    assert_string_equal(line(VMCB_ROW_INTERCEPT_MISC1, 1u << 24 | 1u << 27, NULL),
                        "HLT | IOIO_PROT");
    assert_string_equal(line(VMCB_ROW_INTERCEPT_CR, 1u << 24 | 1, NULL), "CR0_READ | CR8_WRITE");
    assert_string_equal(line(VMCB_ROW_INTERCEPT_MISC3, 1u << 31, NULL), "reserved bit 31");
    assert_string_equal(line(VMCB_ROW_EXITCODE, 0x72, NULL),
                        "exit code 0x72 (CPUID), upper half 0 (a code of bits 31:0)");
    assert_string_equal(line(VMCB_ROW_CS_ATTRIB, 0xa9b, NULL),
                        "type 0xb (code, execute/read, accessed), code or data, DPL 0, present, "
                        "64-bit, 4-KByte granularity");
    assert_string_equal(line(VMCB_ROW_EVENTINJ, 0x80000b0eull | 6ull << 32, NULL),
                        "vector 0xe (#PF page fault), type 3 (exception), error code valid, valid, "
                        "error code 6");
    assert_string_equal(line(VMCB_ROW_EVENTINJ, 0, NULL), "none");
    assert_string_equal(line(VMCB_ROW_EFER, 0x1d01, NULL), "SCE | LME | LMA | NXE | SVME");
    assert_string_equal(line(VMCB_ROW_TLB_CONTROL, 3, NULL),
                        "VMRUN flushes the translations of this ASID");
    assert_string_equal(line(VMCB_ROW_CR0, 0x80000011, NULL), "PE | ET | PG");
    assert_string_equal(line(VMCB_ROW_RIP, 0x1000, NULL), "");
}

/* EXITINFO1 and EXITINFO2 mean what the exit code says. */
static void infos(void **state)
{
    (void)state;
    assert_string_equal(line(VMCB_ROW_EXITINFO1, 0x03f80011, after(0x7b)),
                        "IN, 8 bits, segment (with decode assists) 0, port 0x3f8");
    assert_string_equal(line(VMCB_ROW_EXITINFO1, 1, after(0x7c)), "WRMSR");
    assert_string_equal(line(VMCB_ROW_EXITINFO1, 1ull << 32 | 6, after(0x400)), "RW | US | FINAL");
    assert_string_equal(line(VMCB_ROW_EXITINFO1, 2, after(0x4e)), "W_R");
    assert_string_equal(line(VMCB_ROW_EXITINFO1, 0x1b, after(0x4d)),
                        "external event, gate in the IDT, segment selector index 3");
    assert_string_equal(line(VMCB_ROW_EXITINFO1, 7, after(0x72)), "");
    assert_string_equal(line(VMCB_ROW_EXITINFO1, 7, NULL), "");
    assert_string_equal(line(VMCB_ROW_EXITINFO2, 1ull << 36, after(0x7d)), "error code 0, IRET");
    assert_string_equal(line(VMCB_ROW_EXITINFO2, 0xfee00000, after(0x400)), "");
}

static void intercept_names(void **state)
{
    const struct decode_bit *hlt = vmcb_intercept_by_name(VMCB_ROW_INTERCEPT_MISC1, "hlt");

    (void)state;
    assert_non_null(hlt);
    assert_int_equal(hlt->low, 24);
    assert_null(vmcb_intercept_by_name(VMCB_ROW_INTERCEPT_MISC2, "hlt"));
    assert_null(vmcb_intercept_by_name(VMCB_ROW_RIP, "hlt"));
    assert_int_equal(vmcb_intercept_control(VMCB_ROW_INTERCEPT_MISC2), ABI_SVM_INTERCEPT_MISC2);
    assert_int_equal(vmcb_intercept_control(VMCB_ROW_RIP), -1);
    /* An intercept of MISC1 and MISC2 has the exit code of its place: 0x60 and 0x80 on. */
    for (unsigned bit = 0; bit < 14; bit++) {
        unsigned count;
        const struct decode_bit *bits = vmcb_intercept_bits(VMCB_ROW_INTERCEPT_MISC2, &count);

        assert_string_equal(bits[bit].name, vmexit_name(0x80 + bit));
    }
}

/* ---- changes ---- */

static void changes(void **state)
{
    uint32_t old[ABI_CONTROL_WORDS] = {0}, words[ABI_CONTROL_WORDS];
    struct abi_controls c = {0};
    struct abi_controls_result r;

    (void)state;
    old[ABI_SVM_INTERCEPT_MISC1] = INTERCEPT_HLT | INTERCEPT_IOIO_PROT;
    c.mask[ABI_SVM_INTERCEPT_MISC1] = c.value[ABI_SVM_INTERCEPT_MISC1] = INTERCEPT_RDTSC;
    assert_int_equal(intercepts_apply(old, &c, words, &r), 0);
    assert_int_equal(words[ABI_SVM_INTERCEPT_MISC1],
                     INTERCEPT_HLT | INTERCEPT_IOIO_PROT | INTERCEPT_RDTSC);
    /* What is already so is no change. */
    c.mask[ABI_SVM_INTERCEPT_MISC1] |= INTERCEPT_HLT;
    c.value[ABI_SVM_INTERCEPT_MISC1] |= INTERCEPT_HLT;
    assert_int_equal(intercepts_apply(old, &c, words, &r), 0);
    c.value[ABI_SVM_INTERCEPT_MISC1] &= ~INTERCEPT_HLT;
    assert_int_equal(intercepts_apply(old, &c, words, &r), -E_PERM);
    assert_int_equal(r.control, ABI_SVM_INTERCEPT_MISC1);
    assert_int_equal(r.bits, INTERCEPT_HLT);
    /* Each intercept on its own: those that isolation rests on stay. */
    for (unsigned word = 0; word < ABI_SVM_CONTROLS; word++)
        for (unsigned bit = 0; bit < 32; bit++) {
            struct abi_controls one = {0};

            one.mask[word] = 1u << bit;
            one.value[word] = ~old[word] & 1u << bit;
            assert_int_equal(intercepts_apply(old, &one, words, &r),
                             intercepts_changeable(word) >> bit & 1 ? 0 : -E_PERM);
        }
    for (int p = 0; p < ABI_EXIT_PROFILES; p++) {
        c = intercepts_profile((enum abi_exit_profile)p);
        assert_int_equal(intercepts_apply(old, &c, words, &r), 0);
    }
}

/* ---- the comparison ---- */

static void compared(void **state)
{
    static bool vmcs[VMCS_ROWS], vmcb[VMCB_ROWS];

    (void)state;
    assert_non_null(compare_row(0)->topic);
    assert_null(compare_row(compare_count()));
    for (unsigned n = 0; n < compare_count(); n++) {
        const struct compare *k = compare_row(n);

        if (k->topic)
            continue;
        assert_true(k->vmcs != COMPARE_NONE || k->vmcb != COMPARE_NONE);
        /* A field that the other side lacks says why. */
        assert_true((k->vmcs != COMPARE_NONE && k->vmcb != COMPARE_NONE) || k->note[0]);
        if (k->vmcs != COMPARE_NONE)
            vmcs[k->vmcs] = true;
        if (k->vmcb != COMPARE_NONE)
            vmcb[k->vmcb] = true;
        if (k->vmcs_bit[0]) {
            assert_non_null(
                vmcs_control_bit_by_name(vmcs_field((unsigned)k->vmcs)->encoding, k->vmcs_bit));
            assert_non_null(vmcb_intercept_by_name((unsigned)k->vmcb, k->vmcb_bit));
        }
    }
    for (unsigned row = 0; row < VMCS_ROWS; row++)
        assert_true(vmcs[row]);
    for (unsigned row = 0; row < VMCB_ROWS; row++)
        assert_true(vmcb[row]);
    /* A field is not both paired and without a partner. */
    for (unsigned n = 0; n < compare_count(); n++)
        for (unsigned m = 0; m < n; m++) {
            const struct compare *a = compare_row(n), *b = compare_row(m);

            if (a->topic || b->topic)
                continue;
            assert_false(a->vmcs == b->vmcs && a->vmcs >= 0 && (a->vmcb < 0) != (b->vmcb < 0));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets),
        cmocka_unit_test(as_the_backend),
        cmocka_unit_test(sorted_and_apart),
        cmocka_unit_test(values),
        cmocka_unit_test(fields_of_a_small_cpu),
        cmocka_unit_test(exit_names),
        cmocka_unit_test(counters),
        cmocka_unit_test(decoded),
        cmocka_unit_test(infos),
        cmocka_unit_test(intercept_names),
        cmocka_unit_test(changes),
        cmocka_unit_test(compared),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
