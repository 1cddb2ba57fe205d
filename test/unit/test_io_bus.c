/* SOURCES: hv/pc/dev.c hv/lib.c */
#include "hv/pc/dev.h"

#include "hv/lib.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct probe {
    uint16_t port;
    unsigned size, reads, writes;
    uint32_t value;
};

static struct io_bus bus;
static struct probe a, b;

static uint32_t probe_in(void *dev, uint16_t port, unsigned size)
{
    struct probe *p = dev;

    p->port = port;
    p->size = size;
    p->reads++;
    return p->value;
}

static void probe_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct probe *p = dev;

    p->port = port;
    p->size = size;
    p->writes++;
    p->value = value;
}

static const struct io_ops ops = {probe_in, probe_out};

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
    a.value = 0x1234;
    assert_int_equal(io_in(&bus, 0x100, 1), 0x1234);
    assert_int_equal(a.port, 0x100);
    /* An access that reaches into the neighbour belongs to the first port's owner. */
    io_out(&bus, 0x107, 4, 0xdeadbeef);
    assert_int_equal(a.port, 0x107);
    assert_int_equal(a.size, 4);
    assert_true(a.value == 0xdeadbeef);
    assert_int_equal(b.writes, 0);
    io_out(&bus, 0x108, 2, 7);
    assert_int_equal(b.value, 7);
    assert_true(io_in(&bus, 0xff, 2) == 0xffff);
    assert_true(io_in(&bus, 0x109, 1) == 0xff);
    assert_true(io_in(&bus, 0x1100, 1) == 0xff); /* no aliases above */
    assert_int_equal(a.reads, 1);
}

static void refusals(void **state)
{
    (void)state;
    assert_int_equal(io_claim(&bus, 0x10, 0x0f, &ops, &a), -E_RANGE);
    assert_int_equal(io_claim(&bus, 0xfff, 0x1000, &ops, &a), -E_RANGE);
    assert_int_equal(io_claim(&bus, 0xffff, 0xffff, &ops, &a), -E_RANGE);
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
        cmocka_unit_test_setup(refusals, setup),
        cmocka_unit_test_setup(a_full_table, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
