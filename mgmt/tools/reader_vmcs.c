/* Saved answers of GET .../vmcs and GET /v1/vmx/capabilities. */
#include "arch/x86/inspect/decode.h"
#include "mgmt/capabilities.h"
#include "mgmt/dump.h"
#include "mgmt/tools/reader_impl.h"

#include <stdio.h>

/* ---- the reasons for control bits ---- */

static uint64_t *capability_of(struct abi_caps *caps, int control)
{
    uint64_t *const words[ABI_CONTROLS] = {
        [ABI_CONTROL_PIN] = &caps->pin,     [ABI_CONTROL_CPU1] = &caps->cpu1,
        [ABI_CONTROL_CPU2] = &caps->cpu2,   [ABI_CONTROL_EXIT] = &caps->exit,
        [ABI_CONTROL_ENTRY] = &caps->entry,
    };

    return words[control];
}

/* What the CPU forced a bit to: null, 0 or 1. */
static int read_forced(struct reader *r, uint64_t *capability, uint64_t mask, const char *bit,
                       int forced)
{
    if (forced < 0 || reader_is_literal(r->j, forced, "null"))
        return 0;
    if (reader_is_literal(r->j, forced, "0"))
        *capability &= ~(mask << 32);
    else if (reader_is_literal(r->j, forced, "1"))
        *capability |= mask;
    else
        return reader_fail(r, forced, "%s: forced: must be null, 0 or 1", bit);
    return 0;
}

/* An entry in a control word's "bits": {"name", "wanted", "forced": null, 0 or 1}. */
static int read_control_bit(struct reader *r, struct vmcs_file *f, int control, int object)
{
    int name = reader_need(r, object, "name", JSMN_STRING);
    int wanted = reader_member(r->j, object, "wanted");
    char text[64];
    int bit;

    if (name < 0)
        return name;
    reader_show(r->j, name, text, sizeof(text));
    bit = f->table->control_bit(f->table->control_row((unsigned)control), text);
    if (bit < 0 || wanted < 0)
        return 0;
    if (!reader_is_literal(r->j, wanted, "true") && !reader_is_literal(r->j, wanted, "false"))
        return reader_fail(r, wanted, "%s: wanted: must be true or false", text);
    f->caps.present = 1;
    f->settled[control] |= 1ull << bit;
    if (reader_is_literal(r->j, wanted, "true"))
        f->wanted[control] |= 1ull << bit;
    if (f->table != &state_vmcs)
        return 0;
    return read_forced(r, capability_of(&f->caps, control), 1ull << bit, text,
                       reader_member(r->j, object, "forced"));
}

static int read_provenance(struct reader *r, struct vmcs_file *f, unsigned row, int object)
{
    int control = f->table->control(row);
    int bits, t;

    if (control < 0 || reader_member(r->j, object, "bits") < 0)
        return 0;
    bits = reader_objects(r, object, "bits");
    t = bits + 1;
    for (int i = 0; bits >= 0 && i < r->j->tokens[bits].size; i++) {
        if (read_control_bit(r, f, control, t))
            return -E_FORMAT;
        t = json_skip(r->j, t);
    }
    return bits < 0 ? bits : 0;
}

/* ---- bitmaps, from the ranges that describe them ---- */

static int read_ranges(struct reader *r, int object, struct vmcs_file *f, enum exit_map map)
{
    const struct exit_map_list *l = &exit_map_lists[map];
    int array = reader_objects(r, object, l->name);
    int t = array + 1;

    for (int i = 0; array >= 0 && i < r->j->tokens[array].size; i++) {
        uint64_t first, last;

        (void)snprintf(r->where, sizeof(r->where), "bitmaps: %s[%d]", l->name, i);
        if (reader_need_hex(r, t, "first", 32, &first) || reader_need_hex(r, t, "last", 32, &last))
            return -E_FORMAT;
        if (!exit_map_mark(f->table->maps, f->bitmaps, map, first, last, l->exits))
            return reader_fail(r, t, "0x%lx to 0x%lx is no range of a bitmap", first, last);
        t = json_skip(r->j, t);
    }
    return array < 0 ? array : 0;
}

/* As if nothing was listed. */
static void clear_map(const struct exit_maps *m, uint8_t *bitmaps, enum exit_map map)
{
    for (const struct exit_map_part *p = m->parts[map]; p < m->parts[map] + EXIT_MAP_PARTS; p++)
        if (p->count)
            (void)exit_map_mark(m, bitmaps, map, p->first, (uint64_t)p->first + p->count - 1,
                                !exit_map_lists[map].exits);
}

