/* SOURCES: net/segment.c net/transfer.c net/switch.c net/filter.c net/filter_learn.c net/facts.c
 * hv/lib.c */
/* Unfinished frames of any content through the switch. Input: what the receiver takes, struct
 * net_offload, the frame; the frame is made longer by repeating it. */
#include "net/transfer.h"

#include <stdlib.h>

#include "hv/lib.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t macs[2][6] = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}};
static struct vswitch s;
static uint8_t takes, *lent;
static size_t most, frames;

static void on_frame(void *ctx, const uint8_t *f, size_t n, const struct net_offload *o)
{
    (void)ctx;
    if (n < SWITCH_FRAME_MIN || n > SWITCH_FRAME_MAX || memcmp(f + 6, macs[0], 6) != 0 ||
        (o && (net_needed(o) & ~(uint32_t)takes)))
        abort();
    frames++;
}

static uint32_t on_takes(void *ctx)
{
    (void)ctx;
    return takes;
}

static uint8_t *on_borrow(void *ctx)
{
    (void)ctx;
    if (takes & 0x80)
        return NULL;
    lent = malloc(NET_SEGMENT_MAX);
    return lent;
}

static void on_give(void *ctx, uint8_t *segment, size_t n, const struct net_offload *o)
{
    (void)ctx;
    if (segment != lent || n > NET_SEGMENT_MAX || (n && (net_needed(o) & ~(uint32_t)takes)))
        abort();
    free(lent);
    lent = NULL;
    frames++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct net_offloads offloads = {on_takes, on_borrow, on_give};
    const struct net_config c = {
        .network = "n", .broadcasts_per_second = 1, .allow = NET_ALLOW_ALL};
    struct net_transfer t = {0};
    struct net_offload o;
    int ports[2];
    uint8_t *frame;
    size_t len;
    unsigned steps = 0;

    if (size < 4 + sizeof(o) + SWITCH_FRAME_MIN)
        return 0;
    takes = data[0];
    len = size - 4 - sizeof(o) + (size_t)(data[1] | data[2] << 8);
    most = len < NET_SEGMENT_MAX ? len : NET_SEGMENT_MAX;
    memcpy(&o, data + 4, sizeof(o));
    frame = malloc(most);
    t.scratch = malloc(NET_FRAME_MAX);
    if (!frame || !t.scratch)
        abort();
    for (size_t i = 0; i < most; i++)
        frame[i] = data[4 + sizeof(o) + i % (size - 4 - sizeof(o))];
    memcpy(frame, macs[1], 6);
    memcpy(frame + 6, macs[0], 6);
    switch_init(&s, 1000, false);
    for (unsigned i = 0; i < 2; i++) {
        ports[i] = switch_attach(&s, FILTER_GUEST, macs[i], &c, on_frame, NULL);
        switch_set_offloads(&s, (unsigned)ports[i], &offloads);
    }
    frames = 0;
    do {
        enum net_drop why = transfer_step(&s, (unsigned)ports[0], frame, most, &o, 1000, &t);

        if (why >= NET_DROPS || (why && t.state) || frames > ++steps)
            abort();
        if (steps == 1u + data[3])
            transfer_cancel(&s, &t);
    } while (t.state);
    if (lent || s.ports[ports[0]].delivering || s.ports[ports[1]].delivering || steps > most + 2)
        abort();
    free(frame);
    free(t.scratch);
    return 0;
}
