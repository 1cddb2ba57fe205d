/* SOURCES: hv/pc/pci.c hv/pc/msix.c hv/pc/bus.c hv/lib.c */
/* The bus, with a function that has a BAR of each kind. */
#include "hv/pc/msix.h"
#include "hv/pc/pci.h"

#include "hv/lib.h"
#include "test/unit/pci_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define SLOT      5u
#define OTHER     7u /* on the same line */
#define THIRD     4u /* on the other one */
#define BAR_PORTS PCI_BAR
#define BAR_LOW   (PCI_BAR + 8)
#define BAR_HIGH  (PCI_BAR + 12)
#define ONES      0xffffffffu

struct probe {
    struct pci_function pci;
    struct msix msix;
    unsigned worked, read, written;
    uint64_t again; /* work() leaves this as `due` */
};

static struct probe probes[3];
static uint64_t sent_address;
static uint32_t sent_data;
static unsigned sent;

static uint32_t port_in(void *dev, uint16_t port, unsigned size)
{
    (void)dev;
    (void)size;
    return port % 0x80u;
}

static void port_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    (void)dev;
    (void)port;
    (void)size;
    (void)value;
}

static uint64_t memory_read(void *dev, uint64_t offset, unsigned size)
{
    struct probe *p = dev;

    return offset < MSIX_SIZE ? msix_read(&p->msix, (unsigned)offset, size) : offset;
}

static void memory_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct probe *p = dev;

    if (offset < MSIX_SIZE)
        msix_write(&p->msix, (unsigned)offset, size, (uint32_t)value);
}

static const struct io_ops port_ops = {port_in, port_out, 4};
static const struct mmio_ops memory_ops = {memory_read, memory_write, 4};

static void work(void *dev)
{
    struct probe *p = dev;

    p->worked++;
    p->pci.due = p->again;
}

static void before_read(void *dev, unsigned at, unsigned size)
{
    (void)at;
    (void)size;
    ((struct probe *)dev)->read++;
}

static void after_write(void *dev, unsigned at, unsigned size)
{
    struct probe *p = dev;

    (void)at;
    (void)size;
    p->written++;
    msix_written(&p->msix);
}

static int on_message(void *ctx, uint64_t address, uint32_t data)
{
    assert_ptr_equal(ctx, &pci_levels);
    sent++;
    sent_address = address;
    sent_data = data;
    return 0;
}

static void plug(struct probe *p, unsigned slot)
{
    static const struct pci_identity id = {.vendor = 0x1234,
                                           .device = 0x5678,
                                           .subsystem_vendor = 0x9abc,
                                           .subsystem = 0xdef0,
                                           .class = 0x020304,
                                           .revision = 9};

    memset(p, 0, sizeof(*p));
    pci_function_init(&p->pci, &id, p);
    p->pci.work = work;
    p->pci.before_read = before_read;
    p->pci.after_write = after_write;
    p->again = NEVER;
    pci_add_bar(&p->pci, 0, &(struct pci_bar){0x80, .ports = &port_ops});
    pci_add_bar(&p->pci, 2, &(struct pci_bar){0x2000, .memory = &memory_ops});
    msix_init(&p->msix, &p->pci, 3, 2, 0);
    pci_plug(&pci_bus, &p->pci, slot);
    msix_reset(&p->msix, &p->pci);
}

static int setup(void **state)
{
    (void)state;
    sent = 0;
    pci_fixture_start(0, on_message);
    plug(&probes[0], SLOT);
    plug(&probes[1], OTHER);
    plug(&probes[2], THIRD);
    return 0;
}

static uint32_t get(unsigned at, unsigned size)
{
    return pci_get(SLOT, at, size);
}

static void put(unsigned at, unsigned size, uint32_t v)
{
    pci_put(SLOT, at, size, v);
}

static bool answers_ports(unsigned at)
{
    return io_in(&pci_io, (uint16_t)(at + 5), 1) == 5;
}

static bool answers_memory(uint64_t at)
{
    uint64_t v;

    return mmio_read(&pci_io, at + 0x1234, 4, &v) && v == 0x1234;
}

