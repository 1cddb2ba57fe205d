/* SOURCES: hv/pc/pic.c hv/pc/bus.c hv/lib.c */
#include "hv/pc/pic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define EOI 0x20u

static struct pic pic;

static void out(unsigned port, unsigned value)
{
    if (port >= PIC_ELCR_PORT)
        pic_device.ports[2].ops->out(&pic, (uint16_t)port, 1, value);
    else
        pic_device.ports[0].ops->out(&pic, (uint16_t)port, 1, value);
}

static unsigned in(unsigned port)
{
    return port >= PIC_ELCR_PORT ? pic_device.ports[2].ops->in(&pic, (uint16_t)port, 1)
                                 : pic_device.ports[0].ops->in(&pic, (uint16_t)port, 1);
}

static unsigned isr(unsigned port)
{
    out(port, 0x0b);
    return in(port);
}

static unsigned irr(unsigned port)
{
    out(port, 0x0a);
    return in(port);
}

static void edge(unsigned irq)
{
    pic_set_irq(&pic, irq, false);
    pic_set_irq(&pic, irq, true);
}

static void start(unsigned icw4)
{
    pic_device.reset(&pic, &(const struct device_env){0});
    out(0x20, 0x11);
    out(0x21, 0x20);
    out(0x21, 0x04);
    out(0x21, icw4);
    out(0xa0, 0x11);
    out(0xa1, 0x28);
    out(0xa1, 0x02);
    out(0xa1, icw4);
    out(0x21, 0);
    out(0xa1, 0);
}

static int setup(void **state)
{
    (void)state;
    start(0x01);
    return 0;
}

static void expect(unsigned vector)
{
    assert_true(pic.intr);
    assert_int_equal(pic_ack(&pic), vector);
}

static void power_on(void **state)
{
    (void)state;
    pic_device.reset(&pic, &(const struct device_env){0});
    for (unsigned i = 0; i < 16; i++)
        pic_set_irq(&pic, i, true);
    assert_false(pic.intr);
    assert_int_equal(in(0x21), 0xff);
    assert_int_equal(in(0xa1), 0xff);
}

/* Mask all, probe the master's mask register, initialise, restore the masks: Linux. */
static void linux_init(void **state)
{
    (void)state;
    pic_device.reset(&pic, &(const struct device_env){0});
    out(0xa1, 0xff);
    out(0x21, 0xfb);
    assert_int_equal(in(0x21), 0xfb);
    out(0x21, 0xff);
    out(0x20, 0x11);
    out(0x21, 0x30);
    out(0x21, 0x04);
    out(0x21, 0x01);
    out(0xa0, 0x11);
    out(0xa1, 0x38);
    out(0xa1, 0x02);
    out(0xa1, 0x01);
    out(0x21, 0xfb);
    out(0xa1, 0xff);
    edge(0);
    edge(8);
    assert_false(pic.intr);
    out(0x21, 0xfa);
    expect(0x30);
    assert_false(pic.intr);
    out(0x20, 0x60); /* specific EOI of 0 */
    assert_int_equal(isr(0x20), 0);
    out(0xa1, 0xfe);
    expect(0x38);
    assert_int_equal(isr(0x20), 0x04);
    assert_int_equal(isr(0xa0), 0x01);
    out(0xa0, 0x60);
    out(0x20, 0x62);
    assert_int_equal(isr(0x20) | isr(0xa0), 0);
    assert_false(pic.intr);
}

static void icw_sequences(void **state)
{
    (void)state;
    /* Without ICW4 the next write is a mask. */
    out(0x20, 0x10);
    out(0x21, 0x47); /* the low three bits are not part of the vector */
    out(0x21, 0x04);
    out(0x21, 0xfd);
    assert_int_equal(in(0x21), 0xfd);
    edge(1);
    expect(0x41);
    /* Single: no ICW3. */
    out(0x20, 0x13);
    out(0x21, 0x50);
    out(0x21, 0x03); /* ICW4: automatic EOI */
    out(0x21, 0xfb);
    assert_int_equal(in(0x21), 0xfb);
    out(0x20, 0x12);
    out(0x21, 0x50);
    out(0x21, 0xef);
    assert_int_equal(in(0x21), 0xef);
}

