/*
 * virtio over PCI (OASIS virtio v1.2, "Virtio Over PCI Bus"): the registers that all devices have.
 * Pure. A device is a struct virtio_model: features, configuration space, queues, and the work on
 * them. Its class of interrupts is INTx, and MSI-X where the PC has a local APIC to take messages.
 *
 * The registers lie in one window, see enum virtio_reg. It is shown twice: as memory (BAR 2, which
 * the capabilities list first because some drivers know no other) and as I/O ports (BAR 0, whose
 * accesses cost less).
 *
 * Ownership: the platform's core. An invalid ring or register breaks the device
 * (DEVICE_NEEDS_RESET), never the host. A device touches guest memory only while it is a bus
 * master.
 */
#pragma once

#include "hv/pc/msix.h"
#include "hv/pc/pci.h"
#include "hv/pc/virtqueue.h"

#define VIRTIO_QUEUES_MAX 4u
#define VIRTIO_WINDOW     0x80u /* bytes */
#define VIRTIO_CONFIG_MAX 0x40u

/* PCI identities: the device number is this and the model's type. */
#define VIRTIO_PCI_VENDOR 0x1af4u
#define VIRTIO_PCI_DEVICE 0x1040u

/*
 * The registers, by offset in the window. Each is accessed with its own width (bits in brackets):
 * any other width or offset reads all ones and swallows writes. RO: writes are swallowed. The three
 * addresses are 64 bits in two registers of 32, the low half first.
 *
 * To start: write 0 to STATUS, then ACKNOWLEDGE | DRIVER; read the features offered, write those
 * wanted; add FEATURES_OK and read STATUS back: if the bit is clear, the choice was refused. For
 * each queue: select, set the size and the three addresses, enable. Add DRIVER_OK. From then on:
 * fill the available ring, then write the queue's number to NOTIFY.
 */
enum virtio_reg {
    VIRTIO_DEVICE_FEATURE_SELECT = 0x00, /* [32] 0: features 0-31, 1: 32-63, else none */
    VIRTIO_DEVICE_FEATURE = 0x04,        /* [32] RO, the features offered */
    VIRTIO_DRIVER_FEATURE_SELECT = 0x08, /* [32] likewise for the next one */
    VIRTIO_DRIVER_FEATURE = 0x0c,        /* [32] the features wanted, until FEATURES_OK */
    VIRTIO_CONFIG_VECTOR = 0x10,         /* [16] MSI-X message for changes, 0xffff: none */
    VIRTIO_NUM_QUEUES = 0x12,            /* [16] RO */
    VIRTIO_STATUS = 0x14,                /* [8] enum virtio_status; writing 0 resets */
    VIRTIO_GENERATION = 0x15,            /* [8] RO, 0: the configuration never changes */
    VIRTIO_QUEUE_SELECT = 0x16,          /* [16] selects the queue for the following registers */
    VIRTIO_QUEUE_SIZE = 0x18,            /* [16] 256, may be made smaller; 0: no such queue */
    VIRTIO_QUEUE_VECTOR = 0x1a,          /* [16] MSI-X message for used buffers, 0xffff: none */
    VIRTIO_QUEUE_ENABLE = 0x1c,          /* [16] write 1; then only a reset changes the queue */
    VIRTIO_QUEUE_NOTIFY_OFF = 0x1e,      /* [16] RO, 0: all queues share NOTIFY */
    VIRTIO_QUEUE_DESC = 0x20,            /* [2 * 32] descriptor table, 16-byte aligned */
    VIRTIO_QUEUE_DRIVER = 0x28,          /* [2 * 32] available ring, 2-byte aligned */
    VIRTIO_QUEUE_DEVICE = 0x30,          /* [2 * 32] used ring, 4-byte aligned */
    VIRTIO_ISR = 0x38,                   /* [8] RO, 1: used buffers, 2: NEEDS_RESET was set;
                                            reading clears it and lowers the interrupt */
    VIRTIO_NOTIFY = 0x3c,                /* [16] write a queue's number: look at it now */
    VIRTIO_CONFIG = 0x40,                /* RO, the device's configuration, any width */
};

enum virtio_status {
    VIRTIO_ACKNOWLEDGE = 1,
    VIRTIO_DRIVER = 2,
    VIRTIO_DRIVER_OK = 4,
    VIRTIO_FEATURES_OK = 8,
    VIRTIO_NEEDS_RESET = 64, /* set by the device: it has stopped, start again */
    VIRTIO_FAILED = 128,
};

/* Required of drivers; and for devices that call virtqueue_listen(). */
#define VIRTIO_F_VERSION_1 (1ull << 32)
#define VIRTIO_F_EVENT_IDX (1ull << 29)

struct virtio;

struct virtio_model {
    uint16_t type;   /* virtio's device number */
    uint32_t class;  /* PCI's */
    unsigned queues; /* 1..VIRTIO_QUEUES_MAX */
    /* Forgets what the driver began. */
    void (*reset)(struct virtio *v);
    /* Moves a bounded amount while virtio_is_running(); v->pci.due says whether there is more. */
    void (*work)(struct virtio *v);
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
