#include "arch/x86/cpu/acpi.h"

#include "arch/x86/cpu/acpi_table.h"
#include "hv/lib.h"

#define RSDP1_SIZE           20u
#define RSDP_REVISION        15u
#define RSDP_RSDT            16u
#define RSDP_LENGTH          20u
#define RSDP_XSDT            24u
#define RSDP_LENGTH_MAX      256u

#define HEADER_SIZE          ACPI_HEADER_SIZE
#define HEADER_LENGTH        4u
#define TABLE_LENGTH_MAX     (1u << 20)
#define TABLES_MAX           256u

#define MADT_LAPIC_ADDRESS   36u
#define MADT_ENTRIES         44u
#define MADT_LAPIC           0u
#define MADT_IOAPIC          1u
#define MADT_OVERRIDE        2u
#define MADT_LAPIC_ADDRESS64 5u
#define MADT_X2APIC          9u
#define MADT_CPU_ENABLED     1u
#define MADT_ENTRY_MAX       16u /* bytes of an entry that any of these types needs */

#define FADT_PM_TIMER        76u
#define FADT_PM_TIMER_LENGTH 91u
#define FADT_FLAGS           112u
#define FADT_FLAG_RESET      (1u << 10)
#define FADT_RESET_REGISTER  116u
#define FADT_RESET_VALUE     128u
#define FADT_RESET_END       129u
#define FADT_X_PM_TIMER      208u
#define FADT_X_PM_TIMER_END  220u
#define MCFG_ENTRIES         44u
#define MCFG_ENTRY           16u
#define MCFG_SPACE           (256ull << 20) /* of 256 buses */
#define HPET_ADDRESS         40u
#define HPET_ADDRESS_END     52u

static uint8_t sum(const uint8_t *p, size_t n)
{
    uint8_t s = 0;

    while (n--)
        s = (uint8_t)(s + *p++);
    return s;
}

bool acpi_rsdp_valid(const uint8_t *p, size_t size)
{
    uint32_t length;

    if (size < RSDP1_SIZE || memcmp(p, "RSD PTR ", 8) != 0 || sum(p, RSDP1_SIZE) != 0)
        return false;
    if (p[RSDP_REVISION] < 2)
        return true;
    if (size < ACPI_RSDP_SIZE)
        return false;
    length = get_le32(p + RSDP_LENGTH);
    return length >= ACPI_RSDP_SIZE && length <= RSDP_LENGTH_MAX && length <= size &&
           sum(p, length) == 0;
}

const uint8_t *acpi_rsdp_search(const uint8_t *p, size_t size)
{
    for (size_t at = 0; at < size; at += 16)
        if (acpi_rsdp_valid(p + at, size - at))
            return p + at;
    return NULL;
}

static int table_open(const struct acpi_reader *r, uint64_t address, struct acpi_table *t)
{
    uint8_t chunk[256], s = 0;

    *t = (struct acpi_table){.r = r, .address = address, .length = HEADER_SIZE};
    if (address == 0 || address > UINT64_MAX - TABLE_LENGTH_MAX ||
        acpi_table_read(t, 0, chunk, HEADER_SIZE))
        return -E_FORMAT;
    memcpy(t->signature, chunk, sizeof(t->signature));
    t->length = get_le32(chunk + HEADER_LENGTH);
    if (t->length < HEADER_SIZE || t->length > TABLE_LENGTH_MAX)
        return -E_FORMAT;
    for (uint32_t at = 0; at < t->length;) {
        uint32_t n = (uint32_t)min_u64(sizeof(chunk), t->length - at);

        if (acpi_table_read(t, at, chunk, n))
            return -E_FORMAT;
        s = (uint8_t)(s + sum(chunk, n));
        at += n;
    }
    return s == 0 ? 0 : -E_FORMAT;
}