static void init_forgets(void **state)
{
    (void)state;
    edge(3);
    expect(0x23);
    edge(4);
    out(0x21, 0xff);
    out(0x20, 0xc2); /* rotated */
    out(0x20, 0x68); /* special mask */
    out(0x20, 0x11);
    assert_false(pic.intr); /* nothing is delivered during initialisation */
    assert_int_equal(in(0x21), 0);
    edge(5);
    assert_false(pic.intr);
    out(0x21, 0x20);
    out(0x21, 0x04);
    out(0x21, 0x01);
    assert_int_equal(isr(0x20), 0);
    /* The edge on 4 came before and is forgotten; 5's came after. */
    assert_int_equal(irr(0x20), 0x20);
    expect(0x25);
    edge(0);
    expect(0x20);
}

static void priorities(void **state)
{
    (void)state;
    edge(6);
    edge(3);
    expect(0x23);
    assert_false(pic.intr); /* 6 waits */
    edge(3);
    assert_false(pic.intr); /* so does another 3 */
    edge(1);
    expect(0x21);
    assert_int_equal(isr(0x20), 0x0a);
    out(0x20, EOI); /* ends 1, the highest */
    assert_int_equal(isr(0x20), 0x08);
    assert_false(pic.intr);
    out(0x20, EOI);
    expect(0x23);
    out(0x20, EOI);
    expect(0x26);
    out(0x20, EOI);
    assert_false(pic.intr);
    out(0x20, EOI); /* nothing in service: harmless */
    assert_int_equal(isr(0x20), 0);
}

static void all_in_order(void **state)
{
    static const uint8_t order[15] = {0, 1, 8, 9, 10, 11, 12, 13, 14, 15, 3, 4, 5, 6, 7};

    (void)state;
    for (unsigned i = 0; i < 16; i++)
        edge(15 - i);
    for (unsigned i = 0; i < 15; i++) {
        expect(0x20u + order[i]);
        if (order[i] > 7)
            out(0xa0, EOI);
        out(0x20, EOI);
    }
    assert_false(pic.intr);
}

static void masks(void **state)
{
    (void)state;
    out(0x21, 0x10);
    edge(4);
    assert_false(pic.intr);
    assert_int_equal(irr(0x20), 0x10);
    out(0x21, 0);
    assert_true(pic.intr);
    out(0x21, 0x10);
    assert_false(pic.intr);
    out(0x21, 0x04); /* the cascade */
    edge(9);
    pic_set_irq(&pic, 4, false);
    assert_false(pic.intr);
    out(0x21, 0);
    expect(0x29);
}

static void edges(void **state)
{
    (void)state;
    pic_set_irq(&pic, 5, true);
    expect(0x25);
    out(0x20, EOI);
    assert_false(pic.intr); /* still high: no second interrupt */
    pic_set_irq(&pic, 5, true);
    assert_false(pic.intr);
    pic_set_irq(&pic, 5, false);
    assert_false(pic.intr);
    pic_set_irq(&pic, 5, true);
    expect(0x25);
    /* A second edge while the first is in service is kept. */
    edge(5);
    assert_int_equal(irr(0x20), 0x20);
    out(0x20, EOI);
    expect(0x25);
}

static void levels(void **state)
{
    (void)state;
    out(0x4d0, 0xff);
    out(0x4d1, 0xff);
    assert_int_equal(in(0x4d0), 0xf8);
    assert_int_equal(in(0x4d1), 0xde);
    pic_set_irq(&pic, 11, true);
    expect(0x2b);
    assert_false(pic.intr);
    out(0xa0, EOI);
    out(0x20, EOI);
    expect(0x2b); /* it asks again */
    pic_set_irq(&pic, 11, false);
    out(0xa0, EOI);
    out(0x20, EOI);
    assert_false(pic.intr);
    /* The timer stays an edge. */
    pic_set_irq(&pic, 0, true);
    expect(0x20);
    out(0x20, EOI);
    assert_false(pic.intr);
}

static void becoming_level(void **state)
{
    (void)state;
    pic_set_irq(&pic, 11, true);
    expect(0x2b);
    out(0xa0, EOI);
    out(0x20, EOI);
    assert_false(pic.intr);
    out(0x4d1, 0x08);
    assert_true(pic.intr);
    pic_set_irq(&pic, 11, false);
    assert_false(pic.intr);
}

