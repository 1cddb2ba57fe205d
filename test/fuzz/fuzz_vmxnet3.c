/* SOURCES: net/vmxnet3.c hv/lib.c */
/* A card that writes anything into its completions: frames that the driver passes on lie in one of
 * its buffers, what it tells the card is in the rings, and the driver goes on once the card
 * behaves.
 */
#include "net/vmxnet3.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct nic nic;
static struct vmxnet3_memory *memory;
static unsigned frames;
static uint32_t last_command, tail, sent;

static int map(void *ctx, unsigned bar, size_t length)
{
    (void)ctx;
    if (bar > 1 || length > VMXNET3_REGISTERS)
        abort();
    return 0;
}

static uint32_t reg_read(void *ctx, unsigned bar, uint32_t at, unsigned size)
{
    (void)ctx, (void)size;
    if (bar != 1)
        abort();
    return at == VMXNET3_CMD ? (last_command == VMXNET3_GET_PERM_MAC_LO ? 2 : 0) : 1;
}

static void reg_write(void *ctx, unsigned bar, uint32_t at, unsigned size, uint32_t v)
{
    (void)ctx, (void)size;
    if (bar == 1 && at == VMXNET3_CMD)
        last_command = v;
    if (bar == 0 && at == VMXNET3_RXPROD)
        tail = v;
    if (bar == 0 && at == VMXNET3_TXPROD)
        sent = v;
    if (tail >= VMXNET3_RX_COUNT || sent >= VMXNET3_TX_COUNT)
        abort();
}

static void on_frame(void *ctx, const uint8_t *frame, size_t len)
{
    static uint8_t copy[NIC_BUFFER];
    size_t at = (size_t)(frame - memory->rx_buffers[0]);

    (void)ctx;
    if (len == 0 || len > NIC_BUFFER || at % NIC_BUFFER || at >= sizeof(memory->rx_buffers))
        abort();
    memcpy(copy, frame, len);
    frames++;
}

static void start(void)
{
    if (!memory)
        memory = aligned_alloc(PAGE_SIZE, align_up(sizeof(*memory), PAGE_SIZE));
    if (!memory)
        abort();
    memset(memory, 0, sizeof(*memory));
    nic = (struct nic){
        .bus = {map, reg_read, reg_write, NULL, NULL}, .irq = ARCH_IRQ_LINE, .input = on_frame};
    if (vmxnet3_driver.probe(&nic) || vmxnet3_driver.start(&nic, memory))
        abort();
    vmxnet3_driver.listen(&nic);
    memory->rx_queue.update_rxprod = 1;
}

/* The next completion to be looked at. */
static struct vmxnet3_done *next(uint32_t *flags)
{
    uint32_t taken = (uint32_t)(nic.rx_frames + nic.rx_dropped);

    *flags = (~(taken / VMXNET3_RX_COUNT) & 1) << VMXNET3_DONE_GEN;
    return &memory->rx_done[taken % VMXNET3_RX_COUNT];
}

/* Then the card behaves: a frame arrives. */
static void behave(void)
{
    uint32_t flags;
    struct vmxnet3_done *d;

    while (vmxnet3_driver.receive(&nic, 64))
        ;
    d = next(&flags);
    d->what = VMXNET3_DONE_WHOLE | (tail + 1) % VMXNET3_RX_COUNT;
    d->length = 60;
    d->flags = flags;
    frames = 0;
    if (vmxnet3_driver.receive(&nic, 1) != 1 || frames != 1)
        abort();
}

static void step(const uint8_t *d)
{
    static const uint8_t frame[60];
    uint32_t flags;
    struct vmxnet3_done *done = next(&flags);

    switch (d[0] & 3) {
    case 0: /* a completion, honest or not */
        done->what = (d[0] & 4 ? VMXNET3_DONE_WHOLE : d[2] * 0x1010100u) | d[1];
        done->what += d[0] & 8 ? tail : 0;
        done->length = d[3] | (uint32_t)d[2] << 8;
        done->flags = flags;
        break;
    case 1: /* what it has no reason to write to */
        memory->rx_done[(d[1] | (uint32_t)d[2] << 8) % VMXNET3_RX_COUNT].flags = d[3] * 0x1010101u;
        memory->tx_done[d[1] % VMXNET3_TX_COUNT].flags = d[3] * 0x1010101u;
        memory->shared.events = d[2];
        break;
    case 2:
        (void)vmxnet3_driver.interrupt(&nic);
        if (vmxnet3_driver.receive(&nic, d[1] & 7) > (d[1] & 7))
            abort();
        break;
    default:
        (void)vmxnet3_driver.send(&nic, frame, sizeof(frame));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    start();
    for (size_t i = 0; i + 4 <= size; i += 4)
        step(data + i);
    behave();
    return 0;
}
