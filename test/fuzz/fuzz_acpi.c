/* SOURCES: arch/x86/cpu/acpi.c arch/x86/cpu/acpi_serial.c arch/x86/cpu/acpi_srat.c hv/lib.c */
#include "arch/x86/cpu/acpi.h"

#include "hv/lib.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input is physical memory from 0, with the RSDP at its start. Checksums are corrected first: a
 * fuzzer would not find them. */
struct memory {
    const uint8_t *data;
    size_t size;
};

static int read_memory(void *ctx, uint64_t address, void *buf, size_t size)
{
    const struct memory *m = ctx;

    if (address > m->size || size > m->size - address)
        return -E_RANGE;
    memcpy(buf, m->data + address, size);
    return 0;
}

static uint8_t sum(const uint8_t *p, size_t n)
{
    uint8_t s = 0;

    while (n--)
        s = (uint8_t)(s + *p++);
    return s;
}

/* Corrects the checksum of everything that looks like a table the parser knows. */
static void correct(uint8_t *p, size_t size)
{
    static const char *const names[] = {"RSDT", "XSDT", "APIC", "FACP",
                                        "HPET", "SRAT", "SPCR", "DBG2"};

    for (size_t at = 0; at + 36 <= size; at++)
        for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
            uint32_t length;

            memcpy(&length, p + at + 4, sizeof(length));
            if (memcmp(p + at, names[i], 4) == 0 && length >= 36 && length <= size - at)
                p[at + 9] = (uint8_t)(p[at + 9] - sum(p + at, length));
        }
    if (size >= 36) {
        memcpy(p, "RSD PTR ", 8);
        p[8] = (uint8_t)(p[8] - sum(p, 20));
        p[32] = (uint8_t)(p[32] - sum(p, 36));
    }
}

static bool is_impossible(const struct acpi_serial *s)
{
    if (s->address == 0)
        return false;
    if (s->space == ACPI_SPACE_IO && s->address > UINT16_MAX - 7)
        return true;
    return s->space > ACPI_SPACE_IO || s->shift > 2 || s->width != 1u << s->shift ||
           s->address % s->width != 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct acpi_info info;
    uint8_t *copy = malloc(size ? size : 1);
    struct memory m = {copy, size};
    const struct acpi_reader reader = {read_memory, &m};

    if (!copy)
        return 0;
    if (size)
        memcpy(copy, data, size);
    correct(copy, size);
    (void)acpi_rsdp_search(copy, size);
    if (!acpi_parse(&reader, copy, size, &info) &&
        (info.cpu_count > ACPI_CPUS_MAX || info.ioapic_count > ACPI_IOAPICS_MAX ||
         info.override_count > ACPI_OVERRIDES_MAX || is_impossible(&info.spcr) ||
         is_impossible(&info.dbg2) || info.nodes.count > ACPI_NODES_MAX ||
         info.nodes.cpu_count > ACPI_CPUS_MAX || info.nodes.memory_count > ACPI_MEMORY_MAX ||
         (info.nodes.count && acpi_node_of(&info.nodes, info.apic_ids[0]) >= info.nodes.count)))
        abort();
    free(copy);
    return 0;
}
