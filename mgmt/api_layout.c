/* The hidden layout of the VMCS region: where this CPU keeps each field. */
#include "arch/x86/vmx/fields.h"
#include "hv/lib.h"
#include "mgmt/api_call.h"
#include "mgmt/dump.h"

#define REGION_SIZE 4096u
#define MAP_COLUMNS 64u

/* Found out once: it does not change. */
static struct {
    bool known;
    struct {
        uint16_t offset, size;
        uint8_t stored; /* enum abi_stored */
        bool tried;     /* the field exists and can be written */
    } field[VMCS_ROWS];
} layout;

static const char *stored_name(unsigned stored)
{
    static const char *const names[ABI_STORED_FORMS] = {"not found", "verbatim", "transformed"};

    return stored < ABI_STORED_FORMS ? names[stored] : "unknown";
}

static void find_layout(const struct call *c)
{
    if (layout.known)
        return;
    for (unsigned row = 0; row < VMCS_ROWS; row++) {
        int64_t r = c->v->probe(row);
        uint32_t offset = ABI_PROBE_OFFSET(r), size = ABI_PROBE_SIZE(r);

        layout.field[row].tried = r >= 0;
        if (r < 0 || offset + size > REGION_SIZE)
            continue;
        layout.field[row].offset = (uint16_t)offset;
        layout.field[row].size = (uint16_t)size;
        layout.field[row].stored = (uint8_t)ABI_PROBE_STORED(r);
    }
    layout.known = true;
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
    json_str(j, "stored", stored_name(layout.field[row].stored));
    json_end(j);
}

/* A letter a byte: C control, R read-only, G guest, H host, by what the field really belongs to;
 * small where it is transformed. */
static void put_map(struct json_out *j)
{
    static char map[REGION_SIZE];

    memset(map, '.', sizeof(map));
    memset(map, '#', 8); /* revision, VMX-abort indicator */
    for (unsigned row = 0; row < VMCS_ROWS; row++)
        for (unsigned i = 0; i < layout.field[row].size; i++)
            map[layout.field[row].offset + i] = (layout.field[row].stored == ABI_STORED_VERBATIM
                                                     ? "CRGH"
                                                     : "crgh")[vmcs_field(row)->group & 3];
    json_printf(j, "\n# revision and VMX-abort indicator  C control  R read-only  G guest  H host  "
                   "small: transformed\n");
    for (unsigned at = 0; at < REGION_SIZE; at += MAP_COLUMNS) {
        json_printf(j, "\n0x%03x  ", at);
        json_raw(j, map + at, MAP_COLUMNS);
    }
    json_printf(j, "\n");
}

/* In the order of the region. */
static void put_list(struct json_out *j)
{
    for (unsigned at = 0; at < REGION_SIZE; at++)
        for (unsigned row = 0; row < VMCS_ROWS; row++) {
            const struct vmcs_field *f = vmcs_field(row);

            if (layout.field[row].size && layout.field[row].offset == at)
                json_printf(j, "\n0x%03x  %2u bytes  0x%04x  %-38s %s", at, layout.field[row].size,
                            f->encoding, f->name, stored_name(layout.field[row].stored));
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

/* A raw region of a CPU with this machine's layout. */
void post_decode(struct call *c, char *const *arg)
{
    static struct abi_vmcs values;
    const uint8_t *raw = c->r->body;
    struct dump d = {.vmcs = &values};
    struct dump_options o;
    struct json_out *j;
    uint32_t revision;

    (void)arg;
    if (!call_dump_options(c, &o))
        return;
    if (c->r->body_len != REGION_SIZE) {
        call_failf(c, 400, "the body must be a VMCS region of %u bytes, not %lu", REGION_SIZE,
                   (uint64_t)c->r->body_len);
        return;
    }
    memcpy(&revision, raw, sizeof(revision));
    if ((revision & 0x7fffffffu) != c->v->host->vmcs_revision) {
        call_failf(c, 409, "the region has revision 0x%x, this CPU 0x%x: its layout is another one",
                   revision & 0x7fffffffu, c->v->host->vmcs_revision);
        return;
    }
    find_layout(c);
    memset(&values, 0, sizeof(values));
    for (unsigned row = 0; row < VMCS_ROWS; row++) {
        uint64_t v = 0;

        if (layout.field[row].stored != ABI_STORED_VERBATIM || layout.field[row].size > sizeof(v))
            continue;
        memcpy(&v, raw + layout.field[row].offset, layout.field[row].size);
        vmcs_set(&values, row, v);
    }
    d.options = &o;
    j = call_begin(c);
    json_object(j, NULL);
    json_hex(j, "revision", revision & 0x7fffffffu, 1);
    json_bool(j, "shadow", revision >> 31);
    dump_fields(j, &d);
    json_end(j);
}
