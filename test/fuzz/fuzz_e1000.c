/* SOURCES: net/e1000.c net/intel.c hv/lib.c */
/* A card that writes anything into its receive descriptors: frames that the driver passes on lie in
 * one of its buffers, and the driver recovers from everything. */
#include "net/intel.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct nic nic;
static struct intel *rings;
static uint8_t *memory;
static unsigned frames;
static uint32_t tail;

static int map(void *ctx, unsigned bar, size_t length)
{
    (void)ctx, (void)bar, (void)length;
    return 0;
}

static uint32_t reg_read(void *ctx, unsigned bar, uint32_t reg, unsigned size)
{
    (void)ctx, (void)bar, (void)size;
    return reg == INTEL_RAL0 ? 0x12005452 : 0;
}

static void reg_write(void *ctx, unsigned bar, uint32_t reg, unsigned size, uint32_t v)
{
    (void)ctx, (void)bar, (void)size;
    if (reg == INTEL_RDT)
        tail = v;
}

static void on_frame(void *ctx, const uint8_t *frame, size_t len)
{
    static uint8_t copy[NIC_BUFFER];

    (void)ctx;
    if (len == 0 || len > NIC_BUFFER || frame < rings->rx_buffers ||
        frame + len > rings->rx_buffers + (size_t)NIC_BUFFER * INTEL_RX_COUNT)
        abort();
    memcpy(copy, frame, len);
    frames++;
}

/* The card fills the next descriptor that it owns. */
static void arrive(uint32_t *at, const uint8_t *data)
{
    struct intel_rx_desc *d = &rings->rx[*at];

    if (*at == tail)
        return;
    d->length = (uint16_t)(data[0] | data[1] << 8);
    d->errors = data[2] & 0x80 ? data[2] : 0;
    d->checksum = d->special = d->length;
    d->status = data[3];
    *at = (*at + 1) % INTEL_RX_COUNT;
}

static void start(void)
{
    memory = aligned_alloc(4096, (INTEL_MEMORY + 4095) & ~4095u);
    if (!memory)
        abort();
    memset(memory, 0, INTEL_MEMORY);
    nic = (struct nic){.bus = {map, reg_read, reg_write, NULL, NULL}, .input = on_frame};
    rings = (struct intel *)(void *)nic.state;
    if (e1000_driver.probe(&nic) || e1000_driver.start(&nic, memory))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t at;

    if (!memory)
        start();
    at = rings->rx_next;
    for (; size >= 4; data += 4, size -= 4) {
        arrive(&at, data);
        if (data[2] & 1)
            (void)e1000_driver.receive(&nic, data[2] >> 1 & 7);
        if (rings->rx_next >= INTEL_RX_COUNT || tail >= INTEL_RX_COUNT)
            abort();
    }
    /* Then the card behaves again: a complete frame arrives. */
    while (rings->rx[rings->rx_next].status & INTEL_RX_DONE)
        (void)e1000_driver.receive(&nic, 7);
    for (; at != rings->rx_next; at = (at + INTEL_RX_COUNT - 1) % INTEL_RX_COUNT)
        rings->rx[(at + INTEL_RX_COUNT - 1) % INTEL_RX_COUNT].status = 0;
    rings->rx_skip = false;
    rings->rx[rings->rx_next].length = 60;
    rings->rx[rings->rx_next].errors = 0;
    rings->rx[rings->rx_next].status = INTEL_RX_DONE | INTEL_RX_EOP;
    frames = 0;
    (void)e1000_driver.receive(&nic, 1);
    if (frames != 1)
        abort();
    return 0;
}
