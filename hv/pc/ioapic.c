#include "hv/pc/ioapic.h"

#include "hv/config.h"
#include "hv/lib.h"

#define SELECT        0x00u
#define DATA          0x10u
#define EOI           0x40u
#define INDEX_ID      0u
#define INDEX_VERSION 1u
#define INDEX_ARB     2u
#define INDEX_ENTRIES 0x10u
#define VERSION       (0x20u | (IOAPIC_PINS - 1) << 16)
#define ID_SHIFT      24
#define ID_MASK       0xfu
#define READ_ONLY     ((1ull << 12) | IOAPIC_REMOTE_IRR)
#define WRITABLE      (0xff0000000001ffffull & ~READ_ONLY)

static void send(struct ioapic *io, unsigned pin)
{
    uint64_t *e = &io->entry[pin];

    if (io->send(io->ctx, *e) && (*e & IOAPIC_LEVEL))
        *e |= IOAPIC_REMOTE_IRR;
}

/* A level-triggered pin whose line is asserted sends, unless it waits for an EOI. */
static void check_level(struct ioapic *io, unsigned pin)
{
    if ((io->entry[pin] & (IOAPIC_LEVEL | IOAPIC_MASKED | IOAPIC_REMOTE_IRR)) == IOAPIC_LEVEL &&
        (io->lines >> pin & 1))
        send(io, pin);
}

void ioapic_set(struct ioapic *io, unsigned pin, bool level)
{
    uint32_t before = io->lines;

    io->lines = (before & ~(1u << pin)) | (uint32_t)level << pin;
    if (io->entry[pin] & IOAPIC_LEVEL)
        check_level(io, pin);
    else if ((io->lines & ~before) && !(io->entry[pin] & IOAPIC_MASKED))
        send(io, pin);
}

void ioapic_pulse(struct ioapic *io, unsigned pin)
{
    io->lines |= 1u << pin;
    if (io->entry[pin] & IOAPIC_LEVEL)
        check_level(io, pin);
    else if (!(io->entry[pin] & IOAPIC_MASKED))
        send(io, pin);
}

void ioapic_eoi(struct ioapic *io, uint8_t vector)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t *e = &io->entry[pin];

        if (!(*e & IOAPIC_REMOTE_IRR) || (*e & IOAPIC_VECTOR) != vector)
            continue;
        *e &= ~IOAPIC_REMOTE_IRR;
        check_level(io, pin);
    }
}

static void write_entry(struct ioapic *io, unsigned index, uint32_t value)
{
    unsigned pin = index / 2, shift = index % 2 * 32;
    uint64_t *e, old, next;

    if (pin >= IOAPIC_PINS)
        return;
    e = &io->entry[pin];
    old = *e & READ_ONLY;
    next = (*e & ~(0xffffffffull << shift)) | (uint64_t)value << shift;
    *e = (next & WRITABLE) | old;
    /* Guests rely on this to end a level-triggered interrupt without its EOI. */
    if (!(*e & IOAPIC_LEVEL))
        *e &= ~IOAPIC_REMOTE_IRR;
    check_level(io, pin);
}

static void write_data(struct ioapic *io, uint32_t value)
{
    if (io->select >= INDEX_ENTRIES)
        write_entry(io, io->select - INDEX_ENTRIES, value);
    else if (io->select == INDEX_ID)
        io->id = value >> ID_SHIFT & ID_MASK;
}

static uint32_t read_data(const struct ioapic *io)
{
    unsigned index = io->select, pin = (index - INDEX_ENTRIES) / 2;

    if (index == INDEX_ID || index == INDEX_ARB)
        return (uint32_t)io->id << ID_SHIFT;
    if (index == INDEX_VERSION)
        return VERSION;
    if (index < INDEX_ENTRIES || pin >= IOAPIC_PINS)
        return 0;
    return (uint32_t)(io->entry[pin] >> index % 2 * 32);
}

static uint64_t mmio_in(void *dev, uint64_t offset, unsigned size)
{
    const struct ioapic *io = dev;

    (void)size;
    return offset == DATA ? read_data(io) : offset == SELECT ? io->select : 0;
}

static void mmio_out(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct ioapic *io = dev;

    (void)size;
    if (offset == SELECT)
        io->select = (uint8_t)value;
    else if (offset == DATA)
        write_data(io, (uint32_t)value);
    else if (offset == EOI)
        ioapic_eoi(io, (uint8_t)value);
}

static const struct mmio_ops ops = {mmio_in, mmio_out, 4};

const struct device ioapic_device = {
    .bit = DEV_APIC,
    .memory = {IOAPIC_BASE, PAGE_SIZE, &ops},
};

void ioapic_reset(struct ioapic *io, unsigned id, bool (*send_entry)(void *ctx, uint64_t entry),
                  void *ctx)
{
    memset(io, 0, sizeof(*io));
    io->send = send_entry;
    io->ctx = ctx;
    io->id = id & ID_MASK;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
        io->entry[pin] = IOAPIC_MASKED;
}
