/* SOURCES: @virtio hv/pc/virtio_blk.c */
#include "hv/pc/virtio_blk.h"

#include "hv/config.h"
#include "test/unit/virtio_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MEMORY  0x80000u
#define SIZE    64u
#define DESC    0x1000u
#define AVAIL   0x2000u
#define USED    0x3000u
#define HEADER  0x4000u
#define STATUS  0x5000u
#define RANGE   0x6000u
#define DATA    0x10000u
#define IMAGE   70001u /* bytes: ends within a sector */
#define DISK    (160u * VIRTIO_BLK_SECTOR)
#define SECTORS (DISK / VIRTIO_BLK_SECTOR)

static struct virtio_blk dev;
static uint8_t image[IMAGE], image_before[IMAGE];
static uint8_t *blocks, *written;
static uint8_t expected[DISK];
static uint32_t seed;

static uint32_t draw(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static void start(bool readonly)
{
    const struct virtio_blk_backing disk = {.image = image,
                                            .image_size = IMAGE,
                                            .size = DISK,
                                            .blocks = readonly ? NULL : blocks,
                                            .written = readonly ? NULL : written};

    virtio_blk_init(&dev, &mem, 1, &disk);
    virtio_fixture_plug(&virtio_blk_device, &dev, VIRTIO_BLK_SLOT + 1, 0);
}

static void start_driver(void)
{
    negotiate(0, 1);
    set_queue(0, SIZE, DESC, AVAIL, USED);
    out(VIRTIO_STATUS, 1, VIRTIO_READY);
}

static int setup(void **state)
{
    (void)state;
    seed = 1;
    virtio_fixture_memory(MEMORY);
    blocks = malloc(virtio_blk_blocks_size(DISK)); /* what it holds at first does not matter */
    memset(blocks, 0xa5, virtio_blk_blocks_size(DISK));
    written = calloc(virtio_blk_written_size(DISK), 1);
    for (unsigned i = 0; i < IMAGE; i++)
        image[i] = (uint8_t)draw(256);
    memcpy(image_before, image, IMAGE);
    memset(expected, 0, DISK);
    memcpy(expected, image, IMAGE);
    start(false);
    start_driver();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_memory_equal(image, image_before, IMAGE); /* no one writes there */
    free(mem.base);
    free(blocks);
    free(written);
    return 0;
}

static unsigned descs;

static void add(uint64_t address, uint32_t length, unsigned flags)
{
    put_desc(DESC + 16 * descs, address, length, flags | NEXT, descs + 1);
    descs++;
}

/* In pieces of random lengths, some of them empty. */
static void add_cut(uint64_t address, uint32_t length, unsigned flags)
{
    while (length && descs < SIZE - 8) {
        uint32_t n = draw(4) ? draw(length < 9000 ? length + 1 : 9000) : draw(20);

        n = n < length ? n : length;
        add(address, n, flags);
        address += n;
        length -= n;
    }
    if (length)
        add(address, length, flags);
}

/* Ends the chain, and lets the device work; returns how many bytes it says it has written. */
static unsigned calls;
static uint32_t submit(void)
{
    uint64_t last = DESC + 16 * (descs - 1);
    unsigned used = get(USED + 2, 2);

    put(last + 12, get(last + 12, 2) & ~NEXT, 2);
    put_avail(AVAIL, SIZE, 0);
    out(VIRTIO_NOTIFY, 2, 0);
    for (calls = 0; pci_bus.deadline == 0; calls++) {
        pci_device.update(&pci_bus);
        assert_true(calls < 1000);
    }
    assert_int_equal(get(USED + 2, 2), (uint16_t)(used + 1));
    descs = 0;
    return get(USED + 8 + 8ull * (used % SIZE), 4);
}

static void header(uint32_t type, uint64_t sector)
{
    const struct virtio_blk_header h = {type, 0, sector};

    memcpy(mem.base + HEADER, &h, sizeof(h));
    mem.base[STATUS] = 0xee;
}

static unsigned status(void)
{
    return mem.base[STATUS];
}

/* A request as Linux makes it; returns the status. */
static unsigned transfer(uint32_t type, uint64_t sector, uint32_t length)
{
    header(type, sector);
    add(HEADER, 16, 0);
    if (length)
        add(DATA, length, type == VIRTIO_BLK_OUT ? 0 : WRITE);
    add(STATUS, 1, WRITE);
    (void)submit();
    return status();
}

/* `length`: 16, the whole range. */
static unsigned send_range(uint32_t type, const struct virtio_blk_range *r, uint32_t length)
{
    memcpy(mem.base + RANGE, r, sizeof(*r));
    header(type, 0);
    add(HEADER, 16, 0);
    if (length)
        add(RANGE, length, 0);
    add(STATUS, 1, WRITE);
    (void)submit();
    return status();
}

static unsigned change_range(uint32_t type, uint64_t sector, uint32_t sectors)
{
    return send_range(type, &(struct virtio_blk_range){sector, sectors, 0}, 16);
}

static void expect_disk(void)
{
    assert_int_equal(transfer(VIRTIO_BLK_IN, 0, DISK), VIRTIO_BLK_OK);
    assert_memory_equal(mem.base + DATA, expected, DISK);
}

static void configuration(void **state)
{
    (void)state;
    assert_true(pci_get(VIRTIO_BLK_SLOT + 1, PCI_VENDOR, 4) == 0x10421af4);
    assert_int_equal(in(VIRTIO_CONFIG, 4), SECTORS);
    assert_int_equal(in(VIRTIO_CONFIG + 4, 4), 0);
    assert_int_equal(in(VIRTIO_CONFIG + 12, 4), 126); /* seg_max */
    assert_int_equal(in(VIRTIO_CONFIG + 20, 4), 512); /* blk_size */
    assert_int_equal(in(VIRTIO_CONFIG + 40, 4), 1);   /* max_discard_seg */
    assert_int_equal(in(VIRTIO_CONFIG + 52, 4), 1);   /* max_write_zeroes_seg */
    out(VIRTIO_DEVICE_FEATURE_SELECT, 4, 0);
    assert_int_equal(in(VIRTIO_DEVICE_FEATURE, 4),
                     1u << 2 | 1u << 6 | 1u << 9 | 1u << 13 | 1u << 14);
    start(true);
    assert_int_equal(in(VIRTIO_DEVICE_FEATURE, 4), 1u << 2 | 1u << 5 | 1u << 6 | 1u << 9);
    assert_int_equal(in(VIRTIO_CONFIG + 40, 4), 0);
}

/* The image first, then zeros. */
static void reading(void **state)
{
    (void)state;
    expect_disk();
    header(VIRTIO_BLK_IN, 5);
    add(HEADER, 16, 0);
    add(DATA, 1024, WRITE);
    add(STATUS, 1, WRITE);
    assert_int_equal(submit(), 1025);
    assert_memory_equal(mem.base + DATA, image + 5 * 512, 1024);
    assert_true(pci_level(PCI_GSI(VIRTIO_BLK_SLOT + 1)));
    assert_int_equal(in(VIRTIO_ISR, 1), 1);
    assert_int_equal(transfer(VIRTIO_BLK_IN, SECTORS, 0), VIRTIO_BLK_OK);
    assert_int_equal(dev.reads, 3);
}

/* Requests of all kinds in pieces of all sizes, against an array. */
static void model_of_a_disk(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 3000; n++) {
        uint32_t sector = draw(SECTORS), sectors = 1 + draw(draw(3) ? 4 : SECTORS);
        uint32_t at = sector * 512, bytes, kind = draw(4);

        sectors = sectors < SECTORS - sector ? sectors : SECTORS - sector;
        bytes = sectors * 512;
        if (kind >= 2) {
            assert_int_equal(change_range(kind == 2 ? VIRTIO_BLK_DISCARD : VIRTIO_BLK_WRITE_ZEROES,
                                          sector, sectors),
                             VIRTIO_BLK_OK);
            memset(expected + at, 0, bytes);
            continue;
        }
        for (unsigned i = 0; i < bytes; i += 4)
            memcpy(mem.base + DATA + i, &(uint32_t){draw(0xffffff)}, 4);
        header(kind, sector);
        if (kind == VIRTIO_BLK_OUT)
            memcpy(expected + at, mem.base + DATA, bytes);
        add_cut(HEADER, 16, 0);
        add_cut(DATA, bytes, kind == VIRTIO_BLK_OUT ? 0 : WRITE);
        add(STATUS, 1, WRITE);
        assert_int_equal(submit(), (kind == VIRTIO_BLK_OUT ? 0 : bytes) + 1);
        assert_int_equal(status(), VIRTIO_BLK_OK);
        assert_memory_equal(mem.base + DATA, expected + at, bytes);
    }
    expect_disk();
}

