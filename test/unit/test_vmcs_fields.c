/* SOURCES: arch/x86/inspect/decode_fields.c arch/x86/inspect/fields.c
 * arch/x86/inspect/vmcb_fields.c hv/lib.c */
#include "arch/x86/inspect/decode_fields.h"
#include "arch/x86/vmx/caps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* SDM 3D appendix B "Field Encoding in VMCS", typed from its tables in their order. Not made from
 * fields.def, so that each checks the other. */
static const struct sdm_field {
    uint32_t encoding;
    const char *name;
} sdm[] = {
    /* Table B-1, 16-bit control fields */
    {0x0000, "VPID"},
    {0x0002, "POSTED_INTERRUPT_NOTIFICATION_VECTOR"},
    {0x0004, "EPTP_INDEX"},
    {0x0006, "HLAT_PREFIX_SIZE"},
    {0x0008, "LAST_PID_POINTER_INDEX"},
    /* Table B-2, 16-bit guest-state fields */
    {0x0800, "GUEST_ES_SELECTOR"},
    {0x0802, "GUEST_CS_SELECTOR"},
    {0x0804, "GUEST_SS_SELECTOR"},
    {0x0806, "GUEST_DS_SELECTOR"},
    {0x0808, "GUEST_FS_SELECTOR"},
    {0x080A, "GUEST_GS_SELECTOR"},
    {0x080C, "GUEST_LDTR_SELECTOR"},
    {0x080E, "GUEST_TR_SELECTOR"},
    {0x0810, "GUEST_INTERRUPT_STATUS"},
    {0x0812, "GUEST_PML_INDEX"},
    {0x0814, "GUEST_UINV"},
    /* Table B-3, 16-bit host-state fields */
    {0x0C00, "HOST_ES_SELECTOR"},
    {0x0C02, "HOST_CS_SELECTOR"},
    {0x0C04, "HOST_SS_SELECTOR"},
    {0x0C06, "HOST_DS_SELECTOR"},
    {0x0C08, "HOST_FS_SELECTOR"},
    {0x0C0A, "HOST_GS_SELECTOR"},
    {0x0C0C, "HOST_TR_SELECTOR"},
    /* Table B-4, 64-bit control fields */
    {0x2000, "IO_BITMAP_A"},
    {0x2002, "IO_BITMAP_B"},
    {0x2004, "MSR_BITMAP"},
    {0x2006, "VM_EXIT_MSR_STORE_ADDRESS"},
    {0x2008, "VM_EXIT_MSR_LOAD_ADDRESS"},
    {0x200A, "VM_ENTRY_MSR_LOAD_ADDRESS"},
    {0x200C, "EXECUTIVE_VMCS_POINTER"},
    {0x200E, "PML_ADDRESS"},
    {0x2010, "TSC_OFFSET"},
    {0x2012, "VIRTUAL_APIC_ADDRESS"},
    {0x2014, "APIC_ACCESS_ADDRESS"},
    {0x2016, "POSTED_INTERRUPT_DESCRIPTOR_ADDRESS"},
    {0x2018, "VM_FUNCTION_CONTROLS"},
    {0x201A, "EPT_POINTER"},
    {0x201C, "EOI_EXIT_BITMAP_0"},
    {0x201E, "EOI_EXIT_BITMAP_1"},
    {0x2020, "EOI_EXIT_BITMAP_2"},
    {0x2022, "EOI_EXIT_BITMAP_3"},
    {0x2024, "EPTP_LIST_ADDRESS"},
    {0x2026, "VMREAD_BITMAP_ADDRESS"},
    {0x2028, "VMWRITE_BITMAP_ADDRESS"},
    {0x202A, "VIRTUALIZATION_EXCEPTION_INFO_ADDRESS"},
    {0x202C, "XSS_EXITING_BITMAP"},
    {0x202E, "ENCLS_EXITING_BITMAP"},
    {0x2030, "SUB_PAGE_PERMISSION_TABLE_POINTER"},
    {0x2032, "TSC_MULTIPLIER"},
    {0x2034, "TERTIARY_PROCESSOR_CONTROLS"},
    {0x2036, "ENCLV_EXITING_BITMAP"},
    {0x2038, "LOW_PASID_DIRECTORY_ADDRESS"},
    {0x203A, "HIGH_PASID_DIRECTORY_ADDRESS"},
    {0x203E, "PCONFIG_EXITING_BITMAP"},
    {0x2040, "HLAT_POINTER"},
    {0x2042, "PID_POINTER_TABLE_ADDRESS"},
    {0x2044, "SECONDARY_VM_EXIT_CONTROLS"},
    {0x204A, "IA32_SPEC_CTRL_MASK"},
    {0x204C, "IA32_SPEC_CTRL_SHADOW"},
    {0x2052, "INJECTED_EVENT_DATA"},
    /* Table B-5, 64-bit read-only data fields */
    {0x2400, "GUEST_PHYSICAL_ADDRESS"},
    {0x2404, "ORIGINAL_EVENT_DATA"},
    /* Table B-6, 64-bit guest-state fields */
    {0x2800, "VMCS_LINK_POINTER"},
    {0x2802, "GUEST_IA32_DEBUGCTL"},
    {0x2804, "GUEST_IA32_PAT"},
    {0x2806, "GUEST_IA32_EFER"},
    {0x2808, "GUEST_IA32_PERF_GLOBAL_CTRL"},
    {0x280A, "GUEST_PDPTE0"},
    {0x280C, "GUEST_PDPTE1"},
    {0x280E, "GUEST_PDPTE2"},
    {0x2810, "GUEST_PDPTE3"},
    {0x2812, "GUEST_IA32_BNDCFGS"},
    {0x2814, "GUEST_IA32_RTIT_CTL"},
    {0x2816, "GUEST_IA32_LBR_CTL"},
    {0x2818, "GUEST_IA32_PKRS"},
    {0x281A, "GUEST_IA32_FRED_CONFIG"},
    {0x281C, "GUEST_IA32_FRED_RSP1"},
    {0x281E, "GUEST_IA32_FRED_RSP2"},
    {0x2820, "GUEST_IA32_FRED_RSP3"},
    {0x2822, "GUEST_IA32_FRED_STKLVLS"},
    {0x2824, "GUEST_IA32_FRED_SSP1"},
    {0x2826, "GUEST_IA32_FRED_SSP2"},
    {0x2828, "GUEST_IA32_FRED_SSP3"},
    /* Table B-7, 64-bit host-state fields */
    {0x2C00, "HOST_IA32_PAT"},
    {0x2C02, "HOST_IA32_EFER"},
    {0x2C04, "HOST_IA32_PERF_GLOBAL_CTRL"},
    {0x2C06, "HOST_IA32_PKRS"},
    {0x2C08, "HOST_IA32_FRED_CONFIG"},
    {0x2C0A, "HOST_IA32_FRED_RSP1"},
    {0x2C0C, "HOST_IA32_FRED_RSP2"},
    {0x2C0E, "HOST_IA32_FRED_RSP3"},
    {0x2C10, "HOST_IA32_FRED_STKLVLS"},
    {0x2C12, "HOST_IA32_FRED_SSP1"},
    {0x2C14, "HOST_IA32_FRED_SSP2"},
    {0x2C16, "HOST_IA32_FRED_SSP3"},
    /* Table B-8, 32-bit control fields */
    {0x4000, "PIN_BASED_CONTROLS"},
    {0x4002, "PRIMARY_PROCESSOR_CONTROLS"},
    {0x4004, "EXCEPTION_BITMAP"},
    {0x4006, "PAGE_FAULT_ERROR_CODE_MASK"},
    {0x4008, "PAGE_FAULT_ERROR_CODE_MATCH"},
    {0x400A, "CR3_TARGET_COUNT"},
    {0x400C, "PRIMARY_VM_EXIT_CONTROLS"},
    {0x400E, "VM_EXIT_MSR_STORE_COUNT"},
    {0x4010, "VM_EXIT_MSR_LOAD_COUNT"},
    {0x4012, "VM_ENTRY_CONTROLS"},
    {0x4014, "VM_ENTRY_MSR_LOAD_COUNT"},
    {0x4016, "VM_ENTRY_INTERRUPTION_INFO"},
    {0x4018, "VM_ENTRY_EXCEPTION_ERROR_CODE"},
    {0x401A, "VM_ENTRY_INSTRUCTION_LENGTH"},
    {0x401C, "TPR_THRESHOLD"},
    {0x401E, "SECONDARY_PROCESSOR_CONTROLS"},
    {0x4020, "PLE_GAP"},
    {0x4022, "PLE_WINDOW"},
    {0x4024, "INSTRUCTION_TIMEOUT_CONTROL"},
    /* Table B-9, 32-bit read-only data fields */
    {0x4400, "VM_INSTRUCTION_ERROR"},
    {0x4402, "EXIT_REASON"},
    {0x4404, "VM_EXIT_INTERRUPTION_INFO"},
    {0x4406, "VM_EXIT_INTERRUPTION_ERROR_CODE"},
    {0x4408, "IDT_VECTORING_INFO"},
    {0x440A, "IDT_VECTORING_ERROR_CODE"},
    {0x440C, "VM_EXIT_INSTRUCTION_LENGTH"},
    {0x440E, "VM_EXIT_INSTRUCTION_INFO"},
    /* Table B-10, 32-bit guest-state fields */
    {0x4800, "GUEST_ES_LIMIT"},
    {0x4802, "GUEST_CS_LIMIT"},
    {0x4804, "GUEST_SS_LIMIT"},
    {0x4806, "GUEST_DS_LIMIT"},
    {0x4808, "GUEST_FS_LIMIT"},
    {0x480A, "GUEST_GS_LIMIT"},
    {0x480C, "GUEST_LDTR_LIMIT"},
    {0x480E, "GUEST_TR_LIMIT"},
    {0x4810, "GUEST_GDTR_LIMIT"},
    {0x4812, "GUEST_IDTR_LIMIT"},
    {0x4814, "GUEST_ES_ACCESS_RIGHTS"},
    {0x4816, "GUEST_CS_ACCESS_RIGHTS"},
    {0x4818, "GUEST_SS_ACCESS_RIGHTS"},
    {0x481A, "GUEST_DS_ACCESS_RIGHTS"},
    {0x481C, "GUEST_FS_ACCESS_RIGHTS"},
    {0x481E, "GUEST_GS_ACCESS_RIGHTS"},
    {0x4820, "GUEST_LDTR_ACCESS_RIGHTS"},
    {0x4822, "GUEST_TR_ACCESS_RIGHTS"},
    {0x4824, "GUEST_INTERRUPTIBILITY_STATE"},
    {0x4826, "GUEST_ACTIVITY_STATE"},
    {0x4828, "GUEST_SMBASE"},
    {0x482A, "GUEST_IA32_SYSENTER_CS"},
    {0x482E, "VMX_PREEMPTION_TIMER_VALUE"},
    /* Table B-11, 32-bit host-state field */
    {0x4C00, "HOST_IA32_SYSENTER_CS"},
    /* Table B-12, natural-width control fields */
    {0x6000, "CR0_GUEST_HOST_MASK"},
    {0x6002, "CR4_GUEST_HOST_MASK"},
    {0x6004, "CR0_READ_SHADOW"},
    {0x6006, "CR4_READ_SHADOW"},
    {0x6008, "CR3_TARGET_VALUE_0"},
    {0x600A, "CR3_TARGET_VALUE_1"},
    {0x600C, "CR3_TARGET_VALUE_2"},
    {0x600E, "CR3_TARGET_VALUE_3"},
    /* Table B-13, natural-width read-only data fields */
    {0x6400, "EXIT_QUALIFICATION"},
    {0x6402, "IO_RCX"},
    {0x6404, "IO_RSI"},
    {0x6406, "IO_RDI"},
    {0x6408, "IO_RIP"},
    {0x640A, "GUEST_LINEAR_ADDRESS"},
    /* Table B-14, natural-width guest-state fields */
    {0x6800, "GUEST_CR0"},
    {0x6802, "GUEST_CR3"},
    {0x6804, "GUEST_CR4"},
    {0x6806, "GUEST_ES_BASE"},
    {0x6808, "GUEST_CS_BASE"},
    {0x680A, "GUEST_SS_BASE"},
    {0x680C, "GUEST_DS_BASE"},
    {0x680E, "GUEST_FS_BASE"},
    {0x6810, "GUEST_GS_BASE"},
    {0x6812, "GUEST_LDTR_BASE"},
    {0x6814, "GUEST_TR_BASE"},
    {0x6816, "GUEST_GDTR_BASE"},
    {0x6818, "GUEST_IDTR_BASE"},
    {0x681A, "GUEST_DR7"},
    {0x681C, "GUEST_RSP"},
    {0x681E, "GUEST_RIP"},
    {0x6820, "GUEST_RFLAGS"},
    {0x6822, "GUEST_PENDING_DEBUG_EXCEPTIONS"},
    {0x6824, "GUEST_IA32_SYSENTER_ESP"},
    {0x6826, "GUEST_IA32_SYSENTER_EIP"},
    {0x6828, "GUEST_IA32_S_CET"},
    {0x682A, "GUEST_SSP"},
    {0x682C, "GUEST_IA32_INTERRUPT_SSP_TABLE_ADDR"},
    /* Table B-15, natural-width host-state fields */
    {0x6C00, "HOST_CR0"},
    {0x6C02, "HOST_CR3"},
    {0x6C04, "HOST_CR4"},
    {0x6C06, "HOST_FS_BASE"},
    {0x6C08, "HOST_GS_BASE"},
    {0x6C0A, "HOST_TR_BASE"},
    {0x6C0C, "HOST_GDTR_BASE"},
    {0x6C0E, "HOST_IDTR_BASE"},
    {0x6C10, "HOST_IA32_SYSENTER_ESP"},
    {0x6C12, "HOST_IA32_SYSENTER_EIP"},
    {0x6C14, "HOST_RSP"},
    {0x6C16, "HOST_RIP"},
    {0x6C18, "HOST_IA32_S_CET"},
    {0x6C1A, "HOST_SSP"},
    {0x6C1C, "HOST_IA32_INTERRUPT_SSP_TABLE_ADDR"},
};
_Static_assert(ARRAY_LEN(sdm) >= 190, "the SDM has more fields");

