/*
 * TCP segments of 64 KB from guest to guest. The command line gives the role: "whole" takes them as
 * they are, "cut" takes frames of the wire's size, "send" sends to both, which check what they get,
 * and then measures how long a "whole" takes for some. The sender's address is 10.9.0.1.
 */
#include "test/guests/lib/guest.h"
#include "test/guests/lib/vnet.h"

#define LENGTH      65536u /* of a frame, with its headers */
#define IP          14u
#define TCP         34u
#define PAYLOAD     54u
#define MSS         1460u
#define LARGE       8192u
#define BATCH       4u
#define RUNS        20u
#define TYPE_HIGH   0x88u /* for local experiments: hello, answers */
#define TYPE_LOW    0xb5u
#define SEND        (VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4)
#define TAKE        (VIRTIO_NET_F_MRG_RXBUF | VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4)
#define NEEDS_CSUM  1u
#define TCPV4       1u
#define TCP_PSH_ACK 0x18u

static uint8_t large[QUEUE][LARGE], whole[VIRTIO_NET_HEADER + LENGTH + LARGE], out[BATCH][LENGTH];

static void be16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static unsigned from16(const uint8_t *p)
{
    return (unsigned)(p[0] << 8 | p[1]);
}

static uint32_t sum(const uint8_t *p, size_t n, uint32_t start)
{
    for (size_t i = 0; i < n; i++)
        start += i % 2 ? p[i] : (uint32_t)p[i] << 8;
    while (start >> 16)
        start = (start & 0xffff) + (start >> 16);
    return start;
}

/* ---- receiving ---- */

static void start(uint32_t features)
{
    vnet_features = VIRTIO_NET_F_MAC | features;
    start_device(false);
    for (uint16_t i = 0; i < QUEUE; i++) {
        rx.desc[i].address = (uintptr_t)large[i];
        rx.desc[i].length = LARGE;
        publish(&rx, i);
    }
    outw(REG(VIRTIO_NOTIFY), 0);
}

/* Waits for a frame, with its header; puts its first bytes, or all, into `whole`. */
static size_t await_frame(bool all)
{
    size_t len = 0;
    unsigned buffers = 1;

    for (unsigned i = 0; i < buffers; i++) {
        uint16_t id;
        uint32_t n;

        while (rx.seen == used_index(&rx))
            sleep_until_irq();
        id = (uint16_t)rx.used.ring[rx.seen % QUEUE].id;
        n = rx.used.ring[rx.seen % QUEUE].length;
        rx.seen++;
        if (all || len == 0)
            memcpy(whole + len, large[id], all ? n : 64);
        if (i == 0)
            buffers = large[id][10] | (unsigned)large[id][11] << 8;
        len += n;
        publish(&rx, id);
    }
    notify(&rx, 0);
    return len - VIRTIO_NET_HEADER;
}

static void send_frame(const uint8_t *to, uint8_t tag)
{
    uint8_t *b = tx.buffers[0], *f = b + VIRTIO_NET_HEADER;
    uint16_t used = used_index(&tx);

    memset(b, 0, VIRTIO_NET_HEADER + 60);
    memcpy(f, to, 6);
    memcpy(f + 6, mac, 6);
    f[12] = TYPE_HIGH;
    f[13] = TYPE_LOW;
    f[14] = tag;
    tx.desc[0] = (struct desc){(uintptr_t)b, VIRTIO_NET_HEADER + 60, 0, 0};
    publish(&tx, 0);
    outw(REG(VIRTIO_NOTIFY), 1);
    while (used_index(&tx) == used)
        ;
}

static bool intact(const uint8_t *f, size_t from, size_t len, uint32_t at)
{
    for (size_t i = from; i < len; i++, at++)
        if (f[i] != (uint8_t)(at * 7 + (at >> 8)))
            return false;
    return true;
}

static bool sums_are_right(const uint8_t *f, size_t len)
{
    uint32_t pseudo = 6 + (uint32_t)(len - TCP);

    return sum(f + IP, TCP - IP, 0) == 0xffff &&
           sum(f + TCP, len - TCP, sum(f + IP + 12, 8, pseudo)) == 0xffff;
}

/* The frames of one segment, until it is complete. */
static bool take_segment(bool cut)
{
    const uint8_t *f = whole + VIRTIO_NET_HEADER;
    size_t got = 0;
    bool good = true;

    while (got < LENGTH - PAYLOAD) {
        size_t len = await_frame(true);

        if (from16(f + 12) != 0x0800)
            continue;
        good = good && intact(f, PAYLOAD, len, from16(f + TCP + 6)) && from16(f + TCP + 6) == got &&
               from16(f + IP + 2) == len - IP;
        if (cut)
            good = good && len <= 1514 && whole[0] == 0 && whole[1] == 0 &&
                   sums_are_right(f, len) && from16(f + IP + 4) == 7 + got / MSS &&
                   (f[TCP + 13] == TCP_PSH_ACK) == (got + len - PAYLOAD == LENGTH - PAYLOAD);
        else
            good = good && len == LENGTH && whole[0] == NEEDS_CSUM && whole[1] == TCPV4 &&
                   whole[4] + 256 * whole[5] == MSS && whole[6] == TCP;
        got += len - PAYLOAD;
    }
    return good;
}

