/* SOURCES: arch/x86/cpu/pci.c */
#include "arch/x86/cpu/pci.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define BDF(bus, device, function) ((uint16_t)((bus) << 8 | (device) << 3 | (function)))
#define MULTI                      0x80u
#define ALL_ON                     7u /* I/O, memory, bus master */

/* The existing functions. */
static struct function {
    uint16_t bdf;
    uint32_t id, command, class; /* class: the upper three bytes of its register */
    uint8_t header;
    unsigned writes;
} machine[16];
static unsigned functions;

static struct function *add(uint16_t bdf, uint32_t class, uint8_t header, uint32_t command)
{
    struct function *f = &machine[functions++];

    *f = (struct function){
        .bdf = bdf, .id = 0x12348086, .command = command, .class = class, .header = header};
    return f;
}

static struct function *find(uint32_t bdf)
{
    for (unsigned i = 0; i < functions; i++)
        if (machine[i].bdf == bdf)
            return &machine[i];
    return NULL;
}

static uint32_t read_config(void *ctx, uint32_t bdf, uint16_t offset)
{
    const struct function *f = find(bdf);

    assert_ptr_equal(ctx, machine);
    if (!f)
        return PCI_NOBODY;
    switch (offset) {
    case 0x00:
        return f->id;
    case 0x04:
        return 0xa5b00000u | f->command; /* with errors in the status register */
    case 0x08:
        return f->class << 8 | 0x42;
    case 0x0c:
        return (uint32_t)f->header << 16 | 0x4010;
    default:
        fail();
        return 0;
    }
}

/* Nothing but the command register is written, and nothing is cleared in the status register. */
static void write_config(void *ctx, uint32_t bdf, uint16_t offset, uint32_t value)
{
    struct function *f = find(bdf);

    assert_ptr_equal(ctx, machine);
    assert_non_null(f);
    assert_int_equal(offset, 0x04);
    assert_int_equal(value >> 16, 0);
    f->command = value;
    f->writes++;
}

static const struct pci_config config = {read_config, write_config, machine};

static int setup(void **state)
{
    (void)state;
    functions = 0;
    return 0;
}

static void nobody(void **state)
{
    uint32_t at = 0;
    struct pci_quiet q;

    (void)state;
    assert_int_equal(pci_next(&config, &at), PCI_NOBODY);
    q = pci_quieten(&config);
    assert_int_equal(q.functions, 0);
}

/* A single-function device counts once, even if it seems to answer at other function numbers. */
static void enumeration(void **state)
{
    static const uint16_t expected[] = {BDF(0, 0, 0), BDF(0, 1, 0),  BDF(0, 1, 3),
                                        BDF(0, 2, 0), BDF(3, 31, 0), BDF(255, 31, 7)};
    uint32_t at = 0;

    (void)state;
    add(BDF(0, 0, 0), 0x060000, 0, 0);
    add(BDF(0, 1, 0), 0x060100, MULTI, 0);
    add(BDF(0, 1, 3), 0x068000, 0, 0);
    add(BDF(0, 2, 0), 0x020000, 0, 0);
    add(BDF(0, 2, 1), 0x020000, 0, 0); /* the device ignores the function number */
    add(BDF(3, 31, 0), 0x020000, 0, 0);
    add(BDF(4, 0, 5), 0x020000, 0, 0); /* without a function 0 */
    add(BDF(255, 31, 0), 0x020000, MULTI, 0)->id = 0x00018086;
    add(BDF(255, 31, 7), 0x020000, 0, 0);
    for (unsigned i = 0; i < 5; i++, at++) {
        assert_int_equal(pci_next(&config, &at), 0x12348086);
        assert_int_equal(at, expected[i]);
    }
    assert_int_equal(pci_next(&config, &at), 0x00018086);
    at++;
    assert_int_equal(pci_next(&config, &at), 0x12348086);
    assert_int_equal(at, expected[5]);
    at++;
    assert_int_equal(pci_next(&config, &at), PCI_NOBODY);
}

static void endpoints(void **state)
{
    struct function *usb = add(BDF(0, 29, 0), 0x0c0320, 0, ALL_ON);
    struct function *disk = add(BDF(0, 31, 0), 0x010601, MULTI, ALL_ON | 1u << 8);
    struct function *quiet = add(BDF(0, 31, 2), 0x028000, 0, 3);
    struct function *card = add(BDF(2, 0, 0), 0x020000, 0, ALL_ON);
    struct pci_quiet q;

    (void)state;
    q = pci_quieten(&config);
    assert_int_equal(q.functions, 4);
    assert_int_equal(q.silenced, 3);
    assert_int_equal(q.screens, 0);
    assert_int_equal(usb->command, 3 | PCI_COMMAND_NO_INTX);
    assert_int_equal(disk->command, 3 | 1u << 8 | PCI_COMMAND_NO_INTX);
    assert_int_equal(quiet->command, 3 | PCI_COMMAND_NO_INTX);
    assert_int_equal(card->command, 3 | PCI_COMMAND_NO_INTX); /* its driver comes later */
    q = pci_quieten(&config);
    assert_int_equal(q.silenced, 0);
}

/* PCI-to-PCI and CardBus bridges are known by their headers, host and ISA bridges by their
 * class. */
static void bridges(void **state)
{
    (void)state;
    add(BDF(0, 0, 0), 0x060000, 0, ALL_ON);
    add(BDF(0, 1, 0), 0x060400, 1, ALL_ON);
    add(BDF(0, 2, 0), 0x060700, 2, ALL_ON);
    add(BDF(0, 3, 0), 0x060100, MULTI, ALL_ON);
    add(BDF(0, 4, 0), 0x088000, MULTI | 1, ALL_ON);
    assert_int_equal(pci_quieten(&config).silenced, 0);
    for (unsigned i = 0; i < functions; i++)
        assert_int_equal(machine[i].command, ALL_ON | PCI_COMMAND_NO_INTX);
}

static void screens(void **state)
{
    struct function *used = add(BDF(0, 2, 0), 0x030000, 0, ALL_ON);
    struct function *unused = add(BDF(1, 0, 0), 0x030200, 0, PCI_COMMAND_MASTER);
    struct function *sound = add(BDF(0, 3, 0), 0x040300, 0, ALL_ON);
    struct pci_quiet q;

    (void)state;
    q = pci_quieten(&config);
    assert_int_equal(q.screens, 1);
    assert_int_equal(q.silenced, 2);
    assert_int_equal(used->command, ALL_ON | PCI_COMMAND_NO_INTX);
    assert_int_equal(unused->command, PCI_COMMAND_NO_INTX);
    assert_int_equal(sound->command, 3 | PCI_COMMAND_NO_INTX);
    assert_int_equal(used->writes, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        TEST(nobody), TEST(enumeration), TEST(endpoints), TEST(bridges), TEST(screens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
