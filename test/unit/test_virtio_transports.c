/* SOURCES: @virtio hv/pc/virtio_console.c */
/* A virtio device by its legacy registers, and as a memory-mapped one. */
#include "hv/pc/virtio_console.h"

#include "hv/config.h"
#include "hv/pc/virtio_legacy.h"
#include "hv/pc/virtio_mmio.h"
#include "test/unit/virtio_console_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MEMORY 0x10000u
#define SLOT   VIRTIO_CONSOLE_SLOT
#define PAGE   (PCI_SLOT_MEMORY + SLOT * PCI_SLOT_SIZE)
#define QUEUE  VIRTIO_CONSOLE_OUT
#define TEXT   0x8000u
/* A legacy queue of 256 entries that begins at page 1. */
#define DESC   0x1000u
#define AVAIL  0x2000u
#define USED   0x3000u

static unsigned messages;

static int on_message(void *ctx, uint64_t address, uint32_t data)
{
    (void)ctx;
    (void)address;
    (void)data;
    messages++;
    return 0;
}

static void start(uint32_t kind, int (*msi)(void *, uint64_t, uint32_t))
{
    console_fixture_start(MEMORY, kind, msi);
    messages = 0;
}

static int setup_legacy(void **state)
{
    (void)state;
    start(VIRTIO_TRANSITIONAL, NULL);
    return 0;
}

static int setup_mmio(void **state)
{
    (void)state;
    start(VIRTIO_MMIO, NULL);
    return 0;
}

static void run(void)
{
    for (unsigned i = 0; pci_bus.deadline == 0; i++) {
        assert_true(i < 100);
        pci_device.update(&pci_bus);
    }
}

/* One descriptor, in the ring of `size` entries whose parts are at these places. */
static void offer(const char *text, uint64_t desc, uint64_t avail, unsigned size)
{
    memcpy(mem.base + TEXT, text, strlen(text));
    put_desc(desc, TEXT, (uint32_t)strlen(text), 0, 0);
    put_avail(avail, size, 0);
}

/* ---- legacy ---- */

static void legacy_identity(void **state)
{
    unsigned at = pci_get(SLOT, PCI_CAPABILITIES, 1), count = 0;

    (void)state;
    assert_true(pci_get(SLOT, PCI_VENDOR, 4) == 0x10031af4);
    assert_int_equal(pci_get(SLOT, PCI_REVISION, 1), 0);
    assert_int_equal(pci_get(SLOT, PCI_SUBSYSTEM, 2), 3);
    for (; at; at = pci_get(SLOT, at + 1, 1), count++)
        if (pci_get(SLOT, at + 3, 1) != 5)
            assert_int_equal(pci_get(SLOT, at + 4, 1), 2); /* BAR 0 has no modern registers */
    assert_int_equal(count, 5);
    assert_int_equal(in(LEGACY_DEVICE_FEATURES, 4), VIRTIO_F_ANY_LAYOUT |
                                                        VIRTIO_CONSOLE_F_MULTIPORT |
                                                        VIRTIO_CONSOLE_F_EMERG_WRITE);
    assert_int_equal(in(LEGACY_QUEUE_SIZE, 2), 256);
    out(LEGACY_QUEUE_SELECT, 2, VIRTIO_CONSOLE_QUEUES);
    assert_int_equal(in(LEGACY_QUEUE_SIZE, 2), 0);
    assert_int_equal(in(LEGACY_QUEUE_PAGE, 4), 0);
    assert_int_equal(in(LEGACY_CONFIG + 4, 4), 1); /* port */
    assert_int_equal(in(LEGACY_CONFIG + 4, 1), 1);
    /* Other widths, and what does not exist. */
    assert_int_equal(in(LEGACY_DEVICE_FEATURES, 2), 0xffff);
    assert_int_equal(in(LEGACY_QUEUE_SIZE, 4), 0xffffffff);
    assert_int_equal(in(0x0d, 1), 0xff);
}

