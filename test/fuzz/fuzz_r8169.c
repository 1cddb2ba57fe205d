/* SOURCES: net/r8169.c hv/lib.c */
/* A card that writes anything into its descriptors, one with each of their two forms: frames that
 * the driver passes on lie in one of its buffers, it gives everything back as it was, and it
 * recovers. */
#include "net/nic.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OWN     0x80000000u
#define EOR     0x40000000u
#define WHOLE   0x30000000u
#define TCR     0x40u
#define MCU     0xd3u
#define BUFFERS (16u * 640u) /* their offset in the driver's memory */

static struct card {
    uint32_t id, revision, count;
    struct nic nic;
    uint8_t *memory;
    uint32_t at; /* the descriptor that the driver looks at */
    unsigned frames;
} cards[] = {{.id = 0x816810ec, .revision = 0x54000000, .count = 512},
             {.id = 0x813910ec, .revision = 0x74800000, .count = 64}};

static int map(void *ctx, unsigned bar, size_t length)
{
    (void)ctx, (void)bar, (void)length;
    return 0;
}

/* Nothing is under way, and all is ready. */
static uint32_t reg_read(void *ctx, unsigned bar, uint32_t reg, unsigned size)
{
    const struct card *c = ctx;

    (void)bar, (void)size;
    return reg == TCR ? c->revision | 1u << 11 : reg == MCU ? 0x32 : reg < 6 ? 2 : 0;
}

static void reg_write(void *ctx, unsigned bar, uint32_t reg, unsigned size, uint32_t v)
{
    (void)ctx, (void)bar, (void)reg, (void)size, (void)v;
}

static void on_frame(void *ctx, const uint8_t *frame, size_t len)
{
    static uint8_t copy[NIC_BUFFER];
    struct card *c = ctx;

    if (len == 0 || len > NIC_BUFFER - 4 ||
        frame != c->memory + BUFFERS + (size_t)NIC_BUFFER * c->at)
        abort();
    memcpy(copy, frame, len);
    c->frames++;
}

static uint32_t *status(const struct card *c, uint32_t at)
{
    return (uint32_t *)(void *)(c->memory + 16 * (size_t)(at % c->count));
}

/* The driver looks at one descriptor. */
static bool receive(struct card *c)
{
    uint32_t given = OWN | (c->at + 1 == c->count ? EOR : 0) | NIC_BUFFER;

    if (!r8169_driver.receive(&c->nic, 1))
        return false;
    if (*status(c, c->at) != given)
        abort();
    c->at = (c->at + 1) % c->count;
    return true;
}

static void start(struct card *c)
{
    c->memory = aligned_alloc(4096, (r8169_driver.memory + 4095) & ~4095ull);
    if (!c->memory)
        abort();
    memset(c->memory, 0, r8169_driver.memory);
    c->nic = (struct nic){
        .id = c->id, .bus = {map, reg_read, reg_write, NULL, c}, .input = on_frame, .input_ctx = c};
    if (r8169_driver.probe(&c->nic) || r8169_driver.start(&c->nic, c->memory))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct card *c = &cards[size ? data[0] & 1 : 0];

    if (!c->memory)
        start(c);
    for (size_t at = 1; at + 5 <= size; at += 5) {
        memcpy(status(c, c->at + (data[at + 4] >> 4)), data + at, 4);
        for (unsigned budget = data[at + 4] & 7; budget && receive(c); budget--)
            ;
    }
    /* Then the card behaves again. */
    while (receive(c))
        ;
    c->frames = 0;
    *status(c, c->at) = WHOLE | 64;
    if (!receive(c) || c->frames != 1)
        abort();
    return 0;
}
