/* Other hosts on the wire of stack_fixture.h: packets with valid headers, clients of HTTP and
 * HTTPS. */
#pragma once

#include "test/fuzz/stack_fixture.h"

#include <openssl/rand.h>
#include <openssl/ssl.h>

#define PEERS  12u
#define QUEUED 4096u

/* ---- numbers ---- */

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}
static void put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v);
}

static uint32_t sum(uint32_t s, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        s += (uint32_t)p[i] << (i % 2 ? 0 : 8);
    return s;
}
static uint16_t fold(uint32_t s)
{
    while (s >> 16)
        s = (s & 0xffff) + (s >> 16);
    return (uint16_t)~s;
}

static uint32_t my_ipv4(void)
{
    uint32_t ip = lwip_ntohl(netif_ip4_addr(&wire)->addr);

    return ip ? ip : 0x0a00000f;
}
static uint32_t peer_ipv4(unsigned n)
{
    return 0x0a000002u + n % 4;
}
static uint8_t *peer_ipv6(unsigned n)
{
    static uint8_t ip[16] = {0xfe, 0x80, [15] = 2};

    ip[15] = (uint8_t)(2 + n % 4);
    return ip;
}

/* ---- packets ---- */

struct path {
    bool v6, to_all, hops_255;
    unsigned peer;
    uint8_t odd; /* what is wrong with the header; 0: nothing */
};

static size_t put_head4(const struct path *p, uint8_t *h, uint8_t protocol, size_t n)
{
    h[0] = 0x45;
    put16(h + 2, (uint32_t)(20 + n));
    h[8] = 64;
    h[9] = protocol;
    put32(h + 12, peer_ipv4(p->peer));
    put32(h + 16, p->to_all ? protocol == 2 || p->peer ? 0xe00000fb : 0xffffffff : my_ipv4());
    if (p->odd & 1)
        put16(h + 6, (uint32_t)(p->odd << 8 | p->odd >> 1)); /* a fragment */
    else if (p->odd & 2)
        put16(h + 2, (uint32_t)(20 + n - p->odd / 4));
    else if (p->odd)
        h[p->odd % 20] ^= (uint8_t)(1 << p->odd / 32);
    put16(h + 10, fold(sum(0, h, 20)));
    return 20;
}

static size_t put_head6(const struct path *p, uint8_t *h, uint8_t protocol, size_t n)
{
    h[0] = 0x60;
    put16(h + 4, (uint32_t)n);
    h[6] = protocol;
    h[7] = p->hops_255 ? 255 : 64;
    memcpy(h + 8, peer_ipv6(p->peer), 16);
    if (p->to_all)
        memcpy(h + 24, (const uint8_t[16]){0xff, 2, [15] = p->peer ? 0xfb : 1}, 16);
    else
        memcpy(h + 24, netif_ip6_addr(&wire, 0)->addr, 16);
    if (p->odd & 1)
        h[p->odd % 40] ^= (uint8_t)(1 << p->odd / 32);
    else if (p->odd)
        put16(h + 4, (uint32_t)(n + p->odd - 64));
    return 40;
}

static void send_ip(const struct path *p, uint8_t protocol, const uint8_t *payload, size_t n)
{
    uint8_t f[14 + 40 + 1480] = {2, 0, 0, 0, 0, 15, 2, 0, 0, 0, 0, 2};
    size_t head;

    if (p->to_all)
        memset(f, 0xff, 6);
    f[11] = (uint8_t)(2 + p->peer);
    put16(f + 12, p->v6 ? 0x86dd : 0x0800);
    head = 14 + (p->v6 ? put_head6(p, f + 14, protocol, n) : put_head4(p, f + 14, protocol, n));
    memcpy(f + head, payload, n);
    stack_receive(f, head + n);
}