/* Answers a hello of its kind, checks one segment, and answers each batch. */
static void receive(bool cut)
{
    const uint8_t *f = whole + VIRTIO_NET_HEADER;
    uint8_t tag = cut ? 'C' : 'W', from[6];
    unsigned n = 0;

    do
        (void)await_frame(false);
    while (from16(f + 12) != (TYPE_HIGH << 8 | TYPE_LOW) || f[14] != tag);
    memcpy(from, f + 6, sizeof(from));
    send_frame(from, tag);
    say("segments: %s: %s\n", cut ? "cut" : "whole", take_segment(cut) ? "good" : "WRONG");
    send_frame(from, tag);
    for (;;) {
        (void)await_frame(false);
        if (from16(f + 12) == 0x0800 && ++n % BATCH == 0)
            send_frame(from, tag);
    }
}

/* ---- sending ---- */

static void await_answer(uint8_t tag)
{
    const uint8_t *f = whole + VIRTIO_NET_HEADER;

    do
        (void)await_frame(false);
    while (from16(f + 12) != (TYPE_HIGH << 8 | TYPE_LOW) || f[14] != tag || (f[0] & 1));
}

/* A segment to the neighbour with that address, in place number `n`. Two descriptors. */
static void make_segment(unsigned n, const uint8_t *to)
{
    uint8_t *f = out[n];
    static const uint8_t addresses[8] = {10, 9, 0, 1, 10, 9, 0, 2};
    static uint8_t headers[BATCH][VIRTIO_NET_HEADER];
    uint8_t *h = headers[n];
    uint32_t pseudo;

    memset(h, 0, VIRTIO_NET_HEADER);
    h[0] = NEEDS_CSUM;
    h[1] = TCPV4;
    h[2] = PAYLOAD;
    h[4] = (uint8_t)MSS;
    h[5] = MSS >> 8;
    h[6] = TCP;
    h[8] = 16;
    memset(f, 0, PAYLOAD);
    memcpy(f, to, 6);
    memcpy(f + 6, mac, 6);
    be16(f + 12, 0x0800);
    f[IP] = 0x45;
    be16(f + IP + 2, LENGTH - IP);
    be16(f + IP + 4, 7);
    f[IP + 8] = 64;
    f[IP + 9] = 6;
    memcpy(f + IP + 12, addresses, sizeof(addresses));
    be16(f + IP + 10, ~sum(f + IP, 20, 0) & 0xffff);
    f[TCP + 12] = 0x50;
    f[TCP + 13] = TCP_PSH_ACK;
    pseudo = sum(f + IP + 12, 8, 6 + LENGTH - TCP);
    be16(f + TCP + 16, pseudo);
    for (uint32_t i = PAYLOAD; i < LENGTH; i++)
        f[i] = (uint8_t)((i - PAYLOAD) * 7 + ((i - PAYLOAD) >> 8));
    tx.desc[2 * n] =
        (struct desc){(uintptr_t)h, VIRTIO_NET_HEADER, DESC_NEXT, (uint16_t)(2 * n + 1)};
    tx.desc[2 * n + 1] = (struct desc){(uintptr_t)f, LENGTH, 0, 0};
}

static uint64_t send_batch(unsigned n, uint8_t tag)
{
    uint64_t before = tsc();

    for (unsigned i = 0; i < n; i++)
        publish(&tx, (uint16_t)(2 * i));
    outw(REG(VIRTIO_NOTIFY), 1);
    await_answer(tag);
    return tsc() - before;
}

static void send(void)
{
    static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    const uint8_t *f = whole + VIRTIO_NET_HEADER;
    uint64_t least = UINT64_MAX;

    for (unsigned i = 0; i < 2; i++) {
        uint8_t tag = i ? 'W' : 'C';

        send_frame(everybody, tag);
        await_answer(tag);
        make_segment(0, f + 6);
        (void)send_batch(1, tag);
    }
    for (unsigned i = 1; i < BATCH; i++)
        make_segment(i, f + 6);
    for (unsigned i = 0; i < RUNS; i++) {
        uint64_t took = send_batch(BATCH, 'W');

        least = took < least ? took : least;
    }
    say("bench: net-segments %lu\n", least);
}

void guest_main(const char *cmdline)
{
    irq_handle(VIRTIO_NET_IRQ, on_net);
    if (strcmp(cmdline, "whole") == 0) {
        start(TAKE);
        receive(false);
    } else if (strcmp(cmdline, "cut") == 0) {
        start(0);
        receive(true);
    } else {
        start(SEND);
        send();
    }
    guest_exit(0);
}
