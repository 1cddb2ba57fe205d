/*
 * A small virtio-blk driver, polled. Its command line names what it does with each of its disks, in
 * order: "read" shows the first sector's text and the size; "write" also writes the text of the
 * second word there, flushes and reads it back; "time" measures reads. Then it draws bytes from a
 * virtio-rng, if there is one. After all of that it says "disk: done", waits for a byte and exits
 * with 0.
 */
#include "hv/pc/virtio_blk.h"
#include "hv/pc/virtio_rng.h"
#include "test/guests/lib/virtio.h"

#define QUEUE  8u
#define SECTOR VIRTIO_BLK_SECTOR
#define LARGE  (1u << 20)
#define SMALL  4096u
#define RUNS   20u
#define TEXT   32u
#define RANDOM 200u

static struct {
    VIRTQUEUE(QUEUE);
} queue;
static struct virtio_blk_header header;
static uint8_t status;
static uint8_t data[LARGE] __attribute__((aligned(4096)));

/* False: there is no such device, or it does not start. */
static bool start(uint16_t device, unsigned n)
{
    if (!find_device(device, n, 0))
        return false;
    memset(&queue, 0, sizeof(queue));
    queue.avail.flags = AVAIL_NO_INTERRUPT;
    set_queue(0, QUEUE, (uintptr_t)queue.desc, (uintptr_t)&queue.avail, (uintptr_t)&queue.used);
    return device_starts();
}

static uint8_t request(uint32_t type, uint64_t sector, uint32_t length)
{
    uint16_t done = (uint16_t)(queue.avail.index + 1);

    header = (struct virtio_blk_header){type, 0, sector};
    status = 0xff;
    queue.desc[0].address = (uintptr_t)&header;
    queue.desc[0].length = sizeof(header);
    queue.desc[0].flags = DESC_NEXT;
    queue.desc[0].next = length ? 1 : 2;
    queue.desc[1].address = (uintptr_t)data;
    queue.desc[1].length = length;
    queue.desc[1].flags = (uint16_t)(DESC_NEXT | (type == VIRTIO_BLK_OUT ? 0 : DESC_WRITE));
    queue.desc[1].next = 2;
    queue.desc[2].address = (uintptr_t)&status;
    queue.desc[2].length = 1;
    queue.desc[2].flags = DESC_WRITE;
    __atomic_store_n(&queue.avail.index, done, __ATOMIC_RELEASE);
    outw(REG(VIRTIO_NOTIFY), 0);
    while (__atomic_load_n(&queue.used.index, __ATOMIC_ACQUIRE) != done)
        ;
    return status;
}

static void read_first(unsigned n)
{
    uint32_t sectors = inl(REG(VIRTIO_CONFIG));
    unsigned first = request(VIRTIO_BLK_IN, 0, SECTOR), last, past;

    data[TEXT] = 0;
    say("disk %u: %u sectors, status %u, \"%s\"\n", n, sectors, first, (const char *)data);
    last = request(VIRTIO_BLK_IN, sectors - 1, SECTOR);
    past = request(VIRTIO_BLK_IN, sectors, SECTOR);
    say("disk %u: last sector: status %u, byte %u; past it: status %u\n", n, last, data[SECTOR - 1],
        past);
}

static void write_first(unsigned n, const char *text)
{
    unsigned wrote, flushed;

    memset(data, 0, SECTOR);
    memcpy(data, text, strlen(text));
    wrote = request(VIRTIO_BLK_OUT, 0, SECTOR);
    flushed = request(VIRTIO_BLK_FLUSH, 0, 0);
    memset(data, 0, SECTOR);
    (void)request(VIRTIO_BLK_IN, 0, SECTOR);
    data[TEXT] = 0;
    say("disk %u: wrote: status %u and %u, \"%s\"\n", n, wrote, flushed, (const char *)data);
}

/* The least of some runs: one without another guest's slice in it. */
static uint64_t least(uint32_t length)
{
    uint64_t best = UINT64_MAX;

    for (unsigned i = 0; i < RUNS; i++) {
        uint64_t before = tsc(), took;

        if (request(VIRTIO_BLK_IN, 0, length))
            say("disk: a read fails\n");
        took = tsc() - before;
        best = took < best ? took : best;
    }
    return best;
}

static void measure(void)
{
    say("bench: disk-4k %lu\n", least(SMALL));
    say("bench: disk-1m %lu\n", least(LARGE));
}

static void draw(void)
{
    unsigned other = 0;

    if (!start(VIRTIO_RNG_DEVICE, 0))
        return;
    memset(data, 0, RANDOM + 1);
    queue.desc[0].address = (uintptr_t)data;
    queue.desc[0].length = RANDOM;
    queue.desc[0].flags = DESC_WRITE;
    __atomic_store_n(&queue.avail.index, 1, __ATOMIC_RELEASE);
    outw(REG(VIRTIO_NOTIFY), 0);
    while (!__atomic_load_n(&queue.used.index, __ATOMIC_ACQUIRE))
        ;
    for (unsigned i = 1; i < RANDOM; i++)
        other += data[i] != data[i - 1];
    say("disk: %u random bytes, %s, then %u\n", queue.used.ring[0].length,
        other > RANDOM / 2 ? "all sorts" : "ALL ALIKE", data[RANDOM]);
}

static void wait_for_byte(void)
{
    while (!(inb(UART + UART_LSR) & UART_DATA_READY))
        ;
    (void)inb(UART);
}

void guest_main(const char *cmdline)
{
    char word[TEXT] = "", *text = word;
    unsigned n = 0;

    (void)str_copy(word, sizeof(word), cmdline);
    while (*text && *text != ' ')
        text++;
    if (*text)
        *text++ = 0;
    for (; pc_pci_ports(VIRTIO_PCI_VENDOR, VIRTIO_BLK_DEVICE, n); n++) {
        if (!start(VIRTIO_BLK_DEVICE, n)) {
            say("disk %u: does not start\n", n);
            continue;
        }
        read_first(n);
        if (strcmp(word, "write") == 0)
            write_first(n, text);
        else if (strcmp(word, "time") == 0)
            measure();
    }
    draw();
    say("disk: done, %u disks\n", n);
    wait_for_byte();
    guest_exit(0);
}
