/* Serial Port Console Redirection Table and Debug Port Table 2 (Microsoft's specifications). */
#include "arch/x86/cpu/acpi_table.h"
#include "hv/lib.h"

#define SPCR_TYPE      36u
#define SPCR_ADDRESS   40u

#define DBG2_OFFSET    36u
#define DBG2_COUNT     40u
#define DBG2_PORTS_MAX 16u

/* A device of DBG2. */
#define PORT_LENGTH    1u
#define PORT_TYPE      12u
#define PORT_SUBTYPE   14u
#define PORT_ADDRESS   18u /* offset of the address in this structure */
#define PORT_SIZE      22u
#define TYPE_SERIAL    0x8000u

/* Subtypes: SPCR and DBG2 have the same. */
#define SERIAL_16550   0x00u
#define SERIAL_16450   0x01u
#define SERIAL_GAS     0x12u /* a 16550 whose address tells how its registers lie */

/* Generic Address Structure: space, bits, offset, access size, address. */
#define GAS_SIZE       12u
#define GAS_BITS       1u
#define GAS_ACCESS     3u
#define GAS_ADDRESS    4u

/* The distance of registers, and the size of accesses: the access size if there is one, otherwise
 * the register's width. Firmware sets either, or neither. */
static uint8_t shift_of(const uint8_t *gas)
{
    if (gas[GAS_ACCESS] >= 1 && gas[GAS_ACCESS] <= 3)
        return (uint8_t)(gas[GAS_ACCESS] - 1);
    return gas[GAS_BITS] == 32 ? 2 : gas[GAS_BITS] == 16 ? 1 : 0;
}

static void take(uint16_t type, const uint8_t *gas, struct acpi_serial *out)
{
    uint64_t address = get_le64(gas + GAS_ADDRESS);
    uint8_t shift = gas[0] == ACPI_SPACE_MEMORY ? shift_of(gas) : 0;

    if (out->address || gas[0] > ACPI_SPACE_IO ||
        (type != SERIAL_16550 && type != SERIAL_16450 && type != SERIAL_GAS))
        return;
    if (gas[0] == ACPI_SPACE_IO ? address > UINT16_MAX - 7 : address % (1u << shift) != 0)
        return;
    *out = (struct acpi_serial){.address = address,
                                .space = gas[0],
                                .shift = shift,
                                .width = (uint8_t)(1 << shift),
                                .fifo = type != SERIAL_16450};
}

/* Address 0: the firmware's console is not on a serial port. */
void acpi_parse_spcr(const struct acpi_table *t, struct acpi_serial *out)
{
    uint8_t type, gas[GAS_SIZE];

    if (acpi_table_read(t, SPCR_TYPE, &type, 1) == 0 &&
        acpi_table_read(t, SPCR_ADDRESS, gas, sizeof(gas)) == 0)
        take(type, gas, out);
}

void acpi_parse_dbg2(const struct acpi_table *t, struct acpi_serial *out)
{
    uint8_t head[DBG2_COUNT + 4 - DBG2_OFFSET], port[PORT_SIZE], gas[GAS_SIZE];
    uint32_t at, count;

    if (acpi_table_read(t, DBG2_OFFSET, head, sizeof(head)))
        return;
    at = get_le32(head);
    count = get_le32(head + 4);
    for (uint32_t i = 0; i < count && i < DBG2_PORTS_MAX && !out->address; i++) {
        uint16_t length, address;

        if (acpi_table_read(t, at, port, sizeof(port)))
            return;
        length = get_le16(port + PORT_LENGTH);
        address = get_le16(port + PORT_ADDRESS);
        if (length < sizeof(port))
            return;
        if (get_le16(port + PORT_TYPE) == TYPE_SERIAL && address <= length - 1 &&
            length - address >= (int)sizeof(gas) &&
            acpi_table_read(t, at + address, gas, sizeof(gas)) == 0)
            take(get_le16(port + PORT_SUBTYPE), gas, out);
        at += length;
    }
}
