/*
 * A network card's trial: a kernel that only drives the card, on machines that cannot run guests
 * too (QEMU without KVM). It stands in for hv/main.c: asks the gateway for its address, then sends
 * it echo requests of all sizes and compares the answers. For test/boot/test_nic.py, whose gateway
 * is QEMU's.
 */
#include "hv/arch.h"
#include "hv/core.h"
#include "hv/fmt.h"
#include "hv/hostmem.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/main.h"
#include "hv/net.h"
#include "hv/virt.h"

#define ETHERNET   14u
#define IP         20u
#define ICMP       8u
#define LONGEST    (NET_FRAME_MAX - 4 - ETHERNET - IP - ICMP) /* of an echo's data; 4: a tag */
#define SHORT      18u                                        /* a frame of 60 bytes */
#define ROUNDS     400u
#define BURST      32u
#define PATIENCE_S 5u

static const uint8_t us[4] = {10, 0, 2, 15}, gateway[4] = {10, 0, 2, 2};
static uint8_t our_mac[6], gateway_mac[6];
static unsigned port;
static struct {
    bool arp;
    unsigned echoes, wrong;
    size_t expected; /* bytes of data of the next echo; in a burst all are the same */
} got;
static struct {
    uint64_t ticks, frames;
} sending, receiving;

const struct virt_ops *virt_backend(void)
{
    return NULL;
}

static _Noreturn void finish(const char *verdict)
{
    static const uint32_t never;

    log_info("trial: %s", verdict);
    log_flush();
    for (;;)
        arch_idle(NEVER, &never);
}

static void put_be16(uint8_t *at, unsigned v)
{
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
}

static unsigned checksum(const uint8_t *at, size_t len)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < len; i++)
        sum += i & 1 ? at[i] : (uint32_t)at[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return ~sum & 0xffff;
}

static uint8_t pattern(size_t i, size_t size)
{
    return (uint8_t)(i * 7 + size + i / 251);
}

static void take_echo(const uint8_t *data, size_t len)
{
    bool right = len >= got.expected;

    /* A short frame comes padded. */
    for (size_t i = 0; right && i < got.expected; i++)
        right = data[i] == pattern(i, got.expected);
    got.echoes++;
    got.wrong += !right;
}

static void deliver(void *ctx, const uint8_t *f, size_t len, const struct net_offload *o)
{
    static const uint8_t arp_answer[] = {8, 6, 0, 1, 8, 0, 6, 4, 0, 2};
    const uint8_t *ip = f + ETHERNET;

    (void)ctx;
    (void)o;
    if (len >= 42 && memcmp(f + 12, arp_answer, sizeof(arp_answer)) == 0) {
        memcpy(gateway_mac, f + 22, 6);
        got.arp = true;
    } else if (len >= ETHERNET + IP + ICMP && f[12] == 8 && f[13] == 0 && ip[9] == 1 &&
               ip[IP] == 0) {
        take_echo(ip + IP + ICMP, len - ETHERNET - IP - ICMP);
    }
}

static void send(uint8_t *frame, size_t len)
{
    struct net_transfer t = {.state = 0};
    const struct net_offload none = {.flags = 0};
    uint64_t start = arch_tsc();
    enum net_drop rc = net_send(port, frame, len, &none, start, &t);

    sending.ticks += arch_tsc() - start;
    sending.frames++;
    if (rc != NET_PASSED)
        finish("failed: the switch drops what is sent");
}

static void ask_address(void)
{
    static const uint8_t request[] = {8, 6, 0, 1, 8, 0, 6, 4, 0, 1};
    uint8_t f[60] = {0};

    memset(f, 0xff, 6);
    memcpy(f + 6, our_mac, 6);
    memcpy(f + 12, request, sizeof(request));
    memcpy(f + 22, our_mac, 6);
    memcpy(f + 28, us, 4);
    memcpy(f + 38, gateway, 4);
    send(f, sizeof(f));
}

