/* The System Resource Affinity Table: which processors and which memory are near each other. ACPI
 * specification, "SRAT". */
#include "arch/x86/cpu/acpi_table.h"
#include "hv/lib.h"

#define SRAT_REVISION  8u
#define SRAT_ENTRIES   48u
#define SRAT_LAPIC     0u
#define SRAT_MEMORY    1u
#define SRAT_X2APIC    2u
#define SRAT_ENABLED   1u
#define SRAT_ENTRY_MAX 40u /* bytes of the longest of these */
#define WIDE_REVISION  2u  /* since then a proximity domain has 32 bits in every entry */

/* The node of a proximity domain; ACPI_NODES_MAX: too many. */
static uint32_t node_of(struct acpi_nodes *n, uint32_t domain)
{
    uint32_t node = 0;

    while (node < n->count && n->domains[node] != domain)
        node++;
    if (node == n->count && node < ACPI_NODES_MAX)
        n->domains[n->count++] = domain;
    return node;
}

static bool add_cpu(struct acpi_nodes *n, uint32_t apic_id, uint32_t domain)
{
    uint32_t node = node_of(n, domain);

    if (n->cpu_count == ACPI_CPUS_MAX || node == ACPI_NODES_MAX)
        return false;
    n->cpus[n->cpu_count].apic_id = apic_id;
    n->cpus[n->cpu_count++].node = node;
    return true;
}

static bool add_memory(struct acpi_nodes *n, uint64_t base, uint64_t size, uint32_t domain)
{
    uint32_t node;

    if (size == 0)
        return true;
    if (size > UINT64_MAX - base)
        return false;
    node = node_of(n, domain);
    if (n->memory_count == ACPI_MEMORY_MAX || node == ACPI_NODES_MAX)
        return false;
    n->memory[n->memory_count++] = (struct abi_near){.base = base, .size = size, .node = node};
    return true;
}

/* False: malformed or too many. */
static bool parse_entry(const uint8_t *e, uint8_t length, bool wide, struct acpi_nodes *n)
{
    switch (e[0]) {
    case SRAT_LAPIC:
        if (length < 16)
            return false;
        return !(get_le32(e + 4) & SRAT_ENABLED) ||
               add_cpu(n, e[3], e[2] | (wide ? get_le32(e + 8) & 0xffffff00u : 0));
    case SRAT_MEMORY:
        if (length < 40)
            return false;
        return !(get_le32(e + 28) & SRAT_ENABLED) ||
               add_memory(n, get_le64(e + 8), get_le64(e + 16),
                          get_le32(e + 2) & (wide ? UINT32_MAX : 0xff));
    case SRAT_X2APIC:
        if (length < 24)
            return false;
        return !(get_le32(e + 12) & SRAT_ENABLED) || add_cpu(n, get_le32(e + 8), get_le32(e + 4));
    default:
        return true;
    }
}

void acpi_parse_srat(const struct acpi_table *t, struct acpi_info *out)
{
    uint8_t e[SRAT_ENTRY_MAX];
    uint32_t at = SRAT_ENTRIES;
    bool wide;

    if (out->nodes.count || acpi_table_read(t, SRAT_REVISION, e, 1)) {
        out->bad_tables++;
        return;
    }
    wide = e[0] >= WIDE_REVISION;
    while (acpi_table_read(t, at, e, 2) == 0) {
        uint8_t length = e[1];

        if (length < 2 || length > t->length - at ||
            acpi_table_read(t, at, e, (uint32_t)min_u64(length, sizeof(e)))) {
            out->dropped++;
            return;
        }
        out->dropped += !parse_entry(e, length, wide, &out->nodes);
        at += length;
    }
}

uint32_t acpi_node_of(const struct acpi_nodes *n, uint32_t apic_id)
{
    for (unsigned i = 0; i < n->cpu_count; i++)
        if (n->cpus[i].apic_id == apic_id)
            return n->cpus[i].node;
    return 0;
}
