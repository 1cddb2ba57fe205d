/*
 * The few ACPI tables the root needs (ACPI specification, "System Description Tables"). Pure: reads
 * physical memory through a callback, trusts no length, address or checksum.
 */
#pragma once

#include "hv/arch.h"
#include "hv/types.h"

#define ACPI_CPUS_MAX      1024
#define ACPI_IOAPICS_MAX   16
#define ACPI_OVERRIDES_MAX 32
#define ACPI_SEGMENTS_MAX  16
#define ACPI_NODES_MAX     64
#define ACPI_MEMORY_MAX    128
#define ACPI_RSDP_SIZE     36 /* revision 2; revision 0 has 20 */

/* Copies physical memory. 0 or negative. */
struct acpi_reader {
    int (*read)(void *ctx, uint64_t address, void *buf, size_t size);
    void *ctx;
};

struct acpi_ioapic {
    uint32_t id, address, gsi_base;
};

/* An ISA interrupt that is not wired the usual way. Flags: MPS INTI, bits 0-1 polarity, 2-3
 * trigger. */
struct acpi_override {
    uint8_t source;
    uint32_t gsi;
    uint16_t flags;
};

/* Configuration space of PCI buses in memory. */
struct acpi_segment {
    uint64_t base; /* of bus 0, even if first_bus is another */
    uint16_t number;
    uint8_t first_bus, last_bus;
};

#define ACPI_POLARITY_MASK 0x3u
#define ACPI_POLARITY_HIGH 0x1u
#define ACPI_TRIGGER_MASK  0xcu
#define ACPI_TRIGGER_EDGE  0x4u

enum acpi_space { ACPI_SPACE_MEMORY = 0, ACPI_SPACE_IO = 1, ACPI_SPACE_PCI = 2 };

/* A 16550 or 16450 that a table names. */
struct acpi_serial {
    uint64_t address; /* 0: none */
    uint8_t space;    /* enum acpi_space: a port or memory */
    uint8_t shift;    /* registers are 1 << shift bytes apart */
    uint8_t width;    /* and accessed by this many bytes: 1, 2 or 4 */
    bool fifo;
};

/* SRAT. A node's number is the place of its proximity domain in the table, from 0. */
struct acpi_nodes {
    uint32_t domains[ACPI_NODES_MAX];
    unsigned count; /* 0: no SRAT */
    struct {
        uint32_t apic_id, node;
    } cpus[ACPI_CPUS_MAX];
    unsigned cpu_count;
    struct abi_near memory[ACPI_MEMORY_MAX];
    unsigned memory_count;
};

struct acpi_info {
    bool have_madt;
    uint64_t lapic_address;
    uint32_t apic_ids[ACPI_CPUS_MAX]; /* enabled processors in the MADT's order, each once */
    unsigned cpu_count, disabled_cpus;
    struct acpi_ioapic ioapics[ACPI_IOAPICS_MAX];
    unsigned ioapic_count;
    struct acpi_override overrides[ACPI_OVERRIDES_MAX];
    unsigned override_count;
    struct acpi_nodes nodes;
    bool have_reset;
    uint8_t reset_space; /* enum acpi_space */
    uint64_t reset_address;
    uint8_t reset_value;
    uint16_t pm_timer_port;        /* 0: no timer at a port */
    uint64_t hpet_address;         /* 0: no HPET in memory */
    struct acpi_serial spcr, dbg2; /* the firmware's console, and the first port for debuggers */
    struct acpi_segment segments[ACPI_SEGMENTS_MAX];
    unsigned segment_count;
    unsigned bad_tables; /* unreadable, wrong checksum, impossible length */
    unsigned dropped;    /* entries beyond the limits, or malformed */
};

/* The node of a processor; 0 if the tables do not say. */
uint32_t acpi_node_of(const struct acpi_nodes *n, uint32_t apic_id);
/* Checks an RSDP's signature and checksums. `size` bytes are readable. */
bool acpi_rsdp_valid(const uint8_t *p, size_t size);
/* The first valid RSDP on a 16-byte boundary, or NULL. */
const uint8_t *acpi_rsdp_search(const uint8_t *p, size_t size);
/* Follows a valid RSDP. 0, or -E_FORMAT if there is no usable RSDT or XSDT. A missing table only
 * leaves its part of `out` empty. */
int acpi_parse(const struct acpi_reader *r, const uint8_t *rsdp, size_t size,
               struct acpi_info *out) MUST_CHECK;