static void legacy_begin(void)
{
    out(LEGACY_STATUS, 1, 0);
    out(LEGACY_STATUS, 1, VIRTIO_ACKNOWLEDGE);
    out(LEGACY_STATUS, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    out(LEGACY_DRIVER_FEATURES, 4, VIRTIO_CONSOLE_F_EMERG_WRITE | 1u << 20);
    assert_int_equal(in(LEGACY_DRIVER_FEATURES, 4), VIRTIO_CONSOLE_F_EMERG_WRITE);
    out(LEGACY_QUEUE_SELECT, 2, QUEUE);
    out(LEGACY_QUEUE_PAGE, 4, DESC / LEGACY_PAGE);
    assert_int_equal(in(LEGACY_QUEUE_PAGE, 4), DESC / LEGACY_PAGE);
}

/* Old drivers use their queues before they say that they are ready, and do not know of bus
 * mastering. */
static void legacy_queue(void **state)
{
    (void)state;
    assert_int_equal(pci_get(SLOT, PCI_COMMAND, 2) & PCI_COMMAND_MASTER, 0);
    legacy_begin();
    offer("early", DESC, AVAIL, 256);
    out(LEGACY_NOTIFY, 2, QUEUE);
    run();
    assert_string_equal(printed, "early");
    assert_int_equal(get(USED + 2, 2), 1);
    assert_true(pci_level(PCI_GSI(SLOT)));
    assert_int_equal(in(LEGACY_ISR, 1), 1);
    assert_false(pci_level(PCI_GSI(SLOT)));
    out(LEGACY_STATUS, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK);
    assert_int_equal(in(LEGACY_STATUS, 1), 7);
    assert_true(virtio_console_is_open(&dev));
    offer("late", DESC, AVAIL, 256);
    out(LEGACY_NOTIFY, 2, QUEUE);
    run();
    assert_string_equal(printed, "earlylate");
    out(LEGACY_CONFIG + 8, 4, '!');
    assert_string_equal(printed, "earlylate!");
    /* Page 0: the queue is not used any more, and can be set again. */
    out(LEGACY_QUEUE_PAGE, 4, 0);
    offer("never", DESC, AVAIL, 256);
    out(LEGACY_NOTIFY, 2, QUEUE);
    run();
    assert_string_equal(printed, "earlylate!");
    memset(mem.base + AVAIL, 0, 0x2000);
    out(LEGACY_QUEUE_PAGE, 4, DESC / LEGACY_PAGE);
    offer("again", DESC, AVAIL, 256);
    out(LEGACY_NOTIFY, 2, QUEUE);
    run();
    assert_string_equal(printed, "earlylate!again");
    out(LEGACY_STATUS, 1, 0);
    assert_int_equal(in(LEGACY_QUEUE_PAGE, 4), 0);
}

static void legacy_outside_of_memory(void **state)
{
    (void)state;
    out(LEGACY_QUEUE_PAGE, 4, 1); /* before its driver is there: nothing */
    assert_int_equal(in(LEGACY_QUEUE_PAGE, 4), 0);
    legacy_begin();
    out(LEGACY_QUEUE_SELECT, 2, VIRTIO_CONSOLE_IN);
    out(LEGACY_QUEUE_PAGE, 4, MEMORY / LEGACY_PAGE - 1);
    assert_int_equal(in(LEGACY_QUEUE_PAGE, 4), 0);
    assert_true(in(LEGACY_STATUS, 1) & VIRTIO_NEEDS_RESET);
    legacy_begin();
    out(LEGACY_QUEUE_SELECT, 2, VIRTIO_CONSOLE_QUEUES);
    out(LEGACY_QUEUE_PAGE, 4, 1);
    out(LEGACY_QUEUE_PAGE, 4, 0);
    out(LEGACY_QUEUE_SIZE, 2, 4); /* read-only */
    out(LEGACY_QUEUE_SELECT, 2, 0);
    assert_int_equal(in(LEGACY_QUEUE_SIZE, 2), 256);
}

/* While MSI-X is enabled, two registers more lie before the configuration. */
static void legacy_messages(void **state)
{
    unsigned cap;

    free(mem.base);
    start(VIRTIO_TRANSITIONAL, on_message);
    (void)state;
    cap = dev.virtio.msix.cap;
    assert_int_equal(in(LEGACY_CONFIG + 4, 4), 1);
    pci_fixture_master(SLOT);
    pci_put(SLOT, cap + 2, 2, 0x8000);
    assert_int_equal(in(LEGACY_CONFIG_MSIX + 4, 4), 1);
    assert_int_equal(in(LEGACY_CONFIG_VECTOR, 2), 0xffff);
    legacy_begin();
    out(LEGACY_QUEUE_VECTOR, 2, 1);
    out(LEGACY_CONFIG_VECTOR, 2, 99);
    assert_int_equal(in(LEGACY_QUEUE_VECTOR, 2), 1);
    assert_int_equal(in(LEGACY_CONFIG_VECTOR, 2), 0xffff);
    assert_true(mmio_write(&pci_io, PAGE + 0x1000 + 16 + 12, 4, 0));
    offer("x", DESC, AVAIL, 256);
    out(LEGACY_NOTIFY, 2, QUEUE);
    run();
    assert_int_equal(messages, 1);
    assert_false(pci_level(PCI_GSI(SLOT)));
}

static void set(unsigned reg, unsigned size, uint64_t v)
{
    assert_true(mmio_write(&pci_io, PAGE + reg, size, v));
}

/* A driver of virtio 1 finds its registers in memory. */
static void modern_driver(void **state)
{
    uint64_t v = 0;

    (void)state;
    pci_fixture_master(SLOT);
    set(VIRTIO_STATUS, 1, 3);
    set(VIRTIO_DRIVER_FEATURE_SELECT, 4, 1);
    set(VIRTIO_STATUS, 1, 11);
    assert_true(mmio_read(&pci_io, PAGE + VIRTIO_STATUS, 1, &v));
    assert_int_equal(v, 3); /* VERSION_1 is missing */
    set(VIRTIO_DRIVER_FEATURE, 4, 1);
    set(VIRTIO_STATUS, 1, 11);
    set(VIRTIO_STATUS, 1, 15);
    assert_true(mmio_read(&pci_io, PAGE + VIRTIO_STATUS, 1, &v));
    assert_int_equal(v, 15);
    assert_false(dev.virtio.legacy);
}

/* ---- memory-mapped ---- */

static uint32_t load(unsigned at, unsigned size)
{
    uint64_t v = 0;

    assert_true(mmio_read(&pci_io, VIRTIO_MMIO_AT(SLOT) + at, size, &v));
    return (uint32_t)v;
}

static void store(unsigned at, unsigned size, uint32_t v)
{
    assert_true(mmio_write(&pci_io, VIRTIO_MMIO_AT(SLOT) + at, size, v));
}

static void mmio_identity(void **state)
{
    uint64_t v;

    (void)state;
    assert_int_equal(load(0x000, 4), 0x74726976);
    assert_int_equal(load(0x004, 4), 2);
    assert_int_equal(load(0x008, 4), 3);
    assert_int_equal(load(0x00c, 4), 0x4b4c4842);
    assert_int_equal(load(0x0b0, 4), 0xffffffff); /* no shared memory */
    assert_int_equal(load(0x0bc, 4), 0xffffffff);
    assert_int_equal(load(0x0fc, 4), 0);
    assert_int_equal(load(0x104, 4), 1);
    assert_int_equal(load(0x104, 1), 1);
    assert_int_equal(load(0x1fc, 4), 0); /* behind the configuration */
    store(0x1fc, 4, 1);
    /* Registers are 32 bits wide. */
    assert_int_equal(load(0x000, 1), 0xff);
    assert_int_equal(load(0x002, 2), 0xffff);
    store(0x070, 1, 1);
    assert_int_equal(load(0x070, 4), 0);
    /* It is not on the bus, and its registers end where the next one's would begin. */
    assert_int_equal(pci_get(SLOT, PCI_VENDOR, 2), 0xffff);
    assert_false(mmio_read(&pci_io, VIRTIO_MMIO_AT(SLOT + 1), 4, &v));
}

static void mmio_begin(void)
{
    store(0x070, 4, 0);
    store(0x070, 4, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    store(0x014, 4, 0);
    assert_int_equal(load(0x010, 4), 6);
    store(0x014, 4, 1);
    assert_int_equal(load(0x010, 4), 1);
    store(0x024, 4, 1);
    store(0x020, 4, 1);
    store(0x070, 4, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
    assert_int_equal(load(0x070, 4), 11);
    store(0x030, 4, QUEUE);
    assert_int_equal(load(0x044, 4), 0);
    assert_int_equal(load(0x034, 4), 256);
    store(0x038, 4, 16);
    store(0x080, 4, DESC);
    store(0x084, 4, 0);
    store(0x090, 4, AVAIL);
    store(0x094, 4, 0);
    store(0x0a0, 4, USED);
    store(0x0a4, 4, 0);
    store(0x044, 4, 1);
    assert_int_equal(load(0x044, 4), 1);
    store(0x070, 4, VIRTIO_READY);
}

static void mmio_queue(void **state)
{
    (void)state;
    mmio_begin();
    assert_true(virtio_console_is_open(&dev));
    offer("out", DESC, AVAIL, 16);
    store(0x050, 4, QUEUE);
    run();
    assert_string_equal(printed, "out");
    assert_int_equal(get(USED + 2, 2), 1);
    assert_true(pci_level(PCI_GSI(SLOT)));
    assert_int_equal(load(0x060, 4), 1);
    assert_int_equal(load(0x060, 4), 1); /* until it is acknowledged */
    store(0x064, 4, 2);
    assert_true(pci_level(PCI_GSI(SLOT)));
    store(0x064, 4, 1);
    assert_int_equal(load(0x060, 4), 0);
    assert_false(pci_level(PCI_GSI(SLOT)));
    store(0x108, 4, '!');
    assert_string_equal(printed, "out!");
    /* A stopped queue. */
    store(0x044, 4, 0);
    assert_int_equal(load(0x044, 4), 0);
    offer("never", DESC, AVAIL, 16);
    store(0x050, 4, QUEUE);
    run();
    assert_string_equal(printed, "out!");
    store(0x030, 4, VIRTIO_CONSOLE_QUEUES);
    assert_int_equal(load(0x034, 4), 0);
    store(0x044, 4, 0);
    /* The next life. */
    pci_fixture_reset();
    pci_fixture_release(&dev.virtio);
    virtio_console_device.plug(&dev, &pci_env);
    assert_int_equal(load(0x070, 4), 0);
    mmio_begin();
}

static void mmio_broken_ring(void **state)
{
    (void)state;
    mmio_begin();
    put(AVAIL + 2, 17, 2);
    store(0x050, 4, QUEUE);
    run();
    assert_int_equal(load(0x060, 4), 2);
    assert_true(load(0x070, 4) & VIRTIO_NEEDS_RESET);
    store(0x070, 4, 0);
    assert_false(pci_level(PCI_GSI(SLOT)));
}

int main(void)
{
#define LEGACY(f) cmocka_unit_test_setup_teardown(f, setup_legacy, virtio_fixture_end)
#define MMIO(f)   cmocka_unit_test_setup_teardown(f, setup_mmio, virtio_fixture_end)
    const struct CMUnitTest tests[] = {
        LEGACY(legacy_identity), LEGACY(legacy_queue),   LEGACY(legacy_outside_of_memory),
        LEGACY(legacy_messages), LEGACY(modern_driver),  MMIO(mmio_identity),
        MMIO(mmio_queue),        MMIO(mmio_broken_ring),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
