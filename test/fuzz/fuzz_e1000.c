/* SOURCES: net/e1000.c hv/lib.c */
/* A card that writes anything into its receive descriptors: frames that the driver passes on lie in
 * one of its buffers, and the driver recovers from everything. */
#include "net/e1000.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct e1000 e;
static uint8_t *memory;
static unsigned frames;
static uint32_t tail;

static uint32_t reg_read(void *ctx, uint32_t reg)
{
    (void)ctx;
    return reg == E1000_EERD ? E1000_EERD_DONE | 0x1202u << 16 : 0;
}

static void reg_write(void *ctx, uint32_t reg, uint32_t v)
{
    (void)ctx;
    if (reg == E1000_RDT)
        tail = v;
}

static void on_frame(void *ctx, const uint8_t *frame, size_t len)
{
    static uint8_t copy[E1000_BUFFER];

    (void)ctx;
    if (len == 0 || len > E1000_BUFFER || frame < e.rx_buffers ||
        frame + len > e.rx_buffers + (size_t)E1000_BUFFER * E1000_RX_COUNT)
        abort();
    memcpy(copy, frame, len);
    frames++;
}

/* The card fills the next descriptor that it owns. */
static void arrive(uint32_t *at, const uint8_t *data)
{
    struct e1000_rx_desc *d = &e.rx[*at];

    if (*at == tail)
        return;
    d->length = (uint16_t)(data[0] | data[1] << 8);
    d->errors = data[2] & 0x80 ? data[2] : 0;
    d->checksum = d->special = d->length;
    d->status = data[3];
    *at = (*at + 1) % E1000_RX_COUNT;
}

static void start(void)
{
    static const struct e1000_bus bus = {reg_read, reg_write, NULL};

    memory = aligned_alloc(4096, (E1000_MEMORY + 4095) & ~4095u);
    if (!memory)
        abort();
    memset(memory, 0, E1000_MEMORY);
    if (e1000_start(&e, &bus, memory))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t at;

    if (!memory)
        start();
    at = e.rx_next;
    for (; size >= 4; data += 4, size -= 4) {
        arrive(&at, data);
        if (data[2] & 1)
            (void)e1000_poll(&e, data[2] >> 1 & 7, on_frame, NULL);
        if (e.rx_next >= E1000_RX_COUNT || tail >= E1000_RX_COUNT)
            abort();
    }
    /* Then the card behaves again: a complete frame arrives. */
    while (e.rx[e.rx_next].status & E1000_RX_DONE)
        (void)e1000_poll(&e, 7, on_frame, NULL);
    for (; at != e.rx_next; at = (at + E1000_RX_COUNT - 1) % E1000_RX_COUNT)
        e.rx[(at + E1000_RX_COUNT - 1) % E1000_RX_COUNT].status = 0;
    e.rx_skip = false;
    e.rx[e.rx_next].length = 60;
    e.rx[e.rx_next].errors = 0;
    e.rx[e.rx_next].status = E1000_RX_DONE | E1000_RX_EOP;
    frames = 0;
    (void)e1000_poll(&e, 1, on_frame, NULL);
    if (frames != 1)
        abort();
    return 0;
}
