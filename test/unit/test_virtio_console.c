/* SOURCES: @virtio hv/pc/virtio_console.c */
#include "hv/pc/virtio_console.h"

#include "hv/config.h"
#include "hv/lib.h"
#include "test/unit/virtio_console_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MEMORY   0x10000u
#define SIZE     16u
#define DESC(q)  (0x1000u * (q))
#define AVAIL(q) (DESC(q) + 0x400)
#define USED(q)  (DESC(q) + 0x800)
#define DATA(q)  (0x8000u + 0x1000u * (q))

static void begin(uint32_t features)
{
    negotiate(features, 1);
    memset(mem.base, 0, DATA(0));
    for (unsigned q = 0; q < VIRTIO_CONSOLE_QUEUES; q++)
        set_queue(q, SIZE, DESC(q), AVAIL(q), USED(q));
    out(VIRTIO_STATUS, 1, VIRTIO_READY);
}

static int setup(void **state)
{
    (void)state;
    console_fixture_start(MEMORY, 0, NULL);
    pci_fixture_master(VIRTIO_CONSOLE_SLOT);
    begin(VIRTIO_CONSOLE_F_MULTIPORT);
    return 0;
}

static void desc(unsigned q, unsigned i, uint64_t address, uint32_t length, unsigned flags)
{
    put_desc(DESC(q) + 16 * i, address, length, flags, (i + 1) % SIZE);
}

static unsigned used(unsigned q)
{
    return get(USED(q) + 2, 2);
}

/* Bytes of the buffer that came back last. */
static uint32_t written(unsigned q)
{
    return get(USED(q) + 8 + 8 * ((used(q) - 1) % SIZE), 4);
}

static void run(void)
{
    for (unsigned i = 0; pci_bus.deadline == 0; i++) {
        assert_true(i < 1000);
        pci_device.update(&pci_bus);
    }
}

static void offer(unsigned q, unsigned head)
{
    put_avail(AVAIL(q), SIZE, head);
    out(VIRTIO_NOTIFY, 2, q);
    run();
}

/* A buffer for the device to write. */
static void room(unsigned q, uint32_t size)
{
    unsigned i = get(AVAIL(q) + 2, 2) % SIZE;

    desc(q, i, DATA(q) + 64 * i, size, WRITE);
    offer(q, i);
}

static void say(unsigned port, unsigned event, unsigned value)
{
    const struct virtio_console_message m = {port, (uint16_t)event, (uint16_t)value};

    memcpy(mem.base + DATA(VIRTIO_CONSOLE_CONTROL_OUT), &m, sizeof(m));
    desc(VIRTIO_CONSOLE_CONTROL_OUT, 0, DATA(VIRTIO_CONSOLE_CONTROL_OUT), sizeof(m), 0);
    offer(VIRTIO_CONSOLE_CONTROL_OUT, 0);
}

/* The n-th message from the device is this one. */
static void expect(unsigned n, unsigned event, unsigned value)
{
    struct virtio_console_message m;

    assert_true(used(VIRTIO_CONSOLE_CONTROL_IN) > n);
    memcpy(&m, mem.base + DATA(VIRTIO_CONSOLE_CONTROL_IN) + 64 * (n % SIZE), sizeof(m));
    assert_int_equal(m.port, 0);
    assert_int_equal(m.event, event);
    assert_int_equal(m.value, value);
}