static int read_bitmaps(struct reader *r, struct vmcs_file *f)
{
    int object, rc = 0;

    r->where[0] = 0;
    if (reader_member(r->j, 0, "bitmaps") < 0)
        return 0;
    object = reader_need(r, 0, "bitmaps", JSMN_OBJECT);
    if (object < 0)
        return object;
    f->has_bitmaps = true;
    for (unsigned map = 0; rc == 0 && map < EXIT_MAPS; map++) {
        (void)snprintf(r->where, sizeof(r->where), "bitmaps");
        clear_map(f->table->maps, f->bitmaps, (enum exit_map)map);
        rc = read_ranges(r, object, f, (enum exit_map)map);
    }
    return rc;
}

/* ---- fields ---- */

static int read_value(struct reader *r, struct vmcs_file *f, unsigned row, int object)
{
    int t = reader_member(r->j, object, "value");
    uint64_t value;

    if (t < 0)
        return reader_fail(r, object, "\"value\" is missing");
    if (reader_is_literal(r->j, t, "null")) {
        vmcs_set_absent(&f->vmcs, row);
        return 0;
    }
    if (reader_hex(r, t, "value", f->table->row(row).bits, &value))
        return -E_FORMAT;
    vmcs_set(&f->vmcs, row, value);
    return read_provenance(r, f, row, object);
}

/* By the key of the first field. */
static const struct state_table *table_of(const struct json *j, int array)
{
    bool vmcb =
        array >= 0 && j->tokens[array].size > 0 && reader_member(j, array + 1, state_vmcb.key) >= 0;

    return vmcb ? &state_vmcb : &state_vmcs;
}

int reader_vmcs(const struct json *j, struct vmcs_file *out, struct reader_error *e)
{
    struct reader r = {.j = j, .e = e};
    int array, t;

    memset(out, 0, sizeof(*out));
    /* Until the file says otherwise, a control bit may be 0 and may be 1. */
    for (int i = 0; i < ABI_CONTROLS; i++)
        *capability_of(&out->caps, i) = 0xffffffffull << 32;
    if (reader_root(&r, "a saved answer of GET /v1/guests/{name}/vcpus/{n}/vmcs, or vmcb"))
        return -E_FORMAT;
    array = reader_objects(&r, 0, "fields");
    out->table = table_of(j, array);
    t = array + 1;
    for (int i = 0; array >= 0 && i < j->tokens[array].size; i++) {
        int row = reader_field(&r, out->table, t, i, out->listed);

        if (row < 0 || read_value(&r, out, (unsigned)row, t))
            return -E_FORMAT;
        t = json_skip(j, t);
    }
    return array < 0 ? array : read_bitmaps(&r, out);
}

/* ---- capabilities ---- */

static int read_width(struct reader *r, int object, const char *name, unsigned shift, uint64_t *v)
{
    int t = reader_member(r->j, object, name);
    int64_t bits;

    if (t < 0)
        return 0;
    if (json_integer(r->j, t, 32, 57, &bits))
        return reader_fail(r, t, "%s: must be a number from 32 to 57", name);
    *v |= (uint64_t)bits << shift;
    return 0;
}

static int read_core(struct reader *r, int object, struct abi_caps *out)
{
    int array = reader_objects(r, object, "msrs");
    int t = array + 1;
    char where[sizeof(r->where)];

    memcpy(where, r->where, sizeof(where));
    for (int i = 0; array >= 0 && i < r->j->tokens[array].size; i++) {
        uint64_t msr, value;

        (void)snprintf(r->where, sizeof(r->where), "%.40s.msrs[%d]", where, i);
        if (reader_need_hex(r, t, "msr", 32, &msr) || reader_need_hex(r, t, "value", 64, &value))
            return -E_FORMAT;
        if (!capability_set(out, (uint32_t)msr, value))
            return reader_fail(r, t, "msr: 0x%lx is no capability MSR", msr);
        t = json_skip(r->j, t);
    }
    out->present = 1;
    return array < 0 || read_width(r, object, "physical_address_bits", 0, &out->address_widths) ||
                   read_width(r, object, "linear_address_bits", 8, &out->address_widths)
               ? -E_FORMAT
               : 0;
}

int reader_caps(const struct json *j, unsigned core, struct abi_caps *out, struct reader_error *e)
{
    struct reader r = {.j = j, .e = e};
    int array, t;

    *out = (struct abi_caps){0};
    if (reader_root(&r, "a saved answer of GET /v1/vmx/capabilities"))
        return -E_FORMAT;
    array = reader_objects(&r, 0, "cores");
    if (array < 0)
        return array;
    if (core >= (unsigned)j->tokens[array].size)
        return reader_fail(&r, array, "cores: no core %u, only %d", core, j->tokens[array].size);
    t = array + 1;
    for (unsigned i = 0; i < core; i++)
        t = json_skip(j, t);
    (void)snprintf(r.where, sizeof(r.where), "cores[%u]", core);
    return read_core(&r, t, out);
}
