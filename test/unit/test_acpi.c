/* SOURCES: arch/x86/cpu/acpi.c arch/x86/cpu/acpi_serial.c arch/x86/cpu/acpi_srat.c hv/lib.c */
#include "arch/x86/cpu/acpi.h"

#include "hv/lib.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* A little physical memory at BASE; nothing else exists. */
#define BASE 0x7fe0000u
#define RSDT (BASE + 0x100u)
#define XSDT (BASE + 0x200u)
#define MADT (BASE + 0x400u)
#define FADT (BASE + 0x8000u)
#define HPET (BASE + 0x8800u)
#define SRAT (BASE + 0x9000u)
#define SPCR (BASE + 0xb000u)
#define MCFG (BASE + 0xc000u)

static uint8_t memory[0x10000], rsdp[ACPI_RSDP_SIZE];
static unsigned reads;
static struct acpi_info info;

static uint8_t *at(uint64_t address)
{
    return memory + (address - BASE);
}

static int read_memory(void *ctx, uint64_t address, void *buf, size_t size)
{
    (void)ctx;
    reads++;
    if (address < BASE || address - BASE > sizeof(memory) ||
        size > sizeof(memory) - (address - BASE))
        return -E_RANGE;
    memcpy(buf, at(address), size);
    return 0;
}

static const struct acpi_reader reader = {read_memory, NULL};

