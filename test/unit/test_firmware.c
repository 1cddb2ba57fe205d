/* SOURCES: hv/gmem.c @load hv/lib.c hv/fmt.c */
/* Firmware's tables as an operating system finds and reads them: ACPI Specification 6.4, chapter 5;
 * SMBIOS Reference Specification 2.8. */
#define _DEFAULT_SOURCE /* mkdtemp() */
#include "mgmt/load/firmware.h"

#include "hv/abi/pc.h"
#include "hv/lib.h"
#include "test/unit/load_fixture.h"

#define MB16 0x1000000ull

static uint32_t mmio_slots;

static void start(uint32_t devices, unsigned vcpus, const char *name)
{
    fixture_begin(512);
    request.kind = KIND_FLAT;
    request.devices = devices;
    request.vcpus = vcpus;
    request.name = name;
    request.mmio_slots = mmio_slots;
    assert_loads("flat");
}

static uint8_t sum(uint64_t at, uint64_t n)
{
    uint8_t s = 0;

    assert_true(at + n <= mem.size);
    for (uint64_t i = 0; i < n; i++)
        s = (uint8_t)(s + mem.base[at + i]);
    return s;
}

/* Where these bytes stand on a 16-byte boundary of the BIOS's segments; 0: nowhere. */
static uint64_t scan(const char *signature)
{
    for (uint64_t at = 0xe0000; at < 0x100000; at += 16)
        if (memcmp(mem.base + at, signature, strlen(signature)) == 0)
            return at;
    return 0;
}

/* By the XSDT, which must list what the RSDT lists. 0: there is none. */
static uint64_t find(const char *signature)
{
    uint64_t rsdp = scan("RSD PTR "), rsdt, xsdt, found = 0;
    unsigned n;

    assert_true(rsdp);
    assert_int_equal(sum(rsdp, 20), 0);
    assert_int_equal(sum(rsdp, 36), 0);
    assert_int_equal(mem.base[rsdp + 15], 2);
    rsdt = guest32(rsdp + 16);
    xsdt = guest64(rsdp + 24);
    assert_memory_equal(mem.base + rsdt, "RSDT", 4);
    assert_memory_equal(mem.base + xsdt, "XSDT", 4);
    n = (guest32(rsdt + 4) - 36) / 4;
    assert_int_equal((guest32(xsdt + 4) - 36) / 8, n);
    assert_int_equal(sum(rsdt, guest32(rsdt + 4)) | sum(xsdt, guest32(xsdt + 4)), 0);
    for (unsigned i = 0; i < n; i++) {
        uint64_t t = guest64(xsdt + 36 + 8ull * i);

        assert_int_equal(guest32(rsdt + 36 + 4ull * i), t);
        assert_true(t >= FIRMWARE_ROM && t + guest32(t + 4) <= FIRMWARE_ROM + FIRMWARE_MAX);
        assert_int_equal(sum(t, guest32(t + 4)), 0);
        if (memcmp(mem.base + t, signature, 4) == 0)
            found = t;
    }
    return found;
}

static void assert_port(uint64_t gas, unsigned bits, unsigned access, uint64_t port)
{
    assert_int_equal(guest32(gas), 1 | bits << 8 | access << 24);
    assert_true(guest64(gas + 4) == port);
}

