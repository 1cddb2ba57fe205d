/* Local APIC (xAPIC or x2APIC) of the calling core, and the I/O APICs. SDM 3A "Advanced
 * Programmable Interrupt Controller". */
#pragma once

#include "arch/x86/cpu/acpi.h"
#include "hv/types.h"

/* Boot core, once: chooses xAPIC or x2APIC, masks the PICs, sets up the calling core's APIC. */
void apic_init(const struct acpi_info *a);
/* The calling core's APIC, in the mode the boot core chose. */
void apic_init_core(void);
/* Chooses how the timer of arch_idle() counts. Boot core, after TSC calibration. */
void apic_timer_init(void);
/* The timer's interrupt comes at `deadline` (absolute ticks) at the latest. Cheap if it was set for
 * the same time before. The calling core. */
void apic_timer_set(uint64_t deadline);
/* For trap_set_handler(): the handler of VECTOR_TIMER that this needs. */
void apic_timer_came(void *ctx);
uint32_t apic_id_self(void);
void apic_eoi(void);

void apic_send_init(uint32_t apic_id);
/* `page` is the physical page number (below 256) where the core starts. */
void apic_send_startup(uint32_t apic_id, uint8_t page);
/* Whether an interrupt can be sent to this id: above 254 it takes x2APIC mode. */
bool apic_reaches(uint32_t apic_id);
/* NMI to all others that have started. Does nothing before apic_init(). */
void apic_nmi_others(void);

/* Finds the I/O APICs and masks all their inputs. Boot core. */
void ioapic_init(const struct acpi_info *a);
/* The highest id that a device's interrupt reaches; 255 means all cores. */
#define APIC_ID_MAX 254u
/* Routes a legacy PCI interrupt line to the core with this id (level, active low unless the MADT
 * says otherwise). -E_NOENT: no I/O APIC has the line; -E_BUSY: it is in use. */
int ioapic_route(unsigned line, uint32_t apic_id, unsigned vector) MUST_CHECK;
/* From now on all cores get an NMI each millisecond, from the PIT, and ignore NMIs without a
 * reason. Start-up, boot core. -E_NOENT: no I/O APIC. */
int ioapic_nmi_ticks(void) MUST_CHECK;
