/* SOURCES: hv/pc/ivshmem.c hv/pc/msix.c hv/pc/pci.c hv/pc/bus.c hv/lib.c */
#include "hv/pc/ivshmem.h"

#include "hv/config.h"
#include "hv/lib.h"
#include "test/unit/pci_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SIZE      0x400000u
#define HOME      (PCI_MEMORY + SIZE)
#define NUMBER    2u
#define SLOT      (IVSHMEM_SLOT + NUMBER)
#define ID        3u
#define REGISTERS (PCI_SLOT_MEMORY + SLOT * PCI_SLOT_SIZE)
#define TABLE     (REGISTERS + 0x1000)
#define BAR2      (PCI_BAR + 8)

static struct ivshmem dev;
static uint8_t memory[SIZE];
static uint32_t rung;
static uint64_t mapped; /* 0: nowhere */
static unsigned moves, rings, messages;
static struct {
    unsigned peer, vector;
} last_ring;
static struct {
    uint64_t address;
    uint32_t data;
} last_message;

static void place(void *ctx, unsigned number, uint64_t from, uint64_t to)
{
    assert_ptr_equal(ctx, memory);
    assert_int_equal(number, NUMBER);
    assert_int_equal(from, mapped);
    assert_true(from != to && to % SIZE == 0);
    mapped = to;
    moves++;
}

static void ring(void *ctx, unsigned number, unsigned peer, unsigned vector)
{
    assert_ptr_equal(ctx, memory);
    assert_int_equal(number, NUMBER);
    last_ring.peer = peer;
    last_ring.vector = vector;
    rings++;
}

static int message(void *ctx, uint64_t address, uint32_t data)
{
    (void)ctx;
    last_message.address = address;
    last_message.data = data;
    messages++;
    return 0;
}

static void start(uint32_t devices, int (*msi)(void *, uint64_t, uint32_t))
{
    const struct ivshmem_setup s = {.number = NUMBER,
                                    .id = ID,
                                    .memory = memory,
                                    .size = SIZE,
                                    .home = HOME,
                                    .rung = &rung,
                                    .ctx = memory,
                                    .place = place,
                                    .ring = ring};

    mapped = HOME;
    moves = rings = messages = 0;
    rung = 0xffff; /* of an earlier guest */
    memset(memory, 0, 64);
    ivshmem_init(&dev, &s);
    pci_fixture_start(devices, msi);
    ivshmem_device.reset(&dev, &pci_env);
    ivshmem_device.plug(&dev, &pci_env);
}

static int setup(void **state)
{
    (void)state;
    start(DEV_APIC, message);
    return 0;
}

static uint32_t get32(uint64_t at)
{
    uint64_t v = 0;

    assert_true(mmio_read(&pci_io, at, 4, &v));
    return (uint32_t)v;
}

static void put32(uint64_t at, uint32_t v)
{
    assert_true(mmio_write(&pci_io, at, 4, v));
}

static bool decodes(uint64_t at)
{
    uint64_t v;

    return mmio_read(&pci_io, at, 4, &v);
}

/* Messages with data 0x40 + vector; the function is a master. */
static void enable(unsigned vectors)
{
    unsigned cap = dev.msix.cap;

    for (unsigned i = 0; i < vectors; i++) {
        put32(TABLE + 16 * i, 0xfee00000);
        put32(TABLE + 16 * i + 8, 0x40 + i);
        put32(TABLE + 16 * i + 12, 0);
    }
    pci_put(SLOT, cap + 2, 2, 0x8000);
    pci_fixture_master(SLOT);
}

/* Peers ring; the guest's core tells its devices. */
static void peers_ring(uint32_t vectors)
{
    rung |= vectors;
    pci_work_now(&dev.pci);
}

static unsigned work(void)
{
    unsigned calls = 0;

    for (; pci_bus.deadline <= pci_clock.now; calls++)
        pci_device.update(&pci_bus);
    return calls;
}

