/* SOURCES: @virtio hv/pc/virtio_rng.c */
#include "hv/pc/virtio_rng.h"

#include "hv/config.h"
#include "test/unit/virtio_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MEMORY 0x8000u
#define SIZE   64u
#define DESC   0x0u
#define AVAIL  0x1000u
#define USED   0x2000u
#define DATA   0x3000u
#define PAUSE  (VIRTIO_RNG_PAUSE_US * 1000u) /* ticks of the fixture's clock */

static struct virtio_rng dev;
static unsigned drawn, bytes;
static bool exhausted;

/* 1, 2, 3 and so on. */
static int draw(uint8_t *to, size_t size)
{
    assert_in_range(size, 1, VIRTIO_RNG_WORK);
    drawn++;
    if (exhausted)
        return -E_NOENT;
    for (size_t i = 0; i < size; i++)
        to[i] = (uint8_t)++bytes;
    return 0;
}

static int setup(void **state)
{
    (void)state;
    drawn = bytes = 0;
    exhausted = false;
    pci_clock.now = 1000;
    virtio_fixture_memory(MEMORY);
    virtio_rng_init(&dev, &mem, draw);
    virtio_fixture_plug(&virtio_rng_device, &dev, VIRTIO_RNG_SLOT, DEV_RNG);
    negotiate(0, 1);
    set_queue(0, SIZE, DESC, AVAIL, USED);
    out(VIRTIO_STATUS, 1, VIRTIO_READY);
    return 0;
}

static void desc(unsigned i, uint64_t address, uint32_t length, unsigned flags)
{
    put_desc(DESC + 16ull * i, address, length, flags, i + 1);
}

static void offer(unsigned head)
{
    put_avail(AVAIL, SIZE, head);
    out(VIRTIO_NOTIFY, 2, 0);
}

/* One call when it is due; false: none is. */
static bool step(void)
{
    if (pci_bus.deadline == NEVER)
        return false;
    pci_clock.now = pci_bus.deadline > pci_clock.now ? pci_bus.deadline : pci_clock.now;
    pci_device.update(&pci_bus);
    return true;
}

static uint32_t written(void)
{
    return get(USED + 8 + 8ull * ((get(USED + 2, 2) - 1) % SIZE), 4);
}

static void fills(void **state)
{
    unsigned calls = 0;

    (void)state;
    desc(0, DATA, 10, 3);
    desc(1, DATA + 10, 0, 3);
    desc(2, DATA + 10, 80, 2);
    offer(0);
    while (step())
        assert_true(calls++ < 100);
    assert_int_equal(get(USED + 2, 2), 1);
    assert_int_equal(written(), 90);
    for (unsigned i = 0; i < 90; i++)
        assert_int_equal(mem.base[DATA + i], i + 1);
    assert_int_equal(mem.base[DATA + 90], 0);
    assert_true(pci_level(PCI_GSI(VIRTIO_RNG_SLOT)));
}

/* However much is asked for: so many bytes in so much time. */
static void rate(void **state)
{
    uint64_t before = pci_clock.now;

    (void)state;
    desc(0, DATA, 1024, 2);
    offer(0);
    for (unsigned n = 0; n < 100; n++) {
        out(VIRTIO_NOTIFY, 2, 0); /* asking again does not help */
        pci_device.update(&pci_bus);
    }
    assert_int_equal(drawn, 1);
    while (get(USED + 2, 2) == 0)
        assert_true(step());
    assert_int_equal(drawn, 1024 / VIRTIO_RNG_WORK);
    assert_int_equal(pci_clock.now - before, (drawn - 1) * PAUSE);
}

static void exhaustion(void **state)
{
    (void)state;
    exhausted = true;
    desc(0, DATA, 8, 2);
    offer(0);
    for (unsigned n = 0; n < 5; n++)
        assert_true(step());
    assert_int_equal(get(USED + 2, 2), 0);
    exhausted = false;
    assert_true(step());
    assert_int_equal(get(USED + 2, 2), 1);
    assert_int_equal(written(), 8);
}

static void bad_buffers(void **state)
{
    (void)state;
    desc(0, DATA, 8, 0); /* not for the device to write */
    offer(0);
    while (step())
        ;
    assert_int_equal(get(USED + 2, 2), 1);
    assert_int_equal(written(), 0);
    assert_int_equal(drawn, 0);
    for (unsigned i = 0; i < SIZE; i++)
        desc(i, DATA, 0, i + 1 < SIZE ? 3 : 2);
    offer(0);
    while (step())
        ;
    assert_int_equal(get(USED + 2, 2), 2);
    desc(0, MEMORY, 8, 2);
    offer(0);
    while (step())
        ;
    assert_true(in(VIRTIO_STATUS, 1) & VIRTIO_NEEDS_RESET);
}

static void absent(void **state)
{
    (void)state;
    pci_fixture_start(0, NULL);
    virtio_rng_device.plug(&dev, &pci_env);
    assert_int_equal(pci_get(VIRTIO_RNG_SLOT, PCI_VENDOR, 2), 0xffff);
    dev.draw = NULL;
    pci_fixture_start(DEV_RNG, NULL);
    virtio_rng_device.plug(&dev, &pci_env);
    assert_int_equal(pci_get(VIRTIO_RNG_SLOT, PCI_VENDOR, 2), 0xffff);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, virtio_fixture_end)
    const struct CMUnitTest tests[] = {
        TEST(fills), TEST(rate), TEST(exhaustion), TEST(bad_buffers), TEST(absent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
