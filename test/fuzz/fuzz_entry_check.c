/* SOURCES: arch/x86/inspect/entry_check.c arch/x86/inspect/entry_check_controls.c
 * arch/x86/inspect/entry_check_injection.c arch/x86/inspect/entry_check_host.c
 * arch/x86/inspect/entry_check_guest.c arch/x86/inspect/entry_check_segments.c
 * arch/x86/inspect/entry_check_vmrun.c arch/x86/inspect/vmcb_fields.c arch/x86/inspect/fields.c
 * arch/x86/inspect/decode_fields.c hv/lib.c */
#include "arch/x86/inspect/entry_check.h"

#include "arch/x86/inspect/entry_check_vmrun.h"
#include "arch/x86/inspect/decode_fields.h"
#include "hv/lib.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Any values, any capabilities, any facts. Input: capabilities, facts, which fields are absent;
 * then (row, value) again and again. */
struct input {
    struct abi_caps caps;
    struct entry_cpu cpu;
};

static unsigned reports;

static void on_failure(void *arg, const struct entry_rule_failure *f)
{
    const struct abi_vmcs *v = arg;
    const struct vmcs_field *field = vmcs_field_by_encoding(f->encoding);
    size_t length = strlen(f->allowed);

    reports++;
    if (!field || entry_rule(f->rule->id) != f->rule || length == 0 || length > 159)
        abort();
    /* Everything reported must be in the snapshot. */
    for (unsigned row = 0; row < VMCS_ROWS; row++)
        if (vmcs_field(row) == field && vmcs_has(v, row) && v->value[row] != f->value)
            abort();
}

static void on_vmrun_failure(void *arg, const struct entry_rule_failure *f)
{
    const struct abi_vmcs *v = arg;
    const struct vmcb_field *field = vmcb_field_by_offset(f->encoding);
    size_t length = strlen(f->allowed);

    reports++;
    if (!field || vmrun_rule(f->rule->id) != f->rule || length == 0 || length > 159)
        abort();
    for (unsigned row = 0; row < VMCB_ROWS; row++)
        if (vmcb_field(row) == field && (!vmcs_has(v, row) || v->value[row] != f->value))
            abort();
}

/* The same values as a VMCB. */
static void check_vmrun(struct abi_vmcs *v, const uint64_t facts[28])
{
    const struct abi_caps caps = {.address_widths = facts[20], .svm_asids = facts[21] % 64};

    reports = 0;
    if (vmrun_check(v, &caps, on_vmrun_failure, v) != reports)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct input in;
    static struct abi_vmcs v;
    bool *flags[] = {&in.cpu.ia32e,    &in.cpu.smm,        &in.cpu.tracing,
                     &in.cpu.sgx,      &in.cpu.rtm,        &in.cpu.lam,
                     &in.cpu.bus_lock, &in.cpu.vtpr_known, &in.cpu.link_known};
    uint64_t facts[28] = {0};
    size_t at = size < sizeof(facts) ? size : sizeof(facts);
    uint64_t *caps = &in.caps.basic;

    memset(&v, 0, sizeof(v));
    memset(&in, 0, sizeof(in));
    if (at)
        memcpy(facts, data, at);
    for (unsigned i = 0; &caps[i] < &in.caps.hypervisor; i++)
        caps[i] = facts[i];
    for (unsigned i = 0; i < ARRAY_LEN(flags); i++)
        *flags[i] = facts[20] >> i & 1;
    in.cpu.physical_bits = (uint8_t)(facts[20] >> 16); /* even what no CPU has */
    in.cpu.linear_bits = (uint8_t)(facts[20] >> 24);
    in.cpu.vtpr = (uint8_t)(facts[20] >> 32);
    in.cpu.link_word = (uint32_t)facts[21];
    in.cpu.current_vmcs = facts[22];
    in.cpu.perf_global = facts[23];
    for (unsigned row = 0; row < VMCS_ROWS; row++)
        if (facts[24 + row / 64] >> row % 64 & 1)
            vmcs_set_absent(&v, row);
        else
            vmcs_set(&v, row, facts[row % 20] << row % 7);
    for (; size - at >= 9; at += 9) {
        uint64_t value;

        memcpy(&value, data + at + 1, sizeof(value));
        vmcs_set(&v, data[at] % VMCS_ROWS, value);
    }
    reports = 0;
    if (vmcs_entry_check(&v, &in.caps, &in.cpu, on_failure, &v) != reports)
        abort();
    check_vmrun(&v, facts);
    return 0;
}
