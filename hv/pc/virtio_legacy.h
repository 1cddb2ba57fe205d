/*
 * The registers of a transitional device for drivers from before virtio 1.0 (OASIS virtio v1.2,
 * "Legacy Interfaces"), in BAR 0. Pure. A queue has its full size and begins at a page whose number
 * the driver writes. Such drivers use a queue before they say that they are ready, and some do not
 * make the device a bus master: it becomes one when it gets a queue.
 */
#pragma once

#include "hv/pc/virtio.h"

enum virtio_legacy_reg {
    LEGACY_DEVICE_FEATURES = 0x00, /* [32] RO: the first 32 */
    LEGACY_DRIVER_FEATURES = 0x04, /* [32] */
    LEGACY_QUEUE_PAGE = 0x08,      /* [32] 0: the queue is not used */
    LEGACY_QUEUE_SIZE = 0x0c,      /* [16] RO; 0: no such queue */
    LEGACY_QUEUE_SELECT = 0x0e,    /* [16] */
    LEGACY_NOTIFY = 0x10,          /* [16] */
    LEGACY_STATUS = 0x12,          /* [8] */
    LEGACY_ISR = 0x13,             /* [8] RO */
    LEGACY_CONFIG = 0x14,          /* the device's configuration; while MSI-X is enabled: */
    LEGACY_CONFIG_VECTOR = 0x14,   /* [16] */
    LEGACY_QUEUE_VECTOR = 0x16,    /* [16] */
    LEGACY_CONFIG_MSIX = 0x18,     /* the device's configuration */
};
#define LEGACY_PAGE 4096u

extern const struct io_ops virtio_legacy_ports;