static void add_cpu(struct acpi_info *out, uint32_t apic_id, uint32_t flags)
{
    if (!(flags & MADT_CPU_ENABLED)) {
        out->disabled_cpus++;
        return;
    }
    /* Some firmware lists a processor both as a local APIC and as an x2APIC. */
    for (unsigned i = 0; i < out->cpu_count; i++)
        if (out->apic_ids[i] == apic_id)
            return;
    if (out->cpu_count == ACPI_CPUS_MAX)
        out->dropped++;
    else
        out->apic_ids[out->cpu_count++] = apic_id;
}

static void add_ioapic(struct acpi_info *out, const uint8_t *e)
{
    if (out->ioapic_count == ACPI_IOAPICS_MAX)
        out->dropped++;
    else
        out->ioapics[out->ioapic_count++] =
            (struct acpi_ioapic){e[2], get_le32(e + 4), get_le32(e + 8)};
}

static void add_override(struct acpi_info *out, const uint8_t *e)
{
    if (out->override_count == ACPI_OVERRIDES_MAX)
        out->dropped++;
    else
        out->overrides[out->override_count++] =
            (struct acpi_override){e[3], get_le32(e + 4), get_le16(e + 8)};
}

static void parse_madt_entry(const uint8_t *e, uint8_t length, struct acpi_info *out)
{
    /* The length of each type of entry; 0: not used. */
    static const uint8_t need[] = {
        [MADT_LAPIC] = 8,   [MADT_IOAPIC] = 12, [MADT_OVERRIDE] = 10, [MADT_LAPIC_ADDRESS64] = 12,
        [MADT_X2APIC] = 16,
    };

    if (e[0] >= sizeof(need) || need[e[0]] == 0)
        return;
    if (length < need[e[0]]) {
        out->dropped++;
        return;
    }
    switch (e[0]) {
    case MADT_LAPIC:
        if (e[3] != UINT8_MAX) /* that is the broadcast address */
            add_cpu(out, e[3], get_le32(e + 4));
        break;
    case MADT_IOAPIC:
        add_ioapic(out, e);
        break;
    case MADT_OVERRIDE:
        add_override(out, e);
        break;
    case MADT_LAPIC_ADDRESS64:
        out->lapic_address = get_le64(e + 4);
        break;
    default:
        if (get_le32(e + 4) != UINT32_MAX)
            add_cpu(out, get_le32(e + 4), get_le32(e + 8));
        break;
    }
}

static void parse_madt(const struct acpi_table *t, struct acpi_info *out)
{
    uint8_t e[MADT_ENTRY_MAX];
    uint32_t at = MADT_ENTRIES;

    if (out->have_madt || acpi_table_read(t, MADT_LAPIC_ADDRESS, e, 4)) {
        out->bad_tables++;
        return;
    }
    out->have_madt = true;
    out->lapic_address = get_le32(e);
    while (acpi_table_read(t, at, e, 2) == 0) {
        uint8_t length = e[1];

        if (length < 2 || acpi_table_read(t, at, e, (uint32_t)min_u64(length, sizeof(e))) ||
            length > t->length - at) {
            out->dropped++;
            return;
        }
        parse_madt_entry(e, length, out);
        at += length;
    }
}

/* Revision 1 ends before the reset register. */
static void parse_reset(const struct acpi_table *t, const uint8_t *b, struct acpi_info *out)
{
    const uint8_t *reg = b + FADT_RESET_REGISTER;

    if (t->length < FADT_RESET_END || !(get_le32(b + FADT_FLAGS) & FADT_FLAG_RESET))
        return;
    out->reset_space = reg[0];
    out->reset_address = get_le64(reg + 4);
    out->reset_value = b[FADT_RESET_VALUE];
    out->have_reset = reg[0] <= ACPI_SPACE_PCI && out->reset_address != 0;
}

/* The newer field goes before the older one, if it is set. Only a port is usable. */
static void parse_pm_timer(const struct acpi_table *t, const uint8_t *b, struct acpi_info *out)
{
    const uint8_t *reg = b + FADT_X_PM_TIMER;
    uint64_t port = get_le32(b + FADT_PM_TIMER);

    if (t->length >= FADT_X_PM_TIMER_END && get_le64(reg + 4) != 0) {
        if (reg[0] != ACPI_SPACE_IO)
            return;
        port = get_le64(reg + 4);
    }
    if (b[FADT_PM_TIMER_LENGTH] == 4 && port <= UINT16_MAX - 3)
        out->pm_timer_port = (uint16_t)port;
}

