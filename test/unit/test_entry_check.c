/* SOURCES: arch/x86/inspect/entry_check.c arch/x86/inspect/entry_check_controls.c
 * arch/x86/inspect/entry_check_injection.c arch/x86/inspect/entry_check_host.c
 * arch/x86/inspect/entry_check_guest.c arch/x86/inspect/entry_check_segments.c
 * arch/x86/inspect/decode_fields.c arch/x86/inspect/fields.c arch/x86/inspect/vmcb_fields.c
 * hv/lib.c */
#include "arch/x86/inspect/entry_check.h"

#include "arch/x86/inspect/decode_fields.h"
#include "hv/lib.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct field_value {
    unsigned row;
    uint64_t value;
};

struct baseline {
    const char *name;
    const struct field_value *fields;
    unsigned count;
};

enum change_kind { CHANGE_FIELD, CHANGE_CAPS, CHANGE_CPU };

struct change {
    enum change_kind kind;
    size_t where; /* row, or offset in the structure */
    size_t size;
    uint64_t clear, set;
};

struct mutation {
    const char *rule;
    unsigned number; /* of those for the rule */
    unsigned baseline;
    const struct change *changes;
    unsigned count;
};

#include "entry_rules.h"

struct machine {
    struct abi_vmcs vmcs;
    struct abi_caps caps;
    struct entry_cpu cpu;
};

/* A CPU that has everything the SDM defines, so that every rule can be reached. */
static const struct abi_caps caps_all = {
    .basic = 0x0080000000000000 | 0x2b,
    .misc = 0x000401c0,
    .ept_vpid = 0x00000f0106334141,
    .vmfunc = 1,
    .pin = 0x000000ff00000016,
    .cpu1 = 0xfffbfffe0401e172 & ~0x18000ull,
    .cpu2 = 0x9fffffff00000000,
    .cpu3 = 0xff,
    .exit = 0xbfffffff00036dfb,
    .exit2 = 3,
    .entry = 0x00ffffff000011fb,
    .cr0_fixed0 = 0x80000021,
    .cr0_fixed1 = 0xffffffff,
    .cr4_fixed0 = 0x2000,
    .cr4_fixed1 = 0x101ff7fff,
};

static const struct entry_cpu cpu_all = {
    .physical_bits = 40,
    .linear_bits = 48,
    .ia32e = true,
    .bus_lock = true,
    .lam = true,
    .perf_global = 0x70000000f,
};

static void load_baseline(struct machine *m, unsigned number)
{
    static const struct {
        unsigned row;
        size_t cap;
    } words[] = {
        {VMCS_ROW_PIN_BASED_CONTROLS, offsetof(struct abi_caps, pin)},
        {VMCS_ROW_PRIMARY_PROCESSOR_CONTROLS, offsetof(struct abi_caps, cpu1)},
        {VMCS_ROW_SECONDARY_PROCESSOR_CONTROLS, offsetof(struct abi_caps, cpu2)},
        {VMCS_ROW_PRIMARY_VM_EXIT_CONTROLS, offsetof(struct abi_caps, exit)},
        {VMCS_ROW_VM_ENTRY_CONTROLS, offsetof(struct abi_caps, entry)},
    };
    const struct baseline *b = &baselines[number];

    *m = (struct machine){.caps = caps_all, .cpu = cpu_all};
    for (unsigned row = 0; row < VMCS_ROWS; row++)
        if (vmcs_field_exists(vmcs_field(row), &m->caps))
            vmcs_set(&m->vmcs, row, 0);
    for (unsigned i = 0; i < b->count; i++)
        vmcs_set(&m->vmcs, b->fields[i].row, b->fields[i].value);
    for (unsigned i = 0; i < ARRAY_LEN(words); i++) {
        uint64_t cap;

        memcpy(&cap, (const char *)&m->caps + words[i].cap, sizeof(cap));
        m->vmcs.value[words[i].row] |= (uint32_t)cap;
    }
}

