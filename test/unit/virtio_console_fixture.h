/* A console on the PCI bus, and what it has printed. */
#pragma once

#include "hv/pc/virtio_console.h"
#include "test/unit/virtio_fixture.h"

static struct virtio_console dev;
static char printed[512];
static size_t printed_size;

static void on_byte(void *ctx, uint8_t byte)
{
    (void)ctx;
    if (printed_size + 1 >= sizeof(printed))
        abort();
    printed[printed_size++] = (char)byte;
    printed[printed_size] = 0;
}

/* `transports`: VIRTIO_*, 0: the modern one. */
static void console_fixture_start(uint64_t memory, uint32_t transports,
                                  int (*msi)(void *, uint64_t, uint32_t))
{
    static const struct platform_host host = {.console = on_byte};

    printed_size = 0;
    printed[0] = 0;
    virtio_fixture_memory(memory);
    virtio_console_init(&dev, &mem);
    pci_fixture_start(DEV_CONSOLE, msi);
    pci_env.virtio = transports;
    pci_env.host = &host;
    virtio_console_device.plug(&dev, &pci_env);
    virtio_window = PCI_PORTS + VIRTIO_CONSOLE_SLOT * PCI_SLOT_PORTS;
}