static void fixed_hardware(void **state)
{
    uint64_t t, facs;

    (void)state;
    start(DEV_DEFAULT, 0, "alpha");
    t = find("FACP");
    assert_true(t);
    assert_int_equal(guest32(t + 4), 268);
    assert_int_equal(mem.base[t + 8], 5);
    facs = guest32(t + 36);
    assert_int_equal(facs % 64, 0);
    assert_memory_equal(mem.base + facs, "FACS\x40\0\0\0", 8);
    assert_int_equal(guest_get_value(t + 46, 2), 9);
    assert_int_equal(guest32(t + 48), 0); /* no SMI: ACPI mode is always on */
    assert_int_equal(guest32(t + 56), 0x600);
    assert_int_equal(guest32(t + 64), 0x604);
    assert_int_equal(guest32(t + 76), 0x608);
    assert_memory_equal(mem.base + t + 88, "\4\2\0\4\0\0", 6);
    assert_port(t + 148, 32, 2, 0x600);
    assert_port(t + 172, 16, 2, 0x604);
    assert_port(t + 208, 32, 3, 0x608);
    assert_int_equal(mem.base[t + 108], 0x32);
    assert_int_equal(guest_get_value(t + 109, 2), 0x0015); /* legacy devices, no VGA, no ASPM */
    assert_int_equal(guest32(t + 112), 0x565);
    assert_port(t + 116, 8, 1, 0xcf9);
    assert_int_equal(mem.base[t + 128], 6);
    assert_int_equal(guest32(t + 40), guest64(t + 140));
    /* Without the clock and the ways to reset. */
    start(DEV_ACPI, 0, "");
    t = find("FACP");
    assert_int_equal(mem.base[t + 108], 0);
    assert_int_equal(guest_get_value(t + 109, 2), 0x0034);
    assert_int_equal(guest32(t + 112), 0x165);
    assert_int_equal(guest32(t + 116) | mem.base[t + 128], 0);
}

static void event_timers(void **state)
{
    uint64_t t;

    (void)state;
    start(DEV_ACPI | DEV_HPET, 0, "");
    t = find("HPET");
    assert_true(t);
    assert_int_equal(guest32(t + 4), 56);
    assert_true(guest32(t + 36) == 0x8086a201);
    assert_int_equal(guest32(t + 40), 0x4000); /* memory, 64 bits */
    assert_true(guest64(t + 44) == 0xfed00000);
    start(DEV_ACPI, 0, "");
    assert_int_equal(find("HPET"), 0);
}

/* For each vCPU, local APIC and IOAPIC with the overrides of IRQ 0 and of what is level-triggered.
 */
static void interrupt_controllers(void **state)
{
    static const uint8_t overrides[] = {2,    10, 0, 0,  2,    0,  0,  0,  0, 0,  2,    10, 0, 9,
                                        9,    0,  0, 0,  0x0d, 0,  2,  10, 0, 10, 10,   0,  0, 0,
                                        0x0d, 0,  2, 10, 0,    11, 11, 0,  0, 0,  0x0d, 0};
    uint64_t t, at;

    (void)state;
    for (unsigned n = 1; n <= 8; n++) {
        start(DEV_ACPI | DEV_APIC | DEV_PIC | DEV_PCI, n, "");
        t = find("APIC");
        assert_true(t);
        assert_true(guest32(t + 36) == 0xfee00000);
        assert_int_equal(guest32(t + 40), 1);
        for (unsigned i = 0; i < n; i++) {
            at = t + 44 + 8ull * i;
            assert_int_equal(guest32(at), 0x0800 | i << 16 | i << 24);
            assert_int_equal(guest32(at + 4), 1);
        }
        at = t + 44 + 8ull * n;
        assert_memory_equal(mem.base + at, "\4\6\xff\0\0\1", 6);
        at += 6;
        assert_int_equal(guest32(at), 0x0c01 | n << 16);
        assert_true(guest32(at + 4) == 0xfec00000);
        assert_int_equal(guest32(at + 8), 0);
        assert_memory_equal(mem.base + at + 12, overrides, sizeof(overrides));
        assert_int_equal(guest32(t + 4), at + 12 + sizeof(overrides) - t);
    }
    start(DEV_ACPI | DEV_APIC, 0, "");
    t = find("APIC");
    assert_int_equal(guest32(t + 40), 0);
    assert_int_equal(guest32(t + 4), 44 + 8 + 6 + 12 + 20);
    start(DEV_ACPI, 0, "");
    assert_int_equal(find("APIC"), 0);
    assert_int_equal(scan("_MP_"), 0);
}

