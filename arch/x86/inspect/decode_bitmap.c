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

/* A run of bits. */
struct run {
    bool open;
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

static bool bit_at(const uint8_t *bytes, uint32_t bit)
{
    return bytes[bit / 8] >> bit % 8 & 1;
}

unsigned bitmap_ranges(const uint8_t *bitmap, uint32_t base, uint32_t count, bool set,
                       range_emit emit, void *arg)
{
    const struct exit_maps one = {.parts = {{{base, count, 0, 1}}}};

    return exit_map_ranges(&one, bitmap, EXIT_MAP_PORTS, set, emit, arg);
}

const struct exit_map_list exit_map_lists[EXIT_MAPS] = {
    [EXIT_MAP_PORTS] = {"ports_that_exit", true},
    [EXIT_MAP_MSR_READS] = {"msr_reads_without_exit", false},
    [EXIT_MAP_MSR_WRITES] = {"msr_writes_without_exit", false},
};

#define PORTS     0x10000u
#define MSRS      0x2000u
#define MSRS_HIGH 0xc0000000u
#define MSRS_AMD  0xc0010000u

const struct exit_maps exit_maps_vmx = {
    .size = 0x3000,
    .parts = {[EXIT_MAP_PORTS] = {{0, PORTS, 8 * 0x1000, 1}},
              [EXIT_MAP_MSR_READS] = {{0, MSRS, 0, 1}, {MSRS_HIGH, MSRS, 8 * 0x400, 1}},
              [EXIT_MAP_MSR_WRITES] = {{0, MSRS, 8 * 0x800, 1}, {MSRS_HIGH, MSRS, 8 * 0xc00, 1}}},
};

const struct exit_maps exit_maps_svm = {
    .size = 0x5000,
    .parts = {[EXIT_MAP_PORTS] = {{0, PORTS, 8 * 0x2000, 1}},
              [EXIT_MAP_MSR_READS] = {{0, MSRS, 0, 2},
                                      {MSRS_HIGH, MSRS, 8 * 0x800, 2},
                                      {MSRS_AMD, MSRS, 8 * 0x1000, 2}},
              [EXIT_MAP_MSR_WRITES] = {{0, MSRS, 1, 2},
                                       {MSRS_HIGH, MSRS, 8 * 0x800 + 1, 2},
                                       {MSRS_AMD, MSRS, 8 * 0x1000 + 1, 2}}},
};

unsigned exit_map_ranges(const struct exit_maps *m, const uint8_t *bytes, enum exit_map map,
                         bool exits, range_emit emit, void *arg)
{
    struct run r = {.emit = emit, .arg = arg};

    for (const struct exit_map_part *p = m->parts[map]; p < m->parts[map] + EXIT_MAP_PARTS; p++) {
        for (uint32_t i = 0, bit = p->at; i < p->count; i++, bit += p->stride) {
            if (bit_at(bytes, bit) != exits) {
                run_end(&r, p->first + i);
            } else if (!r.open) {
                r.open = true;
                r.first = p->first + i;
            }
        }
        run_end(&r, p->first + p->count);
    }
    return r.count;
}

bool exit_map_mark(const struct exit_maps *m, uint8_t *bytes, enum exit_map map, uint64_t first,
                   uint64_t last, bool exits)
{
    for (const struct exit_map_part *p = m->parts[map]; p < m->parts[map] + EXIT_MAP_PARTS; p++) {
        if (first < p->first || first > last || last - p->first >= p->count)
            continue;
        for (uint32_t i = (uint32_t)first - p->first; i <= last - p->first; i++) {
            uint32_t bit = p->at + i * p->stride;

            bytes[bit / 8] &= (uint8_t) ~(1u << bit % 8);
            bytes[bit / 8] |= (uint8_t)((exits ? 1u : 0u) << bit % 8);
        }
        return true;
    }
    return false;
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