static void same_as_the_sdm(void **state)
{
    (void)state;
    assert_int_equal(VMCS_ROWS, ARRAY_LEN(sdm));
    assert_int_equal(VMCS_ROWS, ARRAY_LEN(sdm));
    for (unsigned i = 0; i < ARRAY_LEN(sdm); i++) {
        assert_int_equal(vmcs_field(i)->encoding, sdm[i].encoding);
        assert_string_equal(vmcs_field(i)->name, sdm[i].name);
    }
    assert_null(vmcs_field(ARRAY_LEN(sdm)));
    assert_null(vmcs_field(UINT32_MAX));
}

static void sorted_full_halves_only(void **state)
{
    (void)state;
    for (unsigned i = 0; i < VMCS_ROWS; i++) {
        assert_int_equal(vmcs_field(i)->encoding & 1, 0);
        /* Bits 12 and 15 are reserved. */
        assert_int_equal(vmcs_field(i)->encoding & 0x9000, 0);
        if (i > 0)
            assert_true(vmcs_field(i)->encoding > vmcs_field(i - 1)->encoding);
    }
}

/* Every possible encoding: found exactly if it is in the SDM's list; high halves never. */
static void lookup_by_encoding(void **state)
{
    unsigned next = 0;

    (void)state;
    for (uint32_t e = 0; e < 0x20000; e++) {
        const struct vmcs_field *f = vmcs_field_by_encoding(e);

        if (next < ARRAY_LEN(sdm) && sdm[next].encoding == e)
            assert_ptr_equal(f, vmcs_field(next++));
        else
            assert_null(f);
    }
    assert_int_equal(next, ARRAY_LEN(sdm));
    assert_null(vmcs_field_by_encoding(UINT32_MAX));
    assert_null(vmcs_field_by_encoding(0x10000));
}

