/*
 * A virtio-console's messages (MSI-X) as its driver gets them, by a local APIC: masked, pending,
 * changed and lost ones, and the interrupt line without them. Prints how many results were right
 * and wrong; the exit code counts the wrong ones. PCI Local Bus Specification 3.0, "MSI-X".
 */
#include "hv/pc/virtio_console.h"

#include "hv/pc/pci_registers.h"
#include "test/guests/lib/apic.h"
#include "test/guests/lib/virtio.h"

#define QUEUE      8u
#define SLOT       VIRTIO_CONSOLE_SLOT
#define QUEUE_AT   0x61u /* vectors */
#define CONFIG_AT  0x72u
#define OTHER_AT   0x83u
#define LINE_AT    0x94u
#define TABLE      0x1000u
#define PENDING    0x1800u
#define MASKED     1u
#define ENABLE     0x8000u
#define ALL_MASKED 0x4000u
#define NO_VECTOR  0xffffu

static struct {
    VIRTQUEUE(QUEUE);
} queue;

static unsigned right, wrong;
static volatile unsigned seen[256];
static uintptr_t base; /* of its memory */
static unsigned msix;  /* offset of the capability */

static void check(const char *name, bool ok, uint64_t a, uint64_t b)
{
    if (ok) {
        right++;
        return;
    }
    wrong++;
    say("virtio: %s: WRONG (0x%lx, 0x%lx)\n", name, a, b);
}

static uint32_t read32(unsigned at)
{
    return *(volatile uint32_t *)(base + at);
}

static void write32(unsigned at, uint32_t v)
{
    *(volatile uint32_t *)(base + at) = v;
}

static void *config_space(unsigned at)
{
    return (void *)((uintptr_t)PCI_ECAM + SLOT * 0x8000u + at);
}

static void set_control(unsigned v)
{
    *(volatile uint16_t *)config_space(msix + 2) = (uint16_t)v;
}

void apic_interrupt(uint64_t vector)
{
    seen[vector]++;
    if (vector == LINE_AT)
        check("ISR", inb(REG(VIRTIO_ISR)) == 1, 0, 0); /* which lowers the line */
    apic_write(0xb0, 0);
}

/* Since the last call this vector has come this many times, and no other. */
static void expect(const char *name, unsigned vector, unsigned times)
{
    __asm__ volatile("sti; nop; nop; cli" ::: "memory");
    check(name, seen[vector] == times, seen[vector], times);
    seen[vector] = 0;
    for (unsigned i = 0; i < ARRAY_LEN(seen); i++) {
        check(name, !seen[i], i, seen[i]);
        seen[i] = 0;
    }
}

static void set_message(unsigned n, unsigned vector, uint32_t control)
{
    write32(TABLE + 16 * n, (uint32_t)APIC_PAGE);
    write32(TABLE + 16 * n + 4, 0);
    write32(TABLE + 16 * n + 8, vector);
    write32(TABLE + 16 * n + 12, control);
}

/* The queue's message is 1, that for changes 0. */
static void start(void)
{
    memset(&queue, 0, sizeof(queue));
    check("driver", find_device(VIRTIO_CONSOLE_DEVICE, 0, 0), 0, 0);
    outw(REG(VIRTIO_CONFIG_VECTOR), 0);
    set_queue(VIRTIO_CONSOLE_OUT, QUEUE, (uintptr_t)queue.desc, (uintptr_t)&queue.avail,
              (uintptr_t)&queue.used);
    outw(REG(VIRTIO_QUEUE_VECTOR), 1);
    check("ready", device_starts(), 0, 0);
}

/* Its end is what interrupts. */
static void print(const char *text)
{
    uint16_t done = (uint16_t)(queue.avail.index + 1);

    queue.desc[0].address = (uintptr_t)text;
    queue.desc[0].length = (uint32_t)strlen(text);
    __atomic_store_n(&queue.avail.index, done, __ATOMIC_RELEASE);
    outw(REG(VIRTIO_NOTIFY), VIRTIO_CONSOLE_OUT);
    while (__atomic_load_n(&queue.used.index, __ATOMIC_ACQUIRE) != done)
        ;
}