static void change_bytes(void *structure, const struct change *c)
{
    uint64_t v = 0;

    memcpy(&v, (char *)structure + c->where, c->size);
    v = (v & ~c->clear) | c->set;
    memcpy((char *)structure + c->where, &v, c->size);
}

static void mutate(struct machine *m, const struct mutation *mutation)
{
    load_baseline(m, mutation->baseline);
    for (unsigned i = 0; i < mutation->count; i++) {
        const struct change *c = &mutation->changes[i];

        if (c->kind == CHANGE_FIELD) {
            assert_true(vmcs_has(&m->vmcs, (unsigned)c->where));
            m->vmcs.value[c->where] = (m->vmcs.value[c->where] & ~c->clear) | c->set;
        } else {
            change_bytes(c->kind == CHANGE_CAPS ? (void *)&m->caps : (void *)&m->cpu, c);
        }
    }
}

struct result {
    unsigned count;
    const struct entry_rule *rule; /* the last one */
    uint32_t encoding;
    uint64_t value, bits;
    char allowed[200];
    bool other; /* some rule was not `expected` */
    const char *expected;
};

static void on_failure(void *arg, const struct entry_rule_failure *f)
{
    struct result *r = arg;
    const struct vmcs_field *field = vmcs_field_by_encoding(f->encoding);

    r->count++;
    r->rule = f->rule;
    r->encoding = f->encoding;
    r->value = f->value;
    r->bits = f->bits;
    assert_true(str_copy(r->allowed, sizeof(r->allowed), f->allowed));
    assert_non_null(field);
    assert_ptr_equal(entry_rule(f->rule->id), f->rule);
    if (r->expected && strcmp(f->rule->name, r->expected) == 0)
        return;
    r->other = true;
    print_message("%s: %s = 0x%llx: %s\n", f->rule->name, field->name, (unsigned long long)f->value,
                  f->allowed);
}

static struct result check(const struct machine *m, const char *expected)
{
    struct result r = {.expected = expected};
    unsigned count = vmcs_entry_check(&m->vmcs, &m->caps, &m->cpu, on_failure, &r);

    assert_int_equal(count, r.count);
    assert_int_equal(vmcs_entry_check(&m->vmcs, &m->caps, &m->cpu, NULL, NULL), count);
    return r;
}

static void baselines_pass(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(baselines); i++) {
        struct machine m;

        load_baseline(&m, i);
        print_message("baseline %s\n", baselines[i].name);
        assert_int_equal(check(&m, NULL).count, 0);
    }
}

static void each_mutation_breaks_its_rule(void **state)
{
    unsigned bad = 0;

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(mutations); i++) {
        struct machine m;
        struct result r;

        mutate(&m, &mutations[i]);
        r = check(&m, mutations[i].rule);
        if (r.count == 0 || r.other) {
            print_message("mutation %u of %s: %u failures\n", mutations[i].number,
                          mutations[i].rule, r.count);
            bad++;
        }
    }
    assert_int_equal(bad, 0);
}

static void each_rule_has_a_mutation(void **state)
{
    (void)state;
    for (unsigned id = 0; id < ENTRY_RULES; id++) {
        unsigned found = 0;

        for (unsigned i = 0; i < ARRAY_LEN(mutations); i++)
            found += strcmp(mutations[i].rule, entry_rule(id)->name) == 0;
        if (!found)
            print_message("no mutation for %s\n", entry_rule(id)->name);
        assert_true(found);
    }
    for (unsigned i = 0; i < ARRAY_LEN(mutations); i++)
        assert_non_null(entry_rule_by_name(mutations[i].rule));
}

static void table_is_sound(void **state)
{
    (void)state;
    for (unsigned id = 0; id < ENTRY_RULES; id++) {
        const struct entry_rule *r = entry_rule(id);
        unsigned stage = r->stage;
        const char *start[] = {"control.", "host.", "guest."};

        assert_int_equal(r->id, id);
        assert_ptr_equal(entry_rule_by_name(r->name), r); /* so names are unique */
        assert_true(r->section[0] && r->allowed[0]);
        assert_true(stage <= ENTRY_STAGE_GUEST);
        assert_int_equal(strncmp(r->name, start[stage], strlen(start[stage])), 0);
    }
    assert_null(entry_rule(ENTRY_RULES));
    assert_null(entry_rule_by_name("guest.no.such.rule"));
}