/* Sends `m` with its checksum at `at`, which covers the addresses too if the protocol says so. */
static void send_summed(const struct path *p, uint8_t protocol, uint8_t *m, size_t n, size_t at)
{
    uint8_t head[40];
    uint32_t s = 0;

    if (p->v6) {
        (void)put_head6(p, head, protocol, n);
        s = sum(protocol + (uint32_t)n, head + 8, 32);
    } else if (protocol == 6 || protocol == 17) {
        (void)put_head4(p, head, protocol, n);
        s = sum(protocol + (uint32_t)n, head + 12, 8);
    }
    put16(m + at, 0);
    put16(m + at, fold(sum(s, m, n)));
    send_ip(p, protocol, m, n);
}

static void send_udp(const struct path *p, uint8_t *m, size_t n)
{
    put16(m + 4, (uint32_t)n);
    send_summed(p, 17, m, n, 6);
}

/* The appliance's last question by DHCP, multicast DNS, SNTP and DNS, and its port. */
static struct asked {
    uint16_t from;
    size_t len;
    uint8_t bytes[600];
} asked[4];

static void note_udp(const uint8_t *u, size_t n)
{
    uint16_t to = get16(u + 2);
    struct asked *a = &asked[to == 67 ? 0 : to == 5353 ? 1 : to == 123 ? 2 : 3];

    if (to != 67 && to != 5353 && to != 123 && to != 53)
        return;
    a->from = get16(u);
    a->len = n - 8 < sizeof(a->bytes) ? n - 8 : sizeof(a->bytes);
    memcpy(a->bytes, u + 8, a->len);
}

/* ---- clients ---- */

static struct peer {
    bool v6, established, deaf, owes;
    uint16_t port, to, window;
    uint32_t next, acked;
    SSL *ssl;
    BIO *from_us, *to_us; /* incoming and outgoing records */
    uint8_t queue[QUEUED];
    size_t queued;
} peers[PEERS];

static SSL_CTX *client;
static uint64_t connections, requests;

static void peer_say(struct peer *p, uint32_t seq, uint32_t ack, uint8_t flags,
                     const uint8_t *options, size_t k, const uint8_t *data, size_t n)
{
    const struct path path = {.v6 = p->v6};
    uint8_t m[20 + 40 + 1460] = {0};

    n = n < 1400 ? n : 1400;
    put16(m, p->port);
    put16(m + 2, p->to);
    put32(m + 4, seq);
    put32(m + 8, flags & 0x10 ? ack : 0);
    m[12] = (uint8_t)((20 + k) / 4 << 4);
    m[13] = flags;
    put16(m + 14, p->window);
    if (k)
        memcpy(m + 20, options, k);
    if (n)
        memcpy(m + 20 + k, data, n);
    send_summed(&path, 6, m, 20 + k + n, 16);
}

static void peer_free(struct peer *p)
{
    if (p->ssl)
        SSL_free(p->ssl);
    p->ssl = NULL;
    p->queued = 0;
    p->established = false;
}

static void peer_open(struct peer *p, uint16_t to, bool v6, uint16_t window, uint16_t mss)
{
    static uint16_t port = 1024;
    const uint8_t options[4] = {2, 4, (uint8_t)(mss >> 8), (uint8_t)mss};

    peer_free(p);
    port = port < 60000 ? port + 1 : 1024;
    *p = (struct peer){.v6 = v6, .to = to, .port = port, .window = window, .next = mgmt_random()};
    connections++;
    peer_say(p, p->next++, 0, 2, options, 4, NULL, 0);
    if (!p->established)
        return;
    peer_say(p, p->next, p->acked, 0x10, NULL, 0, NULL, 0);
    if (to != 443)
        return;
    p->ssl = SSL_new(client);
    p->from_us = BIO_new(BIO_s_mem());
    p->to_us = BIO_new(BIO_s_mem());
    SSL_set_bio(p->ssl, p->from_us, p->to_us);
    SSL_set_connect_state(p->ssl);
    if (port & 1) /* else the latest, which is 1.3 */
        (void)SSL_set_max_proto_version(p->ssl, TLS1_2_VERSION);
}