/* As firmware hands it over: addresses, decoding, the interrupt line, but no mastering. */
static void power_on(void **state)
{
    (void)state;
    assert_true(get(PCI_VENDOR, 4) == 0x56781234);
    assert_int_equal(get(PCI_COMMAND, 2), 3);
    assert_int_equal(get(PCI_STATUS, 2), PCI_STATUS_CAPS);
    assert_int_equal(get(PCI_REVISION, 4), 0x02030409);
    assert_int_equal(get(0x0c, 4), 0); /* one function, a header of type 0 */
    assert_true(get(PCI_SUBSYSTEM_VENDOR, 4) == 0xdef09abc);
    assert_int_equal(get(BAR_PORTS, 4), 0xc000 + SLOT * 0x80 + 1);
    assert_true(get(BAR_LOW, 4) == 0xfe000000 + SLOT * 0x4000 + 4);
    assert_int_equal(get(BAR_HIGH, 4), 0);
    assert_int_equal(get(PCI_INTERRUPT_LINE, 2), 0x010b);
    assert_int_equal(pci_get(THIRD, PCI_INTERRUPT_LINE, 2), 0x010a);
    assert_true(answers_ports(0xc000 + SLOT * 0x80) && answers_memory(0xfe000000 + SLOT * 0x4000));
    /* The host bridge, at 00:00.0, has no addresses and no interrupt. */
    assert_int_equal(pci_get(0, PCI_CLASS, 1), 0);
    assert_int_equal(pci_get(0, PCI_CLASS + 1, 2), 0x0600);
    assert_int_equal(pci_get(0, PCI_INTERRUPT_LINE, 4), 0);
    for (unsigned bar = 0; bar < PCI_BARS; bar++) {
        pci_put(0, PCI_BAR + 4 * bar, 4, ONES);
        assert_int_equal(pci_get(0, PCI_BAR + 4 * bar, 4), 0);
    }
    pci_put(0, PCI_COMMAND, 2, 7);
    pci_device.update(&pci_bus); /* it has no work to do */
}

/* Where there is nothing, ones are read. */
static void absent(void **state)
{
    (void)state;
    for (unsigned slot = 0; slot < PCI_SLOTS; slot++)
        assert_int_equal(pci_get(slot, PCI_VENDOR, 2) != 0xffff,
                         slot == 0 || slot == SLOT || slot == OTHER || slot == THIRD);
    for (unsigned function = 1; function < 8; function++) {
        pci_bus.address = 0x80000000 | SLOT << 11 | function << 8;
        assert_true(io_in(&pci_io, PCI_DATA_PORT, 4) == ONES);
    }
    for (unsigned bus = 1; bus < 256; bus++) {
        pci_bus.address = 0x80000000 | bus << 16 | SLOT << 11;
        assert_true(io_in(&pci_io, PCI_DATA_PORT, 4) == ONES);
        io_out(&pci_io, PCI_DATA_PORT, 4, 0);
    }
    pci_bus.address = SLOT << 11; /* not enabled */
    assert_true(io_in(&pci_io, PCI_DATA_PORT, 4) == ONES);
    io_out(&pci_io, PCI_DATA_PORT, 4, 0);
    assert_int_equal(get(PCI_COMMAND, 2), 3);
}

/* Bytes, words and doublewords, at each offset; what cannot be written stays. */
static void widths(void **state)
{
    (void)state;
    assert_int_equal(get(PCI_VENDOR + 1, 1), 0x12);
    assert_int_equal(get(PCI_VENDOR + 1, 2), 0x7812);
    assert_int_equal(get(PCI_DEVICE, 2), 0x5678);
    put(PCI_VENDOR, 4, 0);
    put(PCI_REVISION, 4, 0);
    put(PCI_CAPABILITIES, 1, 0);
    put(PCI_INTERRUPT_PIN, 1, 4);
    put(PCI_STATUS, 2, 0xffff);
    assert_true(get(PCI_VENDOR, 4) == 0x56781234 && get(PCI_REVISION, 4) == 0x02030409);
    assert_int_equal(get(PCI_CAPABILITIES, 1), 0x40);
    assert_int_equal(get(PCI_STATUS, 2), PCI_STATUS_CAPS);
    put(PCI_INTERRUPT_LINE, 4, 0x01020304);
    assert_int_equal(get(PCI_INTERRUPT_LINE, 2), 0x0104);
    put(PCI_COMMAND + 1, 1, 0xff);
    assert_int_equal(get(PCI_COMMAND, 2), 0x0403);
    /* Across the data register's end: the bus splits it, and nothing lies there. */
    pci_select(SLOT, PCI_VENDOR);
    assert_true(io_in(&pci_io, PCI_DATA_PORT + 2, 4) == 0xffff5678);
}

