#include "hv/pc/bus.h"

#include "hv/lib.h"

#define PORTS 0x10000u

/* Where the region's number stands for these ports, and how many bytes it takes. NULL: they cannot
 * be claimed. */
static uint8_t *entries(struct io_bus *b, uint16_t first, uint16_t last, unsigned *count)
{
    unsigned ports = last - first + 1u;

    if (first > last)
        return NULL;
    *count = last < IO_DIRECT ? ports : ports / IO_BLOCK;
    if (last < IO_DIRECT)
        return &b->index[first];
    if (first < IO_DIRECT || first % IO_BLOCK || ports % IO_BLOCK)
        return NULL;
    return &b->blocks[(first - IO_DIRECT) / IO_BLOCK];
}

int io_claim(struct io_bus *b, uint16_t first, uint16_t last, const struct io_ops *ops, void *dev)
{
    unsigned n, count = 0;
    uint8_t *e = entries(b, first, last, &count);

    if (!e)
        return -E_RANGE;
    n = (unsigned)__builtin_ctzll(~b->used);
    if (n >= IO_REGIONS_MAX)
        return -E_NOSPC;
    for (unsigned i = 0; i < count; i++)
        if (e[i])
            return -E_EXIST;
    b->used |= 1ull << n;
    b->regions[n] = (struct io_region){ops, dev, first, last};
    memset(e, (int)n + 1, count);
    return 0;
}

int mmio_claim(struct io_bus *b, uint64_t base, uint64_t size, const struct mmio_ops *ops,
               void *dev)
{
    struct mmio_region *free = &b->mmio[b->mmio_end];

    if (size == 0 || base > UINT64_MAX - size)
        return -E_RANGE;
    for (unsigned i = 0; i < b->mmio_end; i++) {
        struct mmio_region *r = &b->mmio[i];

        if (!r->ops)
            free = r;
        else if (base < r->base + r->size && r->base < base + size)
            return -E_EXIST;
    }
    if (free == b->mmio + MMIO_REGIONS_MAX)
        return -E_NOSPC;
    if (free == &b->mmio[b->mmio_end])
        b->mmio_end++;
    *free = (struct mmio_region){ops, dev, base, size};
    return 0;
}

void io_release(struct io_bus *b, uint16_t port)
{
    const struct io_region *r = io_region(b, port);
    unsigned count = 0;
    uint8_t *e;

    if (!r)
        return;
    e = entries(b, r->first, r->last, &count);
    memset(e, 0, count);
    b->used &= ~(1ull << (r - b->regions));
    b->regions[r - b->regions] = (struct io_region){0};
}

void mmio_release(struct io_bus *b, uint64_t base)
{
    for (unsigned i = 0; i < b->mmio_end; i++)
        if (b->mmio[i].size && b->mmio[i].base == base)
            b->mmio[i] = (struct mmio_region){0};
    while (b->mmio_end && !b->mmio[b->mmio_end - 1].ops)
        b->mmio_end--;
}

/* True if the device takes the whole access at once. */
static bool is_whole(const struct io_region *r, uint16_t port, unsigned size)
{
    return r && size <= r->ops->width && port + size - 1 <= r->last;
}

uint32_t io_in_wide(const struct io_bus *b, uint16_t port, unsigned size)
{
    const struct io_region *r = io_region(b, port);
    uint32_t value = 0;

    if (is_whole(r, port, size))
        return r->ops->in(r->dev, port, size);
    for (unsigned i = 0; i < size; i++)
        value |= (port + i < PORTS ? io_in(b, (uint16_t)(port + i), 1) & 0xff : 0xff) << (8 * i);
    return value;
}

void io_out_wide(const struct io_bus *b, uint16_t port, unsigned size, uint32_t value)
{
    const struct io_region *r = io_region(b, port);

    if (is_whole(r, port, size)) {
        r->ops->out(r->dev, port, size, value);
        return;
    }
    for (unsigned i = 0; i < size && port + i < PORTS; i++)
        io_out(b, (uint16_t)(port + i), 1, value >> (8 * i) & 0xff);
}

static const struct mmio_region *find_mmio(const struct io_bus *b, uint64_t at)
{
    for (unsigned i = 0; i < b->mmio_end; i++) /* a free one has size 0 */
        if (at - b->mmio[i].base < b->mmio[i].size)
            return &b->mmio[i];
    return NULL;
}

/* The device takes the access at once. */
static bool is_whole_mmio(const struct mmio_region *r, uint64_t at, unsigned size)
{
    return size <= r->ops->width && at - r->base + size <= r->size;
}

/* Bytes per cycle. */
static unsigned step_of(const struct mmio_region *r, unsigned size)
{
    return (unsigned)min_u64(size, r->ops->width);
}

static uint64_t ones(unsigned bytes)
{
    return bytes >= 8 ? UINT64_MAX : (1ull << (8 * bytes)) - 1;
}

static __attribute__((noinline)) uint64_t read_split(const struct mmio_region *r, uint64_t at,
                                                     unsigned size)
{
    uint64_t value = 0;

    for (unsigned i = 0, step = step_of(r, size); i < size; i += step) {
        uint64_t offset = at - r->base + i, part = ones(step);

        if (offset + step <= r->size)
            part &= r->ops->read(r->dev, offset, step);
        value |= part << (8 * i);
    }
    return value;
}

bool mmio_read(const struct io_bus *b, uint64_t at, unsigned size, uint64_t *value)
{
    const struct mmio_region *r = find_mmio(b, at);

    if (__builtin_expect(!r, 0))
        return false;
    if (__builtin_expect(is_whole_mmio(r, at, size), 1))
        *value = r->ops->read(r->dev, at - r->base, size) & ones(size);
    else
        *value = read_split(r, at, size);
    return true;
}

bool mmio_write(const struct io_bus *b, uint64_t at, unsigned size, uint64_t value)
{
    const struct mmio_region *r = find_mmio(b, at);

    if (!r)
        return false;
    for (unsigned i = 0, step = step_of(r, size); i < size; i += step) {
        uint64_t offset = at - r->base + i;

        if (offset + step <= r->size)
            r->ops->write(r->dev, offset, step, value >> (8 * i) & ones(step));
    }
    return true;
}