/* The status may share a piece with data: "Message Framing". */
static void status_behind_data(void **state)
{
    (void)state;
    header(VIRTIO_BLK_IN, 3);
    add(HEADER, 16, 0);
    mem.base[DATA + 512] = 0xee;
    add(DATA, 513, WRITE);
    assert_int_equal(submit(), 513);
    assert_memory_equal(mem.base + DATA, image + 3 * 512, 512);
    assert_int_equal(mem.base[DATA + 512], VIRTIO_BLK_OK);
}

static void name(void **state)
{
    char expected_name[VIRTIO_BLK_ID] = "disk1";

    (void)state;
    memset(mem.base + DATA, 0xa5, 64);
    assert_int_equal(transfer(VIRTIO_BLK_GET_ID, 0, VIRTIO_BLK_ID), VIRTIO_BLK_OK);
    assert_memory_equal(mem.base + DATA, expected_name, VIRTIO_BLK_ID);
    assert_int_equal(transfer(VIRTIO_BLK_GET_ID, 0, 64), VIRTIO_BLK_OK);
    assert_int_equal(mem.base[DATA + VIRTIO_BLK_ID], 0xa5);
    assert_int_equal(transfer(VIRTIO_BLK_FLUSH, 0, 0), VIRTIO_BLK_OK);
}