static void sizing(void **state)
{
    (void)state;
    put(PCI_COMMAND, 2, 0);
    put(BAR_PORTS, 4, ONES);
    put(BAR_LOW, 4, ONES);
    put(BAR_HIGH, 4, ONES);
    put(PCI_BAR + 4, 4, ONES);
    put(PCI_BAR + 16, 4, ONES);
    put(0x30, 4, ONES); /* no ROM */
    assert_true(get(BAR_PORTS, 4) == (ONES & ~0x7fu) + 1);
    assert_true(get(BAR_LOW, 4) == (ONES & ~0x1fffu) + 4);
    assert_true(get(BAR_HIGH, 4) == ONES);
    assert_int_equal(get(PCI_BAR + 4, 4), 0);
    assert_int_equal(get(PCI_BAR + 16, 4), 0);
    assert_int_equal(get(0x30, 4), 0);
}

static void moving(void **state)
{
    const unsigned ports = 0xc000 + SLOT * 0x80;
    const uint64_t memory = 0xfe000000 + SLOT * 0x4000;

    (void)state;
    put(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    assert_true(!answers_ports(ports) && answers_memory(memory));
    put(PCI_COMMAND, 2, PCI_COMMAND_IO);
    assert_true(answers_ports(ports) && !answers_memory(memory));
    put(BAR_PORTS, 4, 0xd000);
    put(BAR_LOW, 4, 0xc0000000);
    assert_true(answers_ports(0xd000) && !answers_ports(ports) && !answers_memory(0xc0000000));
    put(PCI_COMMAND, 2, 3);
    assert_true(answers_memory(0xc0000000));
    put(BAR_PORTS, 2, 0x1000); /* half of the register is enough */
    assert_true(answers_ports(0x1000) && !answers_ports(0xd000));
    put(BAR_PORTS, 4, 0x280); /* among the ports of the board */
    assert_true(answers_ports(0x280));
}

/* Where the bus cannot decode it, no one answers, and the function's other BAR stays. */
static void not_decoded(void **state)
{
    static const uint64_t bad[] = {0,           0xbfffe000,        0xdffff000, 0xe0000000,
                                   0xe00fe000,  0xfebff000,        0xfec00000, 0xffffe000,
                                   0x100000000, 0xfffffffffffe0000};
    static const uint32_t bad_ports[] = {0, 0x10000, 0xffffff80, 0xc800};
    uint64_t v;

    (void)state;
    assert_int_equal(io_claim(&pci_io, 0xc840, 0xc87f, &port_ops, &v), 0);
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        put(BAR_LOW, 4, (uint32_t)bad[i]);
        put(BAR_HIGH, 4, (uint32_t)(bad[i] >> 32));
        if ((bad[i] & 0x1fff) == 0)
            assert_false(answers_memory(bad[i]));
        assert_true(answers_ports(0xc000 + SLOT * 0x80));
    }
    put(BAR_HIGH, 4, 0);
    put(BAR_LOW, 4, 0xfe000000 + OTHER * 0x4000); /* the other one keeps its place */
    put(BAR_LOW, 4, 0xfd000000);
    assert_true(answers_memory(0xfd000000));
    assert_true(answers_memory(0xfe000000 + OTHER * 0x4000));
    for (unsigned i = 0; i < ARRAY_LEN(bad_ports); i++) {
        put(BAR_PORTS, 4, bad_ports[i]);
        assert_false(answers_ports(bad_ports[i] & 0xffff));
    }
    put(BAR_PORTS, 4, 0xffc0); /* aligned to its size: 0xff80 */
    assert_true(answers_ports(0xff80));
    put(BAR_PORTS, 4, 0xc880);
    assert_true(answers_ports(0xc880));
}

