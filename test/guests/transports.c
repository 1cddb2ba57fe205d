/*
 * A virtio disk and a virtio console by the legacy registers of transitional devices, or ("mmio" on
 * the command line) as memory-mapped ones, as a kernel without a local APIC drives them: one queue
 * of full size, interrupts by the 8259s. Reads the disk's first sector, and prints on the console.
 */
#include "hv/pc/virtio_blk.h"
#include "hv/pc/virtio_console.h"
#include "hv/pc/virtio_legacy.h"
#include "hv/pc/virtio_mmio.h"
#include "test/guests/lib/guest.h"

#define SIZE        256u
#define NEXT        1u
#define WRITE       2u
#define TEXT        32u
#define DISK_OLD    0x1001u
#define CONSOLE_OLD 0x1003u
#define DRIVER      (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER)

/* Where the legacy registers expect the parts. */
static struct {
    struct {
        uint64_t address;
        uint32_t length;
        uint16_t flags, next;
    } desc[SIZE];
    struct {
        uint16_t flags, index, ring[SIZE];
    } avail;
    struct {
        uint16_t flags, index;
        struct {
            uint32_t id, length;
        } ring[SIZE];
    } used __attribute__((aligned(LEGACY_PAGE)));
} queue __attribute__((aligned(LEGACY_PAGE)));

static bool mmio;
static uint16_t ports;
static uintptr_t base;
static volatile unsigned interrupts;
static struct virtio_blk_header header;
static uint8_t sector[VIRTIO_BLK_SECTOR], status;

static uint32_t get(unsigned at)
{
    return *(volatile uint32_t *)(base + at);
}

static void set(unsigned at, uint32_t v)
{
    *(volatile uint32_t *)(base + at) = v;
}

static void on_interrupt(void)
{
    uint32_t why = mmio ? get(MMIO_ISR) : inb((uint16_t)(ports + LEGACY_ISR));

    if (mmio)
        set(MMIO_ACKNOWLEDGE, why);
    interrupts += why & 1;
}

static void set_address(unsigned at, const void *p)
{
    set(at, (uint32_t)(uintptr_t)p);
    set(at + 4, (uint32_t)((uintptr_t)p >> 32));
}

static bool start_mmio(unsigned slot, unsigned type, unsigned number)
{
    base = VIRTIO_MMIO_AT(slot);
    if (get(MMIO_MAGIC) != MMIO_IS_MAGIC || get(MMIO_VERSION) != MMIO_IS_VERSION ||
        get(MMIO_DEVICE) != type)
        return false;
    set(0x070, 0);
    set(0x070, DRIVER);
    set(0x024, 1);
    set(0x020, VIRTIO_F_VERSION_1 >> 32);
    set(0x070, DRIVER | VIRTIO_FEATURES_OK);
    set(0x030, number);
    set(0x038, SIZE);
    set_address(0x080, queue.desc);
    set_address(0x090, &queue.avail);
    set_address(0x0a0, &queue.used);
    set(MMIO_QUEUE_READY, 1);
    set(0x070, DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
    return true;
}

static bool start_legacy(uint16_t device, uint16_t number)
{
    ports = pc_pci_ports(VIRTIO_PCI_VENDOR, device, 0);
    if (!ports)
        return false;
    outb((uint16_t)(ports + LEGACY_STATUS), 0);
    outb((uint16_t)(ports + LEGACY_STATUS), DRIVER);
    outl((uint16_t)(ports + LEGACY_DRIVER_FEATURES), 0);
    outw((uint16_t)(ports + LEGACY_QUEUE_SELECT), number);
    if (inw((uint16_t)(ports + LEGACY_QUEUE_SIZE)) != SIZE)
        return false;
    outl((uint16_t)(ports + LEGACY_QUEUE_PAGE), (uint32_t)((uintptr_t)&queue / LEGACY_PAGE));
    outb((uint16_t)(ports + LEGACY_STATUS), DRIVER | VIRTIO_DRIVER_OK);
    return true;
}

/* Offers the chain that begins with the first descriptor, and sleeps until it is used. */
static void transfer(uint16_t number)
{
    unsigned before = interrupts;

    __atomic_store_n(&queue.avail.index, (uint16_t)(queue.avail.index + 1), __ATOMIC_RELEASE);
    if (mmio)
        set(0x050, number);
    else
        outw((uint16_t)(ports + LEGACY_NOTIFY), number);
    while (interrupts == before)
        sleep_until_irq();
}

static void describe(unsigned n, void *p, uint32_t length, uint16_t flags)
{
    queue.desc[n].address = (uintptr_t)p;
    queue.desc[n].length = length;
    queue.desc[n].flags = flags;
    queue.desc[n].next = (uint16_t)(n + 1);
}

static void read_disk(void)
{
    memset(&queue, 0, sizeof(queue));
    irq_handle(PCI_GSI(VIRTIO_BLK_SLOT), on_interrupt);
    if (mmio ? !start_mmio(VIRTIO_BLK_SLOT, 2, 0) : !start_legacy(DISK_OLD, 0)) {
        say("transports: no disk\n");
        guest_exit(1);
    }
    header.type = VIRTIO_BLK_IN;
    status = 0xff;
    describe(0, &header, sizeof(header), NEXT);
    describe(1, sector, sizeof(sector), NEXT | WRITE);
    describe(2, &status, 1, WRITE);
    transfer(0);
    sector[TEXT] = 0;
    say("transports: %u sectors, status %u, %u bytes, \"%s\"\n",
        mmio ? get(MMIO_CONFIG) : inl((uint16_t)(ports + LEGACY_CONFIG)), status,
        queue.used.ring[0].length, (const char *)sector);
}

static void print(void)
{
    static char text[] = "transports: this is the virtio console\n";

    memset(&queue, 0, sizeof(queue));
    irq_handle(PCI_GSI(VIRTIO_CONSOLE_SLOT), on_interrupt);
    if (mmio ? !start_mmio(VIRTIO_CONSOLE_SLOT, 3, VIRTIO_CONSOLE_OUT)
             : !start_legacy(CONSOLE_OLD, VIRTIO_CONSOLE_OUT)) {
        say("transports: no console\n");
        guest_exit(1);
    }
    describe(0, text, sizeof(text) - 1, 0);
    transfer(VIRTIO_CONSOLE_OUT);
}

void guest_main(const char *cmdline)
{
    mmio = strcmp(cmdline, "mmio") == 0;
    read_disk();
    print();
    say("transports: %u interrupts\n", interrupts);
    guest_exit(0);
}
