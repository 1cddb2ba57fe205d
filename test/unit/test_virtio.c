/* SOURCES: @virtio hv/pc/virtio_net.c hv/pc/virtio_net_control.c
 * hv/pc/virtio_net_rx.c */
/* How a driver finds virtio's registers and gets its interrupts; test_virtio_net.c has the rest. */
#include "hv/pc/virtio_net.h"

#include "hv/config.h"
#include "test/unit/virtio_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MEMORY 0x4000u
#define SLOT   VIRTIO_NET_SLOT
#define PAGE   (PCI_SLOT_MEMORY + SLOT * PCI_SLOT_SIZE)
#define READY  (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK)

static const uint8_t mac[6] = {0x52, 0x42, 0x48, 1, 2, 3};
static struct virtio_net dev;
static struct virtio_net_frame *ring;
static unsigned sent, messages;
static uint32_t message;

static bool on_transmit(void *ctx, uint8_t *bytes, size_t len, const struct net_offload *o)
{
    (void)o;
    (void)ctx;
    (void)bytes;
    (void)len;
    sent++;
    return false;
}

static int on_message(void *ctx, uint64_t address, uint32_t data)
{
    (void)ctx;
    assert_true(address == 0xfee00000);
    messages++;
    message = data;
    return 0;
}

static void start(int (*msi)(void *, uint64_t, uint32_t))
{
    const struct virtio_net_host host = {.transmit = on_transmit};
    const struct virtio_net_memory memory = {.rx_ring = ring, .pairs = 1};

    virtio_net_init(&dev, &mem, mac, &memory, &host);
    pci_fixture_start(DEV_NET, msi);
    virtio_net_device.plug(&dev, &pci_env);
    virtio_window = PCI_PORTS + SLOT * PCI_SLOT_PORTS;
    sent = messages = 0;
}

static int setup(void **state)
{
    (void)state;
    virtio_fixture_memory(MEMORY);
    ring = calloc(VIRTIO_NET_RX_RING, sizeof(*ring));
    start(NULL);
    pci_fixture_master(SLOT);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(mem.base);
    free(ring);
    return 0;
}

static uint32_t read_memory(unsigned at, unsigned size)
{
    uint64_t v = 0;

    assert_true(mmio_read(&pci_io, PAGE + at, size, &v));
    return (uint32_t)v;
}

static void write_memory(unsigned at, unsigned size, uint64_t v)
{
    assert_true(mmio_write(&pci_io, PAGE + at, size, v));
}

/* "Virtio Structure PCI Capabilities": the walk that every driver does. Memory comes first. */
static void capabilities(void **state)
{
    static const struct {
        unsigned type, bar, offset, length;
    } expected[] = {{1, 2, 0x00, 0x38}, {2, 2, 0x3c, 2},    {3, 2, 0x38, 1},
                    {4, 2, 0x40, 12},   {1, 0, 0x00, 0x38}, {2, 0, 0x3c, 2},
                    {3, 0, 0x38, 1},    {4, 0, 0x40, 12},   {5, 0, 0, 0}};
    unsigned at = pci_get(SLOT, PCI_CAPABILITIES, 1);

    (void)state;
    assert_true(pci_get(SLOT, PCI_VENDOR, 4) == 0x10411af4);
    assert_int_equal(pci_get(SLOT, PCI_REVISION, 4), 0x02000001);
    assert_true(pci_get(SLOT, PCI_SUBSYSTEM, 2) >= 0x40);
    for (unsigned i = 0; i < ARRAY_LEN(expected); i++) {
        unsigned length = pci_get(SLOT, at + 2, 1), type = pci_get(SLOT, at + 3, 1);

        assert_int_equal(pci_get(SLOT, at, 1), PCI_CAP_VENDOR);
        assert_int_equal(type, expected[i].type);
        assert_int_equal(length, type == 2 || type == 5 ? 20 : 16);
        assert_int_equal(pci_get(SLOT, at + 4, 1), expected[i].bar);
        assert_int_equal(pci_get(SLOT, at + 8, 4), expected[i].offset);
        assert_int_equal(pci_get(SLOT, at + 12, 4), expected[i].length);
        if (type == 2)
            assert_int_equal(pci_get(SLOT, at + 16, 4), 0); /* the notification's multiplier */
        at = pci_get(SLOT, at + 1, 1);
    }
    assert_int_equal(at, 0); /* no MSI-X without a local APIC */
}

