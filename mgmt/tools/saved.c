/* The commands about saved answers: dump, diff, raw, check. */
#include "arch/x86/inspect/decode_fields.h"
#include "arch/x86/vmx/vmx.h"
#include "hv/lib.h"
#include "mgmt/report.h"
#include "mgmt/tools/vmcsdump.h"

#include <stdio.h>

static struct vmcs_file files[ARGUMENTS_MAX]; /* too large for the stack */

static int read_vmcs(struct input *in, unsigned n, const char *path)
{
    struct reader_error e;

    if (input_json(in, n, path, INPUT_VMCS))
        return EXIT_WRONG;
    return reader_vmcs(&in->json, &files[n], &e) ? complain_place(in, &e, INPUT_VMCS) : EXIT_OK;
}

/* The options, for this table. EXIT_OK, or it has complained. */
static int choose(const struct arguments *a, const struct state_table *t, struct dump_options *o)
{
    const char *bad;
    size_t n;

    *o = a->dump;
    o->table = t;
    if (!a->fields || dump_choose_fields(o, a->fields, &bad, &n))
        return EXIT_OK;
    return complain("--fields: \"%.*s\" is neither a field of the %s nor its %s", (int)n, bad,
                    t->name, t->key);
}

int command_dump(const struct arguments *a)
{
    struct vmcs_file *f = &files[0];
    struct dump_options o;
    struct dump d = {.options = &o,
                     .vmcs = &f->vmcs,
                     .wanted = f->wanted,
                     .settled = f->settled,
                     .caps = &f->caps,
                     .rows = f->listed};
    struct json_out *j;
    struct input in;

    if (read_vmcs(&in, 0, a->arg[0]) || choose(a, f->table, &o))
        return EXIT_WRONG;
    if (f->has_bitmaps)
        d.bitmaps = f->bitmaps;
    j = output_begin();
    output_heading(j, &in.json, !o.some && o.group < 0 && !o.oddities);
    dump_fields(j, &d);
    return output_end(j);
}

/* ---- diff ---- */

static bool number_of(const struct input *in, const char *name, int64_t *v)
{
    int t = reader_member(&in->json, 0, name);

    return t >= 0 && json_integer(&in->json, t, 0, INT64_MAX, v) == 0;
}

static void put_both(struct json_out *j, const struct input in[2])
{
    int64_t from, to;

    if (number_of(&in[0], "sequence", &from) && number_of(&in[1], "sequence", &to)) {
        json_u64(j, "from", (uint64_t)from);
        json_u64(j, "to", (uint64_t)to);
    } else {
        json_str(j, "from", in[0].name);
        json_str(j, "to", in[1].name);
    }
    if (number_of(&in[0], "tsc", &from) && number_of(&in[1], "tsc", &to))
        json_u64(j, "ticks_between", (uint64_t)(to > from ? to - from : from - to));
}

/* Reports fields that only one file has, which are not compared. */
static void note_only(const struct input *in, const struct state_table *t, const uint64_t *has,
                      const uint64_t *other)
{
    unsigned count = 0, first = 0;

    for (unsigned row = t->rows; row-- > 0;)
        if (row_in(has, row) && !row_in(other, row)) {
            first = row;
            count++;
        }
    if (count == 1)
        (void)complain("not compared: %s is in %s only", t->row(first).name, in->name);
    else if (count)
        (void)complain("not compared: %s and %u more fields are in %s only", t->row(first).name,
                       count - 1, in->name);
}

int command_diff(const struct arguments *a)
{
    uint64_t both[ROW_WORDS];
    struct input in[2];
    struct json_out *j;
    unsigned count;

    for (unsigned i = 0; i < 2; i++)
        if (read_vmcs(&in[i], i, a->arg[i]))
            return EXIT_WRONG;
    if (files[0].table != files[1].table)
        return complain("%s is a %s, %s is a %s: they have no field in common", in[0].name,
                        files[0].table->name, in[1].name, files[1].table->name);
    for (unsigned i = 0; i < ROW_WORDS; i++)
        both[i] = files[0].listed[i] & files[1].listed[i];
    note_only(&in[0], files[0].table, files[0].listed, files[1].listed);
    note_only(&in[1], files[0].table, files[1].listed, files[0].listed);
    j = output_begin();
    put_both(j, in);
    count = report_diff(j, files[0].table, &files[0].vmcs, &files[1].vmcs, both, a->all);
    if (output_end(j))
        return EXIT_WRONG;
    return count ? EXIT_DIFFERS : EXIT_OK;
}

