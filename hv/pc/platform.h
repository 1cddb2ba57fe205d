/*
 * The PC that a guest sees: its devices put together on one port bus, with interrupts through the
 * 8259 pair to the one vCPU. Pure. Owned by the vCPU's core. Everything outside is reached through
 * struct platform_host.
 */
#pragma once

#include "hv/config.h"
#include "hv/pc/dev.h"
#include "hv/pc/pic.h"
#include "hv/pc/pit.h"
#include "hv/pc/reset.h"
#include "hv/pc/rtc.h"
#include "hv/pc/uart.h"
#include "hv/pc/virtio_net.h"
#include "hv/pc/watchdog.h"

/* What the platform asks of its guest's owner. */
struct platform_host {
    void *ctx;
    void (*console)(void *ctx, uint8_t byte); /* the UART sent a byte */
    void (*reset)(void *ctx,
                  const char *how); /* the guest asked for a reset (keyboard controller, 0xcf9) */
    void (*exit)(void *ctx, uint32_t code); /* the guest wrote its exit port */
};

struct platform {
    struct io_bus bus;
    struct dev_clock clock;
    uint32_t devices; /* DEV_* that exist */
    struct pic pic;
    struct pit pit;
    struct rtc rtc;
    struct uart uart;
    struct reset reset;
    struct virtio_net net;
    struct watchdog watchdog;
    struct platform_host host;
    uint64_t next_event; /* earliest device deadline, kept up to date by platform_timers() and the
                            devices' writes: read by the run loop */
};

/* Power-on state at TSC `now`; `epoch` is the wall clock then (seconds since 1970), `memory` the
 * guest's RAM in bytes. With DEV_NET the caller has initialised p->net (virtio_net_init);
 * everything else is. -E_* if ports clash. */
int platform_init(struct platform *p, uint32_t devices, uint64_t now, uint64_t tsc_hz,
                  uint64_t epoch, uint64_t memory, const struct platform_host *host) MUST_CHECK;
/* Its three parts, for who has no time for all at once: the devices; no ports; and, after that,
 * theirs. */
void platform_reset(struct platform *p, uint32_t devices, uint64_t now, uint64_t tsc_hz,
                    uint64_t epoch, uint64_t memory, const struct platform_host *host);
void platform_disconnect(struct platform *p);
int platform_connect(struct platform *p, uint32_t devices) MUST_CHECK;

/* Gives it a watchdog with so many ticks of patience, after platform_init(). -E_* if ports clash.
 */
int platform_watch(struct platform *p, uint64_t patience) MUST_CHECK;

/*
 * What the run loop has to do:
 *  - after each VM exit: clock.now = TSC;
 *  - a port read: io_in(&p->bus, ...). It may raise an interrupt that has just fallen due, and
 *    never brings the next event nearer;
 *  - a port write: io_out(&p->bus, ...), then next_event = platform_deadline(p);
 *  - before an entry, when clock.now >= next_event: platform_timers(p);
 *  - at next_event at the latest the vCPU must have been looked at again, halted or not.
 */

/* The earliest deadline of all devices. Devices keep theirs up to date by themselves. */
static inline uint64_t platform_deadline(const struct platform *p)
{
    return p->net.busy ? 0 : min_u64(pit_deadline(&p->pit), rtc_deadline(&p->rtc));
}

/* Brings all timers up to clock.now (raising their interrupt lines) and recomputes next_event.
 * Cheap when nothing is due. */
void platform_timers(struct platform *p);

/* `ticks` of the guest's time never were: its devices' clocks go on where they stood. */
void platform_shift(struct platform *p, uint64_t ticks);

/* Does the PIC ask for the CPU? Cheap: one load. */
static inline bool platform_irq_pending(const struct platform *p)
{
    return p->pic.intr;
}

/* The vector (interrupt acknowledge cycle). Only when pending. */
uint8_t platform_irq_ack(struct platform *p);

/* What platform_wake_prepare() changed, as it was before. */
struct platform_wake {
    uint64_t due, now;
    struct pic pic;
    struct pit pit;
};

/*
 * For a guest in HLT, which sees nothing of its devices until it is woken: moves them on to
 * next_event as if it had come, and acknowledges the interrupt, so that at that moment only the
 * vector has to be delivered. The vector; or -1, and nothing is changed, when next_event would not
 * bring an interrupt of the PIT. If anything else ends the HLT first, platform_wake_undo().
 */
int platform_wake_prepare(struct platform *p, struct platform_wake *w);
void platform_wake_undo(struct platform *p, const struct platform_wake *w);

/* An edge on an interrupt line of the PIC that no device drives. */
void platform_pulse_irq(struct platform *p, unsigned irq);

/* Frames wait for the guest: its devices take them in its own time. */
static inline void platform_frames_wait(struct platform *p)
{
    p->net.busy = true;
    p->next_event = 0;
}

/* Types a byte into the UART; false when it has no room. Owning core. */
bool platform_console_input(struct platform *p, uint8_t byte);
