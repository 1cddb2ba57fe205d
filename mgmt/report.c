#include "mgmt/report.h"

#include "arch/x86/vmx/caps.h"
#include "arch/x86/inspect/entry_check.h"
#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/dump.h"

/* ---- differences ---- */

static void put_value(struct json_out *j, const char *name, const struct abi_vmcs *v, unsigned row)
{
    if (vmcs_has(v, row))
        json_hex(j, name, v->value[row], dump_digits(vmcs_field(row)));
    else
        json_null(j, name);
}

static const char *text_of(const struct abi_vmcs *v, unsigned row, char *buf, size_t size)
{
    if (!vmcs_has(v, row))
        return "absent";
    (void)fmt(buf, size, "0x%0*lx", (int)dump_digits(vmcs_field(row)), v->value[row]);
    return buf;
}

static void put_difference(struct json_out *j, const struct abi_vmcs *from,
                           const struct abi_vmcs *to, unsigned row)
{
    const struct vmcs_field *f = vmcs_field(row);
    char a[24], b[24];

    if (j->text) {
        json_printf(j, "\n0x%04x  %-36s %s -> %s", f->encoding, f->name,
                    text_of(from, row, a, sizeof(a)), text_of(to, row, b, sizeof(b)));
        return;
    }
    json_object(j, NULL);
    json_hex(j, "encoding", f->encoding, 4);
    json_str(j, "name", f->name);
    json_str(j, "volatility", vmcs_volatility_name((enum vmcs_volatility)f->volatility));
    put_value(j, "from", from, row);
    put_value(j, "to", to, row);
    json_end(j);
}

unsigned report_diff(struct json_out *j, const struct abi_vmcs *from, const struct abi_vmcs *to,
                     const uint64_t *rows, bool all)
{
    unsigned count = 0;

    json_array(j, "fields");
    for (unsigned row = 0; row < VMCS_ROWS; row++) {
        bool differs =
            vmcs_has(from, row) != vmcs_has(to, row) || from->value[row] != to->value[row];

        if (!differs || (rows && !(rows[row / 64] >> (row % 64) & 1)) ||
            (!all && vmcs_field(row)->volatility != VMCS_VOLATILITY_SETUP))
            continue;
        put_difference(j, from, to, row);
        count++;
    }
    json_end(j);
    return count;
}

/* ---- the entry check ---- */

static const char *stage_name(unsigned stage)
{
    static const char *const names[] = {"controls", "host state", "guest state"};

    return stage < ARRAY_LEN(names) ? names[stage] : "unknown";
}

static void put_failure(void *arg, const struct entry_rule_failure *f)
{
    struct json_out *j = arg;
    const struct vmcs_field *field = vmcs_field_by_encoding(f->encoding);

    json_object(j, NULL);
    json_str(j, "rule", f->rule->name);
    json_str(j, "field", field ? field->name : "");
    json_hex(j, "encoding", f->encoding, 4);
    json_hex(j, "value", f->value, field ? dump_digits(field) : 1);
    if (f->bits)
        json_hex(j, "bits", f->bits, 1);
    json_str(j, "allowed", f->allowed);
    json_str(j, "stage", stage_name(f->rule->stage));
    json_str(j, "section", f->rule->section);
    json_end(j);
}

/* Rules about unknown facts are left out. */
static struct entry_cpu cpu_of(const struct abi_caps *abi)
{
    return (struct entry_cpu){.physical_bits = (uint8_t)abi->address_widths,
                              .linear_bits = (uint8_t)(abi->address_widths >> 8),
                              .ia32e = true};
}

unsigned report_check(struct json_out *j, const struct abi_vmcs *v, const struct abi_caps *abi)
{
    const struct entry_cpu cpu = cpu_of(abi);
    struct vmx_caps caps;
    unsigned failures;

    vmx_caps_from_abi(abi, &caps);
    failures = vmcs_entry_check(v, &caps, &cpu, NULL, NULL);
    json_u64(j, "rules", ENTRY_RULES);
    json_bool(j, "enters", failures == 0);
    json_array(j, "failures");
    (void)vmcs_entry_check(v, &caps, &cpu, put_failure, j);
    json_end(j);
    return failures;
}

struct first_failure {
    char *text;
    size_t size;
};

static void note_first(void *arg, const struct entry_rule_failure *f)
{
    struct first_failure *n = arg;

    if (!n->text[0])
        (void)fmt(n->text, n->size, "%s 0x%lx (%s)", f->rule->name, f->value, f->allowed);
}

bool report_first_failure(const struct abi_vmcs *v, const struct abi_caps *abi, char *text,
                          size_t size)
{
    const struct entry_cpu cpu = cpu_of(abi);
    struct first_failure n = {text, size};
    struct vmx_caps caps;

    text[0] = 0;
    vmx_caps_from_abi(abi, &caps);
    return vmcs_entry_check(v, &caps, &cpu, note_first, &n) != 0;
}
