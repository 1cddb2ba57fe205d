/* A driver of virtio devices over PCI, for the guests that have one: included by one .c file of
 * each. */
#pragma once

#include "hv/pc/virtio.h"
#include "iso/sdk/include/bulkhead/virtqueue.h"
#include "test/guests/lib/guest.h"

#define REG(r)       ((uint16_t)(ports + (r)))
#define STATUS_READY (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK)

static uint16_t ports; /* the device's */

static void set_address(uint16_t reg, uint64_t a)
{
    outl(REG(reg), (uint32_t)a);
    outl(REG(reg + 4), (uint32_t)(a >> 32));
}

static void set_queue(uint16_t number, uint16_t size, uint64_t desc, uint64_t avail, uint64_t used)
{
    outw(REG(VIRTIO_QUEUE_SELECT), number);
    outw(REG(VIRTIO_QUEUE_SIZE), size);
    set_address(VIRTIO_QUEUE_DESC, desc);
    set_address(VIRTIO_QUEUE_DRIVER, avail);
    set_address(VIRTIO_QUEUE_DEVICE, used);
    outw(REG(VIRTIO_QUEUE_ENABLE), 1);
}

/* Finds the device, the n-th of its kind, and resets it; it has VERSION_1 and `features` (those
 * below bit 32) then. False: there is none. */
static bool find_device(uint16_t device, unsigned n, uint32_t features)
{
    ports = pc_pci_ports(VIRTIO_PCI_VENDOR, device, n);
    if (!ports)
        return false;
    outb(REG(VIRTIO_STATUS), 0);
    outb(REG(VIRTIO_STATUS), VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    outl(REG(VIRTIO_DRIVER_FEATURE_SELECT), 0);
    outl(REG(VIRTIO_DRIVER_FEATURE), features);
    outl(REG(VIRTIO_DRIVER_FEATURE_SELECT), 1);
    outl(REG(VIRTIO_DRIVER_FEATURE), VIRTIO_F_VERSION_1 >> 32);
    outb(REG(VIRTIO_STATUS), STATUS_READY);
    return true;
}

/* Its queues are set. False: it does not start. */
static bool device_starts(void)
{
    outb(REG(VIRTIO_STATUS), STATUS_READY | VIRTIO_DRIVER_OK);
    return inb(REG(VIRTIO_STATUS)) == (STATUS_READY | VIRTIO_DRIVER_OK);
}