static struct result check_field(unsigned baseline, unsigned row, uint64_t value)
{
    struct machine m;

    load_baseline(&m, baseline);
    vmcs_set(&m.vmcs, row, value);
    return check(&m, NULL);
}

static void failures_are_told_in_full(void **state)
{
    struct result r = check_field(0, VMCS_ROW_GUEST_RFLAGS, 0);

    (void)state;
    assert_int_equal(r.count, 1);
    assert_string_equal(r.rule->name, "guest.rflags.fixed");
    assert_string_equal(r.rule->section, "Checks on Guest RIP, RFLAGS, and SSP");
    assert_int_equal(r.rule->stage, ENTRY_STAGE_GUEST);
    assert_int_equal(r.encoding, 0x6820);
    assert_int_equal(r.value, 0);
    assert_int_equal(r.bits, 2);
    assert_string_equal(r.allowed, "bit 1 must be 1: reserved in RFLAGS");

    r = check_field(0, VMCS_ROW_GUEST_RFLAGS, 0x8022a | ~0ull << 22);
    assert_string_equal(r.allowed, "bits 0xffffffffffc00028 must be 0: reserved in RFLAGS");
    r = check_field(0, VMCS_ROW_GUEST_DR7, 0xffffffff00000400);
    assert_string_equal(r.allowed, "bits 63:32 must be 0: reserved in DR7");
    r = check_field(0, VMCS_ROW_HOST_RIP, 1ull << 47);
    assert_string_equal(r.allowed, "must be canonical");
    assert_int_equal(r.bits, 0);
    r = check_field(0, VMCS_ROW_VPID, 0);
    assert_int_equal(r.rule->stage, ENTRY_STAGE_CONTROLS);
    assert_string_equal(r.rule->section, "VM-Execution Control Fields");
}