static void lookup_by_name(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(sdm); i++)
        assert_ptr_equal(vmcs_field_by_name(sdm[i].name), vmcs_field(i));
    assert_null(vmcs_field_by_name(""));
    assert_null(vmcs_field_by_name("GUEST_RI"));
    assert_null(vmcs_field_by_name("GUEST_RIPS"));
    assert_null(vmcs_field_by_name("guest_rip"));
}

static void constants(void **state)
{
    (void)state;
    assert_int_equal(VMCS_VPID, 0);
    assert_int_equal(VMCS_GUEST_RIP, 0x681e);
    assert_int_equal(VMCS_HOST_IA32_INTERRUPT_SSP_TABLE_ADDR, 0x6c1c);
    assert_int_equal(VMCS_ROW_VPID, 0);
    assert_ptr_equal(vmcs_field(VMCS_ROW_GUEST_RIP), vmcs_field_by_encoding(VMCS_GUEST_RIP));
    assert_ptr_equal(vmcs_field(VMCS_ROW_EXIT_REASON), vmcs_field_by_name("EXIT_REASON"));
}

/* An encoding's parts match the titles of the tables. */
static void parts_of_an_encoding(void **state)
{
    static const struct {
        uint32_t first, last;
        const char *width, *group;
    } tables[] = {
        {0x0000, 0x07fe, "16", "control"},        {0x0800, 0x0bfe, "16", "guest"},
        {0x0c00, 0x0ffe, "16", "host"},           {0x2000, 0x23fe, "64", "control"},
        {0x2400, 0x27fe, "64", "read-only"},      {0x2800, 0x2bfe, "64", "guest"},
        {0x2c00, 0x2ffe, "64", "host"},           {0x4000, 0x43fe, "32", "control"},
        {0x4400, 0x47fe, "32", "read-only"},      {0x4800, 0x4bfe, "32", "guest"},
        {0x4c00, 0x4ffe, "32", "host"},           {0x6000, 0x63fe, "natural", "control"},
        {0x6400, 0x67fe, "natural", "read-only"}, {0x6800, 0x6bfe, "natural", "guest"},
        {0x6c00, 0x6ffe, "natural", "host"},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(sdm); i++) {
        uint32_t e = sdm[i].encoding;
        unsigned t = 0;

        while (t < ARRAY_LEN(tables) && e > tables[t].last)
            t++;
        assert_true(t < ARRAY_LEN(tables) && e >= tables[t].first);
        assert_string_equal(vmcs_width_name(vmcs_encoded_width(e)), tables[t].width);
        assert_string_equal(vmcs_group_name(vmcs_encoded_group(e)), tables[t].group);
        assert_int_equal(vmcs_encoded_index(e), (e - tables[t].first) / 2);
    }
    assert_int_equal(vmcs_encoded_index(0x6c1c), 14);
    assert_int_equal(vmcs_encoded_index(0x2053), 0x29);
    assert_int_equal(vmcs_encoded_index(0x03fe), 0x1ff);
}