/* MultiProcessor Specification 1.4, chapter 4. */
static void mp_table(void **state)
{
    static const uint8_t sizes[] = {20, 8, 8, 8, 8};
    unsigned counts[5] = {0}, entries;
    uint64_t p, h, at;

    (void)state;
    start(DEV_APIC | DEV_PCI, 16, ""); /* without ACPI too */
    p = scan("_MP_");
    assert_true(p);
    assert_int_equal(sum(p, 16), 0);
    h = guest32(p + 4);
    assert_memory_equal(mem.base + h, "PCMP", 4);
    assert_int_equal(sum(h, guest_get_value(h + 4, 2)), 0);
    assert_true(guest32(h + 36) == 0xfee00000);
    entries = (unsigned)guest_get_value(h + 34, 2);
    at = h + 44;
    for (unsigned i = 0; i < entries; i++) {
        uint8_t type = mem.base[at];

        assert_true(type < 5);
        if (type == 0) {
            assert_int_equal(mem.base[at + 1], counts[0]);
            assert_int_equal(mem.base[at + 3], counts[0] ? 1 : 3);
        } else if (type == 3) {
            assert_int_equal(mem.base[at + 6], 16); /* the IOAPIC's id */
            if (mem.base[at + 4] == 0 && mem.base[at + 1] == 0)
                assert_int_equal(mem.base[at + 7], mem.base[at + 5] ? mem.base[at + 5] : 2);
            else if (mem.base[at + 4] == 1)
                assert_int_equal(mem.base[at + 7], 10 + (mem.base[at + 5] >> 2 & 1));
        }
        counts[type]++;
        at += sizes[type];
    }
    assert_int_equal(at, h + guest_get_value(h + 4, 2));
    assert_int_equal(counts[0], 16);
    assert_int_equal(counts[1], 2);
    assert_int_equal(counts[2], 1);
    assert_int_equal(counts[3], 1 + 13 + 32); /* IRQs 2, 10 and 11 are not ISA's */
    assert_int_equal(counts[4], 2);
}

static void ecam(void **state)
{
    uint64_t t;

    (void)state;
    start(DEV_ACPI | DEV_PCI, 0, "");
    t = find("MCFG");
    assert_true(t);
    assert_int_equal(guest32(t + 4), 60);
    assert_true(guest64(t + 44) == 0xe0000000);
    assert_int_equal(guest64(t + 52), 0); /* segment 0, from bus 0 to bus 0 */
    start(DEV_ACPI, 0, "");
    assert_int_equal(find("MCFG"), 0);
}

/* The value of a name of four letters in the AML: a double word. */
static uint32_t aml_value(uint64_t t, const char *name)
{
    uint64_t end = t + guest32(t + 4);

    for (uint64_t at = t + 36; at + 10 < end; at++)
        if (mem.base[at] == 0x08 && memcmp(mem.base + at + 1, name, 4) == 0 &&
            mem.base[at + 5] == 0x0c)
            return guest32(at + 6);
    fail_msg("no %s", name);
    return 0;
}

static bool holds(uint64_t t, const void *bytes, size_t n)
{
    for (uint64_t at = t + 36; at + n <= t + guest32(t + 4); at++)
        if (memcmp(mem.base + at, bytes, n) == 0)
            return true;
    return false;
}

static void dsdt(void **state)
{
    static const struct {
        uint32_t device, have;
    } bits[] = {{DEV_UART, HAVE_UART}, {DEV_PIC, HAVE_PIC},   {DEV_PIT, HAVE_PIT},
                {DEV_RTC, HAVE_RTC},   {DEV_HPET, HAVE_HPET}, {DEV_PCI, HAVE_PCI}};
    uint64_t t;

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(bits); i++) {
        start(DEV_ACPI | bits[i].device, 0, "a");
        t = guest64(find("FACP") + 140);
        assert_memory_equal(mem.base + t, "DSDT", 4);
        assert_int_equal(sum(t, guest32(t + 4)), 0);
        assert_int_equal(aml_value(t, "HAVE"), bits[i].have);
    }
    /* Virtio devices that are memory-mapped: a card, two disks, a console. */
    mmio_slots = 1u << 3 | 3u << 4 | 1u << 9;
    start(DEV_ACPI, 0, "a");
    t = guest64(find("FACP") + 140);
    assert_int_equal(aml_value(t, "HAVE"),
                     HAVE_VIRTIO_3 | HAVE_VIRTIO_4 | HAVE_VIRTIO_5 | HAVE_VIRTIO_9);
    assert_true(holds(t, "LNRO0005", 9));
    mmio_slots = 0;
    /* As kernels without an interpreter look for it: a package of four, S5's sleep type first. */
    assert_true(holds(t, "\x08_S5_\x12\x06\x04\0\0\0\0", 12));
    /* The compiler's version would make a build differ from another. */
    assert_memory_equal(mem.base + t + 28, "BLKH\1\0\0\0", 8);
}

