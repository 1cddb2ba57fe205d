/* SOURCES: arch/x86/cpu/pci.c arch/x86/cpu/pci_msi.c */
#include "arch/x86/cpu/pci.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define BDF(bus, device, function) ((uint32_t)((bus) << 8 | (device) << 3 | (function)))
#define MULTI                      0x80u
#define ALL_ON                     7u /* I/O, memory, bus master */

/* The existing functions. */
static struct function {
    uint32_t bdf, id, command, class; /* class: the upper three bytes of its register */
    uint8_t header;
    unsigned writes;
    uint32_t space[64]; /* the rest */
} machine[16];
static unsigned functions;

static struct function *add(uint32_t bdf, uint32_t class, uint8_t header, uint32_t command)
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
        return 0xa5b00000u | f->command; /* with errors in the status register, and capabilities */
    case 0x08:
        return f->class << 8 | 0x42;
    case 0x0c:
        return (uint32_t)f->header << 16 | 0x4010;
    default:
        assert_true(offset % 4 == 0 && offset < 256);
        return f->space[offset / 4];
    }
}

/* Nothing is cleared in the status register. */
static void write_config(void *ctx, uint32_t bdf, uint16_t offset, uint32_t value)
{
    struct function *f = find(bdf);

    assert_ptr_equal(ctx, machine);
    assert_non_null(f);
    if (offset != 0x04) {
        assert_true(offset % 4 == 0 && offset >= 0x40 && offset < 256);
        f->space[offset / 4] = value;
        return;
    }
    assert_int_equal(value >> 16, 0);
    f->command = value;
    f->writes++;
}

/* Segment 0, and buses 0x10 and 0x11 of segment 2. */
static uint32_t next_bus(void *ctx, uint32_t bdf)
{
    (void)ctx;
    if (bdf < 0x10000)
        return bdf;
    if (bdf < 0x21000)
        return 0x21000;
    return bdf < 0x21200 ? bdf : PCI_NOBODY;
}

static const struct pci_config config = {read_config, write_config, next_bus, machine};

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
    q = pci_quieten(&config, 0);
    assert_int_equal(q.functions, 0);
}

/* Which buses have a function: all others of segment 0 need no second search. */
static void buses(void **state)
{
    struct pci_quiet q;

    (void)state;
    add(BDF(0, 1, 0), 0x060100, MULTI, 0);
    add(BDF(0, 1, 3), 0x068000, 0, 0);
    add(BDF(4, 0, 5), 0x020000, 0, 0); /* without a function 0 */
    add(BDF(35, 31, 0), 0x020000, 0, 0);
    add(BDF(255, 31, 0), 0x020000, 0, 0);
    add(0x20000 | BDF(0x11, 4, 0), 0x020000, 0, 0); /* another segment's */
    q = pci_quieten(&config, 0);
    assert_int_equal(q.functions, 5);
    for (unsigned bus = 0; bus < 256; bus++)
        assert_int_equal(q.buses[bus / 32] >> bus % 32 & 1, bus == 0 || bus == 35 || bus == 255);
}

