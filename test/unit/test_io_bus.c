/* SOURCES: hv/pc/bus.c hv/lib.c */
#include "hv/pc/bus.h"

#include "hv/lib.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* A device that records its cycles; reads give 0x10, 0x11 and so on. */
struct probe {
    uint16_t port;
    unsigned size, reads, writes;
    uint64_t value;
    char cycles[64]; /* "size@port=value " each write */
};

static struct io_bus bus;
static struct probe a, b;

static uint32_t probe_in(void *dev, uint16_t port, unsigned size)
{
    struct probe *p = dev;

    p->port = port;
    p->size = size;
    return 0x10 + p->reads++;
}

static void probe_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct probe *p = dev;
    size_t n = strlen(p->cycles);

    p->port = port;
    p->size = size;
    p->writes++;
    p->value = value;
    (void)snprintf(p->cycles + n, sizeof(p->cycles) - n, "%u@%x=%x ", size, port, value);
}

static uint64_t probe_read(void *dev, uint64_t offset, unsigned size)
{
    return probe_in(dev, (uint16_t)offset, size);
}

static void probe_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    probe_out(dev, (uint16_t)offset, size, (uint32_t)value);
}

static const struct io_ops ops = {probe_in, probe_out, 1};
static const struct io_ops wide = {probe_in, probe_out, 4};
static const struct mmio_ops registers = {probe_read, probe_write, 4};

static int setup(void **state)
{
    (void)state;
    memset(&bus, 0, sizeof(bus));
    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    return 0;
}

static void nobody(void **state)
{
    (void)state;
    for (unsigned p = 0; p <= 0xffff; p++) {
        assert_true(io_in(&bus, (uint16_t)p, 1) == 0xff);
        assert_true(io_in(&bus, (uint16_t)p, 2) == 0xffff);
        assert_true(io_in(&bus, (uint16_t)p, 4) == 0xffffffff);
        io_out(&bus, (uint16_t)p, 4, p);
    }
}

static void routing(void **state)
{
    (void)state;
    assert_int_equal(io_claim(&bus, 0x100, 0x107, &ops, &a), 0);
    assert_int_equal(io_claim(&bus, 0x108, 0x108, &ops, &b), 0);
    assert_int_equal(io_in(&bus, 0x100, 1), 0x10);
    assert_int_equal(a.port, 0x100);
    io_out(&bus, 0x107, 1, 0xef);
    assert_int_equal(a.value, 0xef);
    io_out(&bus, 0x108, 1, 7);
    assert_int_equal(b.value, 7);
    assert_true(io_in(&bus, 0x109, 1) == 0xff);
    assert_true(io_in(&bus, 0x1100, 1) == 0xff); /* no aliases above */
    assert_int_equal(a.reads, 1);
}

/* SDM 1 "I/O Address Space": two consecutive 8-bit ports are a 16-bit port, four a 32-bit one. */
static void byte_cycles(void **state)
{
    (void)state;
    assert_int_equal(io_claim(&bus, 0x100, 0x102, &ops, &a), 0);
    assert_int_equal(io_claim(&bus, 0x103, 0x103, &ops, &b), 0);
    io_out(&bus, 0x100, 4, 0x44332211);
    assert_string_equal(a.cycles, "1@100=11 1@101=22 1@102=33 ");
    assert_string_equal(b.cycles, "1@103=44 ");
    assert_true(io_in(&bus, 0x100, 4) == 0x10121110);
    assert_int_equal(io_in(&bus, 0x101, 2), 0x1413);
    /* Unclaimed ports within the access. */
    assert_int_equal(io_in(&bus, 0xff, 2), 0x15ff);
    assert_true(io_in(&bus, 0x103, 4) == 0xffffff11);
    assert_true(io_in(&bus, 0xfe, 4) == 0x1716ffff);
    io_out(&bus, 0xff, 2, 0xaabb);
    assert_int_equal(a.value, 0xaa);
    assert_int_equal(io_claim(&bus, 0xfff, 0xfff, &ops, &b), 0);
    assert_int_equal(io_in(&bus, 0xfff, 2), 0xff12);
    assert_true(io_in(&bus, 0xffff, 4) == 0xffffffff); /* there is nothing past the last port */
    io_out(&bus, 0xffff, 4, 0);
}

