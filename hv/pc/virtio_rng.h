/*
 * virtio-rng (OASIS virtio v1.2 "Entropy Device"), in slot VIRTIO_RNG_SLOT of the PCI bus: random
 * bytes from the host's generator. Pure. A guest gets VIRTIO_RNG_WORK bytes every
 * VIRTIO_RNG_PAUSE_US at most, so that it neither exhausts the generator, which is everyone's, nor
 * holds up the core.
 *
 * Ownership: the platform's core.
 */
#pragma once

#include "hv/pc/virtio_buffer.h"

#define VIRTIO_RNG_SLOT     ((unsigned)PC_SLOT_RNG)
#define VIRTIO_RNG_DEVICE   (VIRTIO_PCI_DEVICE + 4)
#define VIRTIO_RNG_WORK     32u /* bytes */
#define VIRTIO_RNG_PAUSE_US 1000u

struct virtio_rng {
    struct virtio virtio;
    /* Fills `to` with random bytes; an error: it has none now. NULL: the device does not exist. */
    int (*draw)(uint8_t *to, size_t size);
    struct virtio_buffer buffer;
    uint64_t next; /* absolute: when more bytes may be drawn */
};

extern const struct device virtio_rng_device;

/* Once. */
void virtio_rng_init(struct virtio_rng *d, const struct gmem *mem,
                     int (*draw)(uint8_t *to, size_t size));
