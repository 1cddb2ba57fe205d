/* Where a virtio card's registers are: virtio v1.2, "Virtio Structure PCI Capabilities". */
#include "hv/lib.h"
#include "hv/pc/pci_registers.h"
#include "net/virtio_nic.h"

#define FIRST      0x40u /* no capability is before it */
#define SPACE      0x100u
#define MOST       48u /* as many as fit */
#define BARS       6u
#define MOST_BYTES 0x10000u /* of a window: more than our registers and queues can need */
/* Places in a capability: the next one, and what a vendor's capability has here. */
#define NEXT       1u
#define TYPE       3u
#define BAR        4u
#define OFFSET     8u
#define LENGTH     12u
#define MULTIPLIER 16u

static uint32_t byte_at(const struct nic_bus *bus, uint32_t at)
{
    return bus->config(bus->ctx, (uint16_t)(at & ~3u)) >> 8 * (at & 3) & 0xff;
}

static uint32_t word_at(const struct nic_bus *bus, uint32_t at)
{
    return bus->config(bus->ctx, (uint16_t)at);
}

/* A card may describe a window several times; the first description that can be used counts. */
static void take(const struct nic_bus *bus, uint32_t at, struct virtio_windows *w)
{
    uint32_t type, bar;
    struct virtio_place *p;

    if (at + MULTIPLIER > SPACE)
        return;
    type = byte_at(bus, at + TYPE);
    bar = byte_at(bus, at + BAR);
    if (type == 0 || type >= VIRTIO_WINDOWS || bar >= BARS)
        return;
    p = &w->at[type];
    if (p->length)
        return;
    p->bar = bar;
    p->offset = word_at(bus, at + OFFSET);
    p->length = word_at(bus, at + LENGTH);
    if (p->length > MOST_BYTES)
        p->length = MOST_BYTES;
    if (type == VIRTIO_NOTIFY_AREA && at + MULTIPLIER < SPACE)
        w->notify_multiplier = word_at(bus, at + MULTIPLIER);
}

int virtio_find_windows(const struct nic_bus *bus, struct virtio_windows *w)
{
    static const uint32_t least[VIRTIO_WINDOWS] = {
        [VIRTIO_COMMON] = 0x38,
        [VIRTIO_NOTIFY_AREA] = 2,
        [VIRTIO_ISR_STATUS] = 1,
        [VIRTIO_DEVICE_CONFIG] = 8,
    };
    uint32_t at = 0;

    memset(w, 0, sizeof(*w));
    if (word_at(bus, PCI_COMMAND) >> 16 & PCI_STATUS_CAPS)
        at = byte_at(bus, PCI_CAPABILITIES) & ~3u;
    for (unsigned n = 0; n < MOST && at >= FIRST; n++) {
        if (byte_at(bus, at) == PCI_CAP_VENDOR)
            take(bus, at, w);
        at = byte_at(bus, at + NEXT) & ~3u;
    }
    for (unsigned n = VIRTIO_COMMON; n < VIRTIO_WINDOWS; n++)
        if (w->at[n].length < least[n] || w->at[n].offset > UINT32_MAX - w->at[n].length)
            return -E_NOTSUP;
    return 0;
}