static void wide_registers(void **state)
{
    (void)state;
    assert_int_equal(io_claim(&bus, 0x200, 0x207, &wide, &a), 0);
    io_out(&bus, 0x200, 4, 0x44332211);
    io_out(&bus, 0x205, 2, 0x6655);
    assert_string_equal(a.cycles, "4@200=44332211 2@205=6655 ");
    a.cycles[0] = 0;
    io_out(&bus, 0x206, 4, 0x44332211); /* it reaches past the end */
    assert_string_equal(a.cycles, "1@206=11 1@207=22 ");
    assert_int_equal(io_in(&bus, 0x204, 4), 0x10);
    assert_int_equal(a.size, 4);
}

static void released(void **state)
{
    (void)state;
    assert_int_equal(io_claim(&bus, 0x20, 0x21, &ops, &a), 0);
    assert_int_equal(io_claim(&bus, 0x22, 0x22, &ops, &b), 0);
    assert_int_equal(io_claim(&bus, 0xa0, 0xa1, &ops, &a), 0);
    assert_int_equal(mmio_claim(&bus, 0xfee00000, 0x1000, &registers, &a), 0);
    io_release(&bus, 0x21);
    io_release(&bus, 0xa0);
    mmio_release(&bus, 0xfee00800); /* not its beginning */
    assert_int_equal(mmio_claim(&bus, 0xfee00800, 1, &registers, &b), -E_EXIST);
    mmio_release(&bus, 0xfee00000);
    assert_true(io_in(&bus, 0x20, 1) == 0xff && io_in(&bus, 0xa1, 1) == 0xff);
    assert_int_equal(io_in(&bus, 0x22, 1), 0x10);
    assert_int_equal(io_claim(&bus, 0x20, 0x21, &ops, &b), 0);
    assert_int_equal(mmio_claim(&bus, 0xfee00800, 0x1000, &registers, &b), 0);
    io_release(&bus, 0xa0); /* there is nothing */
    mmio_release(&bus, 0);
    assert_int_equal(io_in(&bus, 0x21, 1), 0x11);
    /* Any number of times. */
    for (unsigned i = 0; i < 3 * IO_REGIONS_MAX; i++) {
        assert_int_equal(io_claim(&bus, 0x80, 0x8f, &ops, &a), 0);
        io_release(&bus, 0x87);
    }
}

static void memory(void **state)
{
    uint64_t v = 0;

    (void)state;
    assert_int_equal(mmio_claim(&bus, 0xfec00000, 0x14, &registers, &a), 0);
    assert_false(mmio_read(&bus, 0xfebfffff, 4, &v) || mmio_write(&bus, 0xfec00014, 4, 0));
    assert_true(mmio_read(&bus, 0xfec00010, 4, &v));
    assert_int_equal(v, 0x10);
    assert_true(mmio_write(&bus, 0xfec00001, 1, 0x1ff));
    assert_true(mmio_write(&bus, 0xfec00008, 8, 0x8877665544332211));
    assert_string_equal(a.cycles, "1@1=ff 4@8=44332211 4@c=88776655 ");
    assert_true(mmio_read(&bus, 0xfec00008, 8, &v));
    assert_true(v == 0x1200000011);
    assert_true(mmio_read(&bus, 0xfec00010, 8, &v)); /* half of it is unclaimed */
    assert_true(v == 0xffffffff00000013);
    assert_true(mmio_write(&bus, 0xfec00012, 4, 1)); /* the same */
    assert_int_equal(a.writes, 3);
}

static void memory_refusals(void **state)
{
    (void)state;
    assert_int_equal(mmio_claim(&bus, 0x1000, 0, &registers, &a), -E_RANGE);
    assert_int_equal(mmio_claim(&bus, UINT64_MAX - 10, 12, &registers, &a), -E_RANGE);
    for (unsigned i = 0; i < MMIO_REGIONS_MAX; i++)
        assert_int_equal(mmio_claim(&bus, 0x1000 * i, 0x1000, &registers, &a), 0);
    assert_int_equal(mmio_claim(&bus, 0x1800, 1, &registers, &b), -E_EXIST);
    assert_int_equal(mmio_claim(&bus, 0x1000000, 1, &registers, &b), -E_NOSPC);
}