static void ecam(void **state)
{
    const uint64_t at = PCI_ECAM + SLOT * 0x8000;
    uint64_t v;

    (void)state;
    assert_true(mmio_read(&pci_io, at, 4, &v) && v == 0x56781234);
    assert_true(mmio_read(&pci_io, at + 3, 1, &v) && v == 0x56);
    assert_true(mmio_read(&pci_io, at, 8, &v) && v == 0x0010000356781234);
    assert_true(mmio_write(&pci_io, at + PCI_COMMAND, 2, 7));
    assert_int_equal(get(PCI_COMMAND, 2), 7);
    assert_true(mmio_read(&pci_io, at + 0x100, 4, &v) && v == ONES);  /* no extended ones */
    assert_true(mmio_read(&pci_io, at + 0x1000, 4, &v) && v == ONES); /* no function 1 */
    assert_true(mmio_write(&pci_io, at + 0xff, 4, 0) && mmio_write(&pci_io, at + 0x100, 4, 0));
    assert_true(mmio_read(&pci_io, PCI_ECAM, 4, &v) && v == 0x00081b36);
    assert_false(mmio_read(&pci_io, PCI_ECAM + PCI_ECAM_SIZE, 4, &v)); /* one bus */
}

/* Functions share lines; each can be cut off from its own. */
static void lines(void **state)
{
    (void)state;
    pci_intx(&probes[0].pci, true);
    assert_true(pci_level(11) && !pci_level(10));
    assert_int_equal(get(PCI_STATUS, 2) & PCI_STATUS_INTX, PCI_STATUS_INTX);
    pci_intx(&probes[1].pci, true);
    pci_intx(&probes[2].pci, true);
    assert_true(pci_level(11) && pci_level(10));
    pci_intx(&probes[0].pci, false);
    assert_true(pci_level(11));
    assert_int_equal(get(PCI_STATUS, 2) & PCI_STATUS_INTX, 0);
    pci_put(OTHER, PCI_COMMAND, 2, 3 | PCI_COMMAND_NO_INTX);
    assert_false(pci_level(11));
    assert_int_equal(pci_get(OTHER, PCI_STATUS, 2) & PCI_STATUS_INTX, PCI_STATUS_INTX);
    pci_put(OTHER, PCI_COMMAND, 2, 3);
    assert_true(pci_level(11));
    pci_intx(&probes[1].pci, false);
    assert_false(pci_level(11));
}

#define CONTROL (probes[0].msix.cap + 2)
#define TABLE   (0xfe000000ull + SLOT * 0x4000)

static uint32_t table_get(unsigned at)
{
    uint64_t v = 0;

    assert_true(mmio_read(&pci_io, TABLE + at, 4, &v));
    return (uint32_t)v;
}

static void message(unsigned n, uint32_t address, uint32_t data, uint32_t control)
{
    assert_true(mmio_write(&pci_io, TABLE + 16ull * n, 8, address));
    assert_true(mmio_write(&pci_io, TABLE + 16ull * n + 8, 4, data));
    assert_true(mmio_write(&pci_io, TABLE + 16ull * n + 12, 4, control));
}

static void messages(void **state)
{
    struct msix *m = &probes[0].msix;

    (void)state;
    assert_int_equal(get(m->cap, 1), PCI_CAP_MSIX);
    assert_int_equal(get(CONTROL, 2), 2); /* three of them */
    assert_int_equal(get(m->cap + 4, 4), 2);
    assert_int_equal(get(m->cap + 8, 4), 0x802);
    assert_int_equal(table_get(12), 1); /* masked at power-on */
    message(1, 0xfee01000, 0x4041, 0);
    assert_true(table_get(16) == 0xfee01000 && table_get(24) == 0x4041);
    put(CONTROL, 2, 0xffff);
    assert_int_equal(get(CONTROL, 2), 0xc002);
    put(PCI_COMMAND, 2, 7);
    msix_send(m, 1); /* all are masked */
    assert_int_equal(sent, 0);
    assert_int_equal(table_get(0x800), 2);
    put(CONTROL, 2, 0x8000);
    assert_int_equal(sent, 1);
    assert_true(sent_address == 0xfee01000 && sent_data == 0x4041);
    assert_int_equal(table_get(0x800), 0);
    msix_send(m, 0); /* this one is masked */
    msix_send(m, 1);
    assert_int_equal(sent, 2);
    assert_int_equal(table_get(0x800), 1);
    message(0, 0xfee02000, 7, 0);
    assert_int_equal(sent, 3);
    assert_true(sent_address == 0xfee02000 && sent_data == 7);
    put(PCI_COMMAND, 2, 3); /* only a master can send */
    msix_send(m, 1);
    assert_int_equal(sent, 3);
    /* Registers have 32 bits; there are three messages. */
    assert_true(mmio_write(&pci_io, TABLE, 2, 1) && mmio_write(&pci_io, TABLE + 48, 4, 1));
    assert_true(mmio_write(&pci_io, TABLE + 0x800, 4, 7));
    assert_true(table_get(0) == 0xfee02000 && table_get(48) == 0 && table_get(0x800) == 0);
}