static void identity(void **state)
{
    (void)state;
    assert_int_equal(pci_get(SLOT, 0, 4), 0x11101af4);
    assert_int_equal(pci_get(SLOT, PCI_REVISION, 4), 0x05000001);
    assert_int_equal(pci_get(SLOT, PCI_SUBSYSTEM_VENDOR, 4), 0x11001af4);
    assert_int_equal(pci_get(SLOT, PCI_BAR, 4), REGISTERS);
    assert_int_equal(pci_get(SLOT, PCI_BAR + 4, 4), TABLE);
    assert_int_equal(pci_get(SLOT, BAR2, 4), HOME | PCI_BAR_64 | PCI_BAR_PREFETCH);
    assert_int_equal(pci_get(SLOT, BAR2 + 4, 4), 0);
    assert_int_equal(pci_get(SLOT, PCI_CAPABILITIES, 1), dev.msix.cap);
    assert_int_equal(pci_get(SLOT, dev.msix.cap, 4), 0x11 | (IVSHMEM_VECTORS - 1) << 16);
    assert_int_equal(pci_get(SLOT, dev.msix.cap + 4, 4), 1);         /* table: BAR 1 */
    assert_int_equal(pci_get(SLOT, dev.msix.cap + 8, 4), 0x800 | 1); /* pending bits */
    assert_int_equal(moves, 0);
    assert_int_equal(rung, 0);
}

/* As systems find out how large a BAR is. */
static void sizes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        pci_put(SLOT, PCI_BAR + 4 * i, 4, UINT32_MAX);
    assert_int_equal(pci_get(SLOT, PCI_BAR, 4), ~(IVSHMEM_REGISTERS - 1u));
    assert_int_equal(pci_get(SLOT, PCI_BAR + 4, 4), ~(MSIX_SIZE - 1u));
    assert_int_equal(pci_get(SLOT, BAR2, 4), ~(SIZE - 1) | PCI_BAR_64 | PCI_BAR_PREFETCH);
    assert_int_equal(pci_get(SLOT, BAR2 + 4, 4), UINT32_MAX);
    assert_int_equal(pci_get(SLOT, BAR2 + 8, 4), 0);
    assert_int_equal(mapped, 0);
}

static void registers(void **state)
{
    uint64_t v;

    (void)state;
    assert_int_equal(get32(REGISTERS + IVSHMEM_POSITION), ID);
    put32(REGISTERS + IVSHMEM_POSITION, 7);
    assert_int_equal(get32(REGISTERS + IVSHMEM_POSITION), ID);
    put32(REGISTERS + IVSHMEM_INTR_MASK, 0x12345678);
    assert_int_equal(get32(REGISTERS + IVSHMEM_INTR_MASK), 0x12345678);
    put32(REGISTERS + IVSHMEM_INTR_STATUS, 1);
    assert_int_equal(get32(REGISTERS + IVSHMEM_INTR_STATUS), 0);
    assert_int_equal(get32(REGISTERS + IVSHMEM_DOORBELL), 0);
    assert_int_equal(get32(REGISTERS + 0xfc), 0);
    assert_true(mmio_read(&pci_io, REGISTERS + IVSHMEM_POSITION, 1, &v));
    assert_int_equal(v, 0xff);
    assert_true(mmio_write(&pci_io, REGISTERS + IVSHMEM_DOORBELL, 2, 0));
    assert_int_equal(rings, 0);
    put32(REGISTERS + IVSHMEM_DOORBELL, 0x000d000f);
    assert_int_equal(rings, 1);
    assert_int_equal(last_ring.peer, 13);
    assert_int_equal(last_ring.vector, 15);
    put32(REGISTERS + IVSHMEM_DOORBELL, 0xffff0000);
    assert_int_equal(last_ring.peer, 0xffff);
    put32(REGISTERS + IVSHMEM_DOORBELL, 0x00010010); /* no such vector */
    assert_int_equal(rings, 2);
}

