#include "arch/x86/inspect/decode_bitmap.h"

#include "hv/lib.h"

static const struct named_range ports[] = {
#define NAME_PORTS(first, last, name) {first, last, name},
#include "arch/x86/inspect/decode_names.def"
#undef NAME_PORTS
};

static const struct named_range msrs[] = {
#define NAME_MSRS(first, last, name) {first, last, name},
#include "arch/x86/inspect/decode_names.def"
#undef NAME_MSRS
};

/* A run of bits that may continue in the next bitmap. */
struct run {
    bool set, open;
    uint32_t first;
    range_emit emit;
    void *arg;
    unsigned count;
};

static void run_end(struct run *r, uint32_t next)
{
    if (!r->open)
        return;
    r->open = false;
    r->count++;
    if (r->emit)
        r->emit(r->arg, r->first, next - 1);
}

static void run_scan(struct run *r, const uint8_t *bitmap, uint32_t base, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if ((bitmap[i / 8] >> (i % 8) & 1) != r->set) {
            run_end(r, base + i);
        } else if (!r->open) {
            r->open = true;
            r->first = base + i;
        }
    }
}

unsigned bitmap_ranges(const uint8_t *bitmap, uint32_t base, uint32_t count, bool set,
                       range_emit emit, void *arg)
{
    struct run r = {.set = set, .emit = emit, .arg = arg};

    run_scan(&r, bitmap, base, count);
    run_end(&r, base + count);
    return r.count;
}

unsigned io_bitmap_ranges(const uint8_t *a, const uint8_t *b, bool exits, range_emit emit,
                          void *arg)
{
    struct run r = {.set = exits, .emit = emit, .arg = arg};

    run_scan(&r, a, 0, 8 * IO_BITMAP_BYTES);
    run_scan(&r, b, 8 * IO_BITMAP_BYTES, 8 * IO_BITMAP_BYTES);
    run_end(&r, 16 * IO_BITMAP_BYTES);
    return r.count;
}

unsigned msr_bitmap_ranges(const uint8_t *page, enum msr_bitmap_part part, bool exits,
                           range_emit emit, void *arg)
{
    bool high = part == MSR_READ_HIGH || part == MSR_WRITE_HIGH;
    uint32_t quarter = MSR_BITMAP_BYTES / 4;

    return bitmap_ranges(page + (unsigned)part * quarter, high ? 0xc0000000u : 0, 8 * quarter,
                         exits, emit, arg);
}

static const struct named_range *named(const struct named_range *table, unsigned count,
                                       uint32_t first, uint32_t last, unsigned n)
{
    for (unsigned i = 0; i < count; i++)
        if (table[i].first <= last && table[i].last >= first && n-- == 0)
            return &table[i];
    return NULL;
}

const struct named_range *io_port_named(uint32_t first, uint32_t last, unsigned n)
{
    return named(ports, ARRAY_LEN(ports), first, last, n);
}

const struct named_range *msr_named(uint32_t first, uint32_t last, unsigned n)
{
    return named(msrs, ARRAY_LEN(msrs), first, last, n);
}

const char *io_port_name(uint16_t port)
{
    const struct named_range *r = io_port_named(port, port, 0);

    return r ? r->name : "";
}

const char *msr_name(uint32_t msr)
{
    const struct named_range *r = msr_named(msr, msr, 0);

    return r ? r->name : "";
}
