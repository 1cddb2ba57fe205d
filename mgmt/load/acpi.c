/* The tables of ACPI: ACPI Specification 6.4, chapter 5 "ACPI Software Programming Model". */
#include "hv/abi/pc.h"
#include "mgmt/load/rom.h"

#include "dsdt.h" /* dsdt_aml[], of mgmt/load/dsdt.asl */

#define HEADER          36u
#define FACS_SIZE       64u
#define FACS_ALIGN      64u
#define FADT_SIZE       268u /* revision 5 */
#define MCFG_SIZE       60u
#define HPET_SIZE       56u
#define HPET_MIN_TICK   1000u /* 10 us: below that ticks may be merged */
#define TABLES_MAX      6u
#define CMOS_CENTURY    0x32u
#define NO_C_STATE      0xffffu

/* "IA-PC Boot Architecture Flags" */
#define LEGACY_DEVICES  0x0001u
#define NO_VGA          0x0004u
#define NO_ASPM         0x0010u
#define NO_RTC          0x0020u
/* "Fixed ACPI Description Table Fixed Feature Flags" */
#define WBINVD          (1u << 0)
#define PROC_C1         (1u << 2)
#define NO_SLEEP_BUTTON (1u << 5)
#define NO_RTC_WAKE     (1u << 6)
#define TIMER_32        (1u << 8)
#define RESET_REGISTER  (1u << 10)

#define SPACE_PORTS     1u

/* The tables that the root tables list. */
struct list {
    uint32_t address[TABLES_MAX];
    unsigned count;
};

/* A table of `size` bytes with its header; the sum is made by finish(). */
static uint8_t *begin(struct rom *r, const char *signature, uint8_t revision, size_t size)
{
    uint8_t *t = rom_add(r, size, 16);

    if (!t)
        return NULL;
    memcpy(t, signature, 4);
    put_le32(t + 4, (uint32_t)size);
    t[8] = revision;
    memcpy(t + 10, "BLKHED", 6);
    memcpy(t + 16, "BULKHEAD", 8);
    put_le32(t + 24, 1);
    memcpy(t + 28, "BLKH", 4);
    put_le32(t + 32, 1);
    return t;
}

static void finish(uint8_t *t)
{
    rom_sum(t, get_le32(t + 4), t + 9);
}

static void list_add(struct list *l, const struct rom *r, uint8_t *t)
{
    if (!t)
        return;
    finish(t);
    l->address[l->count++] = rom_address(r, t);
}

/* ---- the DSDT ---- */

static uint32_t have(const struct load_request *q)
{
    static const uint32_t bits[][2] = {{DEV_UART, HAVE_UART}, {DEV_PIC, HAVE_PIC},
                                       {DEV_PIT, HAVE_PIT},   {DEV_RTC, HAVE_RTC},
                                       {DEV_HPET, HAVE_HPET}, {DEV_PCI, HAVE_PCI}};
    uint32_t have = (q->mmio_slots >> PC_SLOT_NET) * HAVE_VIRTIO_3;

    for (size_t i = 0; i < ARRAY_LEN(bits); i++)
        if (q->devices & bits[i][0])
            have |= bits[i][1];
    return have;
}

/* AML of `Name (HAVE, ...)` with a double word. ACPI 6.4, 20.2 "AML Grammar Definition". */
static const uint8_t name_have[] = {0x08, 'H', 'A', 'V', 'E', 0x0c};

static uint32_t add_dsdt(struct rom *r, const struct load_request *q)
{
    uint8_t *t = rom_add(r, sizeof(dsdt_aml), 16), *at;

    if (!t)
        return 0;
    memcpy(t, dsdt_aml, sizeof(dsdt_aml));
    memcpy(t + 28, "BLKH", 4); /* and not the compiler and its version */
    put_le32(t + 32, 1);
    for (at = t + HEADER; memcmp(at, name_have, sizeof(name_have)) != 0;)
        at++;
    put_le32(at + sizeof(name_have), have(q));
    finish(t);
    return rom_address(r, t);
}

/* ---- fixed hardware ---- */

static uint32_t add_facs(struct rom *r)
{
    uint8_t *t = rom_add(r, FACS_SIZE, FACS_ALIGN);

    if (!t)
        return 0;
    memcpy(t, "FACS", 4);
    put_le32(t + 4, FACS_SIZE);
    t[32] = 2;
    return rom_address(r, t);
}

/* A generic address structure of a port. Access sizes: 1 byte, 2 word, 3 double word. */
static void put_port(uint8_t *at, uint8_t bits, uint8_t access, uint16_t port)
{
    at[0] = SPACE_PORTS;
    at[1] = bits;
    at[3] = access;
    put_le64(at + 4, port);
}

/* The registers of power management, in the old form and in the new one. */
static void put_pm(uint8_t *t)
{
    put_le32(t + 56, PC_PM1A_EVENT);
    put_le32(t + 64, PC_PM1A_CONTROL);
    put_le32(t + 76, PC_PM_TIMER);
    t[88] = 4;
    t[89] = 2;
    t[91] = 4;
    put_port(t + 148, 32, 2, PC_PM1A_EVENT);
    put_port(t + 172, 16, 2, PC_PM1A_CONTROL);
    put_port(t + 208, 32, 3, PC_PM_TIMER);
}

