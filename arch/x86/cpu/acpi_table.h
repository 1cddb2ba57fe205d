/* What the parsers of ACPI tables share. */
#pragma once

#include "arch/x86/cpu/acpi.h"
#include "hv/types.h"

#define ACPI_HEADER_SIZE 36u

/* A table that exists, with a possible length and a correct checksum. */
struct acpi_table {
    const struct acpi_reader *r;
    uint64_t address;
    uint32_t length;
    uint8_t signature[4];
};

/* Negative: not in the table, or not readable. */
static inline int acpi_table_read(const struct acpi_table *t, uint32_t offset, void *buf,
                                  uint32_t size)
{
    if (offset > t->length || size > t->length - offset)
        return -E_RANGE;
    return t->r->read(t->r->ctx, t->address + offset, buf, size);
}

/* The serial port that a table names, if it is one that we can drive. The first such table counts.
 */
void acpi_parse_spcr(const struct acpi_table *t, struct acpi_serial *out);
void acpi_parse_dbg2(const struct acpi_table *t, struct acpi_serial *out);

/* acpi_srat.c */
void acpi_parse_srat(const struct acpi_table *t, struct acpi_info *out);