static bool find(void)
{
    const volatile uint32_t *identity = config_space(PCI_VENDOR);
    unsigned at = *(volatile uint8_t *)config_space(PCI_CAPABILITIES);

    if (*identity != (VIRTIO_CONSOLE_DEVICE << 16 | VIRTIO_PCI_VENDOR))
        return false;
    *(volatile uint16_t *)config_space(PCI_COMMAND) =
        PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    base = *(volatile uint32_t *)config_space(PCI_BAR + 8) & ~0xfu;
    for (; at && !msix; at = *(volatile uint8_t *)config_space(at + 1))
        if (*(volatile uint8_t *)config_space(at) == PCI_CAP_MSIX)
            msix = at;
    return msix;
}

static void try_masks(void)
{
    set_message(0, CONFIG_AT, 0);
    set_message(1, QUEUE_AT, 0);
    set_control(ENABLE);
    start();
    check("its message", inw(REG(VIRTIO_QUEUE_VECTOR)) == 1, inw(REG(VIRTIO_QUEUE_VECTOR)), 1);
    print("virtio: a line on the virtio console\n");
    expect("message", QUEUE_AT, 1);
    check("ISR", inb(REG(VIRTIO_ISR)) == 0, 0, 0); /* messages leave it alone */
    set_message(1, QUEUE_AT, MASKED);
    print(".");
    print(".");
    expect("masked message", QUEUE_AT, 0);
    check("pending", read32(PENDING) == 2, read32(PENDING), 2);
    write32(TABLE + 16 + 8, OTHER_AT);
    write32(TABLE + 16 + 12, 0);
    expect("unmasked and changed", OTHER_AT, 1);
    check("nothing pending", read32(PENDING) == 0, read32(PENDING), 0);
    set_control(ENABLE | ALL_MASKED);
    print(".");
    expect("masked function", OTHER_AT, 0);
    check("pending", read32(PENDING) == 2, read32(PENDING), 2);
    set_control(ENABLE);
    expect("unmasked function", OTHER_AT, 1);
    queue.avail.flags = AVAIL_NO_INTERRUPT;
    print(".");
    expect("not wanted", OTHER_AT, 0);
    queue.avail.flags = 0;
    outw(REG(VIRTIO_QUEUE_VECTOR), NO_VECTOR);
    print(".\n");
    expect("no message", OTHER_AT, 0);
    check("pending", read32(PENDING) == 0, read32(PENDING), 0);
    outw(REG(VIRTIO_QUEUE_VECTOR), 1);
}

static void try_sleep(void)
{
    for (unsigned i = 0; i < 20; i++) {
        print("");
        sleep_until_irq();
        expect("sleep", OTHER_AT, 1);
    }
}

/* A broken ring: the device has changed, and needs a reset. */
static void try_change(void)
{
    queue.avail.index = (uint16_t)(queue.avail.index + 2 * QUEUE);
    outw(REG(VIRTIO_NOTIFY), VIRTIO_CONSOLE_OUT);
    expect("change", CONFIG_AT, 1);
    check("status", inb(REG(VIRTIO_STATUS)) & VIRTIO_NEEDS_RESET, inb(REG(VIRTIO_STATUS)), 0);
}

static void set_line(uint32_t low)
{
    ioapic_write(0x11 + 2 * PCI_GSI(SLOT), 0);
    ioapic_write(0x10 + 2 * PCI_GSI(SLOT), low);
}

static void try_line(void)
{
    set_control(0);
    start();
    set_line(0x8000 | LINE_AT); /* level-triggered */
    print("virtio: by its line\n");
    expect("line", LINE_AT, 1);
    set_control(ENABLE);
    print("virtio: by messages again\n");
    expect("message again", OTHER_AT, 1);
    set_line(0x10000);
}

void guest_main(const char *cmdline)
{
    (void)cmdline;
    apic_vectors();
    apic_write(0xf0, 0x1ff);
    if (!find()) {
        say("virtio: no virtio-console with MSI-X\n");
        guest_exit(1);
    }
    try_masks();
    try_sleep();
    try_change();
    try_line();
    say("virtio: %u right, %u wrong\n", right, wrong);
    guest_exit(wrong);
}