/* Exactly these fields have a misleading encoding, each with a reason. */
static void misfits(void **state)
{
    static const struct {
        uint32_t encoding;
        enum vmcs_group group;
    } expected[] = {
        {0x0004, VMCS_GROUP_GUEST},   /* EPTP index: VMFUNC in the guest writes it */
        {0x0810, VMCS_GROUP_CONTROL}, /* guest interrupt status */
        {0x0812, VMCS_GROUP_CONTROL}, /* PML index */
        {0x2010, VMCS_GROUP_GUEST},   /* TSC offset */
        {0x204c, VMCS_GROUP_GUEST},   /* IA32_SPEC_CTRL shadow */
        {0x2800, VMCS_GROUP_CONTROL}, /* VMCS link pointer */
        {0x482e, VMCS_GROUP_CONTROL}, /* VMX-preemption timer value */
        {0x6004, VMCS_GROUP_GUEST},   /* CR0 read shadow */
        {0x6006, VMCS_GROUP_GUEST},   /* CR4 read shadow */
    };
    unsigned next = 0;

    (void)state;
    for (unsigned i = 0; i < VMCS_ROWS; i++) {
        const struct vmcs_field *f = vmcs_field(i);

        if (next < ARRAY_LEN(expected) && f->encoding == expected[next].encoding) {
            assert_int_equal(f->group, expected[next].group);
            assert_true(strlen(f->reason) > 20);
            next++;
        } else {
            assert_int_equal(f->group, vmcs_encoded_group(f->encoding));
        }
    }
    assert_int_equal(next, ARRAY_LEN(expected));
    /* Fields of one group with a bit that affects another. */
    assert_non_null(strstr(vmcs_field_by_name("VM_ENTRY_CONTROLS")->reason, "guest state"));
    assert_non_null(strstr(vmcs_field_by_name("PRIMARY_VM_EXIT_CONTROLS")->reason, "host state"));
}