/* What Linux's driver does. */
static void open_port(void)
{
    for (unsigned i = 0; i < 3; i++)
        room(VIRTIO_CONSOLE_CONTROL_IN, 32);
    say(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
    expect(0, VIRTIO_CONSOLE_DEVICE_ADD, 0);
    assert_int_equal(written(VIRTIO_CONSOLE_CONTROL_IN), 8);
    say(0, VIRTIO_CONSOLE_PORT_READY, 1);
    expect(1, VIRTIO_CONSOLE_CONSOLE_PORT, 1);
    expect(2, VIRTIO_CONSOLE_PORT_OPEN, 1);
    assert_int_equal(used(VIRTIO_CONSOLE_CONTROL_IN), 3);
    assert_false(virtio_console_is_open(&dev));
    say(0, VIRTIO_CONSOLE_PORT_OPEN, 1);
    assert_true(virtio_console_is_open(&dev));
}

static void ports(void **state)
{
    (void)state;
    open_port();
    say(1, VIRTIO_CONSOLE_PORT_OPEN, 0); /* no such port */
    assert_true(virtio_console_is_open(&dev));
    say(0, VIRTIO_CONSOLE_PORT_OPEN, 0);
    assert_false(virtio_console_is_open(&dev));
    say(0, VIRTIO_CONSOLE_PORT_OPEN, 1);
    out(VIRTIO_STATUS, 1, 0);
    assert_false(virtio_console_is_open(&dev));
    /* A message waits for room; a buffer that is too small loses one. */
    begin(VIRTIO_CONSOLE_F_MULTIPORT);
    say(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
    room(VIRTIO_CONSOLE_CONTROL_IN, 8);
    expect(0, VIRTIO_CONSOLE_DEVICE_ADD, 0);
    say(0, VIRTIO_CONSOLE_PORT_READY, 1);
    room(VIRTIO_CONSOLE_CONTROL_IN, 7);
    assert_int_equal(used(VIRTIO_CONSOLE_CONTROL_IN), 2);
    room(VIRTIO_CONSOLE_CONTROL_IN, 8);
    expect(2, VIRTIO_CONSOLE_PORT_OPEN, 1);
    /* A driver that has failed gets none. */
    say(0, VIRTIO_CONSOLE_DEVICE_READY, 0);
    say(0, VIRTIO_CONSOLE_PORT_READY, 0);
    room(VIRTIO_CONSOLE_CONTROL_IN, 8);
    assert_int_equal(used(VIRTIO_CONSOLE_CONTROL_IN), 3);
}

/* In pieces, too short, too long. */
static void odd_messages(void **state)
{
    const struct virtio_console_message m = {0, VIRTIO_CONSOLE_PORT_OPEN, 1};
    const unsigned q = VIRTIO_CONSOLE_CONTROL_OUT;

    (void)state;
    memcpy(mem.base + DATA(q), &m, sizeof(m));
    desc(q, 0, DATA(q), 7, 0);
    offer(q, 0);
    assert_int_equal(used(q), 1);
    assert_false(virtio_console_is_open(&dev));
    desc(q, 0, DATA(q), 3, NEXT);
    desc(q, 1, DATA(q), 64, NEXT | WRITE); /* not for it to read */
    desc(q, 2, DATA(q) + 3, 13, 0);
    offer(q, 0);
    assert_int_equal(used(q), 2);
    assert_true(virtio_console_is_open(&dev));
}

static void output(void **state)
{
    const unsigned q = VIRTIO_CONSOLE_OUT;
    unsigned calls = 0;

    (void)state;
    for (unsigned i = 0; i < 300; i++)
        mem.base[DATA(q) + i] = (uint8_t)('a' + i % 26);
    desc(q, 0, DATA(q), 100, NEXT);
    desc(q, 1, DATA(q) + 100, 0, NEXT);
    desc(q, 2, DATA(q) + 100, 200, 0);
    put_avail(AVAIL(q), SIZE, 0);
    out(VIRTIO_NOTIFY, 2, q);
    while (pci_bus.deadline == 0) {
        size_t before = printed_size;

        pci_device.update(&pci_bus);
        assert_true(printed_size - before <= VIRTIO_CONSOLE_WORK);
        calls++;
    }
    assert_in_range(calls, 10, 16);
    assert_int_equal(printed_size, 300);
    assert_memory_equal(printed, mem.base + DATA(q), 300);
    assert_int_equal(used(q), 1);
    assert_int_equal(written(q), 0);
    assert_true(pci_level(PCI_GSI(VIRTIO_CONSOLE_SLOT)));
}

static void type(const char *text)
{
    for (; *text; text++)
        assert_true(virtio_console_type(&dev, (uint8_t)*text));
    run();
}

static void input(void **state)
{
    const unsigned q = VIRTIO_CONSOLE_IN;

    (void)state;
    type("early");
    assert_int_equal(used(q), 0);
    room(q, 32);
    assert_int_equal(used(q), 1);
    assert_int_equal(written(q), 5);
    assert_memory_equal(mem.base + DATA(q), "early", 5);
    room(q, 2);
    room(q, 32);
    assert_int_equal(used(q), 1); /* there is nothing for them yet */
    type("more");
    assert_int_equal(used(q), 3);
    assert_memory_equal(mem.base + DATA(q) + 64, "mo", 2);
    assert_memory_equal(mem.base + DATA(q) + 128, "re", 2);
    for (unsigned i = 0; i < VIRTIO_CONSOLE_TYPED; i++)
        assert_true(virtio_console_type(&dev, 'x'));
    assert_false(virtio_console_type(&dev, 'y'));
    run();
    desc(q, 8, DATA(q), 64, 0); /* not for the device to write */
    offer(q, 8);
    assert_int_equal(used(q), 4);
    assert_int_equal(written(q), 0);
    for (unsigned i = 9; i < 12; i++) {
        desc(q, i, DATA(q), 50, WRITE);
        offer(q, i);
    }
    assert_int_equal(written(q), 14);
    assert_true(virtio_console_type(&dev, 'y'));
}

/* Drivers without MULTIPORT have one port, which is open once they are ready. */
static void simple_driver(void **state)
{
    (void)state;
    begin(0);
    assert_true(virtio_console_is_open(&dev));
    say(0, VIRTIO_CONSOLE_DEVICE_READY, 1); /* nobody listens */
    assert_int_equal(used(VIRTIO_CONSOLE_CONTROL_OUT), 0);
    room(VIRTIO_CONSOLE_IN, 8);
    type("ls");
    assert_int_equal(written(VIRTIO_CONSOLE_IN), 2);
    pci_put(VIRTIO_CONSOLE_SLOT, PCI_COMMAND, 2, PCI_COMMAND_IO);
    assert_false(virtio_console_is_open(&dev));
}

static void configuration(void **state)
{
    (void)state;
    assert_int_equal(in(VIRTIO_CONFIG + 4, 4), 1); /* port */
    out(VIRTIO_STATUS, 1, 0);
    out(VIRTIO_CONFIG + 8, 4, '!');
    out(VIRTIO_CONFIG, 4, 'x');
    assert_string_equal(printed, "!");
    out(VIRTIO_DRIVER_FEATURE_SELECT, 4, 0);
    assert_int_equal(in(VIRTIO_DEVICE_FEATURE, 4), 6);
}

static void broken_rings(void **state)
{
    (void)state;
    for (unsigned q = 0; q < VIRTIO_CONSOLE_QUEUES; q++) {
        begin(VIRTIO_CONSOLE_F_MULTIPORT);
        say(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
        (void)virtio_console_type(&dev, 'x');
        desc(q, 1, MEMORY, 1, WRITE);
        offer(q, 1);
        assert_true(in(VIRTIO_STATUS, 1) & VIRTIO_NEEDS_RESET);
    }
}

static void absent(void **state)
{
    (void)state;
    pci_fixture_start(0, NULL);
    virtio_console_device.plug(&dev, &pci_env);
    assert_int_equal(pci_get(VIRTIO_CONSOLE_SLOT, PCI_VENDOR, 2), 0xffff);
    assert_false(virtio_console_is_open(&dev));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, virtio_fixture_end)
    const struct CMUnitTest tests[] = {
        TEST(ports),         TEST(odd_messages),  TEST(output),       TEST(input),
        TEST(simple_driver), TEST(configuration), TEST(broken_rings), TEST(absent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
