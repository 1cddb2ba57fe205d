/* SOURCES: arch/x86/cpu/uart.c hv/lib.c hv/fmt.c */
#include "arch/x86/cpu/console.h"

#include "arch/x86/cpu/pci.h"
#include "hv/arch.h"
#include "hv/fmt.h"
#include "hv/lib.h"
#include "hv/log.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* UARTs in memory: a scratch register keeps its value there as in the device. There is no COM1: on
 * this side of the kernel ports cannot be reached, so the console is none until one is chosen. */
#define MAPPED 0x1fe032000ull /* where the address space says the registers are */

static uint8_t registers[64] __attribute__((aligned(8)));
static uint8_t *there; /* what MAPPED is, or NULL: not mappable */
static size_t mapped;
static unsigned warnings;
static char last[160];

void *arch_map_mmio(hpa_t base, size_t length)
{
    assert_int_equal(base.v, MAPPED);
    mapped = length;
    return there;
}

PRINTF(1, 2) void log_info(const char *format, ...)
{
    va_list a;

    va_start(a, format);
    (void)fmt_v(last, sizeof(last), format, a);
    va_end(a);
}

PRINTF(1, 2) void log_warn(const char *format, ...)
{
    (void)format;
    warnings++;
}

void screen_write(const char *s, size_t n)
{
    (void)s;
    (void)n;
}

bool screen_poll(void)
{
    return false;
}

void screen_flush(void)
{
}

/* One function on PCI, 00:03.0. */
static uint32_t class, header, bar0, bar1, command;

uint32_t arch_pci_next(uint32_t *bdf)
{
    if (*bdf > 0x18)
        return PCI_NOBODY;
    *bdf = 0x18;
    return 0x12345678;
}

uint32_t arch_pci_read(uint32_t bdf, uint16_t offset)
{
    assert_int_equal(bdf, 0x18);
    switch (offset) {
    case PCI_CLASS:
        return class;
    case PCI_HEADER:
        return header;
    case PCI_COMMAND:
        return command;
    case 0x10:
        return bar0;
    case 0x14:
        return bar1;
    default:
        fail();
        return 0;
    }
}

void arch_pci_write(uint32_t bdf, uint16_t offset, uint32_t value)
{
    assert_int_equal(bdf, 0x18);
    assert_int_equal(offset, PCI_COMMAND);
    assert_int_equal(value >> 16, 0); /* ones would clear status bits */
    command = value;
}

static struct acpi_info acpi;

static void no_uart_there(void **state)
{
    (void)state;
    there = NULL;
    acpi.spcr = (struct acpi_serial){MAPPED, ACPI_SPACE_MEMORY, 0, 1, true};
    uart_choose(&acpi);
    assert_int_equal(warnings, 1);
    assert_string_equal(arch_serial_name(), "");
    assert_int_equal(arch_serial_send("lost", 4), 4); /* nobody waits for it */
    uart_write("lost", 4);
    acpi.spcr.address = 0;
    class = 0x02000000; /* no serial controller */
    uart_choose(&acpi);
    assert_string_equal(last, "no serial console");
    class = 0x07000200;
    header = 0x10000; /* a bridge */
    uart_choose(&acpi);
    header = 0;
    class = 0x07800000; /* another kind of communication */
    uart_choose(&acpi);
    class = 0x07000200;
    bar0 = 4; /* no address */
    uart_choose(&acpi);
    assert_string_equal(arch_serial_name(), "");
}

static uint32_t value_at(unsigned reg, unsigned shift)
{
    uint32_t v = 0;

    memcpy(&v, registers + (reg << shift), 1u << shift);
    return v;
}

/* A card with its registers in memory above 4 GB, which is switched on. */
static void pci(void **state)
{
    (void)state;
    there = registers;
    class = 0x07000200;
    bar0 = (uint32_t)MAPPED | 4;
    bar1 = MAPPED >> 32;
    command = 0x02b00400;
    uart_choose(&acpi);
    assert_string_equal(last, "serial console: memory 0x1fe032000 (PCI)");
    assert_int_equal(command, 0x402);
    assert_int_equal(mapped, 8);
    assert_int_equal(registers[3], 3);
}

/* Registers 1, 2 or 4 bytes apart, accessed as such. The speed stays as the firmware set it. */
static void spcr(void **state)
{
    (void)state;
    there = registers;
    for (uint8_t shift = 0; shift < 3; shift++) {
        memset(registers, 0xee, sizeof(registers));
        acpi.spcr = (struct acpi_serial){MAPPED, ACPI_SPACE_MEMORY, shift, (uint8_t)(1u << shift),
                                         shift != 1};
        uart_choose(&acpi);
        assert_int_equal(mapped, 8u << shift);
        assert_string_equal(arch_serial_name(), "memory 0x1fe032000 (SPCR)");
        assert_int_equal(value_at(1, shift), 0); /* no interrupts */
        assert_int_equal(value_at(3, shift), 3); /* 8N1 */
        assert_int_equal(value_at(4, shift), 3);
        assert_int_equal(value_at(0, shift), 0xeeeeeeee & (0xffffffff >> (32 - (8 << shift))));
        memset(registers + (5u << shift), 0, 1u << shift);
        assert_int_equal(arch_serial_send("busy", 4), 0);
        registers[5u << shift] = 0x20;
        /* Four FIFOs at a time. */
        assert_int_equal(
            arch_serial_send("0123456789012345678901234567890123456789012345678901234567890123Z!",
                             66),
            shift == 1 ? 4 : 64);
        assert_int_equal(value_at(0, shift), '3');
        assert_int_equal(arch_serial_send("xy", 2), 2);
        assert_int_equal(value_at(0, shift), 'y');
        uart_write("ok\n", 3);
        assert_int_equal(value_at(0, shift), '\n');
    }
}

/* The console that was chosen stays, if a table names a port where nothing answers. */
static void stays(void **state)
{
    unsigned before = warnings;

    (void)state;
    there = NULL;
    acpi.spcr = (struct acpi_serial){MAPPED, ACPI_SPACE_MEMORY, 0, 1, true};
    uart_choose(&acpi);
    assert_int_equal(warnings, before + 1);
    assert_string_equal(last, "serial console: memory 0x1fe032000 (SPCR)");
    registers[5 << 2] = 0x20;
    assert_int_equal(arch_serial_send("k", 1), 1);
    assert_int_equal(value_at(0, 2), 'k');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_uart_there),
        cmocka_unit_test(pci),
        cmocka_unit_test(spcr),
        cmocka_unit_test(stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