static void parse_fadt(const struct acpi_table *t, struct acpi_info *out)
{
    uint8_t b[FADT_X_PM_TIMER_END] = {0};

    if (acpi_table_read(t, 0, b, (uint32_t)min_u64(sizeof(b), t->length)))
        return;
    parse_reset(t, b, out);
    parse_pm_timer(t, b, out);
}

static void parse_hpet(const struct acpi_table *t, struct acpi_info *out)
{
    uint8_t reg[HPET_ADDRESS_END - HPET_ADDRESS];

    if (out->hpet_address == 0 && t->length >= HPET_ADDRESS_END &&
        acpi_table_read(t, HPET_ADDRESS, reg, sizeof(reg)) == 0 && reg[0] == ACPI_SPACE_MEMORY)
        out->hpet_address = get_le64(reg + 4);
}

static void parse_mcfg(const struct acpi_table *t, struct acpi_info *out)
{
    uint8_t e[MCFG_ENTRY];

    for (uint32_t at = MCFG_ENTRIES; acpi_table_read(t, at, e, sizeof(e)) == 0; at += MCFG_ENTRY) {
        struct acpi_segment s = {get_le64(e), get_le16(e + 8), e[10], e[11]};

        if (s.base == 0 || s.base % PAGE_SIZE || s.base > UINT64_MAX - MCFG_SPACE ||
            s.first_bus > s.last_bus || s.number == UINT16_MAX ||
            out->segment_count == ACPI_SEGMENTS_MAX)
            out->dropped++;
        else
            out->segments[out->segment_count++] = s;
    }
}

static void parse_root(const struct acpi_table *root, uint32_t width, struct acpi_info *out)
{
    uint32_t count = (root->length - HEADER_SIZE) / width;

    if (count > TABLES_MAX) {
        out->dropped += count - TABLES_MAX;
        count = TABLES_MAX;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint8_t p[8] = {0};
        struct acpi_table t;

        if (acpi_table_read(root, HEADER_SIZE + i * width, p, width) ||
            table_open(root->r, get_le64(p), &t))
            out->bad_tables++;
        else if (memcmp(t.signature, "APIC", 4) == 0)
            parse_madt(&t, out);
        else if (memcmp(t.signature, "FACP", 4) == 0)
            parse_fadt(&t, out);
        else if (memcmp(t.signature, "HPET", 4) == 0)
            parse_hpet(&t, out);
        else if (memcmp(t.signature, "SPCR", 4) == 0)
            acpi_parse_spcr(&t, &out->spcr);
        else if (memcmp(t.signature, "DBG2", 4) == 0)
            acpi_parse_dbg2(&t, &out->dbg2);
        else if (memcmp(t.signature, "MCFG", 4) == 0)
            parse_mcfg(&t, out);
        else if (memcmp(t.signature, "SRAT", 4) == 0)
            acpi_parse_srat(&t, out);
    }
}

int acpi_parse(const struct acpi_reader *r, const uint8_t *rsdp, size_t size, struct acpi_info *out)
{
    struct acpi_table root;

    memset(out, 0, sizeof(*out));
    if (!acpi_rsdp_valid(rsdp, size))
        return -E_FORMAT;
    if (rsdp[RSDP_REVISION] >= 2 && !table_open(r, get_le64(rsdp + RSDP_XSDT), &root) &&
        memcmp(root.signature, "XSDT", 4) == 0) {
        parse_root(&root, 8, out);
        return 0;
    }
    if (!table_open(r, get_le32(rsdp + RSDP_RSDT), &root) &&
        memcmp(root.signature, "RSDT", 4) == 0) {
        parse_root(&root, 4, out);
        return 0;
    }
    return -E_FORMAT;
}
