/*
 * Counts a guest's accesses to its PC by device. Linked into a hypervisor of `make bench-boots`
 * alone, around the functions of hv/exit.h that do them (ld --wrap). Once the guest has printed
 * "linux: ready" the counts go to the log, with those of its exits by reason.
 */
#include "hv/exit.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/abi/pc.h"
#include "hv/pc/lapic.h"

#define READY       "linux: ready"
#define UART        0x3f8u
#define PCI_ADDRESS 0xcf8u
#define BUS_SHIFT   16

static const struct device_range {
    const char *name;
    uint64_t first, last;
} ports[] = {{"UART", UART, UART + 7},
             {"PCI", PCI_ADDRESS, PCI_ADDRESS + 7},
             {"port 0x61", 0x61, 0x61},
             {"PIT", 0x40, 0x43},
             {"8259", 0x20, 0x21},
             {"8259", 0xa0, 0xa1},
             {"8259", 0x4d0, 0x4d1},
             {"RTC", 0x70, 0x71},
             {"i8042", 0x60, 0x60},
             {"i8042", 0x64, 0x64},
             {"PM timer", PC_PM_TIMER, PC_PM_TIMER + 3},
             {"ACPI", PC_PM1A_EVENT, PC_PM1A_CONTROL + 1},
             {"virtio", PC_PCI_PORTS, PC_PCI_PORTS_LAST},
             {"port 0x80", 0x80, 0x80},
             {"other ports", 0, 0xffff}},
  memory[] = {{"TPR", PC_LOCAL_APIC + LAPIC_TPR, PC_LOCAL_APIC + LAPIC_TPR + 15},
              {"local APIC", PC_LOCAL_APIC, PC_LOCAL_APIC + LAPIC_PAGE - 1},
              {"IOAPIC", PC_IO_APIC, PC_IO_APIC + 0xfff},
              {"HPET", PC_HPET, PC_HPET + PC_HPET_SIZE - 1},
              {"PCI", PC_ECAM, PC_ECAM + PC_ECAM_SIZE - 1},
              {"text memory", 0xa0000, 0xbffff},
              {"virtio", PC_PCI_LOW, PC_PCI_HIGH_LAST},
              {"other memory", 0, UINT64_MAX}};

static uint64_t port_counts[ARRAY_LEN(ports)], memory_counts[ARRAY_LEN(memory)], absent_buses;
static uint32_t pci_address;
static unsigned matched; /* bytes of READY */

uint32_t __real_exit_port_in(struct vcpu *v, uint16_t port, unsigned size);
enum exit_action __real_exit_port_out(struct vcpu *v, uint16_t port, unsigned size, uint32_t value);
bool __real_exit_mmio_read(struct vcpu *v, uint64_t gpa, unsigned size, uint64_t *value);
bool __real_exit_mmio_write(struct vcpu *v, uint64_t gpa, unsigned size, uint64_t value);
uint32_t __wrap_exit_port_in(struct vcpu *v, uint16_t port, unsigned size);
enum exit_action __wrap_exit_port_out(struct vcpu *v, uint16_t port, unsigned size, uint32_t value);
bool __wrap_exit_mmio_read(struct vcpu *v, uint64_t gpa, unsigned size, uint64_t *value);
bool __wrap_exit_mmio_write(struct vcpu *v, uint64_t gpa, unsigned size, uint64_t value);

static void count(const struct device_range *ranges, uint64_t *counts, uint64_t at)
{
    unsigned i = 0;

    while (at < ranges[i].first || at > ranges[i].last)
        i++; /* the last one has all */
    counts[i]++;
}

static void show(const struct vcpu *v, const struct device_range *ranges, const uint64_t *counts,
                 size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (counts[i])
            log_guest(v->guest, "counted: %lu device %s", counts[i], ranges[i].name);
}

static void show_all(const struct vcpu *v)
{
    show(v, ports, port_counts, ARRAY_LEN(ports));
    show(v, memory, memory_counts, ARRAY_LEN(memory));
    if (absent_buses)
        log_guest(v->guest, "counted: %lu device absent PCI buses", absent_buses);
    for (unsigned i = 0; i < ABI_EXIT_REASONS; i++)
        if (v->stats->exits[i])
            log_guest(v->guest, "counted: %lu reason %u", v->stats->exits[i], i);
    log_guest(v->guest, "counted: all");
}

/* The management guest has the same port, and its text is no one's business here. */
static bool is_counted(const struct vcpu *v)
{
    return v->guest->number != 0;
}

static void count_port(const struct vcpu *v, uint16_t port)
{
    if (!is_counted(v))
        return;
    count(ports, port_counts, port);
    if (port >= PCI_ADDRESS + 4 && port < PCI_ADDRESS + 8 && pci_address >> BUS_SHIFT & 0xff)
        absent_buses++;
}

uint32_t __wrap_exit_port_in(struct vcpu *v, uint16_t port, unsigned size)
{
    count_port(v, port);
    return __real_exit_port_in(v, port, size);
}

enum exit_action __wrap_exit_port_out(struct vcpu *v, uint16_t port, unsigned size, uint32_t value)
{
    count_port(v, port);
    if (port == PCI_ADDRESS && size == 4 && is_counted(v))
        pci_address = value;
    if (port == UART && is_counted(v)) {
        matched = READY[matched] == (char)value ? matched + 1 : READY[0] == (char)value;
        if (!READY[matched]) {
            matched = 0;
            show_all(v);
        }
    }
    return __real_exit_port_out(v, port, size, value);
}

bool __wrap_exit_mmio_read(struct vcpu *v, uint64_t gpa, unsigned size, uint64_t *value)
{
    if (is_counted(v))
        count(memory, memory_counts, gpa);
    return __real_exit_mmio_read(v, gpa, size, value);
}

bool __wrap_exit_mmio_write(struct vcpu *v, uint64_t gpa, unsigned size, uint64_t value)
{
    if (is_counted(v))
        count(memory, memory_counts, gpa);
    return __real_exit_mmio_write(v, gpa, size, value);
}