/* The address that a vector points to; 0: it is none. */
static uint64_t vector(unsigned n)
{
    uint64_t at = (guest_get_value(n * 4ull + 2, 2) << 4) + guest_get_value(n * 4ull, 2);

    assert_true(!at || (at >= FIRMWARE_ROM && at < FIRMWARE_ROM + FIRMWARE_MAX));
    return at;
}

/* MOV AH, 0x86. */
static void assert_no_service(unsigned n)
{
    assert_int_equal(guest_get_value(vector(n), 2), 0x86b4);
}

static void real_mode_vectors(void **state)
{
    static const uint8_t services[] = {0x11, 0x12, 0x15, 0x16};
    static const uint8_t tables[] = {0x1d, 0x1e, 0x1f, 0x41, 0x43, 0x46};

    (void)state;
    start(DEV_DEFAULT, 1, "alpha");
    for (unsigned i = 0; i < 256; i++) {
        bool irq = (i >= 8 && i < 16) || (i >= 0x70 && i < 0x78);

        if (memchr(tables, (int)i, sizeof(tables)))
            assert_int_equal(vector(i), 0);
        else if (irq)
            assert_int_equal(vector(i), vector(i < 16 ? 8 : 0x70));
        else if (!memchr(services, (int)i, sizeof(services)))
            assert_no_service(i);
    }
    assert_true(vector(8) != vector(0x70) && vector(8) != vector(0));
    for (unsigned i = 0; i < sizeof(services); i++)
        assert_true(mem.base[vector(services[i])]);
}

/* What INT 15h knows of the memory is behind its code: KB up to 16 MB, 64 KB above, and the map. */
static void real_mode_memory(void **state)
{
    uint8_t expected[8] = {0};
    uint64_t at;

    (void)state;
    start(0, 1, NULL);
    put_le16(expected, (uint16_t)((mem.size < MB16 ? mem.size : MB16) / 1024 - 1024));
    put_le16(expected + 2, (uint16_t)(mem.size > MB16 ? (mem.size - MB16) / 65536 : 0));
    expected[4] = 4;
    for (at = vector(0x15); memcmp(mem.base + at, expected, sizeof(expected)) != 0; at++)
        assert_true(at < FIRMWARE_ROM + FIRMWARE_MAX);
    at += sizeof(expected);
    assert_int_equal(guest64(at) | guest64(at + 60 + 8) >> 63, 0);
    assert_int_equal(guest64(at + 8), LOAD_LOW_END);
    assert_int_equal(guest32(at + 16), 1);
    assert_int_equal(guest64(at + 60), 0x100000);
    assert_int_equal(guest64(at + 68), mem.size - 0x100000);
    assert_int_equal(guest32(at + 56), 2);
}

static void data_areas(void **state)
{
    (void)state;
    start(DEV_DEFAULT, 0, "alpha");
    assert_int_equal(guest_get_value(0x400, 2), 0x3f8);
    assert_int_equal(guest_get_value(0x40e, 2), 0x9fc0);
    assert_int_equal(guest_get_value(0x410, 2), 0x0202);
    assert_int_equal(guest_get_value(0x413, 2), 636);
    assert_int_equal(mem.base[0x9fc00], 1); /* KB, up to 640 KB */
    start(0, 0, NULL);
    assert_int_equal(guest_get_value(0x400, 2), 0);
    assert_int_equal(guest_get_value(0x410, 2), 0x0002);
    assert_int_equal(scan("RSD PTR "), 0);
}

/* The text of string n >= 1 of the structure. */
static const char *text_of(uint64_t s, unsigned n)
{
    const char *t = (const char *)mem.base + s + mem.base[s + 1];

    while (--n)
        t += strlen(t) + 1;
    return t;
}

