#include "hv/pc/platform.h"

#include "hv/lib.h"
#include "hv/pc/irqchip.h"

/* All devices. At the same time, earlier rows go first. */
static const struct slot {
    const struct device *device;
    size_t at; /* in struct platform */
} slots[] = {
    {&pic_device, offsetof(struct platform, pic)},
    {&pci_device, offsetof(struct platform, pci)},
    {&ioapic_device, offsetof(struct platform, ioapic)},
    {&virtio_net_device, offsetof(struct platform, net)},
    {&virtio_blk_device, offsetof(struct platform, disks[0])},
    {&virtio_blk_device, offsetof(struct platform, disks[1])},
    {&virtio_blk_device, offsetof(struct platform, disks[2])},
    {&virtio_blk_device, offsetof(struct platform, disks[3])},
    {&virtio_rng_device, offsetof(struct platform, rng)},
    {&virtio_console_device, offsetof(struct platform, console)},
    {&ivshmem_device, offsetof(struct platform, shared[0])},
    {&ivshmem_device, offsetof(struct platform, shared[1])},
    {&ivshmem_device, offsetof(struct platform, shared[2])},
    {&ivshmem_device, offsetof(struct platform, shared[3])},
    {&pit_device, offsetof(struct platform, pit)},
    {&rtc_device, offsetof(struct platform, rtc)},
    {&uart_device, offsetof(struct platform, uart)},
    {&i8042_device, offsetof(struct platform, i8042)},
    {&hpet_device, offsetof(struct platform, hpet)},
    {&acpi_pm_device, offsetof(struct platform, acpi_pm)},
    {&reset_device, offsetof(struct platform, reset)},
    {&control_device, offsetof(struct platform, reset)},
    {&exit_device, offsetof(struct platform, reset)},
    {&watchdog_device, offsetof(struct platform, watchdog)},
};

static void *dev_of(struct platform *p, const struct slot *s)
{
    return (uint8_t *)p + s->at;
}

static void raise_line(void *ctx, unsigned irq, bool level)
{
    irqchip_raise(ctx, irq, level);
}

static void pulse_line(void *ctx, unsigned irq)
{
    irqchip_pulse(ctx, irq);
}

static enum irq_state line_state(void *ctx, unsigned irq)
{
    return irqchip_state(ctx, irq);
}

/* From those whose interrupts the HPET can replace. */
static void raise_legacy(void *ctx, unsigned irq, bool level)
{
    const struct platform *p = ctx;

    if (!hpet_is_legacy(&p->hpet))
        raise_line(ctx, irq, level);
}

static void pulse_legacy(void *ctx, unsigned irq)
{
    const struct platform *p = ctx;

    if (!hpet_is_legacy(&p->hpet))
        pulse_line(ctx, irq);
}

/* Their lines are at their own levels again. */
static void drive_legacy(void *ctx)
{
    struct platform *p = ctx;

    pit_drive(&p->pit);
    rtc_drive(&p->rtc);
}

static int send_message(void *ctx, uint64_t address, uint32_t data)
{
    return irqchip_msi(ctx, address, data);
}

void platform_reset(struct platform *p, uint32_t devices, uint64_t now, uint64_t tsc_hz,
                    uint64_t epoch, uint64_t memory, const struct platform_host *host)
{
    struct device_env env = {.clock = &p->clock,
                             .devices = devices,
                             .bus = &p->bus,
                             .pci = &p->pci,
                             .msi = devices & DEV_APIC ? send_message : NULL,
                             .rerouted = drive_legacy,
                             .merge_ticks = p->timer_ticks == TICKS_MERGE,
                             .epoch = epoch,
                             .memory = memory,
                             .host = &p->host};
    void (*raise)(void *, unsigned, bool) = devices & (DEV_PIC | DEV_APIC) ? raise_line : NULL;
    unsigned timers = 0;

    p->clock = (struct dev_clock){now, tsc_hz};
    p->power_on.tsc = now;
    p->power_on.epoch = epoch;
    p->devices = devices;
    p->host = *host;
    for (size_t i = 0; i < ARRAY_LEN(slots); i++) {
        const struct device *d = slots[i].device;
        void *dev = dev_of(p, &slots[i]);

        env.irq = (struct irq_line){raise, p, d->irq, line_state, pulse_line};
        if (d == &pit_device || d == &rtc_device) {
            env.irq.set = raise ? raise_legacy : NULL;
            env.irq.pulse = pulse_legacy;
        }
        if (d->reset)
            d->reset(dev, &env);
        if (d->deadline)
            p->timers[timers++] = (struct platform_timer){device_time(dev, d->deadline), dev, d};
    }
    platform_set_event(p, NEVER);
}