/* ---- raw ---- */

int command_raw(const struct arguments *a)
{
    static struct vmcs_layout layout;
    struct input page, in;
    struct reader_error e;
    struct dump_options o;
    struct json_out *j;
    const uint8_t *raw;

    if (choose(a, &state_vmcs, &o) || input_read(&page, 0, a->arg[0]) ||
        input_json(&in, 1, a->arg[1], INPUT_LAYOUT))
        return EXIT_WRONG;
    if (reader_layout(&in.json, &layout, &e))
        return complain_place(&in, &e, INPUT_LAYOUT);
    if (page.length != LAYOUT_REGION)
        return complain_kind(&page, INPUT_PAGE, "has %lu bytes, not %u", (unsigned long)page.length,
                             LAYOUT_REGION);
    raw = (const uint8_t *)page.text;
    if (layout_revision(raw) != layout.revision)
        return complain_kind(&page, INPUT_LAYOUT,
                             "has revision 0x%x, but %s is the layout of CPUs with revision 0x%x: "
                             "take the layout of the CPU that the region is from",
                             layout_revision(raw), in.name, layout.revision);
    j = output_begin();
    layout_put_region(j, &layout, raw, &o);
    return output_end(j);
}

int command_vmcb(const struct arguments *a)
{
    /* What the page has says nothing of what its CPU has: all fields are shown. */
    static const struct abi_caps all = {
        .svm_features = UINT64_MAX, .svm_memory = UINT64_MAX, .svm_branches = UINT64_MAX};
    struct dump_options o;
    struct dump d = {.options = &o, .vmcs = &files[0].vmcs};
    struct json_out *j;
    struct input page;

    if (choose(a, &state_vmcb, &o) || input_read(&page, 0, a->arg[0]))
        return EXIT_WRONG;
    if (page.length != VMCB_SIZE)
        return complain("%s: has %lu bytes; a VMCB has %u", page.name, (unsigned long)page.length,
                        VMCB_SIZE);
    vmcb_read_fields(page.text, &all, &files[0].vmcs);
    j = output_begin();
    dump_fields(j, &d);
    return output_end(j);
}

/* ---- check ---- */

#define ADDRESS_WIDTHS_MAX (52u | 57u << 8)

/* A CPU that can do everything: what it refuses, every CPU refuses. The control words' capabilities
 * stay as in the file. */
static void assume_caps(struct abi_caps *caps)
{
    caps->present = 1;
    caps->basic = VMX_BASIC_TRUE_CONTROLS | VMX_BASIC_ANY_ERROR_CODE | VMX_BASIC_NESTED_EXCEPTION;
    caps->misc = caps->ept_vpid = caps->vmfunc = caps->cpu3 = caps->exit2 = UINT64_MAX;
    /* SDM 3D "VMX-Fixed Bits in CR0" and "in CR4": PG, NE and PE; VMXE. */
    caps->cr0_fixed0 = 0x80000021;
    caps->cr0_fixed1 = UINT32_MAX;
    caps->cr4_fixed0 = 0x2000;
    caps->cr4_fixed1 = UINT64_MAX;
}

static int read_caps(const struct arguments *a, struct abi_caps *caps)
{
    struct reader_error e;
    struct input in;

    if (input_json(&in, 1, a->arg[1], INPUT_CAPABILITIES))
        return EXIT_WRONG;
    return reader_caps(&in.json, a->core, caps, &e) ? complain_place(&in, &e, INPUT_CAPABILITIES)
                                                    : EXIT_OK;
}

int command_check(const struct arguments *a)
{
    struct abi_caps *caps = &files[0].caps;
    struct json_out *j;
    struct input in;
    unsigned failures;

    if (read_vmcs(&in, 0, a->arg[0]))
        return EXIT_WRONG;
    if (a->count > 1 && files[0].table != &state_vmcs)
        return complain("check: capabilities are of VT-x; a VMCB is checked without");
    if (a->count > 1 && read_caps(a, caps))
        return EXIT_WRONG;
    if (a->count == 1)
        assume_caps(caps);
    if (!(caps->address_widths & 0xff))
        caps->address_widths = ADDRESS_WIDTHS_MAX;
    j = output_begin();
    output_heading(j, &in.json, false);
    if (a->count == 1)
        json_str(j, "capabilities", "not given: only what every CPU refuses is looked for");
    failures = report_check(j, files[0].table, &files[0].vmcs, caps);
    if (output_end(j))
        return EXIT_WRONG;
    return failures ? EXIT_DIFFERS : EXIT_OK;
}