static void volatility(void **state)
{
    (void)state;
    assert_string_equal(vmcs_volatility_name(VMCS_VOLATILITY_SETUP), "setup");
    assert_string_equal(vmcs_volatility_name(VMCS_VOLATILITY_ENTRY), "entry");
    assert_string_equal(vmcs_volatility_name(VMCS_VOLATILITY_EXIT), "exit");
    assert_string_equal(vmcs_volatility_name(VMCS_VOLATILITY_RUN), "run");
    for (unsigned i = 0; i < VMCS_ROWS; i++) {
        const struct vmcs_field *f = vmcs_field(i);
        enum vmcs_group encoded = vmcs_encoded_group(f->encoding);

        /* Only read-only fields are written by the CPU alone, at exits. */
        assert_int_equal(f->volatility == VMCS_VOLATILITY_EXIT, encoded == VMCS_GROUP_READ_ONLY);
        if (encoded == VMCS_GROUP_HOST)
            assert_int_not_equal(f->volatility, VMCS_VOLATILITY_RUN);
        if (encoded == VMCS_GROUP_GUEST && f->group == VMCS_GROUP_GUEST)
            assert_int_equal(f->volatility, VMCS_VOLATILITY_RUN);
    }
    assert_int_equal(vmcs_field_by_name("HOST_RSP")->volatility, VMCS_VOLATILITY_ENTRY);
}