/* Cut into pieces of `cut` times 8 bytes; 0: as large as they can be. */
static void peer_send(struct peer *p, const uint8_t *data, size_t n, uint8_t cut)
{
    size_t most = cut ? cut * 8u : 1400, k;

    for (; n > 0; n -= k, data += k) {
        k = n < most ? n : most;
        peer_say(p, p->next, p->acked, 0x18, NULL, 0, data, k);
        p->next += (uint32_t)k;
    }
}

static void peer_flush(struct peer *p, uint8_t cut)
{
    size_t n = p->queued;

    p->queued = 0;
    peer_send(p, p->queue, n, cut);
}

/* Records that wait to be sent. */
static void peer_collect(struct peer *p)
{
    int n = BIO_read(p->to_us, p->queue + p->queued, (int)(QUEUED - p->queued));

    p->queued += n > 0 ? (size_t)n : 0;
}

static void peer_write(struct peer *p, const uint8_t *data, size_t n, uint8_t cut)
{
    requests++;
    if (p->ssl && SSL_is_init_finished(p->ssl) && n) {
        (void)SSL_write(p->ssl, data, (int)n);
        peer_collect(p);
        peer_flush(p, cut);
        return;
    }
    peer_send(p, data, n, cut);
}

/* Takes the server's bytes, and queues the TLS client's answer. */
static void peer_tls(struct peer *p, uint8_t how)
{
    uint8_t junk[4096];

    if (!p->ssl)
        return;
    if (!SSL_is_init_finished(p->ssl))
        (void)SSL_do_handshake(p->ssl);
    while (SSL_is_init_finished(p->ssl) && SSL_read(p->ssl, junk, sizeof(junk)) > 0)
        ;
    if (how & 0x10 && SSL_is_init_finished(p->ssl))
        (void)SSL_shutdown(p->ssl);
    peer_collect(p);
}

static void peer_spoil(struct peer *p, uint16_t at, uint8_t with)
{
    if (p->queued)
        p->queue[at % p->queued] ^= with;
}

static size_t say_fill(uint8_t *out, uint8_t which)
{
#define HEAD " HTTP/1.1\r\nHost: 10.0.0.15\r\n"
#define WITH HEAD "Authorization: Bearer " TOKEN "\r\n"
    static const char *const texts[] = {
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /openapi.json" HEAD "\r\n",
        "GET /v1/host" WITH "\r\n",
        "GET /v1/log?follow=1" WITH "\r\n",
        "GET /v1/guests" WITH "\r\nGET /healthz" WITH "\r\n",
        "GET /v1/guests/echo/terminal" WITH
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        "\x81\x85\0\0\0\0hello\x89\x80\0\0\0\0",
        "POST /v1/guests/echo/actions" WITH "Content-Length: 16\r\n\r\n{\"action\":\"nmi\"}",
        "PUT /v1/images/a" WITH "Content-Length: 100000\r\n\r\n",
        "GET /v1/host HTTP/1.0\r\nAuthorization: Bearer wrong\r\nConnection: close\r\n\r\n",
        "POST /v1/guests" WITH
        "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n5\r\n{\"nam\r\n",
        "GET /metrics" WITH "Connection: close\r\n\r\n",
    };
    const char *t = texts[which % (sizeof(texts) / sizeof(texts[0]))];
    size_t n = *t == '\x81' ? 17 : strlen(t);

    memcpy(out, t, n);
    return n;
}

/* ---- what the appliance sends ---- */

static void on_segment(bool v6, const uint8_t *t, size_t n)
{
    size_t head = (size_t)(t[12] >> 4) * 4;
    struct peer *p = peers;

    while (p < peers + PEERS && (p->port != get16(t + 2) || p->to != get16(t) || p->v6 != v6))
        p++;
    if (p == peers + PEERS || n < head)
        return;
    n -= head;
    if ((t[13] & 0x12) == 0x12) {
        p->acked = get32(t + 4) + 1;
        p->established = true;
        return;
    }
    p->owes = !p->deaf;
    if (get32(t + 4) != p->acked || p->deaf)
        return;
    if (p->ssl && n)
        (void)BIO_write(p->from_us, t + head, (int)n);
    p->acked += (uint32_t)n + (t[13] & 1);
}

