/* What a driver of a virtio device sees of it on the PCI bus (OASIS virtio v1.2, "Virtio Over PCI
 * Bus"). Depends on nothing else here: guests use it too (iso/sdk/). */
#pragma once

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
    VIRTIO_CONFIG = 0x40,                /* the device's configuration, any width; mostly RO */
};

enum virtio_status {
    VIRTIO_ACKNOWLEDGE = 1,
    VIRTIO_DRIVER = 2,
    VIRTIO_DRIVER_OK = 4,
    VIRTIO_FEATURES_OK = 8,
    VIRTIO_NEEDS_RESET = 64, /* set by the device: it has stopped, start again */
    VIRTIO_FAILED = 128,
};

/* Required, but not of a driver that uses the legacy registers. */
#define VIRTIO_F_VERSION_1  (1ull << 32)
/* For devices that call virtqueue_listen(). */
#define VIRTIO_F_EVENT_IDX  (1ull << 29)
/* For legacy drivers: the parts of a request may be in any descriptors. */
#define VIRTIO_F_ANY_LAYOUT (1ull << 27)
