/*
 * virtio (OASIS virtio v1.2): the registers that all devices have. Pure. A device is a struct
 * virtio_model: features, configuration space, queues, and the work on them. It does not know its
 * transport, of which there are three: virtio_pci.h, virtio_legacy.h, virtio_mmio.h. These show the
 * registers of enum virtio_reg (virtio_registers.h) to the driver, each at its own places.
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

#define VIRTIO_QUEUES_MAX 17u
#define VIRTIO_WINDOW     0x80u /* bytes */
#define VIRTIO_CONFIG_MAX 0x40u

struct virtio;

struct virtio_model {
    uint16_t type;          /* virtio's device number */
    uint16_t legacy_device; /* PCI's number for a transitional one */
    uint32_t class;         /* PCI's */
    unsigned queues;        /* 1..VIRTIO_QUEUES_MAX; see virtio.queue_count */
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
    unsigned queue_count; /* as in the model, unless the device has fewer after virtio_init() */
    uint8_t status, isr;
    bool legacy;         /* the driver uses the legacy registers */
    unsigned window_cap; /* offset of the capability for accesses through configuration space */
    struct virtqueue queues[VIRTIO_QUEUES_MAX];
    uint16_t vectors[VIRTIO_QUEUES_MAX];
};

/* Makes a device with these features, beside VERSION_1; `mem` and `config` (`size` bytes, at most
 * VIRTIO_CONFIG_MAX) stay the caller's. *v is all zero. Once, before any other call. */
void virtio_init(struct virtio *v, const struct virtio_model *model, const struct gmem *mem,
                 uint64_t features, const void *config, unsigned size);
/* What writing 0 to STATUS does. */
void virtio_reset(struct virtio *v);

/* The driver is ready, and the device may use its memory. A legacy driver may use queues before it
 * says that it is. */
static inline bool virtio_is_running(const struct virtio *v)
{
    uint8_t ready = v->legacy ? VIRTIO_DRIVER : VIRTIO_DRIVER_OK;

    return (v->status & (ready | VIRTIO_NEEDS_RESET)) == ready && pci_is_master(&v->pci);
}

static inline bool virtio_has(const struct virtio *v, uint64_t feature)
{
    return v->driver_features & feature;
}

/* Interrupts for a queue whose used ring has grown, unless the driver does not want it. */
void virtio_used(struct virtio *v, unsigned queue);
/* The driver has broken a ring: the device stops. */
void virtio_fail(struct virtio *v);

/* ---- for transports ---- */

/* Of a register, in bytes; 0: none begins there. */
unsigned virtio_width(unsigned reg);
/* Accesses to registers and, from VIRTIO_CONFIG on, to the device's configuration. */
uint32_t virtio_read(struct virtio *v, unsigned reg, unsigned size);
void virtio_write(struct virtio *v, unsigned reg, unsigned size, uint32_t value);
/* The queue that VIRTIO_QUEUE_SELECT names, or NULL. */
struct virtqueue *virtio_selected(struct virtio *v);
/* Begins to use that queue, whose addresses are set; or stops it, and forgets what the driver began
 * with any. */
void virtio_enable_queue(struct virtio *v);
void virtio_stop_queue(struct virtio *v);
