/* The VMCS beside the VMCB, from the tables of both: the same on every machine. */
#include "arch/x86/inspect/decode_compare.h"
#include "hv/fmt.h"
#include "mgmt/api_call.h"
#include "mgmt/state.h"

static void put_field(struct json_out *j, const char *name, const struct state_table *t, int row,
                      const char *bit)
{
    struct state_row r;

    if (row < 0) {
        json_null(j, name);
        return;
    }
    r = t->row((unsigned)row);
    json_object(j, name);
    json_hex(j, t->key, r.key, (unsigned)t->key_digits);
    json_str(j, "name", r.name);
    if (*bit)
        json_str(j, "bit", bit);
    json_str(j, "width", r.width);
    json_str(j, "belongs_to", vmcs_group_name((enum vmcs_group)r.belongs));
    json_end(j);
}

/* "0x4002 PRIMARY_PROCESSOR_CONTROLS.HLT_EXITING" */
static void say_field(const struct state_table *t, int row, const char *bit, char *buf, size_t size)
{
    struct state_row r;

    if (row < 0) {
        (void)fmt(buf, size, "-");
        return;
    }
    r = t->row((unsigned)row);
    (void)fmt(buf, size, "0x%0*x %s%s%s", t->key_digits, r.key, r.name, *bit ? "." : "", bit);
}

static void put_text(struct json_out *j, const struct compare *k)
{
    char vmcs[96], vmcb[96];

    if (k->topic) {
        json_printf(j, "\n\n== %s ==", k->topic);
        return;
    }
    say_field(&state_vmcs, k->vmcs, k->vmcs_bit, vmcs, sizeof(vmcs));
    say_field(&state_vmcb, k->vmcb, k->vmcb_bit, vmcb, sizeof(vmcb));
    json_printf(j, "\n%-52s %s", vmcs, vmcb);
    if (k->note[0])
        json_wrapped(j, 8, k->note);
}

void get_compare(struct call *c, char *const *arg)
{
    struct json_out *j = call_begin(c);
    const char *topic = "";

    (void)arg;
    json_object(j, NULL);
    json_array(j, "rows");
    for (unsigned n = 0; n < compare_count(); n++) {
        const struct compare *k = compare_row(n);

        if (j->text) {
            put_text(j, k);
            continue;
        }
        if (k->topic) {
            topic = k->topic;
            continue;
        }
        json_object(j, NULL);
        json_str(j, "topic", topic);
        put_field(j, "vmcs", &state_vmcs, k->vmcs, k->vmcs_bit);
        put_field(j, "vmcb", &state_vmcb, k->vmcb, k->vmcb_bit);
        json_str(j, "note", k->note);
        json_end(j);
    }
    json_end(j);
    json_end(j);
}
