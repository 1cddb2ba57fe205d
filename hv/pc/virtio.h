/*
 * virtio over PCI (OASIS virtio v1.2, "Virtio Over PCI Bus"): the registers that all devices have.
 * Pure. A device is a struct virtio_model: features, configuration space, queues, and the work on
 * them. Its class of interrupts is INTx, and MSI-X where the PC has a local APIC to take messages.
 *
 * The registers lie in one window, see enum virtio_reg in virtio_registers.h. It is shown twice: as
 * memory (BAR 2, which the capabilities list first because some drivers know no other) and as I/O
 * ports (BAR 0, whose accesses cost less).
 *
 * Ownership: the platform's core. An invalid ring or register breaks the device
 * (DEVICE_NEEDS_RESET), never the host. A device touches guest memory only while it is a bus
 * master.
 */
#pragma once

#include "hv/pc/msix.h"
#include "hv/pc/pci.h"
#include "hv/pc/virtio_registers.h"
#include "hv/pc/virtqueue.h"

#define VIRTIO_QUEUES_MAX 4u
#define VIRTIO_WINDOW     0x80u /* bytes */
#define VIRTIO_CONFIG_MAX 0x40u

struct virtio;

struct virtio_model {
    uint16_t type;   /* virtio's device number */
    uint32_t class;  /* PCI's */
    unsigned queues; /* 1..VIRTIO_QUEUES_MAX */
    /* Forgets what the driver began. */
    void (*reset)(struct virtio *v);
    /* Moves a bounded amount while virtio_is_running(); v->pci.due says whether there is more. */
    void (*work)(struct virtio *v);
    /* A register of the device's configuration is written; NULL: all are read-only. */
    void (*write_config)(struct virtio *v, unsigned offset, uint32_t value);
};

struct virtio {
    struct pci_function pci;
    struct msix msix;
    const struct virtio_model *model;
    const struct gmem *mem;
    const void *config; /* of the device */
    unsigned config_size;
    uint64_t features, driver_features;
    uint32_t feature_select, driver_feature_select;
    uint16_t queue_select, config_vector;
    uint8_t status, isr;
    unsigned window_cap; /* offset of the capability for accesses through configuration space */
    struct virtqueue queues[VIRTIO_QUEUES_MAX];
    uint16_t vectors[VIRTIO_QUEUES_MAX];
};

/* Makes a device with these features, beside VERSION_1; `mem` and `config` (`size` bytes, at most
 * VIRTIO_CONFIG_MAX) stay the caller's. *v is all zero. Once, before any other call. */
void virtio_init(struct virtio *v, const struct virtio_model *model, const struct gmem *mem,
                 uint64_t features, const void *config, unsigned size);
/* Puts it into a slot of the bus, in its power-on state. */
void virtio_plug(struct virtio *v, struct pci *p, unsigned slot);
/* What writing 0 to STATUS does. */
void virtio_reset(struct virtio *v);

/* The driver is ready, and the device may use its memory. */
static inline bool virtio_is_running(const struct virtio *v)
{
    return (v->status & (VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET)) == VIRTIO_DRIVER_OK &&
           pci_is_master(&v->pci);
}

static inline bool virtio_has(const struct virtio *v, uint64_t feature)
{
    return v->driver_features & feature;
}

/* Interrupts for a queue whose used ring has grown, unless the driver does not want it. */
void virtio_used(struct virtio *v, unsigned queue);
/* The driver has broken a ring: the device stops. */
void virtio_fail(struct virtio *v);
