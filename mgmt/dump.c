#include "mgmt/dump.h"

#include "arch/x86/inspect/decode.h"
#include "arch/x86/inspect/decode_bitmap.h"
#include "arch/x86/vmx/exit_profile.h"
#include "arch/x86/vmx/vmx.h"
#include "hv/fmt.h"
#include "hv/lib.h"

#define INDENT   8u
#define LINE_MAX 1024u

/* ---- which fields ---- */

static bool is_odd(const struct vmcs_field *f)
{
    return f->reason[0] || f->group != vmcs_encoded_group(f->encoding);
}

static bool has_row(const uint64_t *rows, unsigned row)
{
    return rows[row / 64] >> (row % 64) & 1;
}

static bool shown(const struct dump *d, unsigned row)
{
    const struct dump_options *o = d->options;
    const struct vmcs_field *f = vmcs_field(row);

    return (!d->rows || has_row(d->rows, row)) && (!o->some || has_row(o->chosen, row)) &&
           (o->group < 0 || f->group == o->group) && (!o->oddities || is_odd(f));
}

unsigned dump_digits(const struct vmcs_field *f)
{
    switch (vmcs_encoded_width(f->encoding)) {
    case VMCS_WIDTH_16:
        return 4;
    case VMCS_WIDTH_32:
        return 8;
    default:
        return 16;
    }
}

/* ---- what a value means ---- */

int dump_control(uint32_t encoding)
{
    switch (encoding) {
    case VMCS_PIN_BASED_CONTROLS:
        return ABI_CONTROL_PIN;
    case VMCS_PRIMARY_PROCESSOR_CONTROLS:
        return ABI_CONTROL_CPU1;
    case VMCS_SECONDARY_PROCESSOR_CONTROLS:
        return ABI_CONTROL_CPU2;
    case VMCS_PRIMARY_VM_EXIT_CONTROLS:
        return ABI_CONTROL_EXIT;
    case VMCS_VM_ENTRY_CONTROLS:
        return ABI_CONTROL_ENTRY;
    default:
        return -1;
    }
}

/* For control words whose provenance is known: dump_control(), and the capability MSR's value. */
static int control_of(const struct dump *d, uint32_t encoding, uint64_t *capability)
{
    int control = dump_control(encoding);

    if (control < 0 || !d->caps || !d->wanted || !d->caps->present ||
        (d->settled && !d->settled[control]))
        return -1;
    *capability = ((const uint64_t[ABI_CONTROLS]){
        [ABI_CONTROL_PIN] = d->caps->pin,
        [ABI_CONTROL_CPU1] = d->caps->cpu1,
        [ABI_CONTROL_CPU2] = d->caps->cpu2,
        [ABI_CONTROL_EXIT] = d->caps->exit,
        [ABI_CONTROL_ENTRY] = d->caps->entry,
    })[control];
    return control;
}

struct piece {
    struct json_out *j;
    uint32_t encoding;
    uint64_t word, wanted, capability;
    uint64_t settled; /* bits that `wanted` and `capability` cover */
    bool control;
};

/* "wanted", "not wanted, 1 by IA32_VMX_TRUE_PINBASED_CTLS", ... */
static const char *explain(const struct piece *p, const struct control_provenance *o, char *buf,
                           size_t size)
{
    const char *msr = vmx_msr_name(vmcs_control_msr(p->encoding, true));
    const char *wanted = o->wanted ? "wanted" : "not wanted";

    if (o->forced0 || o->forced1)
        (void)fmt(buf, size, "%s, %u by %s", wanted, o->forced1, msr ? msr : "");
    else if (o->effective != o->wanted)
        (void)fmt(buf, size, "%s, changed since", wanted);
    else
        (void)fmt(buf, size, "%s", wanted);
    return buf;
}

