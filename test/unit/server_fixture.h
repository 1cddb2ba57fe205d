/*
 * The server with the management guest's lwIP, on a simulated wire. Clients send exactly the
 * segments that a test tells them to. Time passes only in run().
 */
#pragma once

#include "lwip/init.h"
#include "lwip/priv/memp_priv.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/sys.h"
#include "lwip/timeouts.h"
#include "mgmt/isn.h"
#include "mgmt/listen.h"
#include "mgmt/port.h"
#include "mgmt/server.h"
#include "mgmt/tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CLIENTS 1024u
#define SEEN    (512u << 10)
#define TOKEN   "secret"
#define MY_IP   0x0a00000fu /* 10.0.0.15 */
#define CLIENT  0x0a000002u

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

struct client {
    uint32_t ip, next, acked; /* acked: what we have received from the server */
    uint16_t port, window, mss;
    bool established, reset, ended; /* answered; by RST; by FIN */
    bool deaf;                      /* acknowledges nothing */
    bool owes;                      /* an acknowledgement */
    unsigned probes;                /* segments that bring nothing new */
    unsigned segments;              /* with data, in order */
    size_t seen;                    /* bytes received in order */
    char *text;                     /* the last of them, NUL at the end */
};

static struct client clients[CLIENTS];
static uint32_t now = 1000;
static struct netif wire;
static struct abi_host host = {.tsc_hz = 1000000, .build_id = "b"};
static struct config config = {
    .management.service = {.auth = AUTH_RANDOM, .http = PORT80_PLAIN, .hostname = "bulkhead"}};
static struct auth_table auth;
static struct audit audit;
static struct api_answered answered[API_STATUSES_MAX];
static struct clock wall;
static struct abi_guest guests[ABI_GUESTS_MAX];
static struct abi_images images;
static struct abi_events events;
static struct abi_ring *log_ring, *console_ring;

/* ---- what the guest implements elsewhere ---- */

uint32_t port_ms(void)
{
    return now;
}
u32_t sys_now(void)
{
    return now;
}
void port_log(const char *format, ...)
{
    (void)format;
}
_Noreturn void mgmt_die(const char *why)
{
    fprintf(stderr, "died: %s\n", why);
    abort();
}
uint32_t mgmt_random(void)
{
    return (uint32_t)rand();
}
uint16_t names_ntp_port(void)
{
    return 0;
}
void names_set_time(uint32_t seconds, uint32_t us)
{
    (void)seconds;
    (void)us;
}
void names_get_time(uint32_t *seconds, uint32_t *us)
{
    *seconds = *us = 0;
}
static const char *refusal;
const char *tls_refusal(void)
{
    return refusal;
}
static bool https;
bool tls_works(void)
{
    return https;
}
bool tls_is_configured(void)
{
    return false;
}
size_t tls_unsent(struct altcp_pcb *pcb)
{
    (void)pcb;
    return 0;
}
unsigned tls_unread(struct altcp_pcb *pcb)
{
    (void)pcb;
    return 0;
}
void tls_close_notify(struct altcp_pcb *pcb)
{
    (void)pcb;
}

static const struct abi_guest *fixture_guest(unsigned n)
{
    return n < ABI_GUESTS_MAX ? &guests[n] : NULL;
}
static const struct abi_ring *fixture_console(unsigned n)
{
    (void)n;
    return console_ring;
}
static uint64_t fixture_tsc(void)
{
    return 123456789 + (uint64_t)now * 1000; /* it counts from power-on, port_ms() from boot */
}
static unsigned notes;
static char noted[400]; /* the last of them */
static void fixture_note(const char *text)
{
    (void)snprintf(noted, sizeof(noted), "%s", text);
    notes++;
}

static struct api_view view = {.host = &host,
                               .config = &config,
                               .clock = &wall,
                               .auth = &auth,
                               .audit = &audit,
                               .answered = answered,
                               .guest = fixture_guest,
                               .console = fixture_console,
                               .tsc = fixture_tsc,
                               .note = fixture_note,
                               .images = &images,
                               .events = &events,
                               .random_token = TOKEN};

/* ---- the wire ---- */

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
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

