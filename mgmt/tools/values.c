/* The commands about one value: field, exit, msr. */
#include "arch/x86/inspect/decode.h"
#include "arch/x86/inspect/names.h"
#include "hv/lib.h"
#include "mgmt/capabilities.h"
#include "mgmt/tools/vmcsdump.h"

#include <ctype.h>
#include <stdio.h>

#define NAME_MAX         64u
#define SUGGESTIONS      6u
#define EXIT_REASON_BITS 32u
#define EXIT_REASON_LAST 127u

/* The SDM's names are in capitals; users may type them in lower case. */
static void capitals(const char *s, char out[NAME_MAX])
{
    size_t n = strlen(s) < NAME_MAX ? strlen(s) : NAME_MAX - 1;

    for (size_t i = 0; i < n; i++)
        out[i] = (char)toupper((unsigned char)s[i]);
    out[n] = 0;
}

static bool need_number(const char *what, const char *s, unsigned bits, uint64_t *v)
{
    if (parse_number(s, bits, v))
        return true;
    (void)complain("%s: \"%s\" is not a number of at most %u bits, like 31 or 0x1f", what, s, bits);
    return false;
}

/* ---- field ---- */

static int suggest_fields(const char *given, const char *part)
{
    unsigned count = 0;

    (void)complain("\"%s\" is neither a field's name nor its encoding", given);
    for (unsigned row = 0; strlen(part) > 2 && row < VMCS_ROWS; row++) {
        const struct vmcs_field *f = vmcs_field(row);

        if (strstr(f->name, part) && ++count <= SUGGESTIONS)
            (void)complain("there is 0x%04x %s", f->encoding, f->name);
    }
    return count ? EXIT_WRONG
                 : complain("give a name as in GET .../vmcs, or an encoding like 0x4002");
}

int command_field(const struct arguments *a)
{
    bool by_number = a->arg[0][0] == '0';
    struct decode_context c = {0};
    const struct vmcs_field *f;
    struct json_out *j;
    char name[NAME_MAX];
    uint64_t value;
    int row;

    capitals(a->arg[0], name);
    row = by_number ? dump_find_row(&state_vmcs, a->arg[0], strlen(a->arg[0]))
                    : dump_find_row(&state_vmcs, name, strlen(name));
    if (row < 0)
        return suggest_fields(a->arg[0], name);
    f = vmcs_field((unsigned)row);
    if (!need_number(f->name, a->arg[1], 4 * dump_digits(f), &value))
        return EXIT_WRONG;
    if (f->encoding == VMCS_EXIT_QUALIFICATION && a->exit_reason == UINT64_MAX)
        return complain("what EXIT_QUALIFICATION says depends on the exit: add --exit REASON");
    if (a->exit_reason != UINT64_MAX)
        c.exit_reason = (uint32_t)a->exit_reason;
    j = output_begin();
    if (!dump_value(j, f, value, &c))
        json_printf(j, "\n        just a number or an address: its bits have no names");
    return output_end(j);
}

/* ---- exit ---- */

static bool find_reason(const char *s, uint64_t *reason)
{
    char name[NAME_MAX];

    if (parse_number(s, EXIT_REASON_BITS, reason))
        return true;
    capitals(s, name);
    if (strcmp(name, vmx_exit_reason_name(UINT16_MAX)) == 0)
        return false; /* the name of undefined reasons */
    for (*reason = 0; *reason <= EXIT_REASON_LAST; (*reason)++)
        if (strcmp(vmx_exit_reason_name((uint32_t)*reason), name) == 0)
            return true;
    return false;
}

static int suggest_reasons(const char *given)
{
    unsigned count = 0;
    char part[NAME_MAX];

    (void)complain("\"%s\" is neither an exit reason's number nor its name", given);
    capitals(given, part);
    for (uint32_t reason = 0; strlen(part) > 2 && reason <= EXIT_REASON_LAST; reason++) {
        const char *name = vmx_exit_reason_name(reason);

        if (strstr(name, part) && strcmp(name, vmx_exit_reason_name(UINT16_MAX)) != 0 &&
            ++count <= SUGGESTIONS)
            (void)complain("there is %u %s", reason, name);
    }
    return count ? EXIT_WRONG : complain("give a number, or a name like EPT_VIOLATION");
}

int command_exit(const struct arguments *a)
{
    struct decode_context c = {0};
    struct json_out *j;
    uint64_t reason, value = 0;

    if (!find_reason(a->arg[0], &reason))
        return suggest_reasons(a->arg[0]);
    if (a->count > 1 && !need_number("qualification", a->arg[1], 64, &value))
        return EXIT_WRONG;
    c.exit_reason = (uint32_t)reason;
    j = output_begin();
    (void)dump_value(j, vmcs_field_by_encoding(VMCS_EXIT_REASON), reason, &c);
    if (a->count > 1 && !dump_value(j, vmcs_field_by_encoding(VMCS_EXIT_QUALIFICATION), value, &c))
        json_printf(j, "\n        no bits of it have names for this exit");
    return output_end(j);
}

/* ---- msr ---- */

static bool find_msr(const char *s, uint32_t *msr)
{
    char name[NAME_MAX];
    uint64_t number;

    if (parse_number(s, 32, &number)) {
        *msr = (uint32_t)number;
        return vmx_msr_name(*msr) != NULL;
    }
    capitals(s, name);
    for (unsigned i = 0; i < capability_count; i++) {
        const uint32_t both[] = {capabilities[i].msr, capabilities[i].true_msr};

        for (unsigned k = 0; k < ARRAY_LEN(both); k++)
            if (both[k] && vmx_msr_name(both[k]) && strcmp(vmx_msr_name(both[k]), name) == 0) {
                *msr = both[k];
                return true;
            }
    }
    return false;
}

int command_msr(const struct arguments *a)
{
    struct json_out *j;
    uint64_t value;
    uint32_t msr;

    if (!find_msr(a->arg[0], &msr)) {
        (void)complain("\"%s\" is not a capability MSR; these are:", a->arg[0]);
        for (unsigned i = 0; i < capability_count; i++) {
            const struct capability *k = &capabilities[i];

            (void)fprintf(stderr, "  0x%03x %s\n", k->msr, vmx_msr_name(k->msr));
            if (k->true_msr)
                (void)fprintf(stderr, "  0x%03x %s\n", k->true_msr, vmx_msr_name(k->true_msr));
        }
        return EXIT_WRONG;
    }
    if (!need_number(vmx_msr_name(msr), a->arg[1], 64, &value))
        return EXIT_WRONG;
    j = output_begin();
    capability_put(j, msr, value, false, true);
    return output_end(j);
}
