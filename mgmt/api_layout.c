/* The hidden layout of the VMCS region: where this CPU keeps each field. */
#include "arch/x86/inspect/fields.h"
#include "hv/lib.h"
#include "mgmt/api_call.h"
#include "mgmt/layout.h"

#define MAP_COLUMNS 64u

/* Determined once: it does not change. */
static struct vmcs_layout layout;
static bool known;

static void find_layout(const struct call *c)
{
    if (known)
        return;
    for (unsigned row = 0; row < VMCS_ROWS; row++) {
        int64_t r = c->v->probe(row);
        uint32_t offset = ABI_PROBE_OFFSET(r), size = ABI_PROBE_SIZE(r);

        layout.field[row].tried = r >= 0;
        if (r < 0 || offset + size > LAYOUT_REGION)
            continue;
        layout.field[row].offset = (uint16_t)offset;
        layout.field[row].size = (uint16_t)size;
        layout.field[row].stored = (uint8_t)ABI_PROBE_STORED(r);
    }
    layout.revision = c->v->host->vmcs_revision;
    known = true;
}

static void put_field(struct json_out *j, unsigned row)
{
    const struct vmcs_field *f = vmcs_field(row);
    bool found = layout.field[row].size != 0;

    json_object(j, NULL);
    json_hex(j, "encoding", f->encoding, 4);
    json_str(j, "name", f->name);
    if (found)
        json_u64(j, "offset", layout.field[row].offset);
    else
        json_null(j, "offset");
    json_u64(j, "size", layout.field[row].size);
    json_str(j, "stored", layout_stored_name(layout.field[row].stored));
    json_end(j);
}

/* One letter per byte: C control, R read-only, G guest, H host, by the field's real group; lower
 * case if it is transformed. */
static void put_map(struct json_out *j)
{
    static char map[LAYOUT_REGION];

    memset(map, '.', sizeof(map));
    memset(map, '#', LAYOUT_DATA); /* revision, VMX-abort indicator */
    for (unsigned row = 0; row < VMCS_ROWS; row++)
        for (unsigned i = 0; i < layout.field[row].size; i++)
            map[layout.field[row].offset + i] = (layout.field[row].stored == ABI_STORED_VERBATIM
                                                     ? "CRGH"
                                                     : "crgh")[vmcs_field(row)->group & 3];
    json_printf(j, "\n# revision and VMX-abort indicator  C control  R read-only  G guest  H host  "
                   "small: transformed\n");
    for (unsigned at = 0; at < LAYOUT_REGION; at += MAP_COLUMNS) {
        json_printf(j, "\n0x%03x  ", at);
        json_raw(j, map + at, MAP_COLUMNS);
    }
    json_printf(j, "\n");
}

/* In region order. */
static void put_list(struct json_out *j)
{
    for (unsigned at = 0; at < LAYOUT_REGION; at++)
        for (unsigned row = 0; row < VMCS_ROWS; row++) {
            const struct vmcs_field *f = vmcs_field(row);

            if (layout.field[row].size && layout.field[row].offset == at)
                json_printf(j, "\n0x%03x  %2u bytes  0x%04x  %-38s %s", at, layout.field[row].size,
                            f->encoding, f->name, layout_stored_name(layout.field[row].stored));
        }
}

void get_layout(struct call *c, char *const *arg)
{
    const struct abi_host *h = c->v->host;
    bool inside = c->v->caps[0].hypervisor;
    struct json_out *j;

    (void)arg;
    find_layout(c);
    j = call_begin(c);
    json_object(j, NULL);
    json_hex(j, "revision", h->vmcs_revision, 1);
    json_str(j, "cpu", h->cpu_brand);
    json_hex(j, "cpu_signature", h->cpu_signature, 1);
    json_bool(j, "inside_a_hypervisor", inside);
    if (inside)
        json_str(j, "note",
                 "this is the layout of the hypervisor below, which emulates VT-x, not the CPU's");
    if (j->text) {
        put_map(j);
        put_list(j);
        json_end(j);
        return;
    }
    json_array(j, "fields");
    for (unsigned row = 0; row < VMCS_ROWS; row++)
        if (layout.field[row].tried)
            put_field(j, row);
    json_end(j);
    json_end(j);
}

/* Decodes a raw region of a CPU with this machine's layout. */
void post_decode(struct call *c, char *const *arg)
{
    const uint8_t *raw = c->r->body;
    struct dump_options o;
    struct json_out *j;

    (void)arg;
    if (!call_dump_options(c, &o))
        return;
    if (c->r->body_len != LAYOUT_REGION) {
        call_failf(c, 400, "the body must be a VMCS region of %u bytes, not %lu", LAYOUT_REGION,
                   (uint64_t)c->r->body_len);
        return;
    }
    if (layout_revision(raw) != c->v->host->vmcs_revision) {
        call_failf(c, 409, "the region has revision 0x%x, this CPU 0x%x: its layout is another one",
                   layout_revision(raw), c->v->host->vmcs_revision);
        return;
    }
    find_layout(c);
    j = call_begin(c);
    json_object(j, NULL);
    layout_put_region(j, &layout, raw, &o);
    json_end(j);
}