static void refusals(void **state)
{
    (void)state;
    assert_int_equal(io_claim(&bus, 0x10, 0x0f, &ops, &a), -E_RANGE);
    assert_int_equal(io_claim(&bus, 0xfff, 0x1000, &ops, &a), -E_RANGE);
    assert_int_equal(io_claim(&bus, 0xffff, 0xffff, &ops, &a), -E_RANGE); /* not a block */
    assert_int_equal(io_claim(&bus, 0x20, 0x2f, &ops, &a), 0);
    assert_int_equal(io_claim(&bus, 0x2f, 0x2f, &ops, &b), -E_EXIST);
    assert_int_equal(io_claim(&bus, 0x18, 0x20, &ops, &b), -E_EXIST);
    /* A refused claim takes none of its ports. */
    assert_true(io_in(&bus, 0x18, 1) == 0xff);
    assert_int_equal(io_claim(&bus, 0x18, 0x1f, &ops, &b), 0);
    assert_int_equal(io_claim(&bus, 0xfff, 0xfff, &ops, &b), 0);
    io_out(&bus, 0xfff, 1, 3);
    assert_int_equal(b.value, 3);
}

/* Above the direct ports, in blocks. */
static void blocks(void **state)
{
    (void)state;
    assert_int_equal(io_claim(&bus, 0xc000, 0xc07f, &wide, &a), 0);
    assert_int_equal(io_claim(&bus, 0xffc0, 0xffff, &ops, &b), 0);
    assert_int_equal(io_claim(&bus, 0x1000, 0x103f, &ops, &b), 0);
    assert_int_equal(io_in(&bus, 0xc07c, 4), 0x10);
    assert_true(io_in(&bus, 0xbfff, 1) == 0xff && io_in(&bus, 0xc080, 1) == 0xff);
    io_out(&bus, 0xffff, 1, 7);
    assert_string_equal(b.cycles, "1@ffff=7 ");
    io_out(&bus, 0x1000, 1, 8);
    assert_int_equal(b.port, 0x1000);
    assert_int_equal(io_claim(&bus, 0xc040, 0xc07f, &ops, &b), -E_EXIST);
    assert_int_equal(io_claim(&bus, 0xbfc0, 0xc03f, &ops, &b), -E_EXIST);
    assert_int_equal(io_claim(&bus, 0xd000, 0xd01f, &ops, &b), -E_RANGE);
    assert_int_equal(io_claim(&bus, 0xd020, 0xd05f, &ops, &b), -E_RANGE);
    assert_int_equal(io_claim(&bus, 0xfc0, 0x103f, &ops, &b), -E_RANGE);
    io_release(&bus, 0xffc0);
    io_release(&bus, 0x103f);
    assert_true(io_in(&bus, 0xffff, 1) == 0xff && io_in(&bus, 0x1000, 1) == 0xff);
    assert_int_equal(io_in(&bus, 0xc000, 1), 0x11);
    assert_int_equal(io_claim(&bus, 0x1000, 0xbfff, &ops, &b), 0);
}

static void a_full_table(void **state)
{
    (void)state;
    for (unsigned i = 0; i < IO_REGIONS_MAX; i++)
        assert_int_equal(io_claim(&bus, (uint16_t)i, (uint16_t)i, &ops, &a), 0);
    assert_int_equal(io_claim(&bus, 0x80, 0x80, &ops, &a), -E_NOSPC);
    io_out(&bus, IO_REGIONS_MAX - 1, 1, 9);
    assert_int_equal(a.port, IO_REGIONS_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(nobody, setup),
        cmocka_unit_test_setup(routing, setup),
        cmocka_unit_test_setup(byte_cycles, setup),
        cmocka_unit_test_setup(wide_registers, setup),
        cmocka_unit_test_setup(released, setup),
        cmocka_unit_test_setup(memory, setup),
        cmocka_unit_test_setup(memory_refusals, setup),
        cmocka_unit_test_setup(refusals, setup),
        cmocka_unit_test_setup(blocks, setup),
        cmocka_unit_test_setup(a_full_table, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