static void smbios(void **state)
{
    static const uint8_t types[] = {0, 1, 3, 32, 127};
    uint64_t e, s, end;

    (void)state;
    start(DEV_UART, 0, "alpha-1");
    e = scan("_SM_");
    assert_true(e);
    assert_int_equal(sum(e, mem.base[e + 5]), 0);
    assert_memory_equal(mem.base + e + 16, "_DMI_", 5);
    assert_int_equal(sum(e + 16, 15), 0);
    s = guest32(e + 24);
    end = s + guest_get_value(e + 22, 2);
    assert_int_equal(guest_get_value(e + 28, 2), ARRAY_LEN(types));
    for (unsigned i = 0; i < ARRAY_LEN(types); i++) {
        uint64_t next = s + mem.base[s + 1];

        assert_int_equal(mem.base[s], types[i]);
        if (types[i] == 1) {
            assert_string_equal(text_of(s, mem.base[s + 4]), "Bulkhead");
            assert_string_equal(text_of(s, mem.base[s + 7]), "alpha-1");
        }
        while (guest_get_value(next, 2))
            next++;
        assert_true(next + 2 - s <= guest_get_value(e + 8, 2));
        s = next + 2;
    }
    assert_int_equal(s, end);
}

/* An image that is loaded to the first page has it to itself. */
static void an_image_comes_first(void **state)
{
    (void)state;
    fixture_begin(0x2000);
    memset(image.bytes + 0x1000, 0xaa, 0x1000);
    put_elf(false, 0x100000, 2);
    put_segment32(0, 0x1000, 0, 0x800, 0x800);
    put_segment32(1, 0x1000, 0x100000, 0x1000, 0x1000);
    put32(0x200, 0x1badb002);
    put32(0x208, 0u - 0x1badb002u);
    request.devices = DEV_ALL;
    assert_loads("multiboot1");
    assert_guest_filled(0, 0x800, 0xaa);
    assert_true(scan("RSD PTR "));
}

/* The disassembler of the compiler that made the DSDT reads every table, and what it writes
 * compiles to a table again, without a warning. */
static void iasl_reads_them(void **state)
{
    static const char *const tables[] = {"FACP", "HPET", "MCFG", "APIC"};
    char dir[] = "/tmp/bulkhead-acpi-XXXXXX", command[512];
    uint64_t t;

    (void)state;
    start(DEV_ALL, 0, "alpha");
    assert_non_null(mkdtemp(dir));
    for (unsigned i = 0; i <= ARRAY_LEN(tables); i++) {
        bool last = i == ARRAY_LEN(tables);
        char path[64];
        FILE *f;

        t = last ? guest64(find("FACP") + 140) : find(tables[i]);
        if (!t)
            continue;
        snprintf(path, sizeof(path), "%s/%s.dat", dir, last ? "DSDT" : tables[i]);
        f = fopen(path, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(mem.base + t, guest32(t + 4), 1, f), 1);
        fclose(f);
    }
    snprintf(
        command, sizeof(command),
        "cd %s && iasl -vs -d *.dat >log 2>&1 && ! grep -iE 'warning|invalid|error' log && "
        "for f in *.dsl; do iasl -vs -we $f >log 2>&1 || { cat log; exit 1; }; done && rm -r %s",
        dir, dir);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(fixed_hardware, fixture_end),
        cmocka_unit_test_teardown(event_timers, fixture_end),
        cmocka_unit_test_teardown(ecam, fixture_end),
        cmocka_unit_test_teardown(interrupt_controllers, fixture_end),
        cmocka_unit_test_teardown(mp_table, fixture_end),
        cmocka_unit_test_teardown(dsdt, fixture_end),
        cmocka_unit_test_teardown(data_areas, fixture_end),
        cmocka_unit_test_teardown(real_mode_vectors, fixture_end),
        cmocka_unit_test_teardown(real_mode_memory, fixture_end),
        cmocka_unit_test_teardown(smbios, fixture_end),
        cmocka_unit_test_teardown(an_image_comes_first, fixture_end),
        cmocka_unit_test_teardown(iasl_reads_them, fixture_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