static void put(uint8_t *p, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static void fix_sum(uint8_t *p, size_t n, size_t where)
{
    uint8_t sum = 0;

    p[where] = 0;
    for (size_t i = 0; i < n; i++)
        sum = (uint8_t)(sum + p[i]);
    p[where] = (uint8_t)-sum;
}

static void table(uint64_t address, const char *signature, uint32_t length)
{
    memcpy(at(address), signature, 4);
    put(at(address) + 4, length, 4);
    fix_sum(at(address), length, 9);
}

static void make_rsdp(uint8_t revision)
{
    memset(rsdp, 0, sizeof(rsdp));
    memcpy(rsdp, "RSD PTR ", 8);
    rsdp[15] = revision;
    put(rsdp + 16, RSDT, 4);
    put(rsdp + 20, 36, 4);
    put(rsdp + 24, XSDT, 8);
    fix_sum(rsdp, 20, 8);
    fix_sum(rsdp, 36, 32);
}

static uint32_t madt_length;

static void entry(const uint8_t *e)
{
    memcpy(at(MADT) + madt_length, e, e[1]);
    madt_length += e[1];
    table(MADT, "APIC", madt_length);
}

static void cpu(uint8_t apic_id, uint8_t flags)
{
    const uint8_t e[8] = {0, 8, 0, apic_id, flags};

    entry(e);
}

static int begin(void **state)
{
    (void)state;
    memset(memory, 0, sizeof(memory));
    reads = 0;
    make_rsdp(0);
    madt_length = 44;
    put(at(MADT) + 36, 0xfee00000, 4);
    put(at(RSDT) + 36, MADT, 4);
    put(at(RSDT) + 40, FADT, 4);
    put(at(XSDT) + 36, MADT, 8);
    put(at(XSDT) + 44, FADT, 8);
    table(MADT, "APIC", madt_length);
    table(RSDT, "RSDT", 44);
    table(XSDT, "XSDT", 52);
    table(FADT, "FACP", 116); /* revision 1: no reset register */
    return 0;
}

static int parse(void)
{
    return acpi_parse(&reader, rsdp, rsdp[15] < 2 ? 20 : 36, &info);
}

static void test_madt(void **state)
{
    const uint8_t ioapic[12] = {1, 12, 7, 0, 0x00, 0x00, 0xc0, 0xfe, 24};
    const uint8_t override[10] = {2, 10, 0, 9, 20, 0, 0, 0, 0x0d, 0};
    const uint8_t x2apic[16] = {9, 16, 0, 0, 0x00, 0x01, 0, 0, 1};
    const uint8_t x2apic_again[16] = {9, 16, 0, 0, 4, 0, 0, 0, 1};
    const uint8_t address[12] = {5, 12, 0, 0, 0, 0, 0, 0, 1};

    (void)state;
    cpu(0, 1);
    cpu(4, 1);
    cpu(6, 0);
    cpu(255, 1);
    entry(ioapic);
    entry(override);
    entry(x2apic);
    entry(x2apic_again);
    entry(address);
    assert_int_equal(parse(), 0);
    assert_true(info.have_madt);
    assert_int_equal(info.cpu_count, 3);
    assert_int_equal(info.apic_ids[0], 0);
    assert_int_equal(info.apic_ids[1], 4);
    assert_int_equal(info.apic_ids[2], 256);
    assert_int_equal(info.disabled_cpus, 1);
    assert_int_equal(info.ioapic_count, 1);
    assert_int_equal(info.ioapics[0].address, 0xfec00000);
    assert_int_equal(info.ioapics[0].gsi_base, 24);
    assert_int_equal(info.override_count, 1);
    assert_int_equal(info.overrides[0].source, 9);
    assert_int_equal(info.overrides[0].gsi, 20);
    assert_int_equal(info.overrides[0].flags, 0x0d);
    assert_int_equal(info.lapic_address, 0x100000000);
    assert_int_equal(info.bad_tables + info.dropped, 0);
    assert_false(info.have_reset);
}

static uint32_t srat_length;

static void affinity(const uint8_t *e)
{
    memcpy(at(SRAT) + srat_length, e, e[1]);
    srat_length += e[1];
    table(SRAT, "SRAT", srat_length);
}

static void begin_srat(uint8_t revision)
{
    srat_length = 48;
    at(SRAT)[8] = revision;
    table(SRAT, "SRAT", srat_length);
    put(at(RSDT) + 40, SRAT, 4);
    table(RSDT, "RSDT", 44);
}

static void near_cpu(uint8_t id, uint8_t domain, uint8_t domain_8_15, uint8_t enabled)
{
    const uint8_t e[16] = {0, 16, domain, id, enabled, 0, 0, 0, 0, domain_8_15};

    affinity(e);
}

static void near_memory(uint32_t domain, uint64_t base, uint64_t size, uint8_t enabled)
{
    uint8_t e[40] = {1, 40};

    put(e + 2, domain, 4);
    put(e + 8, base, 8);
    put(e + 16, size, 8);
    e[28] = enabled;
    affinity(e);
}

/* ACPI 6.5 "System Resource Affinity Table (SRAT)". */
static void test_srat(void **state)
{
    const uint8_t x2apic[24] = {2, 24, 0, 0, 7, 1, 0, 0, 0x2c, 0x01, 0, 0, 1};

    (void)state;
    begin_srat(3);
    near_cpu(0, 0, 0, 1);
    near_cpu(4, 7, 1, 1);
    near_cpu(6, 9, 0, 0);
    affinity(x2apic);
    near_memory(0, 0, 0xa0000, 1);
    near_memory(0x107, 0x100000000, 0x80000000, 1);
    near_memory(0x107, 0x200000000, 0, 1);
    near_memory(5, 0x300000000, 0x1000, 0);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.nodes.count, 2);
    assert_int_equal(info.nodes.domains[1], 0x107);
    assert_int_equal(info.nodes.cpu_count, 3);
    assert_int_equal(acpi_node_of(&info.nodes, 0), 0);
    assert_int_equal(acpi_node_of(&info.nodes, 4), 1);
    assert_int_equal(acpi_node_of(&info.nodes, 300), 1);
    assert_int_equal(acpi_node_of(&info.nodes, 6), 0);
    assert_int_equal(info.nodes.memory_count, 2);
    assert_int_equal(info.nodes.memory[1].base, 0x100000000);
    assert_int_equal(info.nodes.memory[1].size, 0x80000000);
    assert_int_equal(info.nodes.memory[1].node, 1);
    assert_int_equal(info.bad_tables + info.dropped, 0);
}

/* Before revision 2 a domain had 8 bits, and the bytes of the others any content. */
static void test_srat_of_revision_1(void **state)
{
    (void)state;
    begin_srat(1);
    near_cpu(0, 3, 0x55, 1);
    near_memory(0xaabbcc03, 0, 0x1000, 1);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.nodes.count, 1);
    assert_int_equal(info.nodes.domains[0], 3);
}