/* Accesses that the root emulates, such as a move from a register to the memory. */
static void contents(void **state)
{
    uint64_t v;

    (void)state;
    assert_true(mmio_write(&pci_io, HOME + 8, 8, 0x1122334455667788));
    assert_int_equal(memory[8], 0x88);
    assert_int_equal(memory[15], 0x11);
    memory[SIZE - 1] = 0xee;
    assert_true(mmio_read(&pci_io, HOME + SIZE - 1, 1, &v));
    assert_int_equal(v, 0xee);
    assert_true(mmio_read(&pci_io, HOME + SIZE - 1, 4, &v)); /* across its end */
    assert_int_equal(v, UINT32_MAX);
    memory[SIZE - 1] = 0;
}

static void it_moves(void **state)
{
    (void)state;
    pci_put(SLOT, BAR2, 4, 0xd0000000);
    assert_int_equal(mapped, 0xd0000000);
    assert_int_equal(moves, 1);
    assert_true(decodes(0xd0000000 + SIZE - 4) && !decodes(HOME));
    pci_put(SLOT, BAR2, 4, 0xd0123456); /* the low bits do not exist */
    assert_int_equal(moves, 1);
    pci_put(SLOT, PCI_COMMAND, 2, PCI_COMMAND_IO); /* decoding off, and on again */
    assert_int_equal(mapped, 0);
    assert_false(decodes(0xd0000000));
    pci_put(SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    assert_int_equal(mapped, 0xd0000000);
    pci_put(SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    pci_put(SLOT, PCI_BAR, 4, 0xfd000000); /* another BAR */
    assert_int_equal(moves, 3);
    assert_int_equal(get32(0xfd000000 + IVSHMEM_POSITION), ID);
}

/* RAM, the ECAM, other devices, the local APIC, the end of all addresses. */
static void wrong_places(void **state)
{
    static const uint64_t places[] = {0,
                                      SIZE,
                                      0xc0000000 - SIZE,
                                      0xe0000000,
                                      PCI_SLOT_MEMORY,
                                      0xfec00000,
                                      0xfee00000,
                                      0x100000000,
                                      0xffffffff00000000 | (uint32_t)-SIZE,
                                      0x1c0000000};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        pci_put(SLOT, BAR2, 4, (uint32_t)places[i]);
        pci_put(SLOT, BAR2 + 4, 4, (uint32_t)(places[i] >> 32));
        assert_int_equal(mapped, 0);
        assert_int_equal(pci_get(SLOT, BAR2, 4) & ~0xfu, (uint32_t)places[i] & ~(SIZE - 1));
    }
    assert_true(decodes(REGISTERS)); /* the others are where they were */
    pci_put(SLOT, BAR2 + 4, 4, 0);
    pci_put(SLOT, BAR2, 4, (uint32_t)HOME);
    assert_int_equal(mapped, HOME);
}

static void doorbells(void **state)
{
    (void)state;
    enable(4);
    peers_ring(1u << 2);
    (void)work();
    assert_int_equal(messages, 1);
    assert_int_equal(last_message.address, 0xfee00000);
    assert_int_equal(last_message.data, 0x42);
    assert_int_equal(rung, 0);
    for (unsigned i = 0; i < 100; i++) /* before it looks they are one */
        peers_ring(1u << 1);
    (void)work();
    assert_int_equal(messages, 2);
    assert_int_equal(pci_bus.deadline, NEVER);
}

/* However many ring: so many messages in a call, and each vector once. */
static void work_is_bounded(void **state)
{
    (void)state;
    enable(IVSHMEM_VECTORS);
    peers_ring(UINT16_MAX);
    pci_device.update(&pci_bus);
    assert_int_equal(messages, IVSHMEM_WORK);
    rung |= 1; /* meanwhile */
    (void)work();
    assert_int_equal(messages, IVSHMEM_VECTORS + 1);
    assert_int_equal(rung, 0);
}

static void masked_ones_wait(void **state)
{
    (void)state;
    enable(2);
    put32(TABLE + 16 + 12, 1);
    peers_ring(2);
    (void)work();
    assert_int_equal(messages, 0);
    assert_int_equal(get32(TABLE + 0x800), 2);
    put32(TABLE + 16 + 12, 0);
    assert_int_equal(messages, 1);
    assert_int_equal(last_message.data, 0x41);
    assert_int_equal(get32(TABLE + 0x800), 0);
}

static void not_enabled(void **state)
{
    (void)state;
    peers_ring(1);
    (void)work();
    assert_int_equal(messages, 0);
    assert_int_equal(rung, 0);
    assert_int_equal(pci_levels, 0); /* nor by its interrupt line */
    enable(1);
    (void)work();
    assert_int_equal(messages, 0);
}

/* A new life: the memory is where it was at first, before another device is plugged. */
static void second_life(void **state)
{
    (void)state;
    enable(1);
    put32(REGISTERS + IVSHMEM_INTR_MASK, 1);
    pci_put(SLOT, BAR2, 4, 0xd8000000);
    memory[5] = 'x';
    peers_ring(1);
    pci_fixture_release(&dev);
    pci_fixture_reset();
    ivshmem_device.reset(&dev, &pci_env);
    assert_int_equal(mapped, 0);
    ivshmem_device.plug(&dev, &pci_env);
    assert_int_equal(mapped, HOME);
    (void)work();
    assert_int_equal(messages, 0);
    assert_int_equal(rung, 0);
    assert_int_equal(memory[5], 'x');
    assert_int_equal(get32(REGISTERS + IVSHMEM_INTR_MASK), 0);
    assert_false(msix_is_enabled(&dev.msix));
    assert_int_equal(get32(TABLE + 12), 1);
    moves = 0;
    pci_fixture_release(&dev);
    pci_fixture_reset();
    ivshmem_device.reset(&dev, &pci_env);
    ivshmem_device.plug(&dev, &pci_env);
    assert_int_equal(moves, 0); /* it has not been moved */
}

/* The memory alone. */
static void without_apic(void **state)
{
    (void)state;
    start(DEV_PIC, NULL);
    assert_int_equal(dev.msix.cap, 0);
    assert_int_equal(pci_get(SLOT, PCI_CAPABILITIES, 1), 0);
    assert_int_equal(get32(REGISTERS + IVSHMEM_POSITION), 0);
    put32(REGISTERS + IVSHMEM_DOORBELL, 0);
    assert_int_equal(rings, 0);
    put32(TABLE + 12, 0);
    assert_int_equal(get32(TABLE + 12), 0);
    peers_ring(1);
    (void)work();
    assert_int_equal(rung, 0);
    assert_true(mmio_write(&pci_io, HOME, 1, 'y'));
    assert_int_equal(memory[0], 'y');
}

static void none(void **state)
{
    static struct ivshmem absent;

    (void)state;
    assert_false(ivshmem_is_there(&absent));
    ivshmem_device.reset(&absent, &pci_env);
    ivshmem_device.plug(&absent, &pci_env);
    assert_null(absent.pci.bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(identity, setup),
        cmocka_unit_test_setup(sizes, setup),
        cmocka_unit_test_setup(registers, setup),
        cmocka_unit_test_setup(contents, setup),
        cmocka_unit_test_setup(it_moves, setup),
        cmocka_unit_test_setup(wrong_places, setup),
        cmocka_unit_test_setup(doorbells, setup),
        cmocka_unit_test_setup(work_is_bounded, setup),
        cmocka_unit_test_setup(masked_ones_wait, setup),
        cmocka_unit_test_setup(not_enabled, setup),
        cmocka_unit_test_setup(second_life, setup),
        cmocka_unit_test_setup(without_apic, setup),
        cmocka_unit_test_setup(none, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
