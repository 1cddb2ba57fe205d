#include "hv/pc/reset.h"

#include "hv/config.h"
#include "hv/pc/pci.h"

#define CONTROL_RESET 0x04u /* a rising edge of this bit resets */
#define CONTROL_FULL  0x02u
#define PORT_A_RESET  0x01u /* so does one of this */
#define PORT_A_A20    0x02u /* address line 20, which is always on, whatever is written */

static uint32_t port_a_in(void *dev, uint16_t port, unsigned size)
{
    const struct reset *r = dev;

    (void)port;
    (void)size;
    return r->port_a;
}

/* 82371AB (PIIX4) "Port 92 Register". */
static void port_a_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct reset *r = dev;
    bool edge = (value & PORT_A_RESET) && !(r->port_a & PORT_A_RESET);

    (void)port;
    (void)size;
    r->port_a = (uint8_t)(value & (PORT_A_RESET | PORT_A_A20));
    if (edge)
        r->host->reset(r->host->ctx, "system control port A, port 0x92");
}

static void write_control(struct reset *r, uint32_t value)
{
    bool edge = (value & CONTROL_RESET) && !(r->control & CONTROL_RESET);

    r->control = (uint8_t)(value & (CONTROL_RESET | CONTROL_FULL));
    if (edge && r->resets)
        r->host->reset(r->host->ctx, "reset control register, port 0xcf9");
}

/* A doubleword at 0xcf8 is an address in PCI configuration space; only bytes and words reach the
 * register behind it. 82441FX "CONFADD - Configuration Address Register" */
static uint32_t control_in(void *dev, uint16_t port, unsigned size)
{
    const struct reset *r = dev;
    uint32_t value = UINT32_MAX, shift = 8 * (RESET_CONTROL_PORT - (unsigned)port);

    if (size == 4)
        return r->pci_address ? *r->pci_address : UINT32_MAX;
    if (port <= RESET_CONTROL_PORT && r->resets)
        value = (value & ~(0xffu << shift)) | (uint32_t)r->control << shift;
    return value & io_ones(size);
}

static void control_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    const struct reset *r = dev;
    unsigned at = RESET_CONTROL_PORT - (unsigned)port;

    if (size < 4 && port <= RESET_CONTROL_PORT && at < size)
        write_control(dev, value >> (8 * at));
    else if (size == 4 && r->pci_address)
        *r->pci_address = value & PCI_ADDRESS_BITS;
}

static uint32_t exit_in(void *dev, uint16_t port, unsigned size)
{
    (void)dev;
    return port == EXIT_PORT ? 0 : io_ones(size);
}

/* The code is as wide as the access. */
static void exit_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct reset *r = dev;

    if (port == EXIT_PORT)
        r->host->exit(r->host->ctx, value & io_ones(size));
}

static const struct io_ops port_a_ops = {port_a_in, port_a_out, 1};
static const struct io_ops control_ops = {control_in, control_out, 4};
static const struct io_ops exit_ops = {exit_in, exit_out, 4};

static void reset(void *dev, const struct device_env *env)
{
    *(struct reset *)dev = (struct reset){
        .host = env->host,
        .resets = env->devices & DEV_RESET,
        .port_a = PORT_A_A20,
        .pci_address = env->devices & DEV_PCI ? &env->pci->address : NULL,
    };
}

const struct device reset_device = {
    .bit = DEV_RESET,
    .ports = {{SYSTEM_PORT_A, SYSTEM_PORT_A, &port_a_ops}},
    .reset = reset,
};

const struct device control_device = {
    .bit = DEV_RESET | DEV_PCI,
    .ports = {{CONFADD_PORT, CONFADD_PORT + 3, &control_ops}},
};

const struct device exit_device = {
    .bit = DEV_EXIT,
    .ports = {{EXIT_PORT, EXIT_PORT + EXIT_PORT_COUNT - 1, &exit_ops}},
};