/* Both BARs show the same registers. */
static void both_bars(void **state)
{
    (void)state;
    write_memory(VIRTIO_STATUS, 1, VIRTIO_ACKNOWLEDGE);
    assert_int_equal(in(VIRTIO_STATUS, 1), VIRTIO_ACKNOWLEDGE);
    write_memory(VIRTIO_QUEUE_DESC, 8, 0x123456780);
    assert_true(in(VIRTIO_QUEUE_DESC, 4) == 0x23456780);
    assert_int_equal(read_memory(VIRTIO_QUEUE_DESC + 4, 4), 1);
    assert_int_equal(read_memory(VIRTIO_CONFIG, 1), mac[0]);
    assert_int_equal(read_memory(VIRTIO_NUM_QUEUES, 2), 3);
    assert_int_equal(read_memory(VIRTIO_WINDOW, 4), 0); /* nothing lies there */
    write_memory(VIRTIO_WINDOW, 4, 1);
}

/* "PCI configuration access capability" */
static void through_configuration(void **state)
{
    unsigned at = dev.virtio.window_cap;

    (void)state;
    pci_put(SLOT, at + 4, 1, 2);
    pci_put(SLOT, at + 8, 4, VIRTIO_STATUS);
    pci_put(SLOT, at + 12, 4, 1);
    pci_put(SLOT, at + 16, 4, VIRTIO_ACKNOWLEDGE);
    assert_int_equal(read_memory(VIRTIO_STATUS, 1), VIRTIO_ACKNOWLEDGE);
    assert_int_equal(pci_get(SLOT, at + 16, 1), VIRTIO_ACKNOWLEDGE);
    pci_put(SLOT, at + 4, 1, 0);
    pci_put(SLOT, at + 8, 4, VIRTIO_CONFIG);
    pci_put(SLOT, at + 12, 4, 4);
    assert_int_equal(pci_get(SLOT, at + 16, 4), 0x01484252);
    /* Not an access: no such BAR, length, or place. */
    pci_put(SLOT, at + 8, 4, VIRTIO_STATUS);
    pci_put(SLOT, at + 12, 4, 1);
    pci_put(SLOT, at + 4, 1, 1);
    pci_put(SLOT, at + 16, 4, 0);
    pci_put(SLOT, at + 4, 1, 0);
    pci_put(SLOT, at + 12, 4, 3);
    pci_put(SLOT, at + 16, 4, 0);
    pci_put(SLOT, at + 12, 4, 0);
    pci_put(SLOT, at + 16, 4, 0);
    pci_put(SLOT, at + 12, 4, 0x80000000);
    pci_put(SLOT, at + 16, 4, 0);
    pci_put(SLOT, at + 12, 4, 2);
    pci_put(SLOT, at + 8, 4, 0xffffffff);
    pci_put(SLOT, at + 16, 4, 0);
    assert_int_equal(read_memory(VIRTIO_STATUS, 1), VIRTIO_ACKNOWLEDGE);
}

/* A queue of one descriptor, which holds a frame. */
static void offer_frame(void)
{
    const uint64_t desc[2] = {0x2000, 12 + 60};
    const uint16_t avail[3] = {0, (uint16_t)(dev.virtio.queues[1].last_avail + 1), 0};

    memcpy(mem.base, desc, sizeof(desc));
    memcpy(mem.base + 0x100, avail, sizeof(avail));
    out(VIRTIO_NOTIFY, 2, 1);
    while (pci_bus.deadline == 0)
        pci_device.update(&pci_bus);
}

static void start_driver(unsigned vector)
{
    out(VIRTIO_STATUS, 1, 0);
    out(VIRTIO_DRIVER_FEATURE_SELECT, 4, 1);
    out(VIRTIO_DRIVER_FEATURE, 4, 1);
    out(VIRTIO_STATUS, 1, READY);
    out(VIRTIO_QUEUE_SELECT, 2, 1);
    out(VIRTIO_QUEUE_VECTOR, 2, vector);
    out(VIRTIO_QUEUE_SIZE, 2, 1);
    out(VIRTIO_QUEUE_DRIVER, 4, 0x100);
    out(VIRTIO_QUEUE_DEVICE, 4, 0x200);
    out(VIRTIO_QUEUE_ENABLE, 2, 1);
    out(VIRTIO_STATUS, 1, READY | VIRTIO_DRIVER_OK);
}

