#include "mgmt/dump.h"

#include "arch/x86/inspect/decode.h"
#include "arch/x86/inspect/decode_bitmap.h"
#include "hv/fmt.h"
#include "hv/lib.h"

#define INDENT   8u
#define LINE_MAX 1024u

/* ---- which fields ---- */

static bool has_row(const uint64_t *rows, unsigned row)
{
    return rows[row / 64] >> (row % 64) & 1;
}

static bool shown(const struct dump *d, unsigned row, const struct state_row *r)
{
    const struct dump_options *o = d->options;

    return (!d->rows || has_row(d->rows, row)) && (!o->some || has_row(o->chosen, row)) &&
           (o->group < 0 || (int)r->belongs == o->group) &&
           (!o->oddities || r->reason[0] || r->place != r->belongs);
}

unsigned dump_digits(const struct vmcs_field *f)
{
    const struct state_row r = state_vmcs.row((unsigned)state_row_by_key(&state_vmcs, f->encoding));

    return state_digits(&r);
}

/* ---- what a value means ---- */

struct piece {
    struct json_out *j;
    const struct state_table *table;
    unsigned row;
    uint64_t word, wanted;
    uint64_t settled;            /* bits that `wanted` and `caps` cover */
    const struct abi_caps *caps; /* NULL: not a control word, or its provenance is not known */
};

/* "wanted", "not wanted, 1 by IA32_VMX_TRUE_PINBASED_CTLS", ... */
static const char *explain(const struct state_origin *o, char *buf, size_t size)
{
    const char *wanted = o->wanted ? "wanted" : "not wanted";

    if (o->forced_by)
        (void)fmt(buf, size, "%s, %u by %s", wanted, o->effective, o->forced_by);
    else if (o->effective != o->wanted)
        (void)fmt(buf, size, "%s, changed since", wanted);
    else
        (void)fmt(buf, size, "%s", wanted);
    return buf;
}

static void put_provenance(const struct piece *p, const struct decode_part *part)
{
    struct state_origin o;
    char why[96];

    if (part->reserved || !(p->settled >> part->low & 1))
        return;
    o = p->table->origin(p->row, part->low, p->word, p->wanted, p->caps);
    if (p->j->text) {
        json_printf(p->j, "  [%s]", explain(&o, why, sizeof(why)));
        return;
    }
    json_bool(p->j, "wanted", o.wanted);
    if (o.forced_by) {
        json_u64(p->j, "forced", o.effective);
        json_str(p->j, "forced_by", o.forced_by);
    } else {
        json_null(p->j, "forced");
    }
    json_bool(p->j, "changeable", o.changeable);
}

static void put_part(void *arg, const struct decode_part *part)
{
    const struct piece *p = arg;
    char bits[8];

    if (part->high == part->low)
        (void)fmt(bits, sizeof(bits), "%u", part->low);
    else
        (void)fmt(bits, sizeof(bits), "%u:%u", part->high, part->low);
    if (p->j->text) {
        json_printf(p->j, "\n%*s%5s  %-32s 0x%lx", (int)INDENT - 4, "", bits, part->name,
                    part->value);
        if (p->caps)
            put_provenance(p, part);
        if (part->valid && part->meaning[0])
            json_wrapped(p->j, INDENT + 5, part->meaning);
        return;
    }
    json_object(p->j, NULL);
    json_str(p->j, "bits", bits);
    json_str(p->j, "name", part->name);
    json_hex(p->j, "value", part->value, 1);
    json_str(p->j, "meaning", part->valid ? part->meaning : "not valid");
    if (p->caps)
        put_provenance(p, part);
    json_end(p->j);
}

/* For control words whose provenance is known. */
static void add_provenance(struct piece *p, const struct dump *d)
{
    int control = p->table->control(p->row);

    if (control < 0 || !d->caps || !d->wanted || !d->caps->present ||
        (d->settled && !d->settled[control]))
        return;
    p->caps = d->caps;
    p->wanted = d->wanted[control];
    p->settled = d->settled ? d->settled[control] : UINT64_MAX;
}

