/* SOURCES: arch/x86/inspect/entry_check_vmrun.c arch/x86/inspect/entry_check.c
 * arch/x86/inspect/entry_check_controls.c arch/x86/inspect/entry_check_guest.c
 * arch/x86/inspect/entry_check_host.c arch/x86/inspect/entry_check_injection.c
 * arch/x86/inspect/entry_check_segments.c arch/x86/inspect/fields.c
 * arch/x86/inspect/vmcb_fields.c arch/x86/inspect/decode_fields.c hv/lib.c */
#include "arch/x86/inspect/entry_check_vmrun.h"
#include "arch/x86/inspect/decode_fields.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* QEMU's EPYC: 40 bits of address, 16 ASIDs; here with shadow stacks. */
static const struct abi_caps caps = {
    .present = 1, .address_widths = 0x3028, .svm_asids = 16, .svm_features = 1u << 19 | 1};

static const struct {
    unsigned row;
    uint64_t value;
} long_mode[] = {
    {VMCB_ROW_INTERCEPT_MISC2, 1},
    {VMCB_ROW_IOPM_BASE_PA, 0x10000},
    {VMCB_ROW_MSRPM_BASE_PA, 0x14000},
    {VMCB_ROW_GUEST_ASID, 1},
    {VMCB_ROW_NESTED_CTL, 1},
    {VMCB_ROW_N_CR3, 0x20000},
    {VMCB_ROW_CS_ATTRIB, 0xa9b},
    {VMCB_ROW_EFER, 0x1500},
    {VMCB_ROW_CR0, 0x80010011},
    {VMCB_ROW_CR3, 0x1000},
    {VMCB_ROW_CR4, 0x800020},
    {VMCB_ROW_DR6, 0xffff0ff0},
    {VMCB_ROW_DR7, 0x400},
    {VMCB_ROW_RFLAGS, 2},
    {VMCB_ROW_G_PAT, 0x0007040600070406ull},
};

static struct abi_vmcs v;

static void load(void)
{
    static const uint8_t zeros[VMCB_SIZE];

    vmcb_read_fields(zeros, &caps, &v);
    for (unsigned i = 0; i < sizeof(long_mode) / sizeof(long_mode[0]); i++)
        vmcs_set(&v, long_mode[i].row, long_mode[i].value);
}

struct found {
    unsigned count, rule;
    uint32_t offset;
    char allowed[200];
};

static void note(void *arg, const struct entry_rule_failure *f)
{
    struct found *n = arg;

    n->count++;
    n->rule = f->rule->id;
    n->offset = f->encoding;
    assert_int_equal(f->rule->stage, ENTRY_STAGE_VMRUN);
    assert_true(f->rule->section[0] && f->allowed[0]);
    (void)snprintf(n->allowed, sizeof(n->allowed), "%s", f->allowed);
}

static void enters(void **state)
{
    (void)state;
    load();
    assert_int_equal(vmrun_check(&v, &caps, NULL, NULL), 0);
    /* Real mode: nothing of long mode counts. */
    vmcs_set(&v, VMCB_ROW_EFER, 0x1000);
    vmcs_set(&v, VMCB_ROW_CR0, 0x60000010);
    vmcs_set(&v, VMCB_ROW_CR4, 0);
    vmcs_set(&v, VMCB_ROW_CS_ATTRIB, 0x9b);
    assert_int_equal(vmrun_check(&v, &caps, NULL, NULL), 0);
    /* Bits 7:1 of EFER are reserved without a check; the maps' low bits are ignored. */
    load();
    vmcs_set(&v, VMCB_ROW_EFER, 0x15fe);
    vmcs_set(&v, VMCB_ROW_IOPM_BASE_PA, 0x10fff);
    assert_int_equal(vmrun_check(&v, &caps, NULL, NULL), 0);
    /* The injection of everything that can be injected. */
    for (unsigned type = 0; type < 5; type++) {
        if (type == 1)
            continue;
        vmcs_set(&v, VMCB_ROW_EVENTINJ, 1ull << 31 | type << 8 | 14);
        assert_int_equal(vmrun_check(&v, &caps, NULL, NULL), 0);
    }
    vmcs_set(&v, VMCB_ROW_EVENTINJ, 7u << 8 | 2); /* not valid: it does not matter */
    assert_int_equal(vmrun_check(&v, &caps, NULL, NULL), 0);
    /* A field that is not there is not judged, nor by a fact that is not known. */
    vmcs_set_absent(&v, VMCB_ROW_N_CR3);
    vmcs_set(&v, VMCB_ROW_NESTED_CTL, 0);
    vmcs_set(&v, VMCB_ROW_GUEST_ASID, 4000);
    assert_int_equal(vmrun_check(&v, &(struct abi_caps){0}, NULL, NULL), 0);
}

/* One wrong value for each rule: that rule fails, with its field, and no other does. */
static const struct {
    enum vmrun_rule_id rule;
    unsigned row;
    uint64_t value;
} mutations[] = {
#define VMRUN_MUTATION(rule, field, value) {VMRUN_RULE_##rule, VMCB_ROW_##field, value},
#include "test/vmrun_mutations.def"
#undef VMRUN_MUTATION
};

static void refused(void **state)
{
    bool tried[VMRUN_RULES] = {false};

    (void)state;
    for (unsigned i = 0; i < sizeof(mutations) / sizeof(mutations[0]); i++) {
        struct found n = {0};

        load();
        vmcs_set(&v, mutations[i].row, mutations[i].value);
        assert_int_equal(vmrun_check(&v, &caps, note, &n), 1);
        assert_int_equal(n.count, 1);
        assert_string_equal(vmrun_rule(n.rule)->name, vmrun_rule(mutations[i].rule)->name);
        tried[n.rule] = true;
        if (mutations[i].rule != VMRUN_RULE_CET_WP) /* it names CR4 */
            assert_int_equal(n.offset, vmcb_field(mutations[i].row)->offset);
    }
    /* Nested paging on a CPU without. */
    {
        struct found n = {0};

        load();
        vmcs_set_absent(&v, VMCB_ROW_N_CR3);
        assert_int_equal(vmrun_check(&v, &caps, note, &n), 1);
        assert_int_equal(n.rule, VMRUN_RULE_NO_NESTED_PAGING);
        assert_string_equal(n.allowed, "bit 0 must be 0: the CPU has no nested paging");
        tried[n.rule] = true;
    }
    for (unsigned id = 0; id < VMRUN_RULES; id++)
        assert_true(tried[id]);
}

static void sentences(void **state)
{
    struct found n = {0};

    (void)state;
    load();
    vmcs_set(&v, VMCB_ROW_EFER, 0x500);
    (void)vmrun_check(&v, &caps, note, &n);
    assert_string_equal(n.allowed, "bit 12 must be 1: SVM must be on in the guest's EFER");
    load();
    vmcs_set(&v, VMCB_ROW_GUEST_ASID, 0);
    (void)vmrun_check(&v, &caps, note, &n);
    assert_string_equal(n.allowed, "ASID 0 is the host's");
}

static void names(void **state)
{
    (void)state;
    assert_null(vmrun_rule(VMRUN_RULES));
    for (unsigned a = 0; a < VMRUN_RULES; a++)
        for (unsigned b = 0; b < a; b++)
            assert_string_not_equal(vmrun_rule(a)->name, vmrun_rule(b)->name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(enters),
        cmocka_unit_test(refused),
        cmocka_unit_test(sentences),
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