/* Memory is touched only by a bus master; what waits is done once it is one. */
static void mastering(void **state)
{
    (void)state;
    start_driver(0);
    pci_put(SLOT, PCI_COMMAND, 2, PCI_COMMAND_IO);
    offer_frame();
    assert_int_equal(sent, 0);
    pci_fixture_master(SLOT);
    while (pci_bus.deadline == 0)
        pci_device.update(&pci_bus);
    assert_int_equal(sent, 1);
    assert_true(pci_level(VIRTIO_NET_IRQ));
}

static void messages_for_queues(void **state)
{
    unsigned cap;

    (void)state;
    out(VIRTIO_QUEUE_VECTOR, 2, 0); /* without MSI-X there is none to choose */
    assert_int_equal(in(VIRTIO_QUEUE_VECTOR, 2), 0xffff);
    start(on_message);
    pci_fixture_master(SLOT);
    cap = dev.virtio.msix.cap;
    assert_int_equal(pci_get(SLOT, cap, 1), PCI_CAP_MSIX);
    assert_int_equal(pci_get(SLOT, cap + 1, 1), 0); /* the last */
    assert_int_equal(pci_get(SLOT, cap + 2, 2), 3); /* four messages: three queues, changes */
    assert_int_equal(pci_get(SLOT, cap + 4, 4), 0x1002);
    for (unsigned n = 0; n < 3; n++) {
        write_memory(0x1000 + 16 * n, 8, 0xfee00000);
        write_memory(0x1000 + 16 * n + 8, 8, 0x40 + n);
    }
    pci_put(SLOT, cap + 2, 2, 0x8000);
    start_driver(4);
    assert_int_equal(in(VIRTIO_QUEUE_VECTOR, 2), 0xffff); /* refused */
    offer_frame();
    assert_true(sent == 1 && messages == 0);
    start_driver(2);
    assert_int_equal(in(VIRTIO_QUEUE_VECTOR, 2), 2);
    offer_frame();
    assert_true(sent == 2 && messages == 1 && message == 0x42);
    assert_int_equal(in(VIRTIO_ISR, 1), 0);
    out(VIRTIO_CONFIG_VECTOR, 2, 1);
    memset(mem.base + 0x100, 0xff, 8); /* breaks the ring */
    out(VIRTIO_NOTIFY, 2, 1);
    pci_device.update(&pci_bus);
    assert_true(messages == 2 && message == 0x41);
    assert_false(pci_level(VIRTIO_NET_IRQ));
    /* One that is masked waits, PCI Local Bus Specification 3.0 "MSI-X"; but not beyond a reset of
     * the device, as QEMU's virtio_pci_reset() has it. */
    write_memory(0x1000 + 16 * 2 + 12, 4, 1);
    for (unsigned reset = 0; reset < 2; reset++) {
        memset(mem.base, 0, 0x400);
        start_driver(2);
        offer_frame();
        assert_int_equal(read_memory(0x1800, 4), 4);
        if (reset)
            out(VIRTIO_STATUS, 1, 0);
        write_memory(0x1000 + 16 * 2 + 12, 4, 0);
        assert_int_equal(messages, 3);
        assert_int_equal(read_memory(0x1800, 4), 0);
        write_memory(0x1000 + 16 * 2 + 12, 4, 1);
    }
    pci_put(SLOT, dev.virtio.window_cap + 8, 4, UINT32_MAX);
    /* The next life begins without messages, and without anything that the driver wrote. */
    pci_fixture_reset();
    virtio_net_device.plug(&dev, &pci_env);
    assert_int_equal(pci_get(SLOT, cap + 2, 2), 3);
    assert_int_equal(pci_get(SLOT, dev.virtio.window_cap + 8, 4), 0);
    assert_int_equal(read_memory(0x100c, 4), 1);
    assert_int_equal(in(VIRTIO_CONFIG_VECTOR, 2), 0xffff);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(capabilities), TEST(both_bars),           TEST(through_configuration),
        TEST(mastering),    TEST(messages_for_queues),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