static void spurious(void **state)
{
    (void)state;
    pic_set_irq(&pic, 3, true);
    assert_true(pic.intr);
    pic_set_irq(&pic, 3, false);
    assert_false(pic.intr);
    assert_int_equal(pic_ack(&pic), 0x27);
    assert_int_equal(isr(0x20), 0); /* no ISR bit: needs no EOI */
    /* The slave's spurious interrupt: its master has an ISR bit. */
    pic_set_irq(&pic, 12, true);
    pic.chip[1].irr = 0;
    assert_int_equal(pic_ack(&pic), 0x2f);
    assert_int_equal(isr(0xa0), 0);
    assert_int_equal(isr(0x20), 0x04);
    out(0x20, EOI);
    edge(12);
    expect(0x2c);
}

static void cascade(void **state)
{
    (void)state;
    edge(14);
    expect(0x2e);
    edge(9); /* higher, but the master holds it back: not special fully nested */
    assert_false(pic.intr);
    edge(1);
    expect(0x21);
    out(0x20, EOI);
    out(0xa0, EOI); /* ends 14: 9 requests, the master's bit 2 is still in service */
    assert_false(pic.intr);
    out(0x20, EOI);
    expect(0x29);
    /* The input itself cannot be driven. */
    setup(NULL);
    pic_set_irq(&pic, 2, true);
    pic_set_irq(&pic, 16, true);
    pic_set_irq(&pic, 0xffffffff, true);
    assert_false(pic.intr);
    assert_int_equal(irr(0x20), 0);
}

static void special_fully_nested(void **state)
{
    (void)state;
    start(0x11);
    edge(14);
    expect(0x2e);
    edge(9);
    expect(0x29);
    edge(15);
    assert_false(pic.intr); /* lower than both */
    out(0xa0, EOI);
    out(0xa0, EOI);
    expect(0x2f);
    assert_int_equal(isr(0x20), 0x04);
}

static void automatic_eoi(void **state)
{
    (void)state;
    start(0x03);
    edge(5);
    expect(0x25);
    assert_int_equal(isr(0x20), 0);
    edge(6);
    edge(5);
    expect(0x25);
    expect(0x26);
    edge(10);
    expect(0x2a);
    assert_int_equal(isr(0x20) | isr(0xa0), 0);
    /* Rotating: the input just served becomes the lowest. */
    out(0x20, 0x80);
    edge(0);
    edge(1);
    expect(0x20);
    edge(0);
    expect(0x21);
    expect(0x20);
    out(0x20, 0x00);
    /* Off: the order stays as it is now, 1 first and 0 last. */
    edge(0);
    edge(1);
    expect(0x21);
    edge(1);
    expect(0x21);
    expect(0x20);
}

static void rotation(void **state)
{
    (void)state;
    edge(0);
    edge(1);
    expect(0x20);
    edge(0);
    out(0x20, 0xa0); /* EOI of 0, which becomes the lowest */
    expect(0x21);
    out(0x20, 0xe1); /* specific: 1 */
    expect(0x20);
    out(0x20, EOI);
    out(0x20, 0xc4); /* 4 lowest: 5 is the highest */
    edge(4);
    edge(0);
    edge(5);
    expect(0x25);
    out(0x20, EOI);
    expect(0x20);
    out(0x20, EOI);
    expect(0x24);
    /* In a rotated order the non-specific EOI ends the highest of that order. */
    edge(7);
    expect(0x27);
    assert_int_equal(isr(0x20), 0x90);
    out(0x20, EOI);
    assert_int_equal(isr(0x20), 0x10);
    out(0x20, 0x40); /* no operation */
    assert_int_equal(isr(0x20), 0x10);
}

static void special_mask(void **state)
{
    (void)state;
    edge(1);
    expect(0x21);
    edge(5);
    assert_false(pic.intr);
    out(0x21, 0x02);
    assert_false(pic.intr);
    out(0x20, 0x68); /* on: 1 is masked and holds back no others */
    expect(0x25);
    out(0x20, EOI); /* does not end the masked one */
    assert_int_equal(isr(0x20), 0x02);
    out(0x20, EOI);
    assert_int_equal(isr(0x20), 0x02);
    out(0x20, 0x61);
    assert_int_equal(isr(0x20), 0);
    edge(3);
    expect(0x23);
    edge(6);
    assert_false(pic.intr);
    out(0x20, 0x48); /* off */
    out(0x21, 0x08);
    assert_false(pic.intr);
}

