/* Puts a virtio device into a guest's PC, by one of the transports. Pure. */
#pragma once

#include "hv/pc/device.h"
#include "hv/pc/virtio.h"

/* In the slot, and in its power-on state: over what env->virtio says. */
void virtio_plug(struct virtio *v, const struct device_env *env, unsigned slot);