void platform_disconnect(struct platform *p)
{
    memset(&p->bus, 0, sizeof(p->bus));
}

static int connect(struct platform *p, const struct slot *s)
{
    const struct device *d = s->device;
    int rc = 0;

    for (unsigned i = 0; i < DEVICE_PORTS && d->ports[i].ops && rc == 0; i++)
        rc = io_claim(&p->bus, d->ports[i].first, d->ports[i].last, d->ports[i].ops, dev_of(p, s));
    if (rc == 0 && d->memory.ops)
        rc = mmio_claim(&p->bus, d->memory.base, d->memory.size, d->memory.ops, dev_of(p, s));
    return rc;
}

_Static_assert(ARRAY_LEN(slots) >= ABI_VCPUS_MAX, "each vCPU's local APIC has a step");

unsigned platform_slots(void)
{
    return ARRAY_LEN(slots);
}

int platform_connect(struct platform *p, uint32_t devices, unsigned slot)
{
    return slots[slot].device->bit & devices ? connect(p, &slots[slot]) : 0;
}

void platform_plug(struct platform *p, unsigned slot)
{
    const struct slot *s = &slots[slot];
    const struct device_env env = {
        .devices = p->devices, .pci = &p->pci, .virtio = p->virtio, .host = &p->host};

    if (slot < ABI_VCPUS_MAX)
        irqchip_reset(p, slot);
    if (s->device->plug)
        s->device->plug(dev_of(p, s), &env);
}

int platform_watch(struct platform *p, uint64_t patience)
{
    const struct slot watchdog = {&watchdog_device, offsetof(struct platform, watchdog)};

    p->watchdog.patience = patience;
    return connect(p, &watchdog);
}

void platform_lock(struct platform *p, uint64_t now)
{
    spin_lock(&p->lock);
    p->clock.now = max_u64(p->clock.now, now);
    p->before.next_event = p->next_event;
    p->before.intr = p->pic.intr;
}

void platform_unlock(struct platform *p, unsigned vcpu)
{
    bool earlier = p->next_event < p->before.next_event || (p->pic.intr && !p->before.intr);

    spin_unlock(&p->lock);
    if (earlier && vcpu != 0)
        p->host.kick(p->host.ctx, 0);
}

/* vCPU 0 was last told what held before the access, or has seen what it finds meanwhile. */
void platform_rest(struct platform *p, uint64_t now)
{
    uint64_t next_event = p->before.next_event;
    bool intr = p->before.intr;

    spin_unlock(&p->lock);
    platform_lock(p, now);
    p->before.next_event = max_u64(p->before.next_event, next_event);
    p->before.intr &= intr;
}

void platform_shift(struct platform *p, uint64_t ticks)
{
    p->power_on.tsc += ticks;
    for (size_t i = 0; i < ARRAY_LEN(slots); i++)
        device_shift(slots[i].device, dev_of(p, &slots[i]), ticks);
    for (unsigned i = 0; i < p->vcpus; i++)
        lapic_shift(&p->lapic[i], ticks);
    platform_set_event(p, platform_deadline(p));
}

void platform_update(struct platform *p)
{
    uint64_t now = p->clock.now;

    for (unsigned i = 0; i < PLATFORM_TIMERS; i++)
        if (now >= *p->timers[i].deadline)
            p->timers[i].device->update(p->timers[i].dev);
    platform_set_event(p, platform_deadline(p));
}

bool platform_console_input(struct platform *p, uint8_t byte)
{
    bool room;

    if (!virtio_console_is_open(&p->console))
        return (p->devices & DEV_UART) && uart_receive(&p->uart, byte);
    room = virtio_console_type(&p->console, byte);
    platform_set_event(p, 0);
    return room;
}
