#include "arch/x86/cpu/apic.h"

#include "arch/x86/cpu/io.h"
#include "arch/x86/cpu/trap.h"
#include "hv/arch.h"
#include "hv/log.h"

/* Intel 82093AA "I/O Advanced Programmable Interrupt Controller". */
#define REG_SELECT     0x00u
#define REG_WINDOW     0x10u
#define IOAPIC_VERSION 1u
#define IOAPIC_TABLE   16u
#define ENTRY_LOW      (1u << 13) /* polarity */
#define ENTRY_LEVEL    (1u << 15)
#define ENTRY_MASKED   (1u << 16)
#define IOAPIC_DEFAULT 0xfec00000u
#define ISA_LINES      16u
#define ENTRY_NMI      (4u << 8)
#define DEST_ALL       255u
#define PIT_LINE       0u
#define PIT_COUNTER    0x40u
#define PIT_CONTROL    0x43u
#define PIT_RATE       0x34u /* counter 0, both bytes, mode 2 */
#define PIT_1MS        1193u /* of 1.193182 MHz */

static struct ioapic {
    volatile uint8_t *registers;
    uint32_t gsi_base, inputs;
} ioapics[ACPI_IOAPICS_MAX];
static unsigned ioapic_count;
static struct acpi_override overrides[ACPI_OVERRIDES_MAX];
static unsigned override_count;

static uint32_t reg_read(const struct ioapic *a, uint32_t reg)
{
    *(volatile uint32_t *)(volatile void *)(a->registers + REG_SELECT) = reg;
    return *(volatile uint32_t *)(volatile void *)(a->registers + REG_WINDOW);
}

static void reg_write(const struct ioapic *a, uint32_t reg, uint32_t v)
{
    *(volatile uint32_t *)(volatile void *)(a->registers + REG_SELECT) = reg;
    *(volatile uint32_t *)(volatile void *)(a->registers + REG_WINDOW) = v;
}

static void add(uint32_t address, uint32_t gsi_base)
{
    struct ioapic *a = &ioapics[ioapic_count];
    uint32_t version;

    a->registers = arch_map_mmio(hpa(address), PAGE_SIZE);
    if (!a->registers)
        return;
    version = reg_read(a, IOAPIC_VERSION);
    if (version == UINT32_MAX || version == 0)
        return; /* no I/O APIC responds there */
    a->gsi_base = gsi_base;
    a->inputs = (version >> 16 & 0xff) + 1;
    for (uint32_t i = 0; i < a->inputs; i++)
        reg_write(a, IOAPIC_TABLE + 2 * i, ENTRY_MASKED);
    ioapic_count++;
}

void ioapic_init(const struct acpi_info *a)
{
    for (unsigned i = 0; i < a->ioapic_count; i++)
        add(a->ioapics[i].address, a->ioapics[i].gsi_base);
    if (!a->have_madt)
        add(IOAPIC_DEFAULT, 0); /* its address on every PC that has one */
    if (ioapic_count == 0)
        log_warn("no I/O APIC: no device interrupts");
    for (unsigned i = 0; i < a->override_count; i++)
        overrides[override_count++] = a->overrides[i];
}

/* The input of an ISA line, and what its entry says of the signal. */
static uint32_t isa_input(unsigned line, uint32_t *entry)
{
    uint32_t gsi = line;

    for (unsigned i = 0; i < override_count && line < ISA_LINES; i++) {
        if (overrides[i].source != line)
            continue;
        gsi = overrides[i].gsi;
        if ((overrides[i].flags & ACPI_POLARITY_MASK) == ACPI_POLARITY_HIGH)
            *entry &= ~ENTRY_LOW;
        if ((overrides[i].flags & ACPI_TRIGGER_MASK) == ACPI_TRIGGER_EDGE)
            *entry &= ~ENTRY_LEVEL;
    }
    return gsi;
}

/* The I/O APIC with this input and the register of its entry, or NULL. */
static const struct ioapic *find(uint32_t gsi, uint32_t *reg)
{
    for (unsigned i = 0; i < ioapic_count; i++) {
        const struct ioapic *a = &ioapics[i];

        *reg = IOAPIC_TABLE + 2 * (gsi - a->gsi_base);
        if (gsi >= a->gsi_base && gsi - a->gsi_base < a->inputs)
            return a;
    }
    return NULL;
}

int ioapic_nmi_ticks(void)
{
    uint32_t ignored = 0, reg, gsi = isa_input(PIT_LINE, &ignored);
    const struct ioapic *a = find(gsi, &reg);

    if (!a)
        return -E_NOENT;
    trap_expect_nmis();
    reg_write(a, reg + 1, DEST_ALL << 24);
    reg_write(a, reg, ENTRY_NMI);
    outb(PIT_CONTROL, PIT_RATE);
    outb(PIT_COUNTER, PIT_1MS & 0xff);
    outb(PIT_COUNTER, PIT_1MS >> 8);
    return 0;
}

int ioapic_route(unsigned line, uint32_t apic_id, unsigned vector)
{
    uint32_t entry = ENTRY_LOW | ENTRY_LEVEL, reg, gsi = isa_input(line, &entry);
    const struct ioapic *a = find(gsi, &reg);

    if (!a)
        return -E_NOENT;
    if (!(reg_read(a, reg) & ENTRY_MASKED))
        return -E_BUSY;
    reg_write(a, reg + 1, apic_id << 24);
    reg_write(a, reg, entry | vector);
    return 0;
}