static void put_provenance(const struct piece *p, const struct decode_part *part)
{
    const struct decode_bit *bit = vmcs_control_bit_by_name(p->encoding, part->name);
    struct control_provenance o;
    char why[96];

    if (!bit || !(p->settled >> bit->low & 1))
        return;
    o = vmcs_control_provenance(p->encoding, bit, p->wanted, p->capability, p->word);
    if (p->j->text) {
        json_printf(p->j, "  [%s]", explain(p, &o, why, sizeof(why)));
        return;
    }
    json_bool(p->j, "wanted", o.wanted);
    if (o.forced0 || o.forced1)
        json_u64(p->j, "forced", o.forced1);
    else
        json_null(p->j, "forced");
    if (o.forced0 || o.forced1)
        json_str(p->j, "forced_by", vmx_msr_name(vmcs_control_msr(p->encoding, true)));
    json_bool(p->j, "changeable",
              !o.forced0 && !o.forced1 &&
                  (controls_changeable((unsigned)dump_control(p->encoding)) >> bit->low & 1));
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
        if (p->control)
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
    if (p->control)
        put_provenance(p, part);
    json_end(p->j);
}

static void put_decoded(struct json_out *j, const struct dump *d, const struct vmcs_field *f,
                        uint64_t value)
{
    const struct decode_context context = decode_context_of(d->vmcs);
    struct piece p = {.j = j, .encoding = f->encoding, .word = value};
    int control = control_of(d, f->encoding, &p.capability);
    char line[LINE_MAX];

    if (control >= 0) {
        p.control = true;
        p.wanted = d->wanted[control];
        p.settled = d->settled ? d->settled[control] : UINT64_MAX;
    }
    if (vmcs_decode(f->encoding, value, &context, NULL, NULL) == 0)
        return;
    if (j->text && !p.control) {
        if (vmcs_decode_line(f->encoding, value, &context, line, sizeof(line)))
            json_wrapped(j, INDENT, line);
        return;
    }
    if (!j->text)
        json_array(j, "bits");
    (void)vmcs_decode(f->encoding, value, &context, put_part, &p);
    if (!j->text)
        json_end(j);
}

/* ---- fields ---- */

static void put_name(struct json_out *j, const struct vmcs_field *f)
{
    json_printf(j, "\n0x%04x  %-38s %-7s  ", f->encoding, f->name,
                vmcs_width_name(vmcs_encoded_width(f->encoding)));
}

static void put_oddity(struct json_out *j, const struct vmcs_field *f)
{
    if (f->group != vmcs_encoded_group(f->encoding))
        json_printf(j, "\n%*sencoded as a %s field:", (int)INDENT, "",
                    vmcs_group_name(vmcs_encoded_group(f->encoding)));
    if (f->reason[0])
        json_wrapped(j, INDENT, f->reason);
}

/* Why there is no value; "": nothing to report. */
static const char *missing(const struct dump *d, unsigned row)
{
    if (d->unreadable && has_row(d->unreadable, row))
        return "the CPU keeps it in a form of its own, which is not known";
    return vmcs_field_absence(vmcs_field(row));
}

static void put_text(struct json_out *j, const struct dump *d, unsigned row)
{
    const struct vmcs_field *f = vmcs_field(row);
    uint64_t value = d->vmcs->value[row];

    put_name(j, f);
    if (vmcs_has(d->vmcs, row)) {
        json_printf(j, "0x%0*lx", (int)dump_digits(f), value);
    } else {
        json_printf(j, d->unreadable && has_row(d->unreadable, row) ? "unreadable" : "absent");
        json_wrapped(j, INDENT, missing(d, row));
    }
    put_oddity(j, f);
    if (d->options->decode && vmcs_has(d->vmcs, row))
        put_decoded(j, d, f, value);
}

bool dump_value(struct json_out *j, const struct vmcs_field *f, uint64_t value,
                const struct decode_context *c)
{
    struct piece p = {.j = j, .encoding = f->encoding, .word = value};

    put_name(j, f);
    json_printf(j, "0x%0*lx", (int)dump_digits(f), value);
    put_oddity(j, f);
    return vmcs_decode(f->encoding, value, c, put_part, &p) > 0;
}