static void polling(void **state)
{
    (void)state;
    out(0x20, 0x0c);
    assert_int_equal(in(0x20), 0);
    edge(6);
    edge(3);
    out(0x20, 0x0c);
    assert_int_equal(in(0x20), 0x83);
    assert_int_equal(isr(0x20), 0x08);
    assert_false(pic.intr);
    out(0x20, EOI);
    out(0x20, 0x0c);
    assert_int_equal(in(0x21), 0x86); /* either port */
    assert_int_equal(in(0x21), 0);    /* once: now the mask */
    out(0x20, EOI);
    /* The slave's through both. */
    edge(12);
    out(0x20, 0x0c);
    assert_int_equal(in(0x20), 0x82);
    out(0xa0, 0x0c);
    assert_int_equal(in(0xa0), 0x84);
    assert_int_equal(isr(0xa0), 0x10);
    out(0xa0, EOI);
    out(0x20, EOI);
    assert_false(pic.intr);
}

static void register_selection(void **state)
{
    (void)state;
    edge(7);
    assert_int_equal(in(0x20), 0x80); /* IRR after initialisation */
    out(0x20, 0x0b);
    assert_int_equal(in(0x20), 0);
    out(0x20, 0x08); /* no read command: the selection stays */
    expect(0x27);
    assert_int_equal(in(0x20), 0x80);
    out(0x20, 0x0a);
    assert_int_equal(in(0x20), 0);
}

/* The order of inputs against a plain search, over all masks and rotations. */
static void exhaustive_order(void **state)
{
    (void)state;
    for (unsigned lowest = 0; lowest < 8; lowest++) {
        for (unsigned asking = 1; asking < 256; asking++) {
            unsigned want = 8;

            setup(NULL);
            out(0xa0, 0xc0 | lowest);
            for (unsigned i = 0; i < 8; i++)
                if (asking & 1u << i)
                    edge(8 + i);
            for (unsigned i = 1; i <= 8 && want == 8; i++)
                if (asking & 1u << ((lowest + i) & 7))
                    want = (lowest + i) & 7;
            expect(0x28 + want);
        }
    }
}

/* In any state of a chip a pulse is a low line, then a high one. */
static void pulses(void **state)
{
    unsigned seed = 1;

    (void)state;
    for (unsigned n = 0; n < 20000; n++) {
        struct pic expected;
        uint8_t *bytes = (uint8_t *)&pic.chip;
        unsigned irq = n % 18;

        for (unsigned i = 0; i < offsetof(struct pic_chip, base); i++) {
            bytes[i] = (uint8_t)((seed = seed * 1103515245 + 12345) >> 16);
            bytes[sizeof(struct pic_chip) + i] = (uint8_t)(seed >> 24);
        }
        edge(3);
        edge(12); /* cascade and output follow that state */
        pic_set_irq(&pic, 12, n % 2 == 0);
        expected = pic;
        pic_set_irq(&expected, irq, false);
        pic_set_irq(&expected, irq, true);
        pic_pulse(&pic, irq);
        assert_memory_equal(&pic, &expected, sizeof(pic));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(power_on, setup),
        cmocka_unit_test_setup(linux_init, setup),
        cmocka_unit_test_setup(icw_sequences, setup),
        cmocka_unit_test_setup(init_forgets, setup),
        cmocka_unit_test_setup(priorities, setup),
        cmocka_unit_test_setup(all_in_order, setup),
        cmocka_unit_test_setup(masks, setup),
        cmocka_unit_test_setup(edges, setup),
        cmocka_unit_test_setup(levels, setup),
        cmocka_unit_test_setup(becoming_level, setup),
        cmocka_unit_test_setup(spurious, setup),
        cmocka_unit_test_setup(cascade, setup),
        cmocka_unit_test_setup(special_fully_nested, setup),
        cmocka_unit_test_setup(automatic_eoi, setup),
        cmocka_unit_test_setup(rotation, setup),
        cmocka_unit_test_setup(special_mask, setup),
        cmocka_unit_test_setup(polling, setup),
        cmocka_unit_test_setup(register_selection, setup),
        cmocka_unit_test_setup(exhaustive_order, setup),
        cmocka_unit_test_setup(pulses, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
