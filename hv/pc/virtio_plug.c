#include "hv/pc/virtio_plug.h"

#include "hv/config.h"
#include "hv/pc/virtio_mmio.h"
#include "hv/pc/virtio_pci.h"

void virtio_plug(struct virtio *v, const struct device_env *env, unsigned slot)
{
    if (env->virtio == VIRTIO_MMIO)
        virtio_mmio_plug(v, env->pci, slot);
    else
        virtio_pci_plug(v, env->pci, slot, env->virtio == VIRTIO_TRANSITIONAL);
}
