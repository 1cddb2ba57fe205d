/*
 * The ports and the memory-mapped registers of a guest's PC, and which device claims which. Pure.
 * Calls do not overlap, see platform.h.
 */
#pragma once

#include "hv/types.h"

/* Accesses of 1 byte, and of 2 and 4 if the device's registers are that wide: `width` is the most
 * bytes it takes at once. The bus splits wider accesses. */
struct io_ops {
    uint32_t (*in)(void *dev, uint16_t port, unsigned size);
    void (*out)(void *dev, uint16_t port, unsigned size, uint32_t value);
    unsigned width;
};

/* The same for memory; `offset` from the range's first byte, and up to 8 bytes. */
struct mmio_ops {
    uint64_t (*read)(void *dev, uint64_t offset, unsigned size);
    void (*write)(void *dev, uint64_t offset, unsigned size, uint64_t value);
    unsigned width;
};

#define IO_REGIONS_MAX   48 /* at most 64 */
#define IO_DIRECT        0x1000u
#define IO_BLOCK         64u
#define MMIO_REGIONS_MAX 32u

/* O(1). Ports below IO_DIRECT are claimed one by one, those above in aligned blocks of IO_BLOCK.
 * All zero: nothing is claimed. */
struct io_bus {
    uint8_t index[IO_DIRECT]; /* region number + 1; 0: unclaimed */
    uint8_t blocks[(0x10000 - IO_DIRECT) / IO_BLOCK];
    uint64_t used; /* bits: regions */
    struct io_region {
        const struct io_ops *ops; /* NULL: free */
        void *dev;
        uint16_t first, last;
    } regions[IO_REGIONS_MAX];
    struct mmio_region {
        const struct mmio_ops *ops;
        void *dev;
        uint64_t base, size; /* guest-physical, bytes */
    } mmio[MMIO_REGIONS_MAX];
    unsigned mmio_end; /* those in use are before this one */
};

/* -E_EXIST when a port is taken, -E_RANGE (also above IO_DIRECT if these are not whole blocks),
 * -E_NOSPC. */
int io_claim(struct io_bus *b, uint16_t first, uint16_t last, const struct io_ops *ops,
             void *dev) MUST_CHECK;
/* The same for [base, base + size). */
int mmio_claim(struct io_bus *b, uint64_t base, uint64_t size, const struct mmio_ops *ops,
               void *dev) MUST_CHECK;
/* Releases the whole range that has this port, and the one that begins at this address. Nothing
 * happens if there is none. */
void io_release(struct io_bus *b, uint16_t port);
void mmio_release(struct io_bus *b, uint64_t base);

/*
 * An unclaimed port reads ones and swallows writes. Accesses wider than a device's registers, or
 * that reach beyond its ports, become byte cycles to consecutive ports: SDM 1 "I/O Address Space"
 * ("any two consecutive 8-bit ports can be treated as a 16-bit port").
 */
uint32_t io_in_wide(const struct io_bus *b, uint16_t port, unsigned size);
void io_out_wide(const struct io_bus *b, uint16_t port, unsigned size, uint32_t value);

/* NULL: unclaimed. */
static inline const struct io_region *io_region(const struct io_bus *b, uint16_t port)
{
    unsigned n = port < IO_DIRECT ? b->index[port] : b->blocks[(port - IO_DIRECT) / IO_BLOCK];

    return n ? &b->regions[n - 1] : NULL;
}

static inline uint32_t io_in(const struct io_bus *b, uint16_t port, unsigned size)
{
    const struct io_region *r = io_region(b, port);

    if (size != 1)
        return io_in_wide(b, port, size);
    return r ? r->ops->in(r->dev, port, 1) : 0xffu;
}

static inline void io_out(const struct io_bus *b, uint16_t port, unsigned size, uint32_t value)
{
    const struct io_region *r = io_region(b, port);

    if (size != 1)
        io_out_wide(b, port, size, value);
    else if (r)
        r->ops->out(r->dev, port, 1, value);
}

/* What a port or register that does not exist reads. */
static inline uint32_t io_ones(unsigned size)
{
    return UINT32_MAX >> (32 - 8 * size);
}

/* 1, 2, 4 or 8 bytes of memory. False: the first byte is unclaimed. Accesses wider than the
 * device's registers are split. */
bool mmio_read(const struct io_bus *b, uint64_t at, unsigned size, uint64_t *value);
bool mmio_write(const struct io_bus *b, uint64_t at, unsigned size, uint64_t value);
