/* The driver of a virtio device on the PCI bus, for tests and fuzzers: its registers by ports, and
 * queues in a guest's memory. */
#pragma once

#include "hv/pc/virtio.h"
#include "test/unit/pci_fixture.h"

#include <stdlib.h>

#define NEXT         1u /* a descriptor's flags */
#define WRITE        2u
#define VIRTIO_READY (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK)

static struct gmem mem;
static uint16_t virtio_window;           /* the device's ports */
static void (*virtio_after_write)(void); /* after each write to a register; NULL: nothing */

/* The guest's memory, all zero. Freed by virtio_fixture_end(), or by the caller: mem.base. */
static inline void virtio_fixture_memory(uint64_t size)
{
    mem = (struct gmem){.base = aligned_alloc(4096, size), .size = size};
    if (!mem.base)
        abort();
    memset(mem.base, 0, size);
}

/* A teardown. */
static inline int virtio_fixture_end(void **state)
{
    (void)state;
    free(mem.base);
    return 0;
}

/* Starts the PC's bus with one device on it, and makes this its master. */
static inline void virtio_fixture_plug(const struct device *device, void *dev, unsigned slot,
                                       uint32_t devices)
{
    pci_fixture_start(devices, NULL);
    device->plug(dev, &pci_env);
    pci_fixture_master(slot);
    virtio_window = (uint16_t)(PCI_PORTS + slot * PCI_SLOT_PORTS);
}

static inline void out(unsigned reg, unsigned size, uint32_t v)
{
    io_out(&pci_io, (uint16_t)(virtio_window + reg), size, v);
    if (virtio_after_write)
        virtio_after_write();
}

static inline uint32_t in(unsigned reg, unsigned size)
{
    return io_in(&pci_io, (uint16_t)(virtio_window + reg), size);
}

static inline void put(uint64_t at, uint64_t v, size_t n)
{
    memcpy(mem.base + at, &v, n);
}

static inline uint32_t get(uint64_t at, size_t n)
{
    uint32_t v = 0;

    memcpy(&v, mem.base + at, n);
    return v;
}

static inline void put_desc(uint64_t at, uint64_t address, uint32_t length, unsigned flags,
                            unsigned next)
{
    put(at, address, 8);
    put(at + 8, length, 4);
    put(at + 12, flags, 2);
    put(at + 14, next, 2);
}

/* Makes a chain available in a ring of `size` entries. */
static inline void put_avail(uint64_t ring, unsigned size, unsigned head)
{
    uint32_t index = get(ring + 2, 2);

    put(ring + 4 + 2ull * (index % size), head, 2);
    put(ring + 2, index + 1, 2);
}

static inline void negotiate(uint32_t low, uint32_t high)
{
    out(VIRTIO_STATUS, 1, 0);
    out(VIRTIO_STATUS, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    out(VIRTIO_DRIVER_FEATURE_SELECT, 4, 0);
    out(VIRTIO_DRIVER_FEATURE, 4, low);
    out(VIRTIO_DRIVER_FEATURE_SELECT, 4, 1);
    out(VIRTIO_DRIVER_FEATURE, 4, high);
    out(VIRTIO_STATUS, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
}

static inline void set_queue(unsigned n, unsigned size, uint64_t desc, uint64_t avail,
                             uint64_t used)
{
    out(VIRTIO_QUEUE_SELECT, 2, n);
    out(VIRTIO_QUEUE_SIZE, 2, size);
    out(VIRTIO_QUEUE_DESC, 4, (uint32_t)desc);
    out(VIRTIO_QUEUE_DESC + 4, 4, (uint32_t)(desc >> 32));
    out(VIRTIO_QUEUE_DRIVER, 4, (uint32_t)avail);
    out(VIRTIO_QUEUE_DRIVER + 4, 4, (uint32_t)(avail >> 32));
    out(VIRTIO_QUEUE_DEVICE, 4, (uint32_t)used);
    out(VIRTIO_QUEUE_DEVICE + 4, 4, (uint32_t)(used >> 32));
    out(VIRTIO_QUEUE_ENABLE, 2, 1);
}
