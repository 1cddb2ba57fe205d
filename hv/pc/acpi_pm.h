/*
 * The fixed power-management registers of ACPI: PM1a status, enable and control, and the PM timer
 * of 32 bits. ACPI Specification 6.4, 4.8.3 "Fixed Hardware Features". Pure.
 *
 * SCI_EN is always 1. S5 ends the guest; other sleep types do nothing. The interrupt is the SCI, a
 * level: it is up while an event has happened that is enabled.
 */
#pragma once

#include "hv/abi/pc.h"
#include "hv/pc/device.h"
#include "hv/pc/ratio.h"

#define PM_TIMER_HZ 3579545u

struct acpi_pm {
    const struct dev_clock *clock;
    const struct platform_host *host;
    struct irq_line sci;
    struct ratio to_timer, to_tsc; /* TSC ticks to those of the timer and back */
    uint64_t start;                /* TSC at which the timer was 0 */
    uint64_t deadline;             /* TSC at which TMR_STS will be set; NEVER: it is not enabled */
    uint64_t halves;               /* changes of the timer's highest bit until the last look */
    uint16_t status, enable, control;
};

extern const struct device acpi_pm_device;
