/* GET /v1/vmx/layout: where a CPU keeps the fields in a VMCS region. */
#include "mgmt/tools/reader_impl.h"

#include <stdio.h>

static int read_place(struct reader *r, int object, unsigned row, struct layout_field *f)
{
    int offset = reader_member(r->j, object, "offset"), size = reader_member(r->j, object, "size");
    unsigned bytes = dump_digits(vmcs_field(row)) / 2;
    int64_t at, n;

    if (f->stored == ABI_STORED_NOT_FOUND)
        return 0;
    if (offset < 0 || size < 0)
        return reader_fail(r, object, "\"%s\" is missing", offset < 0 ? "offset" : "size");
    if (json_integer(r->j, size, 1, (int64_t)bytes, &n) || (n & (n - 1)))
        return reader_fail(r, size, "size: must be 1, 2, 4 or 8 bytes, at most the field's %u",
                           bytes);
    if (json_integer(r->j, offset, LAYOUT_DATA, (int64_t)LAYOUT_REGION - n, &at))
        return reader_fail(r, offset, "offset: must be a number of bytes from %u to %ld",
                           LAYOUT_DATA, (long)LAYOUT_REGION - (long)n);
    f->offset = (uint16_t)at;
    f->size = (uint16_t)n;
    return 0;
}

static int read_layout_field(struct reader *r, int object, unsigned row, struct layout_field *f)
{
    int stored = reader_need(r, object, "stored", JSMN_STRING);

    if (stored < 0)
        return stored;
    f->tried = true;
    for (unsigned i = 0; i < ABI_STORED_FORMS; i++)
        if (json_is(r->j, stored, layout_stored_name(i))) {
            f->stored = (uint8_t)i;
            return read_place(r, object, row, f);
        }
    return reader_fail(r, stored, "stored: must be \"verbatim\", \"transformed\" or \"not found\"");
}

static int read_revision(struct reader *r, uint32_t *revision)
{
    int t = reader_member(r->j, 0, "revision");
    uint64_t v;
    int64_t n;

    if (t >= 0 && json_integer(r->j, t, 0, INT32_MAX, &n) == 0) {
        *revision = (uint32_t)n;
        return 0;
    }
    if (reader_need_hex(r, 0, "revision", 31, &v))
        return -E_FORMAT;
    *revision = (uint32_t)v;
    return 0;
}

int reader_layout(const struct json *j, struct vmcs_layout *out, struct reader_error *e)
{
    struct reader r = {.j = j, .e = e};
    uint64_t listed[ROW_WORDS] = {0};
    int array, t;

    memset(out, 0, sizeof(*out));
    if (reader_root(&r, "a saved answer of GET /v1/vmx/layout") ||
        read_revision(&r, &out->revision))
        return -E_FORMAT;
    array = reader_objects(&r, 0, "fields");
    t = array + 1;
    for (int i = 0; array >= 0 && i < j->tokens[array].size; i++) {
        int row = reader_field(&r, &state_vmcs, t, i, listed);

        if (row < 0 || read_layout_field(&r, t, (unsigned)row, &out->field[row]))
            return -E_FORMAT;
        t = json_skip(j, t);
    }
    return array < 0 ? array : 0;
}