/* Values at the edge of what is allowed. */
static void what_is_allowed_passes(void **state)
{
    static const struct {
        unsigned baseline, row;
        uint64_t value;
    } good[] = {
        {0, VMCS_ROW_HOST_RIP, 0x00007fffffffffff},
        {0, VMCS_ROW_HOST_RIP, 0xffff800000000000},
        {0, VMCS_ROW_GUEST_RIP, 0x0000ffffffffffff}, /* not canonical, and allowed */
        {0, VMCS_ROW_GUEST_RIP, 0xffff000000000000},
        {1, VMCS_ROW_GUEST_RIP, 0xffffffff},
        {0, VMCS_ROW_GUEST_RFLAGS, 0x3d7fd7}, /* all flags but VM */
        {0, VMCS_ROW_GUEST_CR0, 0xe0050033},  /* NW and CD are free */
        {0, VMCS_ROW_GUEST_CR3, 0x600000fffffff018},
        {0, VMCS_ROW_GUEST_IA32_PAT, 0x0706050401000706},
        {0, VMCS_ROW_GUEST_IA32_DEBUGCTL, 0xffc7},
        {0, VMCS_ROW_GUEST_ACTIVITY_STATE, 3},
        {0, VMCS_ROW_GUEST_INTERRUPTIBILITY_STATE, 0xa},
        {0, VMCS_ROW_GUEST_PENDING_DEBUG_EXCEPTIONS, 0x580f},
        {0, VMCS_ROW_GUEST_CS_ACCESS_RIGHTS, 0xa09f},  /* conforming */
        {0, VMCS_ROW_GUEST_DS_ACCESS_RIGHTS, 0x10000}, /* unusable: nothing else counts */
        {0, VMCS_ROW_GUEST_SS_ACCESS_RIGHTS, 0x10000},
        {1, VMCS_ROW_GUEST_SS_ACCESS_RIGHTS, 0xc097},
        {1, VMCS_ROW_GUEST_TR_ACCESS_RIGHTS, 0x83},
        {1, VMCS_ROW_GUEST_LDTR_ACCESS_RIGHTS, 0x1ff82},
        {1, VMCS_ROW_GUEST_PDPTE3, 0xfffffffffe}, /* not present */
        {1, VMCS_ROW_GUEST_PDPTE3, 0xfffffff019},
        {0, VMCS_ROW_EPT_POINTER, 0x7058},
        {0, VMCS_ROW_VMCS_LINK_POINTER, 0x6000},
        {0, VMCS_ROW_CR3_TARGET_COUNT, 4},
        /* Not valid: nothing in the field counts. */
        {0, VMCS_ROW_VM_ENTRY_INTERRUPTION_INFO, 0x7fffffff},
        {0, VMCS_ROW_VM_ENTRY_INTERRUPTION_INFO, 0x80000202},
        {0, VMCS_ROW_VM_ENTRY_INTERRUPTION_INFO, 0x80000b0e},
        {2, VMCS_ROW_VM_ENTRY_INTERRUPTION_INFO, 0x80000b0d},
        {3, VMCS_ROW_VM_ENTRY_INTERRUPTION_INFO, 0x8000030d},
        {3, VMCS_ROW_GUEST_CS_ACCESS_RIGHTS, 0x93},
        /* Controls that are not active. */
        {0, VMCS_ROW_TERTIARY_PROCESSOR_CONTROLS, ~0ull},
        {0, VMCS_ROW_SECONDARY_VM_EXIT_CONTROLS, ~0ull},
        {0, VMCS_ROW_VM_FUNCTION_CONTROLS, ~0ull},
        {0, VMCS_ROW_APIC_ACCESS_ADDRESS, ~0ull},
        {0, VMCS_ROW_VM_EXIT_MSR_LOAD_ADDRESS, ~0ull},
        {0, VMCS_ROW_GUEST_IA32_S_CET, ~0ull},
        {0, VMCS_ROW_HOST_IA32_PKRS, ~0ull},
        {3, VMCS_ROW_GUEST_PDPTE0, ~0ull},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(good); i++) {
        struct result r = check_field(good[i].baseline, good[i].row, good[i].value);

        if (r.count)
            print_message("%s = 0x%llx\n", vmcs_field(good[i].row)->name,
                          (unsigned long long)good[i].value);
        assert_int_equal(r.count, 0);
    }
}

static void absent_fields_are_left_out(void **state)
{
    struct machine m;

    (void)state;
    mutate(&m, &mutations[0]);
    for (unsigned row = 0; row < VMCS_ROWS; row++)
        vmcs_set_absent(&m.vmcs, row);
    assert_int_equal(check(&m, NULL).count, 0);
}

static void five_levels_widen_addresses(void **state)
{
    struct machine m;

    (void)state;
    load_baseline(&m, 0);
    m.cpu.linear_bits = 57;
    vmcs_set(&m.vmcs, VMCS_ROW_HOST_RIP, 0x00ffffffffffffff);
    vmcs_set(&m.vmcs, VMCS_ROW_GUEST_RIP, 0x01ffffffffffffff);
    vmcs_set(&m.vmcs, VMCS_ROW_GUEST_FS_BASE, 0xff00000000000000);
    assert_int_equal(check(&m, NULL).count, 0);
    vmcs_set(&m.vmcs, VMCS_ROW_HOST_RIP, 0x0100000000000000);
    assert_int_equal(check(&m, "host.rip.canonical").count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(baselines_pass),
        cmocka_unit_test(each_mutation_breaks_its_rule),
        cmocka_unit_test(each_rule_has_a_mutation),
        cmocka_unit_test(table_is_sound),
        cmocka_unit_test(failures_are_told_in_full),
        cmocka_unit_test(what_is_allowed_passes),
        cmocka_unit_test(absent_fields_are_left_out),
        cmocka_unit_test(five_levels_widen_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
