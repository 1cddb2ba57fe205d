/*
 * virtio over MMIO, version 2 (OASIS virtio v1.2, "Virtio Over MMIO"). Pure. A device has
 * VIRTIO_MMIO_SIZE bytes of registers for its slot, and that slot's interrupt line on the PCI bus.
 * ACPI's tables say where (mgmt/load/dsdt.asl, LNRO0005).
 */
#pragma once

#include "hv/pc/virtio.h"

#define VIRTIO_MMIO_AT(slot) ((uint64_t)PC_VIRTIO_MMIO + PC_VIRTIO_MMIO_SIZE * (uint64_t)(slot))

/* Registers of 32 bits that have no equivalent in enum virtio_reg. */
enum virtio_mmio_reg {
    MMIO_MAGIC = 0x000,
    MMIO_VERSION = 0x004,
    MMIO_DEVICE = 0x008,
    MMIO_VENDOR = 0x00c,
    MMIO_QUEUE_SIZE_MAX = 0x034,
    MMIO_QUEUE_READY = 0x044, /* 0 stops the queue */
    MMIO_ISR = 0x060,
    MMIO_ACKNOWLEDGE = 0x064, /* clears bits of MMIO_ISR */
    MMIO_SHARED = 0x0b0,      /* length and place of shared memory: there is none */
    MMIO_SHARED_END = 0x0c0,
    MMIO_CONFIG = 0x100,
};
#define MMIO_IS_MAGIC   0x74726976u
#define MMIO_IS_VERSION 2u

/* Puts the device there, in its power-on state. */
void virtio_mmio_plug(struct virtio *v, struct pci *p, unsigned slot);
