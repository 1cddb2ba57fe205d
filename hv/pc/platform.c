#include "hv/pc/platform.h"

#include "hv/lib.h"

#define IRQ_PIT  0u
#define IRQ_UART 4u
#define IRQ_RTC  8u

static void pic_line(void *ctx, unsigned irq, bool level)
{
    pic_set_irq(ctx, irq, level);
}

static struct irq_line line(struct platform *p, unsigned irq)
{
    return (struct irq_line){p->devices & DEV_PIC ? pic_line : NULL, &p->pic, irq};
}

static int claim_pic_pit(struct platform *p)
{
    int rc = 0;

    if (p->devices & DEV_PIC) {
        rc = io_claim(&p->bus, PIC_MASTER_PORT, PIC_MASTER_PORT + 1, &pic_io_ops, &p->pic);
        if (rc == 0)
            rc = io_claim(&p->bus, PIC_SLAVE_PORT, PIC_SLAVE_PORT + 1, &pic_io_ops, &p->pic);
        if (rc == 0)
            rc = io_claim(&p->bus, PIC_ELCR_PORT, PIC_ELCR_PORT + 1, &pic_elcr_ops, &p->pic);
    }
    if (rc == 0 && (p->devices & DEV_PIT)) {
        rc = io_claim(&p->bus, PIT_PORT, PIT_PORT + PIT_PORT_COUNT - 1, &pit_io_ops, &p->pit);
        if (rc == 0)
            rc = io_claim(&p->bus, PIT_PORT_B, PIT_PORT_B, &pit_port_b_ops, &p->pit);
    }
    return rc;
}

static int claim_others(struct platform *p)
{
    int rc = 0;

    if (p->devices & DEV_RTC)
        rc = io_claim(&p->bus, RTC_PORT, RTC_PORT + 1, &rtc_io_ops, &p->rtc);
    if (rc == 0 && (p->devices & DEV_UART))
        rc = io_claim(&p->bus, UART_PORT, UART_PORT + UART_PORT_COUNT - 1, &uart_io_ops, &p->uart);
    if (rc == 0 && (p->devices & DEV_RESET)) {
        rc = io_claim(&p->bus, RESET_KBD_PORT, RESET_KBD_PORT, &reset_kbd_ops, &p->reset);
        if (rc == 0)
            rc = io_claim(&p->bus, RESET_CONTROL_PORT, RESET_CONTROL_PORT, &reset_control_ops,
                          &p->reset);
    }
    if (rc == 0 && (p->devices & DEV_EXIT))
        rc = io_claim(&p->bus, EXIT_PORT, EXIT_PORT, &exit_ops, &p->reset);
    if (rc == 0 && (p->devices & DEV_NET))
        rc = io_claim(&p->bus, VIRTIO_NET_PORT, VIRTIO_NET_PORT + VIRTIO_NET_PORTS - 1,
                      &virtio_net_io_ops, &p->net);
    return rc;
}

void platform_reset(struct platform *p, uint32_t devices, uint64_t now, uint64_t tsc_hz,
                    uint64_t epoch, uint64_t memory, const struct platform_host *host)
{
    struct irq_line pit_line, rtc_line, uart_line;

    p->clock = (struct dev_clock){now, tsc_hz};
    p->devices = devices;
    p->host = *host;
    pit_line = line(p, IRQ_PIT);
    rtc_line = line(p, IRQ_RTC);
    uart_line = line(p, IRQ_UART);
    pic_init(&p->pic);
    pit_init(&p->pit, &p->clock, &pit_line);
    rtc_init(&p->rtc, &p->clock, &rtc_line, epoch, memory);
    uart_reset(&p->uart, &uart_line, host->console, host->ctx);
    p->reset = (struct reset){host->ctx, host->reset, host->exit, 0};
    p->net.busy = false;
    if (devices & DEV_NET)
        p->net.irq = line(p, VIRTIO_NET_IRQ);
    p->watchdog = (struct watchdog){.clock = &p->clock};
    p->next_event = NEVER;
}

void platform_disconnect(struct platform *p)
{
    memset(&p->bus, 0, sizeof(p->bus));
}

int platform_connect(struct platform *p, uint32_t devices)
{
    int rc;

    p->devices = devices;
    rc = claim_pic_pit(p);
    return rc ? rc : claim_others(p);
}

int platform_init(struct platform *p, uint32_t devices, uint64_t now, uint64_t tsc_hz,
                  uint64_t epoch, uint64_t memory, const struct platform_host *host)
{
    platform_reset(p, devices, now, tsc_hz, epoch, memory, host);
    platform_disconnect(p);
    return platform_connect(p, devices);
}

int platform_watch(struct platform *p, uint64_t patience)
{
    p->watchdog.patience = patience;
    return io_claim(&p->bus, WATCHDOG_PORT, WATCHDOG_PORT, &watchdog_ops, &p->watchdog);
}

void platform_shift(struct platform *p, uint64_t ticks)
{
    pit_shift(&p->pit, ticks);
    rtc_shift(&p->rtc, ticks);
    p->next_event = platform_deadline(p);
}

void platform_timers(struct platform *p)
{
    uint64_t now = p->clock.now;

    if (p->net.busy)
        virtio_net_work(&p->net);
    if (now >= pit_deadline(&p->pit))
        pit_update(&p->pit);
    if (now >= rtc_deadline(&p->rtc))
        rtc_update(&p->rtc);
    p->next_event = platform_deadline(p);
}

int platform_wake_prepare(struct platform *p, struct platform_wake *w)
{
    uint64_t due = pit_deadline(&p->pit);

    if (due == NEVER || p->net.busy || due >= rtc_deadline(&p->rtc) || platform_irq_pending(p))
        return -1;
    w->due = due;
    w->now = p->clock.now;
    w->pic = p->pic;
    w->pit = p->pit;
    p->clock.now = due;
    platform_timers(p);
    if (platform_irq_pending(p)) {
        uint8_t vector = platform_irq_ack(p);

        if (!platform_irq_pending(p))
            return vector;
    }
    platform_wake_undo(p, w);
    return -1;
}

void platform_wake_undo(struct platform *p, const struct platform_wake *w)
{
    p->clock.now = w->now;
    p->pic = w->pic;
    p->pit = w->pit;
    p->next_event = platform_deadline(p);
}

uint8_t platform_irq_ack(struct platform *p)
{
    return pic_ack(&p->pic);
}

void platform_pulse_irq(struct platform *p, unsigned irq)
{
    if (!(p->devices & DEV_PIC))
        return;
    /* The line stays high afterwards: a falling edge would withdraw the request. (A guest that
     * makes this input level-triggered is interrupted for ever.) */
    pic_set_irq(&p->pic, irq, false);
    pic_set_irq(&p->pic, irq, true);
}

bool platform_console_input(struct platform *p, uint8_t byte)
{
    return (p->devices & DEV_UART) && uart_receive(&p->uart, byte);
}