static void test_srat_is_bounded(void **state)
{
    const uint8_t short_entry[4] = {1, 4};

    (void)state;
    begin_srat(3);
    affinity(short_entry);
    for (unsigned i = 0; i < ACPI_NODES_MAX + 2; i++)
        near_cpu((uint8_t)i, (uint8_t)i, 0, 1);
    near_memory(0, UINT64_MAX - 10, 11, 1);
    near_memory(0, UINT64_MAX - 10, 10, 1);
    for (unsigned i = 0; i < ACPI_MEMORY_MAX; i++)
        near_memory(1, i * 0x10000ull, 0x1000, 1);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.nodes.count, ACPI_NODES_MAX);
    assert_int_equal(info.nodes.cpu_count, ACPI_NODES_MAX);
    assert_int_equal(info.nodes.memory_count, ACPI_MEMORY_MAX);
    assert_int_equal(info.dropped, 1 + 2 + 1 + 1);
    at(SRAT)[48 + 1] = 0; /* an entry without a length ends the table */
    table(SRAT, "SRAT", srat_length);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.nodes.count, 0);
    assert_int_equal(info.dropped, 1);
}

/* ACPI 6.5 "Fixed ACPI Description Table": PM_TMR_BLK, PM_TMR_LEN, X_PM_TMR_BLK. */
static void test_pm_timer(void **state)
{
    (void)state;
    assert_int_equal(parse(), 0);
    assert_int_equal(info.pm_timer_port, 0);
    put(at(FADT) + 76, 0x608, 4);
    table(FADT, "FACP", 116);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.pm_timer_port, 0); /* without a length it does not exist */
    at(FADT)[91] = 4;
    table(FADT, "FACP", 116);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.pm_timer_port, 0x608);
    put(at(FADT) + 76, 0xfffd, 4); /* its last port would be beyond the end */
    table(FADT, "FACP", 116);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.pm_timer_port, 0);
    /* The newer field is preferred if present. */
    put(at(FADT) + 76, 0x608, 4);
    table(FADT, "FACP", 244);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.pm_timer_port, 0x608);
    at(FADT)[208] = ACPI_SPACE_IO;
    put(at(FADT) + 212, 0x1808, 8);
    table(FADT, "FACP", 244);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.pm_timer_port, 0x1808);
    at(FADT)[208] = ACPI_SPACE_MEMORY;
    table(FADT, "FACP", 244);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.pm_timer_port, 0);
    table(FADT, "FACP", 219); /* cut in the middle of it */
    assert_int_equal(parse(), 0);
    assert_int_equal(info.pm_timer_port, 0x608);
}

static void mcfg_entry(unsigned i, uint64_t base, unsigned number, unsigned first, unsigned last)
{
    uint8_t *e = at(MCFG) + 44 + (size_t)16 * i;

    put(e, base, 8);
    put(e + 8, number, 2);
    put(e + 10, first, 1);
    put(e + 11, last, 1);
}

/* PCI Firmware specification 3.0, "MCFG Table Description". */
static void test_mcfg(void **state)
{
    (void)state;
    put(at(RSDT) + 44, MCFG, 4);
    table(RSDT, "RSDT", 48);
    mcfg_entry(0, 0xb0000000, 0, 0, 255);
    mcfg_entry(1, 0xc000000000, 3, 0x80, 0x8f);
    mcfg_entry(2, 0, 4, 0, 255);               /* nowhere */
    mcfg_entry(3, 0xe0000000, 5, 9, 8);        /* backwards */
    mcfg_entry(4, UINT64_MAX - 4095, 6, 0, 0); /* beyond all memory */
    mcfg_entry(5, 0xe0000010, 7, 0, 0);
    table(MCFG, "MCFG", 44 + 6 * 16 + 15); /* a piece of a seventh */
    assert_int_equal(parse(), 0);
    assert_int_equal(info.segment_count, 2);
    assert_int_equal(info.dropped, 4);
    assert_int_equal(info.segments[0].base, 0xb0000000);
    assert_int_equal(info.segments[0].number, 0);
    assert_int_equal(info.segments[0].last_bus, 255);
    assert_true(info.segments[1].base == 0xc000000000);
    assert_int_equal(info.segments[1].number, 3);
    assert_int_equal(info.segments[1].first_bus, 0x80);
    assert_int_equal(info.segments[1].last_bus, 0x8f);
    for (unsigned i = 0; i < 40; i++)
        mcfg_entry(i, 0xb0000000, i, 0, 0);
    table(MCFG, "MCFG", 44 + 40 * 16);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.segment_count, ACPI_SEGMENTS_MAX);
    assert_int_equal(info.dropped, 40 - ACPI_SEGMENTS_MAX);
}