/* With messages enabled the line is not used. */
static void messages_instead_of_lines(void **state)
{
    (void)state;
    pci_intx(&probes[0].pci, true);
    assert_true(pci_level(11));
    put(CONTROL, 2, 0x8000);
    assert_false(pci_level(11));
    put(CONTROL, 2, 0);
    assert_true(pci_level(11));
}

/* One function's work in each call, and each in its turn. */
static void work_in_turns(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        probes[i].again = 0;
        pci_work_now(&probes[i].pci);
    }
    for (unsigned n = 1; n <= 30; n++) {
        assert_int_equal(pci_bus.deadline, 0);
        pci_device.update(&pci_bus);
        assert_int_equal(probes[0].worked + probes[1].worked + probes[2].worked, n);
    }
    assert_int_equal(probes[1].worked, 10);
    probes[0].again = pci_clock.now + 500;
    probes[1].again = pci_clock.now + 300;
    probes[2].again = NEVER;
    for (unsigned n = 0; n < 3; n++)
        pci_device.update(&pci_bus);
    assert_int_equal(pci_bus.deadline, pci_clock.now + 300);
    device_shift(&pci_device, &pci_bus, 1000);
    assert_int_equal(pci_bus.deadline, pci_clock.now + 1300);
    assert_int_equal(probes[0].pci.due, pci_clock.now + 1500);
    assert_true(probes[2].pci.due == NEVER);
    pci_device.update(&pci_bus); /* nothing is due */
    assert_int_equal(probes[0].worked + probes[1].worked + probes[2].worked, 33);
    pci_work_now(&probes[2].pci);
    assert_int_equal(pci_bus.deadline, 0);
}

/* A guest that starts again finds everything as at first. */
static void again(void **state)
{
    (void)state;
    put(BAR_PORTS, 4, 0xd000);
    put(BAR_LOW, 4, 0xc0000000);
    put(PCI_COMMAND, 2, 0x407);
    put(PCI_INTERRUPT_LINE, 1, 3);
    put(CONTROL, 2, 0xc000);
    pci_intx(&probes[0].pci, true);
    for (unsigned i = 0; i < 3; i++)
        pci_fixture_release(&probes[i]);
    pci_levels = 0; /* the PICs are reset as well */
    pci_fixture_reset();
    pci_plug(&pci_bus, &probes[0].pci, SLOT);
    pci_plug(&pci_bus, &probes[2].pci, THIRD);
    msix_reset(&probes[0].msix, &probes[0].pci);
    power_on(state);
    assert_int_equal(get(CONTROL, 2), 2);
    assert_true(!answers_ports(0xd000) && !answers_memory(0xc0000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(power_on, setup),
        cmocka_unit_test_setup(absent, setup),
        cmocka_unit_test_setup(widths, setup),
        cmocka_unit_test_setup(sizing, setup),
        cmocka_unit_test_setup(moving, setup),
        cmocka_unit_test_setup(not_decoded, setup),
        cmocka_unit_test_setup(ecam, setup),
        cmocka_unit_test_setup(lines, setup),
        cmocka_unit_test_setup(messages, setup),
        cmocka_unit_test_setup(messages_instead_of_lines, setup),
        cmocka_unit_test_setup(work_in_turns, setup),
        cmocka_unit_test_setup(again, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
