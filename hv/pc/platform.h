/*
 * The PC that a guest sees: its devices put together on one bus. Pure. It reaches everything
 * outside through struct platform_host, and interrupts through irqchip.h.
 *
 * The core of the guest's vCPU 0 owns it, and looks after its deadlines. With several vCPUs every
 * access is between platform_enter() and platform_leave(), on any of their cores; only `next_event`
 * and the output of the 8259s are read without (atomic). With one vCPU no lock is taken.
 */
#pragma once

#include "hv/abi/control.h"
#include "hv/config.h"
#include "hv/pc/acpi_pm.h"
#include "hv/pc/device.h"
#include "hv/pc/hpet.h"
#include "hv/pc/i8042.h"
#include "hv/pc/ioapic.h"
#include "hv/pc/ivshmem.h"
#include "hv/pc/lapic.h"
#include "hv/pc/pci.h"
#include "hv/pc/pic.h"
#include "hv/pc/pit.h"
#include "hv/pc/reset.h"
#include "hv/pc/rtc.h"
#include "hv/pc/uart.h"
#include "hv/pc/virtio_blk.h"
#include "hv/pc/virtio_console.h"
#include "hv/pc/virtio_net.h"
#include "hv/pc/virtio_rng.h"
#include "hv/pc/watchdog.h"
#include "hv/spinlock.h"

#define PLATFORM_TIMERS 5u

struct platform {
    unsigned vcpus; /* that share it; set before the first call */
    struct spinlock lock;
    struct {
        uint64_t next_event;
        bool intr;
    } before; /* while the lock is held: as it was taken */
    struct io_bus bus;
    struct dev_clock clock;
    struct {
        uint64_t tsc;   /* the host's, later by the pauses that stop the guest's clocks */
        uint64_t epoch; /* seconds since 1970 */
    } power_on;
    uint32_t devices;                /* DEV_* that exist */
    uint32_t signals[ABI_VCPUS_MAX]; /* of the local APICs. Atomic */
    uint32_t timer_ticks; /* enum config_timer_ticks; set by the caller of platform_reset() */
    uint32_t virtio;      /* enum config_virtio, likewise */
    struct lapic lapic[ABI_VCPUS_MAX];
    struct ioapic ioapic;
    unsigned turn; /* for lowest-priority interrupts. Atomic */
    struct pic pic;
    bool lint0_served; /* LINT0 has sent the 8259s' level, and waits for an EOI */
    struct pit pit;
    struct rtc rtc;
    struct uart uart;
    struct i8042 i8042;
    struct acpi_pm acpi_pm;
    struct hpet hpet;
    struct reset reset;
    struct pci pci;
    struct virtio_net net;
    struct virtio_blk disks[VIRTIO_BLK_MAX];
    struct virtio_rng rng;
    struct virtio_console console;
    struct ivshmem shared[IVSHMEM_MAX];
    struct watchdog watchdog;
    struct platform_host host;
    /* Devices with a deadline. */
    struct platform_timer {
        uint64_t *deadline;
        void *dev;
        const struct device *device;
    } timers[PLATFORM_TIMERS];
    uint64_t next_event; /* earliest device deadline, kept up to date by platform_timers() and the
                            devices' writes: read by the run loop. Atomic */
};

/*
 * Power-on state at TSC `now`; `epoch` is the wall clock then (seconds since 1970), `memory` the
 * guest's RAM in bytes. The bus is all zero before the first time. The caller has set p->vcpus
 * before; with DEV_APIC the page of each vCPU's local APIC (lapic.regs), with DEV_NET p->net
 * (virtio_net_init), with DEV_RNG p->rng, with DEV_CONSOLE p->console, and with DEV_PCI those of
 * p->disks and p->shared that exist (virtio_blk_init, ivshmem_init; the others are all zero). In
 * this order, and in steps for a caller without time for all at once: release all ports; claim the
 * ports of each of platform_slots() devices; reset them; put each of those on the PCI bus where
 * firmware would, which also resets a vCPU's local APIC.
 */
void platform_disconnect(struct platform *p);
unsigned platform_slots(void);
int platform_connect(struct platform *p, uint32_t devices, unsigned slot) MUST_CHECK;
void platform_reset(struct platform *p, uint32_t devices, uint64_t now, uint64_t tsc_hz,
                    uint64_t epoch, uint64_t memory, const struct platform_host *host);
void platform_plug(struct platform *p, unsigned slot);

/* Adds a watchdog with `patience` ticks. -E_* if ports clash. */
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

static inline void platform_set_event(struct platform *p, uint64_t at)
{
    __atomic_store_n(&p->next_event, at, __ATOMIC_RELAXED);
}

/* The earliest deadline of all devices: those of `timers`, by name because it is read after nearly
 * every access. Each device keeps its own up to date. */
static inline uint64_t platform_deadline(const struct platform *p)
{
    uint64_t first = min_u64(p->pci.deadline, p->pit.deadline);

    first = min_u64(first, min_u64(p->rtc.deadline, p->hpet.deadline));
    return min_u64(first, p->acpi_pm.deadline);
}

static inline bool platform_is_shared(const struct platform *p)
{
    return __builtin_expect(p->vcpus > 1, 0);
}

/* For a guest with several vCPUs: takes the lock; time in the PC does not go back, whichever core
 * was first. leave: `vcpu` has had the access; if vCPU 0 must look earlier now, its core is kicked.
 * Its own core and the core of the guest's life say 0. */
void platform_lock(struct platform *p, uint64_t now);
void platform_unlock(struct platform *p, unsigned vcpu);
/* Between two steps of work: others may have it first. For vCPU 0 the access goes on. */
void platform_rest(struct platform *p, uint64_t now);

/* Begins an access to the PC at TSC `now`, and ends it. */
static inline void platform_enter(struct platform *p, uint64_t now)
{
    if (platform_is_shared(p))
        platform_lock(p, now);
    else
        p->clock.now = now;
}

static inline void platform_leave(struct platform *p, unsigned vcpu)
{
    if (platform_is_shared(p))
        platform_unlock(p, vcpu);
}

/* The rest of platform_timers(), when something is due. */
void platform_update(struct platform *p);

/* Brings all timers up to clock.now (raising their interrupt lines) and recomputes next_event.
 * Cheap when nothing is due, as after nearly every access. */
static inline void platform_timers(struct platform *p)
{
    uint64_t next = platform_deadline(p);

    if (p->clock.now >= next)
        platform_update(p);
    else
        platform_set_event(p, next);
}

/* Skips `ticks` of the guest's time: its devices' clocks continue where they stood. */
void platform_shift(struct platform *p, uint64_t ticks);

/* Frames wait for the guest: its device takes them in the guest's own time. */
static inline void platform_frames_wait(struct platform *p)
{
    pci_work_now(&p->net.virtio.pci);
    platform_set_event(p, 0);
}

/* Peers may have rung: its devices look in the guest's own time. */
static inline void platform_bells_ring(struct platform *p)
{
    for (unsigned i = 0; i < IVSHMEM_MAX; i++)
        if (ivshmem_is_there(&p->shared[i]))
            pci_work_now(&p->shared[i].pci);
    platform_set_event(p, 0);
}

/* Types a byte: into the virtio console once the guest has opened it, until then into the UART.
 * False: no room. */
bool platform_console_input(struct platform *p, uint8_t byte);
