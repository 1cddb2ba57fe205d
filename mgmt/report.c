#include "mgmt/report.h"

#include "hv/fmt.h"
#include "hv/lib.h"

/* ---- differences ---- */

static void put_value(struct json_out *j, const char *name, const struct abi_vmcs *v, unsigned row,
                      const struct state_row *r)
{
    if (vmcs_has(v, row))
        json_hex(j, name, v->value[row], state_digits(r));
    else
        json_null(j, name);
}

static const char *text_of(const struct abi_vmcs *v, unsigned row, const struct state_row *r,
                           char *buf, size_t size)
{
    if (!vmcs_has(v, row))
        return "absent";
    (void)fmt(buf, size, "0x%0*lx", (int)state_digits(r), v->value[row]);
    return buf;
}

static void put_difference(struct json_out *j, const struct state_table *t,
                           const struct abi_vmcs *from, const struct abi_vmcs *to, unsigned row)
{
    const struct state_row r = t->row(row);
    char a[24], b[24];

    if (j->text) {
        json_printf(j, "\n0x%0*x  %-36s %s -> %s", t->key_digits, r.key, r.name,
                    text_of(from, row, &r, a, sizeof(a)), text_of(to, row, &r, b, sizeof(b)));
        return;
    }
    json_object(j, NULL);
    json_hex(j, t->key, r.key, (unsigned)t->key_digits);
    json_str(j, "name", r.name);
    json_str(j, "volatility", vmcs_volatility_name((enum vmcs_volatility)r.volatility));
    put_value(j, "from", from, row, &r);
    put_value(j, "to", to, row, &r);
    json_end(j);
}

unsigned report_diff(struct json_out *j, const struct state_table *t, const struct abi_vmcs *from,
                     const struct abi_vmcs *to, const uint64_t *rows, bool all)
{
    unsigned count = 0;

    json_array(j, "fields");
    for (unsigned row = 0; row < t->rows; row++) {
        bool differs =
            vmcs_has(from, row) != vmcs_has(to, row) || from->value[row] != to->value[row];

        if (!differs || (rows && !(rows[row / 64] >> (row % 64) & 1)) ||
            (!all && t->row(row).volatility != VMCS_VOLATILITY_SETUP))
            continue;
        put_difference(j, t, from, to, row);
        count++;
    }
    json_end(j);
    return count;
}

/* ---- the entry check ---- */

static const char *stage_name(unsigned stage)
{
    static const char *const names[] = {"controls", "host state", "guest state", "VMRUN"};

    return stage < ARRAY_LEN(names) ? names[stage] : "unknown";
}

struct failures {
    struct json_out *j;
    const struct state_table *table;
};

static void put_failure(void *arg, const struct entry_rule_failure *f)
{
    const struct failures *o = arg;
    int row = state_row_by_key(o->table, f->encoding);
    struct state_row r = {.bits = 4, .name = ""};

    if (row >= 0)
        r = o->table->row((unsigned)row);
    json_object(o->j, NULL);
    json_str(o->j, "rule", f->rule->name);
    json_str(o->j, "field", r.name);
    json_hex(o->j, o->table->key, f->encoding, (unsigned)o->table->key_digits);
    json_hex(o->j, "value", f->value, state_digits(&r));
    if (f->bits)
        json_hex(o->j, "bits", f->bits, 1);
    json_str(o->j, "allowed", f->allowed);
    json_str(o->j, "stage", stage_name(f->rule->stage));
    json_str(o->j, "section", f->rule->section);
    json_end(o->j);
}

unsigned report_check(struct json_out *j, const struct state_table *t, const struct abi_vmcs *v,
                      const struct abi_caps *abi)
{
    struct failures o = {j, t};
    unsigned failures = t->check(v, abi, NULL, NULL);

    json_u64(j, "rules", t->rules);
    json_bool(j, "enters", failures == 0);
    json_array(j, "failures");
    (void)t->check(v, abi, put_failure, &o);
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

bool report_first_failure(const struct state_table *t, const struct abi_vmcs *v,
                          const struct abi_caps *abi, char *text, size_t size)
{
    struct first_failure n = {text, size};

    text[0] = 0;
    return t->check(v, abi, note_first, &n) != 0;
}
