/*
 * The PC that a guest sees: its devices put together on one bus. Pure. Owned by the core of the
 * guest's vCPU 0. It reaches everything outside through struct platform_host, and interrupts
 * through irqchip.h.
 */
#pragma once

#include "hv/config.h"
#include "hv/pc/acpi_pm.h"
#include "hv/pc/device.h"
#include "hv/pc/i8042.h"
#include "hv/pc/pci.h"
#include "hv/pc/pic.h"
#include "hv/pc/pit.h"
#include "hv/pc/reset.h"
#include "hv/pc/rtc.h"
#include "hv/pc/uart.h"
#include "hv/pc/virtio_net.h"
#include "hv/pc/watchdog.h"

#define PLATFORM_TIMERS 4u

struct platform {
    struct io_bus bus;
    struct dev_clock clock;
    uint32_t devices; /* DEV_* that exist */
    struct pic pic;
    struct pit pit;
    struct rtc rtc;
    struct uart uart;
    struct i8042 i8042;
    struct acpi_pm acpi_pm;
    struct reset reset;
    struct pci pci;
    struct virtio_net net;
    struct watchdog watchdog;
    struct platform_host host;
    /* Devices with a deadline. */
    struct platform_timer {
        uint64_t *deadline;
        void *dev;
        const struct device *device;
    } timers[PLATFORM_TIMERS];
    uint64_t next_event; /* earliest device deadline, kept up to date by platform_timers() and the
                            devices' writes: read by the run loop */
};

/* Power-on state at TSC `now`; `epoch` is the wall clock then (seconds since 1970), `memory` the
 * guest's RAM in bytes. The bus is all zero before the first call. With DEV_NET the caller has
 * already initialised p->net (virtio_net_init); this initialises everything else. -E_* if ports
 * clash. */
int platform_init(struct platform *p, uint32_t devices, uint64_t now, uint64_t tsc_hz,
                  uint64_t epoch, uint64_t memory, const struct platform_host *host) MUST_CHECK;
/* Its three parts, for a caller without time for all at once: release all ports; claim the devices'
 * ports; then reset the devices, which also puts those on the PCI bus where firmware would. */
void platform_disconnect(struct platform *p);
int platform_connect(struct platform *p, uint32_t devices) MUST_CHECK;
void platform_reset(struct platform *p, uint32_t devices, uint64_t now, uint64_t tsc_hz,
                    uint64_t epoch, uint64_t memory, const struct platform_host *host);

/* Adds a watchdog with `patience` ticks, after platform_init(). -E_* if ports clash. */
int platform_watch(struct platform *p, uint64_t patience) MUST_CHECK;

/*
 * The run loop's duties:
 *  - after each VM exit: clock.now = TSC;
 *  - a port read: io_in(&p->bus, ...). It may raise an interrupt that has just fallen due, but
 *    never makes the next event earlier;
 *  - a port write: io_out(&p->bus, ...), then next_event = platform_deadline(p);
 *  - before an entry, when clock.now >= next_event: platform_timers(p);
 *  - by next_event the vCPU must have been checked again, halted or not.
 */

/* The earliest deadline of all devices. Each device keeps its own up to date. */
static inline uint64_t platform_deadline(const struct platform *p)
{
    uint64_t first = *p->timers[0].deadline;

    for (unsigned i = 1; i < PLATFORM_TIMERS; i++)
        first = min_u64(first, *p->timers[i].deadline);
    return first;
}

/* Brings all timers up to clock.now (raising their interrupt lines) and recomputes next_event.
 * Cheap when nothing is due. */
void platform_timers(struct platform *p);

/* Skips `ticks` of the guest's time: its devices' clocks continue where they stood. */
void platform_shift(struct platform *p, uint64_t ticks);

/* Frames wait for the guest: its device takes them in the guest's own time. */
static inline void platform_frames_wait(struct platform *p)
{
    pci_work_now(&p->net.virtio.pci);
    p->next_event = 0;
}

/* Types a byte into the UART; false: no room. Owning core. */
bool platform_console_input(struct platform *p, uint8_t byte);
