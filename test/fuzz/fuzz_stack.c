/* SOURCES: @stack @mgmt @llhttp */
/* Frames of any kind for the management guest's network, from ARP up to requests over TLS. The
 * input is a program: each step sends frames that are wrong where the input says so and right
 * elsewhere, so that they get far. A failed assertion of lwIP is a finding: it would end the
 * guest. */
#include "test/fuzz/sequence.h"
#include "test/fuzz/stack_peer.h"

#define GOES_ON 1500u

static uint16_t word(void)
{
    return (uint16_t)number(2);
}

/* Up to `max` bytes of the input; its next byte, or word, is their number. */
static size_t take(uint8_t *out, size_t max)
{
    size_t n = byte();

    n = !left ? n / 4 : n & 0x80 ? (n & 0x7f) << 4 : n;
    n = n < max ? n : max;
    for (size_t i = 0; i < n; i++)
        out[i] = byte();
    return n;
}

/* ---- steps ---- */

static void any_frame(void)
{
    static const uint16_t types[] = {0x0800, 0x0806, 0x86dd, 0x8100};
    uint8_t f[FRAME_MAX] = {2, 0, 0, 0, 0, 15, 2, 0, 0, 0, 0, 2}, how = byte();
    size_t n;

    put16(f + 12, types[how & 3]);
    if (how & 4)
        memset(f, 0xff, 6);
    n = take(f + (how & 8 ? 0 : 14), FRAME_MAX - 14) + (how & 8 ? 0 : 14);
    stack_receive(f, n ? n : 1);
}

static void any_arp(void)
{
    uint8_t f[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0,
                     2,    8,    6,    0,    1,    8,    0, 6, 4, 0};
    uint8_t how = byte();

    f[21] = how & 1 ? 1 : 2;
    memcpy(f + 22, f + 6, 6);
    put32(f + 28, how & 2 ? peer_ipv4(how >> 4) : (uint32_t)word() << 16 | word());
    put32(f + 38, how & 4 ? my_ipv4() : peer_ipv4(how >> 4));
    if (how & 8)
        f[14 + byte() % 28] = byte();
    stack_receive(f, sizeof(f));
}

/* An IP packet with a valid header and contents from the input. */
static void any_ip(void)
{
    static const uint8_t protocols[] = {1, 2, 6, 17, 58, 0, 44, 60};
    uint8_t how = byte(), protocol = protocols[how & 7], payload[1400];
    size_t n = take(payload, sizeof(payload));
    struct path p = {.v6 = how & 8, .peer = how >> 4 & 3, .to_all = how & 0x40};

    if (how & 0x80)
        p.odd = byte();
    send_ip(&p, protocol, payload, n);
}

/* ICMP of both versions, IGMP, MLD, neighbour discovery, with a valid checksum. */
static void any_icmp(void)
{
    static const uint8_t types4[] = {0, 3, 5, 8, 11, 13},
                         types6[] = {1, 2, 3, 128, 130, 131, 133, 134, 135, 136, 137, 143};
    uint8_t how = byte(), type = byte(), m[600] = {0};
    struct path p = {.v6 = how & 1, .peer = how >> 4 & 3, .to_all = how & 2, .hops_255 = true};
    size_t n;

    m[0] = p.v6 ? types6[type % sizeof(types6)] : types4[type % sizeof(types4)];
    m[1] = how & 4 ? byte() : 0;
    if (p.v6 && (m[0] == 135 || m[0] == 136 || m[0] == 137) && how & 8) {
        memcpy(m + 8, how & 0x40 ? (uint8_t *)netif_ip6_addr(&wire, 0)->addr : peer_ipv6(p.peer),
               16);
        n = 24 + take(m + 24, sizeof(m) - 24);
    } else {
        n = 4 + take(m + 4, sizeof(m) - 4);
    }
    send_summed(&p, p.v6 ? 58 : how & 0x80 ? 2 : 1, m, n, 2);
}

/* To one of the ports that the appliance listens on, as an answer to its last question. */
static void any_udp(void)
{
    static const uint16_t ports[] = {68, 5353, 123, 53};
    uint8_t how = byte(), m[1200] = {0};
    const struct asked *a = &asked[how & 3];
    struct path p = {.v6 = (how & 3) != 0 && how & 8, .peer = how >> 4 & 3, .to_all = how & 4};
    size_t n = 8;

    put16(m, ports[how & 3] == 68 ? 67 : ports[how & 3]);
    put16(m + 2, (how & 3) == 1 ? 5353 : a->from);
    if (how & 0x40 && a->len) { /* the question, then something else */
        memcpy(m + 8, a->bytes, a->len);
        n += a->len;
        if ((how & 3) == 3)
            m[10] |= 0x80;
        if ((how & 3) == 0)
            m[8] = 2;
        if ((how & 3) == 2)
            m[8] = 0x24;
        for (uint8_t i = how >> 7 ? byte() % 16 : 0; i > 0; i--)
            m[8 + word() % a->len] = byte();
    } else {
        memcpy(m + 8, a->bytes, a->len < 12 ? a->len : 12);
        n += how & 0x80 ? 12 : 0;
    }
    n += take(m + n, sizeof(m) - n);
    send_udp(&p, m, n);
}