/* Answers an ARP request. */
static void on_question(const uint8_t *f)
{
    uint8_t a[42] = {2, 0, 0, 0, 0, 15, 2, 0, 0, 0, 0, f[41], 8, 6, 0, 1, 8, 0, 6, 4, 0, 2};

    memcpy(a + 22, a + 6, 6);
    memcpy(a + 28, f + 38, 4);
    memcpy(a + 32, f + 6, 6);
    memcpy(a + 38, f + 28, 4);
    stack_receive(a, sizeof(a));
}

static uint8_t question[42];
static bool is_question;

static void on_frame(const uint8_t *f, size_t n)
{
    if (n >= 42 && get16(f + 12) == 0x0806 && f[21] == 1) {
        memcpy(question, f, sizeof(question));
        is_question = true;
    } else if (n >= 34 && get16(f + 12) == 0x0800 && f[23] == 6 && n >= 54) {
        on_segment(false, f + 34, get16(f + 16) - 20u);
    } else if (n >= 42 && get16(f + 12) == 0x0800 && f[23] == 17) {
        note_udp(f + 34, get16(f + 16) - 20u);
    } else if (n >= 74 && get16(f + 12) == 0x86dd && f[20] == 6) {
        on_segment(true, f + 54, get16(f + 18));
    }
}

static void peers_acknowledge(void)
{
    if (is_question) {
        is_question = false;
        if (question[41] & 1) /* half of the neighbours exist */
            on_question(question);
    }
    for (struct peer *p = peers; p < peers + PEERS; p++) {
        if (!p->owes)
            continue;
        p->owes = false;
        peer_say(p, p->next, p->acked, 0x10, NULL, 0, NULL, 0);
    }
}

/* ---- an input's start and end ---- */

static int random_bytes(unsigned char *out, int n)
{
    return tls_random(NULL, out, (size_t)n) == 0;
}
static int random_status(void)
{
    return 1;
}

static void report(void)
{
    fprintf(
        stderr,
        "stack: %lu frames, %lu connections, %lu requests, %lu handshakes, %lu of them failed\n",
        (unsigned long)frames, (unsigned long)connections, (unsigned long)requests,
        (unsigned long)(tls_counters.handshakes + tls_counters.handshake_failures),
        (unsigned long)tls_counters.handshake_failures);
}

static void start_once(void)
{
    static const RAND_METHOD method = {
        .bytes = random_bytes, .pseudorand = random_bytes, .status = random_status};
    static bool started;

    if (started)
        return;
    started = true;
    RAND_set_rand_method(&method);
    client = SSL_CTX_new(TLS_client_method());
    stack_start();
    (void)atexit(report);
}

/* The wire as after the boot, with an address. */
static void stack_begin(bool dhcp)
{
    ip4_addr_t ip, mask, gateway;
    ip_addr_t dns;

    start_once();
    seed = 88172645463325252ull;
    IP4_ADDR(&ip, 10, 0, 0, 15);
    IP4_ADDR(&mask, 255, 255, 255, 0);
    IP4_ADDR(&gateway, 10, 0, 0, 2);
    IP_ADDR4(&dns, 10, 0, 0, 3);
    dns_setserver(0, &dns);
    netif_set_addr(&wire, &ip, &mask, &gateway);
    stack_run(1000);
    if (dhcp)
        (void)dhcp_start(&wire);
    stack_run(1000);
}

static void stack_end(void)
{
    for (struct peer *p = peers; p < peers + PEERS; p++) {
        peer_free(p);
        *p = (struct peer){.deaf = true};
    }
    while (tcp_active_pcbs)
        tcp_abort(tcp_active_pcbs);
    while (tcp_tw_pcbs)
        tcp_abort(tcp_tw_pcbs);
    dhcp_release_and_stop(&wire);
    etharp_cleanup_netif(&wire);
    memset(&auth, 0, sizeof(auth));
    memset(asked, 0, sizeof(asked));
    is_question = false;
    for (unsigned i = 0; i < 4; i++)
        stack_run(1000);
}