/* IA-PC HPET specification 1.0a "The ACPI 2.0 HPET Description Table". */
static void test_hpet(void **state)
{
    (void)state;
    put(at(RSDT) + 44, HPET, 4);
    table(RSDT, "RSDT", 48);
    put(at(HPET) + 36, 0x8086a201, 4);
    put(at(HPET) + 44, 0xfed00000, 8);
    table(HPET, "HPET", 56);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.hpet_address, 0xfed00000);
    table(HPET, "HPET", 51);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.hpet_address, 0);
    at(HPET)[40] = ACPI_SPACE_IO;
    table(HPET, "HPET", 56);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.hpet_address, 0);
}

static void gas(uint8_t *p, uint8_t space, uint8_t bits, uint8_t access, uint64_t address)
{
    p[0] = space;
    p[1] = bits;
    p[2] = 0;
    p[3] = access;
    put(p + 4, address, 8);
}

static void list_serial(const char *signature, uint32_t length)
{
    put(at(RSDT) + 44, SPCR, 4);
    table(RSDT, "RSDT", 48);
    table(SPCR, signature, length);
    assert_int_equal(parse(), 0);
}

static void serial_is(const struct acpi_serial *s, uint8_t space, uint64_t address, uint8_t shift)
{
    assert_int_equal(s->address, address);
    assert_int_equal(s->space, space);
    assert_int_equal(s->shift, shift);
    assert_int_equal(s->width, 1 << shift);
}

static void test_spcr(void **state)
{
    static const struct {
        uint8_t type, space, bits, access;
        uint64_t address;
        bool taken;
        uint8_t shift;
    } rows[] = {
        {0, ACPI_SPACE_IO, 8, 0, 0x2f8, true, 0},
        {1, ACPI_SPACE_IO, 8, 1, 0x3f8, true, 0},
        {0, ACPI_SPACE_IO, 32, 3, 0xfff8, true, 0}, /* ports lie side by side */
        {0, ACPI_SPACE_IO, 8, 0, 0xfff9, false, 0},
        {0, ACPI_SPACE_MEMORY, 8, 0, 0xfe032000, true, 0},
        {0x12, ACPI_SPACE_MEMORY, 32, 0, 0xfe032000, true, 2},
        {0x12, ACPI_SPACE_MEMORY, 32, 1, 0xfe032000, true, 0},
        {0, ACPI_SPACE_MEMORY, 8, 3, 0x1fe032000, true, 2},
        {0, ACPI_SPACE_MEMORY, 16, 0, 0xfe032000, true, 1},
        {0, ACPI_SPACE_MEMORY, 8, 4, 0xfe032000, true, 0}, /* no UART has 64-bit accesses */
        {0, ACPI_SPACE_MEMORY, 32, 3, 0xfe032002, false, 0},
        {0, ACPI_SPACE_PCI, 8, 0, 0x3f8, false, 0},
        {3, ACPI_SPACE_MEMORY, 32, 3, 0xfe032000, false, 0}, /* ARM's PL011 */
        {0, ACPI_SPACE_IO, 8, 0, 0, false, 0},               /* no console */
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        at(SPCR)[36] = rows[i].type;
        gas(at(SPCR) + 40, rows[i].space, rows[i].bits, rows[i].access, rows[i].address);
        list_serial("SPCR", 80);
        if (rows[i].taken)
            serial_is(&info.spcr, rows[i].space, rows[i].address, rows[i].shift);
        else
            assert_int_equal(info.spcr.address, 0);
        if (rows[i].taken)
            assert_int_equal(info.spcr.fifo, rows[i].type != 1);
        assert_int_equal(info.dbg2.address, 0);
    }
    at(SPCR)[36] = 0;
    gas(at(SPCR) + 40, ACPI_SPACE_IO, 8, 0, 0x3f8);
    list_serial("SPCR", 51); /* cut in the address */
    assert_int_equal(info.spcr.address, 0);
}

