/*
 * virtio-console (OASIS virtio v1.2 "Console Device"), in slot VIRTIO_CONSOLE_SLOT of the PCI bus:
 * one port, which is the guest's console beside the UART. Pure. What the guest writes there goes
 * where the UART's output goes.
 *
 * Ownership: the platform's core. A call of the model's work() serves one queue, and the queues
 * take turns; it prints at most VIRTIO_CONSOLE_WORK bytes.
 */
#pragma once

#include "hv/pc/device.h"
#include "hv/pc/virtio_buffer.h"

#define VIRTIO_CONSOLE_SLOT        ((unsigned)PC_SLOT_CONSOLE)
#define VIRTIO_CONSOLE_DEVICE      (VIRTIO_PCI_DEVICE + 3)
#define VIRTIO_CONSOLE_WORK        32u /* bytes */
#define VIRTIO_CONSOLE_TYPED       64u /* bytes that wait for the driver; a power of two */

/* Features offered. */
#define VIRTIO_CONSOLE_F_MULTIPORT (1ull << 1)
#define VIRTIO_CONSOLE_F_EMERG_WRITE                                                               \
    (1ull << 2) /* a byte written to the configuration is printed */

enum virtio_console_queue {
    VIRTIO_CONSOLE_IN, /* of port 0: what is typed */
    VIRTIO_CONSOLE_OUT,
    VIRTIO_CONSOLE_CONTROL_IN, /* with MULTIPORT: messages about ports, to the driver */
    VIRTIO_CONSOLE_CONTROL_OUT,
    VIRTIO_CONSOLE_QUEUES
};

struct virtio_console_config {
    uint16_t columns, rows; /* not known */
    uint32_t ports, emergency;
} __attribute__((packed));

/* A message of either direction. */
struct virtio_console_message {
    uint32_t port;
    uint16_t event, value;
};
enum virtio_console_event {
    VIRTIO_CONSOLE_DEVICE_READY,
    VIRTIO_CONSOLE_DEVICE_ADD,
    VIRTIO_CONSOLE_DEVICE_REMOVE,
    VIRTIO_CONSOLE_PORT_READY,
    VIRTIO_CONSOLE_CONSOLE_PORT,
    VIRTIO_CONSOLE_RESIZE,
    VIRTIO_CONSOLE_PORT_OPEN,
    VIRTIO_CONSOLE_PORT_NAME,
};

struct virtio_console {
    struct virtio virtio;
    struct virtio_console_config config;
    const struct platform_host *host;
    bool exists;
    bool open;        /* the guest reads its port */
    unsigned pending; /* bits: events that the driver is to be told */
    unsigned turn;
    struct virtio_buffer buffers[VIRTIO_CONSOLE_QUEUES];
    uint8_t message[sizeof(struct virtio_console_message)]; /* from the driver, as far as it came */
    uint8_t typed[VIRTIO_CONSOLE_TYPED];
    uint32_t typed_head, typed_tail;
};

extern const struct device virtio_console_device;

/* Once. */
void virtio_console_init(struct virtio_console *d, const struct gmem *mem);
/* The guest's driver has opened the port, or has none that opens ports and is ready. */
bool virtio_console_is_open(const struct virtio_console *d);
/* Types a byte; the driver gets it in the guest's own time. False: no room. */
bool virtio_console_type(struct virtio_console *d, uint8_t byte);
