/* SOURCES: hv/gmem.c arch/x86/guest/string_io.c arch/x86/guest/segment.c arch/x86/guest/paging.c
 * hv/pc/bus.c hv/lib.c */
/* String I/O of a guest with arbitrary registers, segments, tables and memory. Input: the
 * registers, then guest memory. */
#include "arch/x86/guest/string_io.h"

#include <stdlib.h>

#define MEMORY   0x8000u
#define PORT     0x10u
#define ELEMENTS 300u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    uint64_t index, count, base, cr0, cr3, cr4, efer, rflags, pdpte[4];
    uint32_t limit, rights, cs_rights;
    uint8_t kind, size, cpl, segment;
};

static unsigned accesses;

static uint32_t port_in(void *dev, uint16_t port, unsigned size)
{
    (void)dev;
    (void)port;
    (void)size;
    accesses++;
    return 0x5a5a5a5a;
}

static void port_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    (void)dev;
    (void)port;
    (void)size;
    (void)value;
    accesses++;
}

static void run(const struct input *in, const struct gmem *m)
{
    static const struct io_ops ops = {port_in, port_out, 4};
    static struct io_bus bus;
    struct string_io s = {
        .port = PORT,
        .size = 1u << in->size % 3,
        .in = in->kind & 1,
        .rep = in->kind & 2,
        .down = in->kind & 4,
        .address_bytes = 2u << (in->kind >> 3) % 3,
        .segment_id = (enum segment_id)(in->segment % 6),
        .mode = segment_mode_of(in->cr0, in->efer, in->rflags, in->cs_rights),
        .segment = {in->base, in->limit, in->rights},
        .paging = {in->cr0,
                   in->cr3,
                   in->cr4,
                   in->efer,
                   {in->pdpte[0], in->pdpte[1], in->pdpte[2], in->pdpte[3]},
                   in->cpl & 3,
                   in->kind & 0x80,
                   40},
        .mem = m,
        .bus = &bus,
    };
    uint64_t index = in->index, count = in->count;
    struct guest_fault f;

    if (!bus.index[PORT] && io_claim(&bus, PORT, PORT + 3, &ops, NULL))
        abort();
    for (unsigned i = 0; i < ELEMENTS; i++) {
        uint64_t was = index, had = count;
        unsigned before = accesses;
        enum string_io_result r = string_io_element(&s, &index, &count, &f);

        if (r == STRING_IO_MORE)
            continue;
        /* An access that faults has changed nothing. */
        if (r != STRING_IO_DONE && (was != index || had != count || before != accesses))
            abort();
        return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gmem m = {.base = NULL, .size = MEMORY};
    struct input in;

    if (size < sizeof(in))
        return 0;
    memcpy(&in, data, sizeof(in));
    data += sizeof(in);
    size -= sizeof(in);
    m.base = aligned_alloc(4096, MEMORY);
    if (!m.base)
        return 0;
    memset(m.base, 0, MEMORY);
    if (size)
        memcpy(m.base, data, size < MEMORY ? size : MEMORY);
    run(&in, &m);
    free(m.base);
    return 0;
}