/* A device of DBG2: its address follows its fixed part. */
static void debug_port(uint8_t *p, uint16_t type, uint16_t subtype, uint64_t address)
{
    put(p + 1, 0x30, 2);
    put(p + 12, type, 2);
    put(p + 14, subtype, 2);
    put(p + 18, 0x16, 2);
    gas(p + 0x16, ACPI_SPACE_MEMORY, 32, 3, address);
}

static void test_dbg2(void **state)
{
    uint8_t *t = at(SPCR);

    (void)state;
    put(t + 36, 44, 4);
    put(t + 40, 3, 4);
    debug_port(t + 44, 0x8003, 0, 0x1000); /* a network card */
    debug_port(t + 44 + 0x30, 0x8000, 0x12, 0xfe032000);
    debug_port(t + 44 + 0x60, 0x8000, 0, 0xfe034000);
    list_serial("DBG2", 44 + 0x90);
    serial_is(&info.dbg2, ACPI_SPACE_MEMORY, 0xfe032000, 2); /* the first counts */
    assert_int_equal(info.spcr.address, 0);
    put(t + 40, 1, 4); /* it lists one device only */
    list_serial("DBG2", 44 + 0x90);
    assert_int_equal(info.dbg2.address, 0);
    /* Wrong: where the devices begin, the address's offset, the length. */
    put(t + 40, UINT32_MAX, 4);
    put(t + 36, 0xffffffe0, 4);
    list_serial("DBG2", 44 + 0x90);
    assert_int_equal(info.dbg2.address, 0);
    put(t + 36, 44 + 0x30, 4);
    put(t + 44 + 0x30 + 18, 0x25, 2);
    put(t + 44 + 0x60 + 18, 0xffff, 2);
    list_serial("DBG2", 44 + 0x90);
    assert_int_equal(info.dbg2.address, 0);
    put(t + 44 + 0x30 + 1, 0, 2); /* would be the same device again for ever */
    list_serial("DBG2", 44 + 0x90);
    assert_int_equal(info.dbg2.address, 0);
    assert_true(reads < 1000);
}

static void test_reset_register(void **state)
{
    (void)state;
    put(at(FADT) + 112, 1u << 10, 4);
    at(FADT)[116] = ACPI_SPACE_IO;
    put(at(FADT) + 120, 0xcf9, 8);
    at(FADT)[128] = 6;
    table(FADT, "FACP", 129);
    assert_int_equal(parse(), 0);
    assert_true(info.have_reset);
    assert_int_equal(info.reset_space, ACPI_SPACE_IO);
    assert_int_equal(info.reset_address, 0xcf9);
    assert_int_equal(info.reset_value, 6);
    at(FADT)[116] = 3; /* the embedded controller: no */
    table(FADT, "FACP", 129);
    assert_int_equal(parse(), 0);
    assert_false(info.have_reset);
    at(FADT)[116] = ACPI_SPACE_IO;
    put(at(FADT) + 112, 0, 4); /* not supported */
    table(FADT, "FACP", 129);
    assert_int_equal(parse(), 0);
    assert_false(info.have_reset);
}

static void test_rsdp(void **state)
{
    uint8_t area[64] = {0};

    (void)state;
    assert_true(acpi_rsdp_valid(rsdp, 20));
    assert_false(acpi_rsdp_valid(rsdp, 19));
    make_rsdp(2);
    assert_true(acpi_rsdp_valid(rsdp, 36));
    assert_false(acpi_rsdp_valid(rsdp, 35));
    rsdp[33]++; /* only the second checksum is wrong */
    assert_false(acpi_rsdp_valid(rsdp, 36));
    make_rsdp(0);
    rsdp[16]++;
    assert_false(acpi_rsdp_valid(rsdp, 20));
    make_rsdp(0);
    memcpy(area + 32, rsdp, 20);
    assert_ptr_equal(acpi_rsdp_search(area, sizeof(area)), area + 32);
    assert_null(acpi_rsdp_search(area, 51)); /* cut off */
    memmove(area + 24, area + 32, 20);
    memset(area + 44, 0, 8);
    assert_null(acpi_rsdp_search(area, sizeof(area))); /* not aligned to 16 bytes */
}