#define MAY(bit) (1ull << (32 + (bit)))

enum { PIN, CPU1, CPU2, CPU3, EXIT, EXIT2, ENTRY, VMFUNC, WORDS };

static uint64_t *word(struct abi_caps *c, unsigned which)
{
    uint64_t *const words[] = {&c->pin,  &c->cpu1,  &c->cpu2,  &c->cpu3,
                               &c->exit, &c->exit2, &c->entry, &c->vmfunc};

    return words[which];
}

/* From the notes under the tables of appendix B: which control makes a field exist. Bit numbers are
 * typed here again. `other` is an alternative: either control is enough. */
static const struct creation {
    uint32_t first, last;
    unsigned word, bit, other_word, other_bit;
    const char *says;
} creations[] = {
#define ONE(from, to, w, b, says)                                                                  \
    {                                                                                              \
        from, to, w, b, w, b, says                                                                 \
    }
#define TWO(from, to, w, b, ow, ob, says)                                                          \
    {                                                                                              \
        from, to, w, b, ow, ob, says                                                               \
    }
    ONE(0x0000, 0x0000, CPU2, 5, "secondary controls bit 5"),
    ONE(0x0002, 0x0002, PIN, 7, "pin-based controls bit 7"),
    ONE(0x0004, 0x0004, CPU2, 18, "secondary controls bit 18"),
    ONE(0x0006, 0x0006, CPU3, 1, "tertiary controls bit 1"),
    ONE(0x0008, 0x0008, CPU3, 4, "tertiary controls bit 4"),
    ONE(0x0810, 0x0810, CPU2, 9, "secondary controls bit 9"),
    ONE(0x0812, 0x0812, CPU2, 17, "secondary controls bit 17"),
    TWO(0x0814, 0x0814, ENTRY, 19, EXIT, 27, "VM-entry controls bit 19, VM-exit controls bit 27"),
    ONE(0x2004, 0x2004, CPU1, 28, "primary controls bit 28"),
    ONE(0x200e, 0x200e, CPU2, 17, "secondary controls bit 17"),
    ONE(0x2012, 0x2012, CPU1, 21, "primary controls bit 21"),
    ONE(0x2014, 0x2014, CPU2, 0, "secondary controls bit 0"),
    ONE(0x2016, 0x2016, PIN, 7, "pin-based controls bit 7"),
    ONE(0x2018, 0x2018, CPU2, 13, "secondary controls bit 13"),
    ONE(0x201a, 0x201a, CPU2, 1, "secondary controls bit 1"),
    ONE(0x201c, 0x2022, CPU2, 9, "secondary controls bit 9"),
    ONE(0x2024, 0x2024, VMFUNC, 0, "IA32_VMX_VMFUNC bit 0"),
    ONE(0x2026, 0x2028, CPU2, 14, "secondary controls bit 14"),
    ONE(0x202a, 0x202a, CPU2, 18, "secondary controls bit 18"),
    ONE(0x202c, 0x202c, CPU2, 20, "secondary controls bit 20"),
    ONE(0x202e, 0x202e, CPU2, 15, "secondary controls bit 15"),
    ONE(0x2030, 0x2030, CPU2, 23, "secondary controls bit 23"),
    ONE(0x2032, 0x2032, CPU2, 25, "secondary controls bit 25"),
    ONE(0x2034, 0x2034, CPU1, 17, "primary controls bit 17"),
    ONE(0x2036, 0x2036, CPU2, 28, "secondary controls bit 28"),
    ONE(0x2038, 0x203a, CPU2, 21, "secondary controls bit 21"),
    ONE(0x203e, 0x203e, CPU2, 27, "secondary controls bit 27"),
    ONE(0x2040, 0x2040, CPU3, 1, "tertiary controls bit 1"),
    ONE(0x2042, 0x2042, CPU3, 4, "tertiary controls bit 4"),
    ONE(0x2044, 0x2044, EXIT, 31, "VM-exit controls bit 31"),
    ONE(0x204a, 0x204c, CPU3, 7, "tertiary controls bit 7"),
    ONE(0x2052, 0x2052, ENTRY, 23, "VM-entry controls bit 23"),
    ONE(0x2400, 0x2400, CPU2, 1, "secondary controls bit 1"),
    ONE(0x2404, 0x2404, ENTRY, 23, "VM-entry controls bit 23"),
    TWO(0x2804, 0x2804, ENTRY, 14, EXIT, 18, "VM-entry controls bit 14, VM-exit controls bit 18"),
    TWO(0x2806, 0x2806, ENTRY, 15, EXIT, 20, "VM-entry controls bit 15, VM-exit controls bit 20"),
    ONE(0x2808, 0x2808, ENTRY, 13, "VM-entry controls bit 13"),
    ONE(0x280a, 0x2810, CPU2, 1, "secondary controls bit 1"),
    TWO(0x2812, 0x2812, ENTRY, 16, EXIT, 23, "VM-entry controls bit 16, VM-exit controls bit 23"),
    TWO(0x2814, 0x2814, ENTRY, 18, EXIT, 25, "VM-entry controls bit 18, VM-exit controls bit 25"),
    TWO(0x2816, 0x2816, ENTRY, 21, EXIT, 26, "VM-entry controls bit 21, VM-exit controls bit 26"),
    ONE(0x2818, 0x2818, ENTRY, 22, "VM-entry controls bit 22"),
    ONE(0x281a, 0x2828, ENTRY, 23, "VM-entry controls bit 23"),
    ONE(0x2c00, 0x2c00, EXIT, 19, "VM-exit controls bit 19"),
    ONE(0x2c02, 0x2c02, EXIT, 21, "VM-exit controls bit 21"),
    ONE(0x2c04, 0x2c04, EXIT, 12, "VM-exit controls bit 12"),
    ONE(0x2c06, 0x2c06, EXIT, 29, "VM-exit controls bit 29"),
    ONE(0x2c08, 0x2c16, EXIT2, 1, "secondary VM-exit controls bit 1"),
    ONE(0x401c, 0x401c, CPU1, 21, "primary controls bit 21"),
    ONE(0x401e, 0x401e, CPU1, 31, "primary controls bit 31"),
    ONE(0x4020, 0x4022, CPU2, 10, "secondary controls bit 10"),
    ONE(0x4024, 0x4024, CPU2, 31, "secondary controls bit 31"),
    ONE(0x482e, 0x482e, PIN, 6, "pin-based controls bit 6"),
    ONE(0x6828, 0x682c, ENTRY, 20, "VM-entry controls bit 20"),
    ONE(0x6c18, 0x6c1c, EXIT, 28, "VM-exit controls bit 28"),
};