/* A single-function device counts once, even if it seems to answer at other function numbers. */
static void enumeration(void **state)
{
    static const uint32_t expected[] = {BDF(0, 0, 0), BDF(0, 1, 0),  BDF(0, 1, 3),
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
    q = pci_quieten(&config, 0);
    assert_int_equal(q.functions, 4);
    assert_int_equal(q.silenced, 3);
    assert_int_equal(q.screens, 0);
    assert_int_equal(usb->command, 3 | PCI_COMMAND_NO_INTX);
    assert_int_equal(disk->command, 3 | 1u << 8 | PCI_COMMAND_NO_INTX);
    assert_int_equal(quiet->command, 3 | PCI_COMMAND_NO_INTX);
    assert_int_equal(card->command, 3 | PCI_COMMAND_NO_INTX); /* its driver comes later */
    q = pci_quieten(&config, 0);
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
    assert_int_equal(pci_quieten(&config, 0).silenced, 0);
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
    q = pci_quieten(&config, 0);
    assert_int_equal(q.screens, 1);
    assert_int_equal(q.silenced, 2);
    assert_int_equal(used->command, ALL_ON | PCI_COMMAND_NO_INTX);
    assert_int_equal(unused->command, PCI_COMMAND_NO_INTX);
    assert_int_equal(sound->command, 3 | PCI_COMMAND_NO_INTX);
    assert_int_equal(used->writes, 1);
}

static void segments(void **state)
{
    uint32_t at = 0x10000;

    (void)state;
    add(BDF(0, 2, 0), 0x020000, 0, ALL_ON);
    add(0x20000 | BDF(0x0f, 0, 0), 0x020000, 0, ALL_ON); /* its bus is not reached */
    add(0x20000 | BDF(0x11, 4, 0), 0x020000, 0, ALL_ON);
    assert_int_equal(pci_next(&config, &at), 0x12348086);
    assert_int_equal(at, 0x21120);
    at++;
    assert_int_equal(pci_next(&config, &at), PCI_NOBODY);
    assert_int_equal(pci_quieten(&config, PCI_SEGMENT).silenced, 1);
    assert_int_equal(machine[0].command, ALL_ON);
    assert_int_equal(machine[2].command, 3 | PCI_COMMAND_NO_INTX);
}

static void command(void **state)
{
    struct function *f = add(BDF(0, 2, 0), 0x020000, 0, 1 | PCI_COMMAND_NO_INTX);

    (void)state;
    pci_enable(&config, f->bdf, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    assert_int_equal(f->command, ALL_ON | PCI_COMMAND_NO_INTX);
    pci_disable(&config, f->bdf, PCI_COMMAND_NO_INTX);
    assert_int_equal(f->command, ALL_ON);
}

static void bars(void **state)
{
    struct function *f = add(BDF(0, 2, 0), 0x020000, 0, 0);
    uint64_t base = 0;

    (void)state;
    f->space[4] = 0xfebc0008; /* prefetchable, 32 bits */
    f->space[5] = 0xc001;     /* in I/O space */
    f->space[6] = 0x0000000c; /* 64 bits, at 768 GB */
    f->space[7] = 0xc0;
    f->space[9] = 0xfe000004; /* 64 bits, with no other half */
    assert_int_equal(pci_bar(&config, f->bdf, 0, &base), 0);
    assert_int_equal(base, 0xfebc0000);
    assert_int_equal(pci_bar(&config, f->bdf, 1, &base), -E_NOTSUP);
    assert_int_equal(pci_bar(&config, f->bdf, 2, &base), 0);
    assert_true(base == 0xc000000000);
    assert_int_equal(pci_bar(&config, f->bdf, 4, &base), -E_IO);
    assert_int_equal(pci_bar(&config, f->bdf, 5, &base), -E_RANGE);
    assert_int_equal(pci_bar(&config, f->bdf, 6, &base), -E_RANGE);
}

/* Capabilities: at 0x40 power management, then `control` and `id` at `at`. */
static struct function *with_capability(unsigned at, uint32_t control, uint32_t id)
{
    struct function *f = add(BDF(0, 2, 0), 0x020000, 0, ALL_ON);

    f->space[0x34 / 4] = 0x42; /* the two lowest bits are reserved */
    f->space[0x40 / 4] = at << 8 | 0x01;
    f->space[at / 4] = control << 16 | id;
    return f;
}

static void msi(void **state)
{
    static const struct {
        uint32_t control, written, data, mask; /* offsets; 0: none */
    } forms[] = {{0x0000, 0x0001, 8, 0},
                 {0x0080, 0x0081, 12, 0},
                 {0x0100, 0x0101, 8, 12},
                 {0x018a, 0x018b, 12, 16},
                 {0x00f1, 0x0081, 12, 0}}; /* eight vectors were on */

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        struct function *f;

        functions = 0;
        f = with_capability(0xd0, forms[i].control, 0x05);
        f->space[0xd8 / 4] = f->space[0xdc / 4] = f->space[0xe0 / 4] = UINT32_MAX;
        assert_true(pci_msi_enable(&config, f->bdf, 0xfee05000, 0x41));
        assert_int_equal(f->space[0xd0 / 4], forms[i].written << 16 | 0x05);
        assert_int_equal(f->space[0xd4 / 4], 0xfee05000);
        if (forms[i].data == 12)
            assert_int_equal(f->space[0xd8 / 4], 0);
        assert_int_equal(f->space[(0xd0 + forms[i].data) / 4], 0x41);
        if (forms[i].mask)
            assert_int_equal(f->space[(0xd0 + forms[i].mask) / 4], 0);
    }
}

static void msix(void **state)
{
    struct function *f = with_capability(0xa0, 0x0004, 0x11);
    volatile uint32_t table[5 * 4] = {0};
    struct pci_msix x;

    (void)state;
    f->space[0xa4 / 4] = 0x2003; /* BAR 3, at 0x2000 */
    table[4 * 4] = 0xdead0000;
    assert_false(pci_msi_enable(&config, f->bdf, 0xfee00000, 0x40));
    assert_true(pci_msix_find(&config, f->bdf, &x));
    assert_int_equal(x.count, 5);
    assert_int_equal(x.bar, 3);
    assert_int_equal(x.offset, 0x2000);
    pci_msix_enable(&config, f->bdf, &x, table, 0xfee01000, 0x42);
    assert_int_equal(f->space[0xa0 / 4], 0x80040011); /* enabled, not masked */
    assert_int_equal(table[0], 0xfee01000);
    assert_int_equal(table[1], 0);
    assert_int_equal(table[2], 0x42);
    assert_int_equal(table[3], 0);
    for (unsigned i = 1; i < 5; i++)
        assert_int_equal(table[4 * i + 3], PCI_MSIX_MASKED);
    f->space[0xa4 / 4] = 7; /* no such BAR */
    assert_false(pci_msix_find(&config, f->bdf, &x));
}

/* Lists that lead nowhere end, and a capability must end within the space. */
static void bad_capabilities(void **state)
{
    struct function *f = with_capability(0xd0, 0, 0x05);
    struct pci_msix x;

    (void)state;
    f->space[0xd0 / 4] = 0x40 << 8 | 0x02; /* in a circle */
    assert_false(pci_msi_enable(&config, f->bdf, 0xfee00000, 0x40));
    f->space[0xd0 / 4] = 0x3c << 8 | 0x02; /* into the header */
    f->space[0x3c / 4] = 0x05;
    assert_false(pci_msi_enable(&config, f->bdf, 0xfee00000, 0x40));
    f->space[0x40 / 4] = 0xf8 << 8 | 0x01; /* beyond the end */
    f->space[0xf8 / 4] = 0x05;
    assert_false(pci_msi_enable(&config, f->bdf, 0xfee00000, 0x40));
    f->space[0xf8 / 4] = 0x11;
    assert_false(pci_msix_find(&config, f->bdf, &x));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        TEST(nobody),  TEST(buses),   TEST(enumeration), TEST(endpoints),
        TEST(bridges), TEST(screens), TEST(segments),    TEST(command),
        TEST(bars),    TEST(msi),     TEST(msix),        TEST(bad_capabilities),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