static void add_fadt(struct rom *r, struct list *l, const struct load_request *q)
{
    uint32_t devices = q->devices, dsdt = add_dsdt(r, q), facs = add_facs(r);
    uint8_t *t = begin(r, "FACP", 5, FADT_SIZE);
    unsigned boot = NO_VGA | NO_ASPM | (devices & DEV_UART ? LEGACY_DEVICES : 0) |
                    (devices & DEV_RTC ? 0 : NO_RTC);

    if (!t)
        return;
    put_le32(t + 36, facs);
    put_le32(t + 40, dsdt);
    put_le16(t + 46, PC_SCI);
    put_pm(t);
    put_le16(t + 96, NO_C_STATE);
    put_le16(t + 98, NO_C_STATE);
    t[108] = devices & DEV_RTC ? CMOS_CENTURY : 0;
    put_le16(t + 109, (uint16_t)boot);
    put_le32(t + 112, WBINVD | PROC_C1 | NO_SLEEP_BUTTON | NO_RTC_WAKE | TIMER_32 |
                          (devices & DEV_RESET ? RESET_REGISTER : 0));
    if (devices & DEV_RESET) {
        put_port(t + 116, 8, 1, PC_RESET_PORT);
        t[128] = PC_RESET_VALUE;
    }
    put_le64(t + 140, dsdt);
    list_add(l, r, t);
}

/* ---- interrupts ---- */

/* "Multiple APIC Flags", "Interrupt Controller Structure" types, "MPS INTI Flags". */
#define HAS_8259   1u
#define ENABLED    1u
#define LEVEL_HIGH 0x0du
enum { LOCAL_APIC = 0, IO_APIC = 1, OVERRIDE = 2, LOCAL_NMI = 4 };

static uint8_t *put_structure(uint8_t *at, uint8_t type, uint8_t size)
{
    at[0] = type;
    at[1] = size;
    return at + size;
}

static uint8_t *put_override(uint8_t *at, uint8_t irq, uint32_t gsi, uint16_t flags)
{
    at[3] = irq;
    put_le32(at + 4, gsi);
    put_le16(at + 8, flags);
    return put_structure(at, OVERRIDE, 10);
}

static uint8_t *put_lapics(uint8_t *at, unsigned vcpus)
{
    for (unsigned i = 0; i < vcpus; i++) {
        at[2] = at[3] = (uint8_t)i;
        put_le32(at + 4, ENABLED);
        at = put_structure(at, LOCAL_APIC, 8);
    }
    at[2] = 0xff; /* NMI: LINT1 of all */
    at[5] = 1;
    return put_structure(at, LOCAL_NMI, 6);
}

static void add_madt(struct rom *r, struct list *l, const struct load_request *q)
{
    bool pci = q->devices & DEV_PCI;
    unsigned vcpus = load_vcpus(q);
    uint8_t *t = begin(r, "APIC", 4, 44 + 8 * vcpus + 6 + 12 + (pci ? 4u : 2u) * 10), *at;

    if (!t)
        return;
    put_le32(t + 36, PC_LOCAL_APIC);
    put_le32(t + 40, q->devices & DEV_PIC ? HAS_8259 : 0);
    at = put_lapics(t + 44, vcpus);
    at[2] = (uint8_t)vcpus; /* its id */
    put_le32(at + 4, PC_IO_APIC);
    at = put_structure(at, IO_APIC, 12);
    at = put_override(at, 0, 2, 0);
    at = put_override(at, PC_SCI, PC_SCI, LEVEL_HIGH);
    if (pci) {
        at = put_override(at, PC_PCI_IRQ_A, PC_PCI_IRQ_A, LEVEL_HIGH);
        (void)put_override(at, PC_PCI_IRQ_B, PC_PCI_IRQ_B, LEVEL_HIGH);
    }
    list_add(l, r, t);
}

/* IA-PC HPET Specification 1.0a, "The ACPI 2.0 HPET Description Table". */
static void add_hpet(struct rom *r, struct list *l)
{
    uint8_t *t = begin(r, "HPET", 1, HPET_SIZE);

    if (!t)
        return;
    put_le32(t + 36, PC_HPET_ID);
    t[41] = 64; /* bits, in memory */
    put_le64(t + 44, PC_HPET);
    put_le16(t + 53, HPET_MIN_TICK);
    list_add(l, r, t);
}

/* PCI Firmware Specification 3.0, "MCFG Table Description". It has the one bus that exists: Linux
 * asks each of those that it lists. */
static void add_mcfg(struct rom *r, struct list *l)
{
    uint8_t *t = begin(r, "MCFG", 1, MCFG_SIZE);

    if (!t)
        return;
    put_le64(t + 44, PC_ECAM);
    list_add(l, r, t);
}

/* ---- roots ---- */

static uint32_t add_root(struct rom *r, const struct list *l, const char *signature, size_t each)
{
    uint8_t *t = begin(r, signature, 1, HEADER + each * l->count);

    for (unsigned i = 0; t && i < l->count; i++)
        put_le32(t + HEADER + each * i, l->address[i]);
    if (t)
        finish(t);
    return t ? rom_address(r, t) : 0;
}

void acpi_make(struct rom *r, const struct load_request *q, uint8_t *rsdp)
{
    struct list l = {.count = 0};

    add_fadt(r, &l, q);
    if (q->devices & DEV_APIC)
        add_madt(r, &l, q);
    if (q->devices & DEV_HPET)
        add_hpet(r, &l);
    if (q->devices & DEV_PCI)
        add_mcfg(r, &l);
    memcpy(rsdp, "RSD PTR ", 8);
    memcpy(rsdp + 9, "BLKHED", 6);
    rsdp[15] = 2;
    put_le32(rsdp + 16, add_root(r, &l, "RSDT", 4));
    put_le32(rsdp + 20, FIRMWARE_RSDP_SIZE);
    put_le64(rsdp + 24, add_root(r, &l, "XSDT", 8));
    rom_sum(rsdp, 20, rsdp + 8); /* of version 1 */
    rom_sum(rsdp, FIRMWARE_RSDP_SIZE, rsdp + 32);
}