static void put_decoded(struct json_out *j, const struct dump *d, unsigned row)
{
    const struct state_table *t = dump_table(d->options);
    uint64_t value = d->vmcs->value[row];
    struct piece p = {.j = j, .table = t, .row = row, .word = value};
    char line[LINE_MAX];

    add_provenance(&p, d);
    if (t->decode(row, value, d->vmcs, NULL, NULL) == 0)
        return;
    if (j->text && !p.caps) {
        if (t->line(row, value, d->vmcs, line, sizeof(line)))
            json_wrapped(j, INDENT, line);
        return;
    }
    if (!j->text)
        json_array(j, "bits");
    (void)t->decode(row, value, d->vmcs, put_part, &p);
    if (!j->text)
        json_end(j);
}

/* ---- fields ---- */

static void put_name(struct json_out *j, const struct state_table *t, const struct state_row *r)
{
    json_printf(j, "\n0x%0*x  %-38s %-7s  ", t->key_digits, r->key, r->name, r->width);
}

static void put_oddity(struct json_out *j, const struct state_table *t, const struct state_row *r)
{
    if (r->place != r->belongs)
        json_printf(j, "\n%*s%s%s%s", (int)INDENT, "", t->misfit[0],
                    vmcs_group_name((enum vmcs_group)r->place), t->misfit[1]);
    if (r->reason[0])
        json_wrapped(j, INDENT, r->reason);
}

/* Why there is no value; "": nothing to report. */
static const char *missing(const struct dump *d, unsigned row, const struct state_row *r)
{
    if (d->unreadable && has_row(d->unreadable, row))
        return "the CPU keeps it in a form of its own, which is not known";
    return r->absence;
}

static void put_text(struct json_out *j, const struct dump *d, unsigned row,
                     const struct state_row *r)
{
    const struct state_table *t = dump_table(d->options);

    put_name(j, t, r);
    if (vmcs_has(d->vmcs, row)) {
        json_printf(j, "0x%0*lx", (int)state_digits(r), d->vmcs->value[row]);
    } else {
        json_printf(j, d->unreadable && has_row(d->unreadable, row) ? "unreadable" : "absent");
        json_wrapped(j, INDENT, missing(d, row, r));
    }
    put_oddity(j, t, r);
    if (d->options->decode && vmcs_has(d->vmcs, row))
        put_decoded(j, d, row);
}

bool dump_value(struct json_out *j, const struct vmcs_field *f, uint64_t value,
                const struct decode_context *c)
{
    struct piece p = {.j = j, .word = value};
    const struct state_row r = state_vmcs.row((unsigned)state_row_by_key(&state_vmcs, f->encoding));

    put_name(j, &state_vmcs, &r);
    json_printf(j, "0x%0*lx", (int)state_digits(&r), value);
    put_oddity(j, &state_vmcs, &r);
    return vmcs_decode(f->encoding, value, c, put_part, &p) > 0;
}

static void put_json(struct json_out *j, const struct dump *d, unsigned row,
                     const struct state_row *r)
{
    const struct state_table *t = dump_table(d->options);

    json_object(j, NULL);
    json_hex(j, t->key, r->key, (unsigned)t->key_digits);
    json_word(j, "name", r->name);
    json_word(j, "group", vmcs_group_name((enum vmcs_group)r->place));
    json_word(j, "width", r->width);
    if (vmcs_has(d->vmcs, row)) {
        json_hex(j, "value", d->vmcs->value[row], state_digits(r));
    } else {
        const char *absence = missing(d, row, r);

        json_null(j, "value");
        json_str(j, "reason", *absence ? absence : "this CPU does not have the field");
    }
    if (d->options->decode || d->options->oddities) {
        json_word(j, "belongs_to", vmcs_group_name((enum vmcs_group)r->belongs));
        json_word(j, "volatility", vmcs_volatility_name((enum vmcs_volatility)r->volatility));
        if (r->reason[0])
            json_str(j, "oddity", r->reason);
    }
    if (d->options->decode && vmcs_has(d->vmcs, row))
        put_decoded(j, d, row);
    json_end(j);
}

