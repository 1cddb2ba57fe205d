#include "arch/x86/cpu/console.h"

#include "arch/x86/cpu/io.h"
#include "arch/x86/cpu/pci.h"
#include "hv/arch.h"
#include "hv/fmt.h"
#include "hv/lib.h"
#include "hv/log.h"

/* 16550 registers (National Semiconductor "PC16550D"). */
#define COM1             0x3f8u
#define UART_DATA        0u
#define UART_IER         1u
#define UART_FCR         2u
#define UART_LCR         3u
#define UART_MCR         4u
#define UART_LSR         5u
#define UART_SCRATCH     7u
#define UART_REGISTERS   8u
#define LCR_8N1          0x03u
#define LCR_DLAB         0x80u
#define FCR_ENABLE_CLEAR 0x07u
#define MCR_DTR_RTS      0x03u
#define LSR_THR_EMPTY    0x20u
#define DIVISOR_115200   1u
#define FIFO_SIZE        16u
/* A port that never gets ready must not block the host forever. */
#define READY_TRIES      200000u
/* FIFOs filled in one go: a virtual machine's line may accept them. */
#define SEND_FILLS       4u

/* PCI class 7, subclass 0: a serial controller that is compatible with the 16450 or its
 * successors. */
#define PCI_CLASS_SERIAL 0x0700u
#define PCI_SERIAL_LAST  6u
#define PCI_BAR0         0x10u
#define PCI_COMMAND_IO   1u
#define BAR_IO           1u
#define BAR_TYPE         6u
#define BAR_TYPE_64      4u
#define BAR_MEMORY_MASK  0xfffffff0u
#define BAR_IO_MASK      0xfffcu
#define COMMAND_WRITTEN  0xffffu /* ones in the status half would clear bits */

static struct port {
    uint16_t io;
    volatile uint8_t *registers; /* NULL: at a port */
    uint8_t shift, width, fifo;
} port = {.io = COM1, .width = 1, .fifo = FIFO_SIZE};
static bool present;
static unsigned room; /* bytes that fit into the FIFO before it must be asked again */
static char name[32];

const char *arch_serial_name(void)
{
    return name;
}

static uint8_t in(unsigned reg)
{
    volatile uint8_t *r = port.registers;

    if (!r)
        return inb((uint16_t)(port.io + reg));
    r += reg << port.shift;
    if (port.width == 4)
        return (uint8_t) * (volatile uint32_t *)(volatile void *)r;
    return port.width == 2 ? (uint8_t) * (volatile uint16_t *)(volatile void *)r : *r;
}

static void out(unsigned reg, uint8_t v)
{
    volatile uint8_t *r = port.registers;

    if (!r) {
        outb((uint16_t)(port.io + reg), v);
        return;
    }
    r += reg << port.shift;
    if (port.width == 4)
        *(volatile uint32_t *)(volatile void *)r = v;
    else if (port.width == 2)
        *(volatile uint16_t *)(volatile void *)r = v;
    else
        *r = v;
}

static bool answers(void)
{
    out(UART_SCRATCH, 0x5a);
    if (in(UART_SCRATCH) != 0x5a)
        return false;
    out(UART_SCRATCH, 0xa5);
    return in(UART_SCRATCH) == 0xa5;
}

static void start(bool set_speed)
{
    out(UART_IER, 0);
    if (set_speed) {
        out(UART_LCR, LCR_DLAB);
        out(UART_DATA, DIVISOR_115200);
        out(UART_IER, 0);
    }
    out(UART_LCR, LCR_8N1);
    out(UART_FCR, FCR_ENABLE_CLEAR);
    out(UART_MCR, MCR_DTR_RTS);
    room = 0;
}

void uart_init(void)
{
    present = answers();
    if (!present)
        return;
    start(true);
    (void)str_copy(name, sizeof(name), "COM1");
}

/* Takes another port as the console, if a UART answers there. `where`: who named it. */
static bool take(const struct port *p, uint64_t address, bool set_speed, const char *where)
{
    struct port old = port;

    if (present && !p->registers && !old.registers && p->io == old.io)
        return true; /* it is the console already */
    port = *p;
    if (!answers()) {
        port = old;
        return false;
    }
    start(set_speed);
    present = true;
    (void)fmt(name, sizeof(name), "%s 0x%lx (%s)", p->registers ? "memory" : "port", address,
              where);
    return true;
}