static void test_xsdt_is_preferred(void **state)
{
    (void)state;
    make_rsdp(2);
    put(at(RSDT) + 36, 0, 4);
    table(RSDT, "RSDT", 44);
    cpu(1, 1);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.cpu_count, 1);
    at(XSDT)[36]++; /* wrong checksum: only the RSDT remains, which has no MADT */
    assert_int_equal(parse(), 0);
    assert_int_equal(info.cpu_count, 0);
    assert_int_equal(info.bad_tables, 1);
    at(RSDT)[36]++;
    assert_int_equal(parse(), -E_FORMAT);
    /* Firmware without an RSDT. */
    at(XSDT)[36]--;
    put(rsdp + 16, 0, 4);
    fix_sum(rsdp, 20, 8);
    fix_sum(rsdp, 36, 32);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.cpu_count, 1);
}

static void test_bad_tables(void **state)
{
    static const uint32_t lengths[] = {0, 35, 0x100001, UINT32_MAX, 0x3c01};

    for (unsigned i = 0; i < ARRAY_LEN(lengths); i++) {
        (void)begin(state);
        put(at(MADT) + 4, lengths[i], 4);
        assert_int_equal(parse(), 0);
        assert_false(info.have_madt);
        assert_int_equal(info.bad_tables, 1);
    }
    (void)begin(state);
    at(MADT)[20]++; /* checksum */
    assert_int_equal(parse(), 0);
    assert_false(info.have_madt);
    (void)begin(state);
    put(at(RSDT) + 36, 0xffffffff, 4); /* nothing exists there */
    table(RSDT, "RSDT", 44);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.bad_tables, 1);
}

static void test_bad_entries(void **state)
{
    const uint8_t short_cpu[4] = {0, 4, 0, 1}, unknown[3] = {200, 3, 0};

    (void)state;
    entry(unknown);
    entry(short_cpu);
    cpu(3, 1);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.cpu_count, 1);
    assert_int_equal(info.dropped, 1);
    /* An entry of length 0 must not cause a loop; entries before it count. */
    at(MADT)[madt_length + 1] = 0;
    table(MADT, "APIC", madt_length + 8);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.cpu_count, 1);
    assert_int_equal(info.dropped, 2);
    /* Nor may an entry reach beyond the table. */
    at(MADT)[madt_length + 1] = 9;
    table(MADT, "APIC", madt_length + 8);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.cpu_count, 1);
    assert_int_equal(info.dropped, 2);
}

static void test_too_many_cpus(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ACPI_CPUS_MAX + 10; i++) {
        uint8_t e[16] = {9, 16, 0, 0, (uint8_t)i, (uint8_t)(i >> 8), 0, 0, 1};

        entry(e);
    }
    assert_int_equal(parse(), 0);
    assert_int_equal(info.cpu_count, ACPI_CPUS_MAX);
    assert_int_equal(info.dropped, 10);
}

static void test_root_that_lists_itself(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 16; i++)
        put(at(RSDT) + 36 + 4 * i, RSDT, 4);
    table(RSDT, "RSDT", 100);
    assert_int_equal(parse(), 0);
    assert_true(reads < 200);
    assert_false(info.have_madt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_madt, begin),
        cmocka_unit_test_setup(test_srat, begin),
        cmocka_unit_test_setup(test_srat_of_revision_1, begin),
        cmocka_unit_test_setup(test_srat_is_bounded, begin),
        cmocka_unit_test_setup(test_pm_timer, begin),
        cmocka_unit_test_setup(test_hpet, begin),
        cmocka_unit_test_setup(test_spcr, begin),
        cmocka_unit_test_setup(test_dbg2, begin),
        cmocka_unit_test_setup(test_mcfg, begin),
        cmocka_unit_test_setup(test_reset_register, begin),
        cmocka_unit_test_setup(test_rsdp, begin),
        cmocka_unit_test_setup(test_xsdt_is_preferred, begin),
        cmocka_unit_test_setup(test_bad_tables, begin),
        cmocka_unit_test_setup(test_bad_entries, begin),
        cmocka_unit_test_setup(test_too_many_cpus, begin),
        cmocka_unit_test_setup(test_root_that_lists_itself, begin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