/* ---- bitmaps ---- */

#define NAMES_MAX 40u /* in one range */

struct ranges {
    struct json_out *j;
    const struct named_range *(*named)(uint32_t first, uint32_t last, unsigned n);
};

/* The range on one line, its names below. */
static void put_range_text(const struct ranges *r, uint32_t first, uint32_t last)
{
    const struct named_range *n;
    char names[768] = "";
    size_t len = 0;

    json_printf(r->j, first == last ? "\n    0x%x" : "\n    0x%x to 0x%x", first, last);
    for (unsigned i = 0; i < NAMES_MAX && (n = r->named(first, last, i)) != NULL; i++)
        if (len < sizeof(names))
            len += fmt(names + len, sizeof(names) - len, "%s%s", len ? "; " : "", n->name);
    if (len)
        json_wrapped(r->j, 8, names);
}

static void put_range(void *arg, uint32_t first, uint32_t last)
{
    const struct ranges *r = arg;
    const struct named_range *n;

    if (r->j->text) {
        put_range_text(r, first, last);
        return;
    }
    json_object(r->j, NULL);
    json_hex(r->j, "first", first, 1);
    json_hex(r->j, "last", last, 1);
    json_array(r->j, "names");
    for (unsigned i = 0; i < NAMES_MAX && (n = r->named(first, last, i)) != NULL; i++)
        json_str(r->j, NULL, n->name);
    json_end(r->j);
    json_end(r->j);
}

static void put_bitmaps(struct json_out *j, const struct state_table *t, const uint8_t *bitmaps)
{
    json_object(j, "bitmaps");
    for (unsigned map = 0; map < EXIT_MAPS; map++) {
        const struct exit_map_list *l = &exit_map_lists[map];
        struct ranges r = {j, map == EXIT_MAP_PORTS ? io_port_named : msr_named};

        json_array(j, l->name);
        (void)exit_map_ranges(t->maps, bitmaps, (enum exit_map)map, l->exits, put_range, &r);
        json_end(j);
    }
    json_end(j);
}

/* The content of a bitmap is shown with the field that points at it. */
static bool bitmaps_shown(const struct dump *d)
{
    const struct state_table *t = dump_table(d->options);
    bool some = false;

    for (unsigned i = 0; i < ARRAY_LEN(t->map_rows); i++) {
        const struct state_row r = t->row(t->map_rows[i]);

        some |= shown(d, t->map_rows[i], &r);
    }
    return some;
}

/* In text: sections by the fields' real groups. In JSON: by key. */
void dump_fields(struct json_out *j, const struct dump *d)
{
    const struct state_table *t = dump_table(d->options);

    json_array(j, "fields");
    for (int g = j->text ? VMCS_GROUP_CONTROL : -1; g <= (j->text ? VMCS_GROUP_HOST : -1); g++) {
        bool heading = false;

        for (unsigned row = 0; row < t->rows; row++) {
            const struct state_row r = t->row(row);

            if (!shown(d, row, &r) || (g >= 0 && (int)r.belongs != g))
                continue;
            if (j->text && !heading)
                json_printf(j, "\n\n== %s ==", vmcs_group_name((enum vmcs_group)g));
            heading = true;
            if (j->text)
                put_text(j, d, row, &r);
            else
                put_json(j, d, row, &r);
        }
    }
    json_end(j);
    if (d->options->decode && d->bitmaps && bitmaps_shown(d))
        put_bitmaps(j, t, d->bitmaps);
}