/* The firmware's own console has the speed that was chosen in its settings. */
static bool take_acpi(const struct acpi_serial *s, const char *table)
{
    struct port p = {.width = s->width, .shift = s->shift, .fifo = s->fifo ? FIFO_SIZE : 1};

    if (s->address == 0)
        return false;
    if (s->space == ACPI_SPACE_IO)
        p.io = (uint16_t)s->address;
    else
        p.registers = arch_map_mmio(hpa(s->address), UART_REGISTERS << s->shift);
    if ((p.registers || s->space == ACPI_SPACE_IO) && take(&p, s->address, false, table))
        return true;
    log_warn("ACPI's %s names a serial port at 0x%lx: no UART answers there", table, s->address);
    return false;
}

static bool take_bar(uint32_t bdf)
{
    uint32_t bar = arch_pci_read(bdf, PCI_BAR0), command = arch_pci_read(bdf, PCI_COMMAND);
    struct port p = {.width = 1, .fifo = FIFO_SIZE};
    uint64_t address = bar & BAR_IO ? bar & BAR_IO_MASK : bar & BAR_MEMORY_MASK;
    uint32_t wanted = bar & BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;

    if (!(bar & BAR_IO) && (bar & BAR_TYPE) == BAR_TYPE_64)
        address |= (uint64_t)arch_pci_read(bdf, PCI_BAR0 + 4) << 32;
    if (address == 0)
        return false; /* the firmware gave it no address */
    if (bar & BAR_IO)
        p.io = (uint16_t)address;
    else if (!(p.registers = arch_map_mmio(hpa(address), UART_REGISTERS)))
        return false;
    arch_pci_write(bdf, PCI_COMMAND, (command & COMMAND_WRITTEN) | wanted);
    if (take(&p, address, true, "PCI"))
        return true;
    arch_pci_write(bdf, PCI_COMMAND, command & COMMAND_WRITTEN);
    return false;
}

static bool take_pci(void)
{
    for (uint32_t at = 0; arch_pci_next(&at) != PCI_NOBODY; at++) {
        uint32_t class = arch_pci_read(at, PCI_CLASS);

        if (class >> 16 == PCI_CLASS_SERIAL && (class >> 8 & 0xff) <= PCI_SERIAL_LAST &&
            (arch_pci_read(at, PCI_HEADER) & PCI_HEADER_TYPE) == 0 && take_bar(at))
            return true;
    }
    return false;
}

void uart_choose(const struct acpi_info *a)
{
    if (!take_acpi(&a->spcr, "SPCR") && !present && !take_acpi(&a->dbg2, "DBG2") && !take_pci())
        log_info("no serial console");
    else
        log_info("serial console: %s", name);
}

static void put(uint8_t c)
{
    for (unsigned tries = READY_TRIES; room == 0 && tries; tries--)
        if (in(UART_LSR)&LSR_THR_EMPTY)
            room = port.fifo;
    if (room) /* otherwise the byte is lost */
        room--;
    out(UART_DATA, c);
}

void uart_write(const char *s, size_t n)
{
    if (!present)
        return;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\n')
            put('\r');
        put((uint8_t)s[i]);
    }
}

size_t arch_serial_send(const char *s, size_t n)
{
    size_t done = 0;

    if (!present)
        return n;
    for (unsigned fill = 0; fill < SEND_FILLS && done < n && (in(UART_LSR)&LSR_THR_EMPTY); fill++)
        for (size_t end = min_u64(n, done + port.fifo); done < end; done++)
            out(UART_DATA, (uint8_t)s[done]);
    return done;
}

void arch_console_write(const char *s, size_t n)
{
    uart_write(s, n);
    screen_write(s, n);
    screen_flush();
}

void arch_screen_write(const char *s, size_t n)
{
    screen_write(s, n);
}

bool arch_screen_poll(void)
{
    return screen_poll();
}