static void put_json(struct json_out *j, const struct dump *d, unsigned row)
{
    const struct vmcs_field *f = vmcs_field(row);
    const char *absence = missing(d, row);

    json_object(j, NULL);
    json_hex(j, "encoding", f->encoding, 4);
    json_str(j, "name", f->name);
    json_str(j, "group", vmcs_group_name(vmcs_encoded_group(f->encoding)));
    json_str(j, "width", vmcs_width_name(vmcs_encoded_width(f->encoding)));
    if (vmcs_has(d->vmcs, row)) {
        json_hex(j, "value", d->vmcs->value[row], dump_digits(f));
    } else {
        json_null(j, "value");
        json_str(j, "reason", *absence ? absence : "this CPU does not have the field");
    }
    if (d->options->decode || d->options->oddities) {
        json_str(j, "belongs_to", vmcs_group_name((enum vmcs_group)f->group));
        json_str(j, "volatility", vmcs_volatility_name((enum vmcs_volatility)f->volatility));
        if (f->reason[0])
            json_str(j, "oddity", f->reason);
    }
    if (d->options->decode && vmcs_has(d->vmcs, row))
        put_decoded(j, d, f, d->vmcs->value[row]);
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

static void put_ports(struct json_out *j, const uint8_t *bitmaps)
{
    struct ranges r = {j, io_port_named};

    json_array(j, "ports_that_exit");
    (void)io_bitmap_ranges(bitmaps + MSR_BITMAP_BYTES, bitmaps + MSR_BITMAP_BYTES + IO_BITMAP_BYTES,
                           true, put_range, &r);
    json_end(j);
}

static void put_msrs(struct json_out *j, const char *name, const uint8_t *page,
                     enum msr_bitmap_part low, enum msr_bitmap_part high)
{
    struct ranges r = {j, msr_named};

    json_array(j, name);
    (void)msr_bitmap_ranges(page, low, false, put_range, &r);
    (void)msr_bitmap_ranges(page, high, false, put_range, &r);
    json_end(j);
}

static void put_bitmaps(struct json_out *j, const uint8_t *bitmaps)
{
    json_object(j, "bitmaps");
    put_ports(j, bitmaps);
    put_msrs(j, "msr_reads_without_exit", bitmaps, MSR_READ_LOW, MSR_READ_HIGH);
    put_msrs(j, "msr_writes_without_exit", bitmaps, MSR_WRITE_LOW, MSR_WRITE_HIGH);
    json_end(j);
}

/* The content of a bitmap is shown with the field that points at it. */
static bool bitmaps_shown(const struct dump *d)
{
    for (unsigned row = 0; row < VMCS_ROWS; row++) {
        uint32_t encoding = vmcs_field(row)->encoding;

        if ((encoding == VMCS_IO_BITMAP_A || encoding == VMCS_IO_BITMAP_B ||
             encoding == VMCS_MSR_BITMAP) &&
            shown(d, row))
            return true;
    }
    return false;
}

/* In text: sections by the fields' real groups. In JSON: by encoding. */
void dump_fields(struct json_out *j, const struct dump *d)
{
    json_array(j, "fields");
    for (int g = j->text ? VMCS_GROUP_CONTROL : -1; g <= (j->text ? VMCS_GROUP_HOST : -1); g++) {
        bool heading = false;

        for (unsigned row = 0; row < VMCS_ROWS; row++) {
            if (!shown(d, row) || (g >= 0 && vmcs_field(row)->group != g))
                continue;
            if (j->text && !heading)
                json_printf(j, "\n\n== %s ==", vmcs_group_name((enum vmcs_group)g));
            heading = true;
            if (j->text)
                put_text(j, d, row);
            else
                put_json(j, d, row);
        }
    }
    json_end(j);
    if (d->options->decode && d->bitmaps && bitmaps_shown(d))
        put_bitmaps(j, d->bitmaps);
}