static const struct creation *creation_of(uint32_t encoding)
{
    for (unsigned i = 0; i < ARRAY_LEN(creations); i++)
        if (encoding >= creations[i].first && encoding <= creations[i].last)
            return &creations[i];
    return NULL;
}

static bool is_cr3_target(uint32_t encoding)
{
    return encoding >= 0x6008 && encoding <= 0x600e;
}

/* Words with separate may-be-1 halves; the others are one 64-bit value of allowed bits. */
static uint64_t may(unsigned which, unsigned bit)
{
    return which == CPU3 || which == EXIT2 || which == VMFUNC ? 1ull << bit : MAY(bit);
}

/* With one capability bit alone, exactly its fields and the unconditional ones exist. */
static void each_capability_creates_its_fields(void **state)
{
    (void)state;
    for (unsigned w = 0; w < WORDS; w++)
        for (unsigned bit = 0; bit < 32; bit++) {
            struct abi_caps c = {0};

            *word(&c, w) = may(w, bit);
            for (unsigned i = 0; i < VMCS_ROWS; i++) {
                const struct vmcs_field *f = vmcs_field(i);
                const struct creation *n = creation_of(f->encoding);
                bool expected = n ? (n->word == w && n->bit == bit) ||
                                        (n->other_word == w && n->other_bit == bit)
                                  : !is_cr3_target(f->encoding);

                if (vmcs_field_exists(f, &c) != expected)
                    fail_msg("%s, word %u bit %u", f->name, w, bit);
            }
        }
}