static uint32_t sum(const uint8_t *p, size_t n)
{
    uint32_t s = 0;

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

static struct client *find_client(uint32_t ip, uint16_t port)
{
    struct client *c = &clients[port % CLIENTS];

    return c->ip == ip && c->port == port ? c : NULL;
}

/* An IP packet that the server sends. */
static err_t on_output(struct netif *n, struct pbuf *p, const ip4_addr_t *to)
{
    uint8_t f[2048], *tcp = f + 20;
    size_t len = pbuf_copy_partial(p, f, sizeof(f), 0), head, size;
    struct client *c;

    (void)n;
    (void)to;
    if (f[9] != 6 || !(c = find_client(get32(f + 16), (uint16_t)(tcp[2] << 8 | tcp[3]))))
        return ERR_OK;
    head = (size_t)(tcp[12] >> 4) * 4;
    size = len - 20 - head;
    if (tcp[13] & RST)
        c->reset = true;
    if ((tcp[13] & (SYN | ACK)) == (SYN | ACK)) {
        c->acked = get32(tcp + 4) + 1;
        c->established = true;
        return ERR_OK;
    }
    if (get32(tcp + 4) != c->acked || c->deaf || c->ended) {
        c->probes++;
        c->owes |= !c->deaf;
        return ERR_OK;
    }
    if (size && c->seen + size < SEEN) {
        memcpy(c->text + c->seen, tcp + head, size);
        c->seen += size;
        c->text[c->seen] = 0;
    }
    c->acked += (uint32_t)size;
    c->segments += size > 0;
    c->owes |= size > 0;
    if (tcp[13] & FIN) {
        c->acked++;
        c->ended = c->owes = true;
    }
    return ERR_OK;
}

static err_t on_init(struct netif *n)
{
    n->mtu = 1500;
    n->output = on_output;
    n->flags = NETIF_FLAG_LINK_UP;
    return ERR_OK;
}

/* A segment from a client, with an MSS option if `mss` is not 0. */
static void say_with(struct client *c, unsigned flags, const void *data, size_t n, unsigned mss)
{
    uint8_t f[2048] = {0x45}, *tcp = f + 20;
    size_t head = mss ? 24 : 20, len = 20 + head + n;
    struct pbuf *p;

    put16(f + 2, (uint32_t)len);
    f[8] = 64;
    f[9] = 6;
    put32(f + 12, c->ip);
    put32(f + 16, MY_IP);
    put16(f + 10, fold(sum(f, 20)));
    put16(tcp, c->port);
    put16(tcp + 2, 80);
    put32(tcp + 4, c->next);
    put32(tcp + 8, flags & ACK ? c->acked : 0);
    tcp[12] = (uint8_t)(head / 4 << 4);
    tcp[13] = (uint8_t)flags;
    put16(tcp + 14, c->window);
    if (mss)
        put32(tcp + 20, 0x02040000 | mss);
    if (n)
        memcpy(tcp + head, data, n);
    put16(tcp + 16, fold(sum(f + 12, 8) + 6 + (uint32_t)(head + n) + sum(tcp, head + n)));
    c->next += (uint32_t)n + (flags & (SYN | FIN) ? 1 : 0);
    p = pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_POOL);
    if (!p) { /* the frame is lost */
        server_starved();
        return;
    }
    pbuf_take(p, f, (u16_t)len);
    if (wire.input(p, &wire) != ERR_OK)
        pbuf_free(p);
}

static void say(struct client *c, unsigned flags, const void *data, size_t n)
{
    say_with(c, flags, data, n, 0);
}

/* Lets time pass in steps of 10 ms; clients send the acknowledgements that they owe. */
static void run(unsigned ms)
{
    for (unsigned i = 0; i <= ms; i += 10) {
        now += 10;
        listen_before_timers();
        sys_check_timeouts();
        server_poll();
        for (unsigned k = 0; k < CLIENTS; k++) {
            if (!clients[k].owes || clients[k].reset)
                continue;
            clients[k].owes = false;
            say(&clients[k], ACK, NULL, 0);
        }
    }
}

/* A client with a fresh address and port. */
static struct client *stranger(uint32_t ip)
{
    static uint16_t ports = 1024;
    struct client *c = &clients[ports % CLIENTS];
    char *text = c->text ? c->text : malloc(SEEN);

    *c = (struct client){.ip = ip, .port = ports++, .next = 1000, .window = 60000, .mss = 1460};
    c->text = text;
    c->text[0] = 0;
    return c;
}

static struct client *begin(struct client *c)
{
    say_with(c, SYN, NULL, 0, c->mss);
    if (c->established)
        say(c, ACK, NULL, 0);
    return c;
}

static struct client *connect(void)
{
    return begin(stranger(CLIENT));
}

static void ask(struct client *c, const char *text)
{
    say(c, PSH | ACK, text, strlen(text));
    run(20);
}

#define HEAD      " HTTP/1.1\r\nHost: bulkhead\r\n"
#define WITH      "Authorization: Bearer " TOKEN "\r\n"
#define HEALTHY   "GET /v1/whoami" HEAD WITH "\r\n"
#define TOKENLESS "GET /page/app.js" HEAD "If-None-Match: \"b\"\r\n\r\n" /* answered 304 */

/* The status of the last answer, or 0 if there is none. */
static unsigned status_of(const struct client *c)
{
    const char *at = NULL;

    for (const char *s = c->text; (s = strstr(s, "HTTP/1.1 ")); s++)
        at = s;
    return at ? (unsigned)strtoul(at + 9, NULL, 10) : 0;
}

/* The status that a new client gets for a request; the client then leaves. */
static unsigned ask_anew(const char *text)
{
    struct client *c = connect();
    unsigned status;

    if (!c->established)
        return 0;
    ask(c, text);
    run(100);
    status = status_of(c);
    if (!c->reset && !c->ended)
        say(c, FIN | ACK, NULL, 0);
    run(100);
    return status;
}

static unsigned free_in(int pool)
{
    unsigned n = 0;

    for (struct memp *m = *memp_pools[pool]->tab; m; m = m->next)
        n++;
    return n;
}

/* Ends all connections. */
static void fixture_clean(void)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i].deaf = true;
        clients[i].owes = false;
    }
    while (tcp_active_pcbs)
        tcp_abort(tcp_active_pcbs);
    while (tcp_tw_pcbs)
        tcp_abort(tcp_tw_pcbs);
    memset(&auth, 0, sizeof(auth));
}

static void fixture_start(void)
{
    ip4_addr_t ip, mask, gateway = {0};

    IP4_ADDR(&ip, 10, 0, 0, 15);
    IP4_ADDR(&mask, 255, 255, 255, 0);
    log_ring = calloc(1, sizeof(*log_ring) + ABI_LOG_RING_SIZE);
    log_ring->size = ABI_LOG_RING_SIZE;
    console_ring = calloc(1, sizeof(*console_ring) + 64);
    console_ring->size = 64;
    view.log = log_ring;
    isn_start();
    lwip_init();
    netif_add(&wire, &ip, &mask, &gateway, NULL, on_init, ip_input);
    netif_set_default(&wire);
    netif_set_up(&wire);
    server_start(&view);
    run(100);
}