/* A DHCP offer or acknowledgement that answers the request, with any options. */
static void any_dhcp(void)
{
    uint8_t how = byte(), m[8 + 576] = {0, 67, 0, 68}, *d = m + 8;
    size_t n = 240;
    struct path p = {.to_all = true};

    if (!asked[0].len)
        return;
    memcpy(d, asked[0].bytes, 240);
    d[0] = 2;
    put32(d + 16, 0x0a00000f);
    put32(d + 236, 0x63825363);
    d[n++] = 53;
    d[n++] = 1;
    d[n++] = how & 1 ? 2 : how & 2 ? 6 : 5;
    if (!(how & 4)) {
        static const uint8_t usual[] = {54, 4, 10, 0, 0, 2,  1, 4, 255, 255, 255, 0, 3, 4,  10,
                                        0,  0, 2,  6, 4, 10, 0, 0, 3,   51,  4,   0, 0, 14, 16};

        memcpy(d + n, usual, sizeof(usual));
        n += sizeof(usual);
    }
    n += take(d + n, 576 - n - 1);
    d[n++] = 255;
    send_udp(&p, m, 8 + n);
}

/* ---- connections ---- */

static struct peer *some_peer(void)
{
    return &peers[byte() % PEERS];
}

/* A handshake takes as long as a thousand frames: few inputs have any. */
static bool has_tls;

static void open_one(void)
{
    struct peer *p = some_peer();
    uint8_t how = byte();

    peer_open(p, how & 1 && has_tls ? 443 : 80, how & 2, how & 4 ? word() : 60000,
              how & 8 ? word() : 1460);
}

/* A segment that is wrong where the input says so. */
static void odd_segment(void)
{
    struct peer *p = some_peer();
    uint8_t how = byte(), flags = byte(), data[1460], options[40];
    uint32_t seq = p->next, ack = p->acked;
    size_t n, k = 0;

    if (how & 1)
        seq += word() - 0x8000u;
    if (how & 2)
        ack += word() - 0x8000u;
    if (how & 4)
        seq += (uint32_t)word() << 16;
    if (how & 8)
        ack += (uint32_t)word() << 16;
    if (how & 16)
        p->window = word();
    if (how & 32)
        k = take(options, sizeof(options)) & ~3u;
    if (how & 64)
        n = say_fill(data, byte());
    else
        n = take(data, sizeof(data));
    peer_say(p, seq, ack, how & 128 ? flags : 0x10 | (flags & 1), options, k, data, n);
    if (!(how & 5) && flags & 0x80) /* the next segment continues after it */
        p->next = seq + (uint32_t)n + (flags & 1);
}

static void ask_something(void)
{
    struct peer *p = some_peer();
    uint8_t how = byte(), text[1400];
    size_t n = how & 0x80 ? take(text, sizeof(text)) : say_fill(text, how);

    if (how & 0x40 && n)
        text[word() % n] = byte();
    peer_write(p, text, n, byte());
}

/* A TLS client continues with its next flight or a request; the input may corrupt bytes of it. */
static void tls_something(void)
{
    struct peer *p = some_peer();
    uint8_t how = byte();

    peer_tls(p, how);
    if (how & 0x40)
        peer_spoil(p, word(), byte());
    peer_flush(p, how & 0x20 ? byte() : 0);
}

/* A correct handshake, followed by one or more requests. */
static void whole_handshake(void)
{
    struct peer *p = some_peer();
    uint8_t how = byte(), text[1400];

    if (how & 0x87 || !has_tls)
        return;
    peer_open(p, 443, how & 8, 60000, 1460);
    for (unsigned i = 0; i < 6 && p->ssl && !SSL_is_init_finished(p->ssl); i++) {
        peer_tls(p, 0);
        peer_flush(p, 0);
        stack_run(10);
        peers_acknowledge();
    }
    for (unsigned i = 0; i < (how >> 4 & 3) + 1u; i++) {
        peer_write(p, text, say_fill(text, byte()), 0);
        stack_run(10);
        peers_acknowledge();
        peer_tls(p, 0);
    }
}

static void end_one(void)
{
    struct peer *p = some_peer();
    uint8_t how = byte();

    peer_say(p, p->next, p->acked, how & 1 ? 0x14 : 0x11, NULL, 0, NULL, 0);
    p->next += how & 1 ? 0 : 1;
    p->deaf = how & 2;
}

static void pass_time(void)
{
    static const uint32_t steps[] = {10, 10, 100, 250, 500, 1000, 3000, 16000};
    uint8_t how = byte();

    for (unsigned i = 0; i <= (how >> 3 & 7); i++) {
        stack_run(steps[how & 7]);
        peers_acknowledge();
    }
}

static void be_deaf(void)
{
    struct peer *p = some_peer();

    p->deaf = byte() & 1;
    p->window = byte() & 1 ? 0 : word();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const steps[])(void) = {
        any_frame,     any_arp,         any_ip,        any_icmp,      any_udp,       any_dhcp,
        open_one,      odd_segment,     ask_something, tls_something, end_one,       pass_time,
        be_deaf,       open_one,        odd_segment,   odd_segment,   ask_something, tls_something,
        tls_something, whole_handshake, pass_time,     any_udp,       any_icmp};

    stack_begin(size & 1);
    has_tls = size % 4 == 3;
    sequence_begin(data, size, has_tls ? GOES_ON : 4 * GOES_ON);
    while (left + more) {
        steps[byte() % (sizeof(steps) / sizeof(steps[0]))]();
        peers_acknowledge();
    }
    stack_end();
    return 0;
}