static void errors(void **state)
{
    (void)state;
    assert_int_equal(transfer(VIRTIO_BLK_IN, SECTORS, 512), VIRTIO_BLK_IOERR);
    assert_int_equal(transfer(VIRTIO_BLK_IN, SECTORS - 1, 1024), VIRTIO_BLK_IOERR);
    assert_int_equal(transfer(VIRTIO_BLK_OUT, SECTORS, 512), VIRTIO_BLK_IOERR);
    assert_int_equal(transfer(VIRTIO_BLK_OUT, SECTORS + 1, 0), VIRTIO_BLK_IOERR);
    assert_int_equal(transfer(VIRTIO_BLK_IN, UINT64_MAX / 512 + 1, 512), VIRTIO_BLK_IOERR);
    assert_int_equal(transfer(VIRTIO_BLK_IN, UINT64_MAX, 512), VIRTIO_BLK_IOERR);
    assert_int_equal(transfer(VIRTIO_BLK_IN, 0, 511), VIRTIO_BLK_IOERR);
    assert_int_equal(transfer(VIRTIO_BLK_OUT, 0, 511), VIRTIO_BLK_IOERR);
    memcpy(expected, mem.base + DATA, 511); /* a part may have been written */
    assert_int_equal(transfer(2, 0, 512), VIRTIO_BLK_UNSUPP);
    assert_int_equal(transfer(UINT32_MAX, 0, 512), VIRTIO_BLK_UNSUPP);
    assert_int_equal(change_range(VIRTIO_BLK_DISCARD, SECTORS, 1), VIRTIO_BLK_IOERR);
    assert_int_equal(change_range(VIRTIO_BLK_DISCARD, UINT64_MAX, 1), VIRTIO_BLK_IOERR);
    assert_int_equal(change_range(VIRTIO_BLK_WRITE_ZEROES, 0, UINT32_MAX), VIRTIO_BLK_IOERR);
    assert_int_equal(change_range(VIRTIO_BLK_DISCARD, SECTORS, 0), VIRTIO_BLK_OK);
    /* Less than a header; a flush or a range with more than it has. */
    header(VIRTIO_BLK_FLUSH, 0);
    add(HEADER, 15, 0);
    add(STATUS, 1, WRITE);
    assert_int_equal(submit(), 1);
    assert_int_equal(status(), VIRTIO_BLK_IOERR);
    header(VIRTIO_BLK_FLUSH, 0);
    add(HEADER, 16, 0);
    add(DATA, 1, 0);
    add(STATUS, 1, WRITE);
    (void)submit();
    assert_int_equal(status(), VIRTIO_BLK_IOERR);
    header(VIRTIO_BLK_DISCARD, 0);
    add(HEADER, 16, 0);
    add(RANGE, 17, 0);
    add(STATUS, 1, WRITE);
    (void)submit();
    assert_int_equal(status(), VIRTIO_BLK_IOERR);
    /* No place for a status: nothing is written. */
    header(VIRTIO_BLK_IN, 0);
    add(HEADER, 16, 0);
    assert_int_equal(submit(), 0);
    assert_int_equal(status(), 0xee);
    /* The descriptors' order is wrong. */
    header(VIRTIO_BLK_IN, 0);
    add(HEADER, 16, 0);
    add(DATA, 512, WRITE);
    add(RANGE, 4, 0);
    add(STATUS, 1, WRITE);
    (void)submit();
    assert_int_equal(status(), VIRTIO_BLK_IOERR);
    expect_disk();
    assert_true(dev.errors > 15);
}