/* With all bits except those of one condition, only its fields are missing. */
static void each_field_needs_its_capability(void **state)
{
    (void)state;
    for (unsigned k = 0; k < ARRAY_LEN(creations); k++) {
        const struct creation *n = &creations[k];
        struct abi_caps c;

        memset(&c, 0xff, sizeof(c));
        *word(&c, n->word) &= ~may(n->word, n->bit);
        *word(&c, n->other_word) &= ~may(n->other_word, n->other_bit);
        for (uint32_t e = n->first; e <= n->last; e += 2)
            assert_false(vmcs_field_exists(vmcs_field_by_encoding(e), &c));
        memset(&c, 0xff, sizeof(c));
        for (uint32_t e = n->first; e <= n->last; e += 2)
            assert_true(vmcs_field_exists(vmcs_field_by_encoding(e), &c));
    }
}

/* "Must be 1" without "may be 1" is no capability. */
static void must_be_one_is_not_may(void **state)
{
    struct abi_caps c = {.pin = UINT32_MAX,
                         .cpu1 = UINT32_MAX,
                         .cpu2 = UINT32_MAX,
                         .exit = UINT32_MAX,
                         .entry = UINT32_MAX};

    (void)state;
    for (unsigned i = 0; i < VMCS_ROWS; i++) {
        uint32_t e = vmcs_field(i)->encoding;

        assert_int_equal(vmcs_field_exists(vmcs_field(i), &c),
                         !creation_of(e) && !is_cr3_target(e));
    }
}

static void cr3_targets(void **state)
{
    (void)state;
    for (uint64_t targets = 0; targets <= 0x1ff; targets++) {
        /* The neighbours of bits 24:16 do not matter. */
        struct abi_caps c = {.misc = ~(0x1ffull << 16) | targets << 16};

        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(vmcs_field_exists(vmcs_field_by_encoding(0x6008 + 2 * i), &c),
                             i < targets);
    }
}

static void absence(void **state)
{
    static const struct vmcs_field unknown = {.condition = 255};
    static const struct abi_caps none = {0};

    (void)state;
    for (unsigned i = 0; i < VMCS_ROWS; i++) {
        const struct vmcs_field *f = vmcs_field(i);
        const struct creation *n = creation_of(f->encoding);
        const char *text = vmcs_field_absence(f);

        if (n) {
            /* The text in brackets after a missing field. */
            const char *at = strstr(text, n->says);

            assert_non_null(at);
            assert_true(at > text + 4 && at[-1] == '(');
            assert_string_equal(at + strlen(n->says), ")");
        } else if (is_cr3_target(f->encoding)) {
            assert_non_null(strstr(text, "IA32_VMX_MISC bits 24:16"));
        } else {
            assert_string_equal(text, "");
        }
    }
    assert_string_equal(vmcs_field_absence(&unknown), "");
    assert_false(vmcs_field_exists(&unknown, &none));
}

static void snapshot(void **state)
{
    static struct abi_vmcs v;

    (void)state;
    for (unsigned row = 0; row < VMCS_ROWS; row++) {
        assert_false(vmcs_has(&v, row));
        vmcs_set(&v, row, row * 3 + 1);
    }
    for (unsigned row = 0; row < VMCS_ROWS; row++) {
        assert_true(vmcs_has(&v, row));
        assert_int_equal(v.value[row], row * 3 + 1);
    }
    vmcs_set_absent(&v, 64);
    assert_false(vmcs_has(&v, 64));
    assert_int_equal(v.value[64], 0);
    assert_true(vmcs_has(&v, 63) && vmcs_has(&v, 65) && vmcs_has(&v, 0) && vmcs_has(&v, 128));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_the_sdm),
        cmocka_unit_test(sorted_full_halves_only),
        cmocka_unit_test(lookup_by_encoding),
        cmocka_unit_test(lookup_by_name),
        cmocka_unit_test(constants),
        cmocka_unit_test(parts_of_an_encoding),
        cmocka_unit_test(misfits),
        cmocka_unit_test(volatility),
        cmocka_unit_test(each_capability_creates_its_fields),
        cmocka_unit_test(each_field_needs_its_capability),
        cmocka_unit_test(must_be_one_is_not_may),
        cmocka_unit_test(cr3_targets),
        cmocka_unit_test(absence),
        cmocka_unit_test(snapshot),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