static void send_echo(size_t size)
{
    static uint8_t f[NET_FRAME_MAX];
    uint8_t *ip = f + ETHERNET, *icmp = ip + IP;

    memset(f, 0, sizeof(f));
    memcpy(f, gateway_mac, 6);
    memcpy(f + 6, our_mac, 6);
    f[12] = 8;
    ip[0] = 0x45;
    put_be16(ip + 2, (unsigned)(IP + ICMP + size));
    ip[8] = 64;
    ip[9] = 1;
    memcpy(ip + 12, us, 4);
    memcpy(ip + 16, gateway, 4);
    put_be16(ip + 10, checksum(ip, IP));
    icmp[0] = 8;
    for (size_t i = 0; i < size; i++)
        icmp[ICMP + i] = pattern(i, size);
    put_be16(icmp + 2, checksum(icmp, ICMP + size));
    send(f, ETHERNET + IP + ICMP + size);
}

/* One look at the card; sleeps if there is nothing. Returns when it must be polled again. */
static uint64_t look(uint64_t limit)
{
    static const uint32_t never;
    unsigned before = got.echoes + got.arp;
    uint64_t start, next, now;

    arch_irq_window(); /* as a guest's time would be */
    start = arch_tsc();
    next = net_poll(start);
    now = arch_tsc();

    if (got.echoes + got.arp != before) {
        receiving.ticks += now - start;
        receiving.frames += got.echoes + got.arp - before;
    } else if (next != start) {
        arch_idle(next < limit ? next : limit, &never);
    }
    return next;
}

static void await_echoes(unsigned count)
{
    uint64_t limit = arch_tsc() + PATIENCE_S * arch_tsc_hz();

    while (got.echoes < count && arch_tsc() < limit)
        (void)look(limit);
    if (got.echoes < count)
        finish("failed: an echo is missing");
    if (got.wrong)
        finish("failed: an echo differs");
}

static void await_address(void)
{
    for (unsigned tries = 0; tries < 10 && !got.arp; tries++) {
        uint64_t limit = arch_tsc() + arch_tsc_hz();

        ask_address();
        while (!got.arp && arch_tsc() < limit)
            (void)look(limit);
    }
    if (!got.arp)
        finish("failed: the gateway does not answer");
}

static void try_sizes(void)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        got.expected = (size_t)i * LONGEST / (ROUNDS - 1);
        send_echo(got.expected);
        await_echoes(i + 1);
    }
}

static void measure(void)
{
    sending.ticks = sending.frames = receiving.ticks = receiving.frames = 0;
    got.expected = 0; /* comparing is not the card's cost */
    for (unsigned i = 0; i < ROUNDS; i += BURST) {
        for (unsigned j = 0; j < BURST; j++)
            send_echo(SHORT);
        await_echoes(ROUNDS + i + BURST);
    }
    log_info("trial: %lu ticks a frame sent, %lu received", sending.ticks / sending.frames,
             receiving.ticks / receiving.frames);
}

static void *alloc(size_t bytes)
{
    return hostmem_alloc_zeroed(align_up(bytes, PAGE_SIZE), MEM_HOST);
}

_Noreturn void hv_main(const struct boot_info *b)
{
    static struct abi_nic nics[ABI_NICS_MAX];
    const struct net_setup setup = {.tsc_hz = arch_tsc_hz(), .nics = nics};
    int rc;

    hostmem_init(b->memory);
    if (core_make())
        finish("failed: no memory");
    net_init(&setup);
    rc = net_find_cards();
    if (rc)
        finish("failed: no card");
    net_address(0, our_mac);
    rc = net_attach(0, true, NULL, deliver, NULL);
    if (rc < 0)
        finish("failed: no port");
    port = (unsigned)rc;
    if (net_start_uplinks(0, alloc))
        finish("failed: the card does not start");
    log_info("trial: card %s", net_uplink_name());
    log_info("trial: link %s, %u Mbit/s", nics[0].link_up ? "up" : "down", nics[0].mbits);
    await_address();
    try_sizes();
    measure();
    log_info("trial: %s", nics[0].interrupts ? "by interrupt" : "polled");
    finish("passed");
}