/* OASIS virtio v1.2, 5.2.6.2: "The device MUST set the status byte to VIRTIO_BLK_S_UNSUPP for
 * discard, secure erase and write zeroes commands if any unknown flag is set. Furthermore, [...]
 * for discard commands if the unmap flag is set." */
static void ranges(void **state)
{
    const struct virtio_blk_range unmap = {8, 8, 1}, unknown = {8, 8, 2}, whole = {8, 8, 0};

    (void)state;
    assert_int_equal(send_range(VIRTIO_BLK_DISCARD, &unmap, 16), VIRTIO_BLK_UNSUPP);
    assert_int_equal(send_range(VIRTIO_BLK_DISCARD, &unknown, 16), VIRTIO_BLK_UNSUPP);
    assert_int_equal(send_range(VIRTIO_BLK_WRITE_ZEROES, &unknown, 16), VIRTIO_BLK_UNSUPP);
    for (uint32_t length = 0; length < 16; length++) { /* none, or not all of it */
        assert_int_equal(send_range(VIRTIO_BLK_DISCARD, &whole, length), VIRTIO_BLK_IOERR);
        assert_int_equal(send_range(VIRTIO_BLK_WRITE_ZEROES, &whole, length), VIRTIO_BLK_IOERR);
    }
    expect_disk();
    assert_int_equal(send_range(VIRTIO_BLK_WRITE_ZEROES, &unmap, 16), VIRTIO_BLK_OK);
    memset(expected + 8 * VIRTIO_BLK_SECTOR, 0, 8 * VIRTIO_BLK_SECTOR);
    expect_disk();
}

static void readonly(void **state)
{
    (void)state;
    start(true);
    start_driver();
    assert_int_equal(transfer(VIRTIO_BLK_OUT, 0, 512), VIRTIO_BLK_IOERR);
    assert_int_equal(change_range(VIRTIO_BLK_DISCARD, 0, 8), VIRTIO_BLK_IOERR);
    assert_int_equal(change_range(VIRTIO_BLK_WRITE_ZEROES, 0, 8), VIRTIO_BLK_IOERR);
    expect_disk();
}

/* A call moves at most VIRTIO_BLK_WORK bytes and looks at few descriptors. */
static void bounded(void **state)
{
    (void)state;
    assert_int_equal(transfer(VIRTIO_BLK_IN, 0, DISK), VIRTIO_BLK_OK);
    assert_true(calls >= DISK / VIRTIO_BLK_WORK);
    assert_int_equal(change_range(VIRTIO_BLK_WRITE_ZEROES, 0, SECTORS), VIRTIO_BLK_OK);
    assert_true(calls >= DISK / VIRTIO_BLK_WORK);
    memset(expected, 0, DISK);
    expect_disk();
    header(VIRTIO_BLK_FLUSH, 0);
    add(HEADER, 16, 0);
    for (unsigned i = 0; i < 60; i++)
        add(DATA, 0, 0);
    add(STATUS, 1, WRITE);
    (void)submit();
    assert_true(calls >= 60 / 8);
    assert_int_equal(status(), VIRTIO_BLK_OK);
}

/* What was written stays when the driver, or the guest, starts again. */
static void again(void **state)
{
    (void)state;
    memset(mem.base + DATA, 0x5a, 512);
    assert_int_equal(transfer(VIRTIO_BLK_OUT, 9, 512), VIRTIO_BLK_OK);
    memset(expected + 9 * 512, 0x5a, 512);
    header(VIRTIO_BLK_IN, 0);
    memset(mem.base + AVAIL, 0, 0x2000);
    add(HEADER, 16, 0);
    add(DATA, DISK, WRITE);
    add(STATUS, 1, WRITE);
    out(VIRTIO_NOTIFY, 2, 0);
    pci_fixture_reset();
    pci_fixture_release(&dev);
    virtio_blk_device.plug(&dev, &pci_env);
    pci_fixture_master(VIRTIO_BLK_SLOT + 1);
    descs = 0;
    start_driver();
    expect_disk();
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(configuration), TEST(reading), TEST(model_of_a_disk), TEST(status_behind_data),
        TEST(name),          TEST(errors),  TEST(ranges),          TEST(readonly),
        TEST(bounded),       TEST(again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
