/* SOURCES: @lwip */
/* DHCP with the management guest's lwIP: how long it takes to get an address, and what happens if
 * another machine uses it. */
#include "lwip/dhcp.h"
#include "lwip/etharp.h"
#include "lwip/init.h"
#include "lwip/prot/dhcp.h"
#include "lwip/sys.h"
#include "lwip/timeouts.h"
#include "mgmt/acd.h"
#include "mgmt/include/lwip_hooks.h"
#include "mgmt/port.h"
#include "netif/ethernet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FRAMES       16u
#define FRAME_MAX    600u
#define OFFERED      0x0a000014u /* 10.0.0.20 */
#define OTHER        0x0a000015u
#define SERVER       0x0a000001u
#define BOOTP        42u /* its offset in a frame */
#define OPTIONS      (BOOTP + 240u)
#define OPTION_IP    50u
#define OPTION_TYPE  53u
#define OPTION_ASKED 54u

static const uint8_t mine[6] = {2, 0, 0, 0, 0, 1}, theirs[6] = {2, 0, 0, 0, 0, 2};

static struct netif wire;
static uint32_t now = 1000, offered, acknowledged_at;
static unsigned probes, announcements, declined;
static uint32_t declined_ip, declined_server;
static bool is_taken,
    is_probed_too; /* by a machine that uses `offered`; by one that probes for it */
static char log_text[512];
static struct {
    uint8_t bytes[FRAME_MAX];
    size_t len;
} waiting[FRAMES];
static unsigned n_waiting;

/* ---- what the guest implements elsewhere ---- */

u32_t sys_now(void)
{
    return now;
}
void port_log(const char *format, ...)
{
    va_list ap;
    size_t n = strlen(log_text);

    va_start(ap, format);
    (void)vsnprintf(log_text + n, sizeof(log_text) - n, format, ap);
    va_end(ap);
    strncat(log_text, "\n", sizeof(log_text) - strlen(log_text) - 1);
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
uint32_t isn_make(const ip_addr_t *local, uint16_t local_port, const ip_addr_t *remote,
                  uint16_t remote_port)
{
    (void)local;
    (void)local_port;
    (void)remote;
    (void)remote_port;
    return 0;
}
err_t listen_check(const struct tcp_pcb *pcb, const struct tcp_hdr *h, u16_t len, u16_t first_len,
                   const u8_t *rest, u16_t data)
{
    (void)pcb;
    (void)h;
    (void)len;
    (void)first_len;
    (void)rest;
    (void)data;
    return ERR_OK;
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

/* ---- the wire: a DHCP server, and a neighbour ---- */

static void put32(uint8_t *p, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}
static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint8_t *new_frame(size_t len)
{
    uint8_t *f = waiting[n_waiting].bytes;

    assert_true(n_waiting < FRAMES && len <= FRAME_MAX);
    memset(f, 0, len);
    waiting[n_waiting++].len = len;
    return f;
}

/* An ARP packet of the neighbour's. */
static void neighbour_says(unsigned operation, uint32_t sender, uint32_t target)
{
    static const uint8_t head[] = {8, 6, 0, 1, 8, 0, 6, 4, 0};
    uint8_t *f = new_frame(60);

    memset(f, 0xff, 6);
    memcpy(f + 6, theirs, 6);
    memcpy(f + 12, head, sizeof(head));
    f[21] = (uint8_t)operation;
    memcpy(f + 22, theirs, 6);
    put32(f + 28, sender);
    put32(f + 38, target);
}

static uint16_t ip_sum(const uint8_t *p)
{
    uint32_t s = 0;

    for (unsigned i = 0; i < 20; i += 2)
        s += (uint32_t)(p[i] << 8 | p[i + 1]);
    while (s >> 16)
        s = (s & 0xffff) + (s >> 16);
    return (uint16_t)~s;
}

/* RFC 2131, section 2, and RFC 2132: an offer or acknowledgement that answers the request. */
static void answer_dhcp(const uint8_t *asked, unsigned type)
{
    const size_t len = BOOTP + 300;
    uint8_t *f = new_frame(len), *o = f + OPTIONS;
    static const uint8_t cookie[] = {0x63, 0x82, 0x53, 0x63};

    memset(f, 0xff, 6);
    memcpy(f + 6, theirs, 6);
    f[12] = 8;
    f[14] = 0x45;
    f[16] = (uint8_t)((len - 14) >> 8);
    f[17] = (uint8_t)(len - 14);
    f[22] = 64;
    f[23] = 17;
    put32(f + 26, SERVER);
    put32(f + 30, 0xffffffff);
    put32(f + 24, (uint32_t)ip_sum(f + 14) << 16 | SERVER >> 16);
    f[35] = 67;
    f[37] = 68;
    f[38] = (uint8_t)((len - 34) >> 8);
    f[39] = (uint8_t)(len - 34);
    f[BOOTP] = 2;
    memcpy(f + BOOTP + 1, asked + BOOTP + 1, 2);
    memcpy(f + BOOTP + 4, asked + BOOTP + 4, 4); /* xid */
    put32(f + BOOTP + 16, offered);
    memcpy(f + BOOTP + 28, mine, 6);
    memcpy(f + BOOTP + 236, cookie, 4);
    *o++ = OPTION_TYPE, *o++ = 1, *o++ = (uint8_t)type;
    *o++ = OPTION_ASKED, *o++ = 4, put32(o, SERVER), o += 4;
    *o++ = 51, *o++ = 4, put32(o, 3600), o += 4;
    *o++ = 1, *o++ = 4, put32(o, 0xffffff00), o += 4;
    *o = 255;
    if (type == DHCP_ACK)
        acknowledged_at = now;
}

static uint32_t option(const uint8_t *f, size_t len, unsigned which)
{
    for (size_t i = OPTIONS; i + 1 < len && f[i] != 255; i += f[i] ? 2u + f[i + 1] : 1u)
        if (f[i] == which)
            return f[i + 1] == 4 ? get32(f + i + 2) : f[i + 2];
    return 0;
}

static void on_dhcp(const uint8_t *f, size_t len)
{
    switch (option(f, len, OPTION_TYPE)) {
    case DHCP_DISCOVER:
        answer_dhcp(f, DHCP_OFFER);
        break;
    case DHCP_REQUEST:
        answer_dhcp(f, DHCP_ACK);
        break;
    case DHCP_DECLINE:
        declined++;
        declined_ip = option(f, len, OPTION_IP);
        declined_server = option(f, len, OPTION_ASKED);
        break;
    default:
        break;
    }
}

static void on_arp(const uint8_t *f)
{
    uint32_t sender = get32(f + 28), target = get32(f + 38);

    announcements += sender == target;
    if (sender)
        return;
    probes++;
    if (is_taken && target == OFFERED)
        neighbour_says(2, OFFERED, 0);
    if (is_probed_too && target == OFFERED)
        neighbour_says(1, 0, OFFERED);
}

static err_t on_output(struct netif *n, struct pbuf *p)
{
    uint8_t f[2048];
    size_t len = pbuf_copy_partial(p, f, sizeof(f), 0);

    (void)n;
    if (f[12] == 8 && f[13] == 6)
        on_arp(f);
    else if (f[12] == 8 && f[13] == 0 && f[23] == 17 && f[37] == 67)
        on_dhcp(f, len);
    return ERR_OK;
}

static err_t on_init(struct netif *n)
{
    n->mtu = 1500;
    n->hwaddr_len = 6;
    memcpy(n->hwaddr, mine, 6);
    n->output = etharp_output;
    n->linkoutput = on_output;
    n->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_LINK_UP | NETIF_FLAG_ETHERNET;
    return ERR_OK;
}

static void deliver(void)
{
    for (unsigned i = 0; i < n_waiting; i++) {
        struct pbuf *p = pbuf_alloc(PBUF_RAW, (u16_t)waiting[i].len, PBUF_POOL);

        assert_non_null(p);
        pbuf_take(p, waiting[i].bytes, (u16_t)waiting[i].len);
        if (wire.input(p, &wire) != ERR_OK)
            pbuf_free(p);
    }
    n_waiting = 0;
}

static uint32_t address(void)
{
    return lwip_ntohl(netif_ip4_addr(&wire)->addr);
}

/* Runs until there is an address, or for this long. */
static void run(unsigned ms, bool until_bound)
{
    for (unsigned i = 0; i <= ms && !(until_bound && address()); i += 10) {
        now += 10;
        sys_check_timeouts();
        deliver();
        acd_poll(&wire);
    }
}

static int setup(void **state)
{
    (void)state;
    probes = announcements = declined = 0;
    is_taken = is_probed_too = false;
    log_text[0] = 0;
    offered = OFFERED;
    assert_int_equal(dhcp_start(&wire), ERR_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    dhcp_release_and_stop(&wire);
    run(1000, false);
    return 0;
}

/* ---- tests ---- */

/* With the RFC's own times (2.1.1 and 2.3) it would take 5 to 9 seconds. */
static void free_address(void **state)
{
    (void)state;
    run(20000, true);
    assert_int_equal(address(), OFFERED);
    assert_in_range(now - acknowledged_at, 400, 1000);
    assert_int_equal(probes, 3);
    assert_int_equal(announcements, 1);
    assert_int_equal(declined, 0);
    assert_string_equal(log_text, "");
}

/* RFC 2131, 3.1 (5) and table 5: the client must decline an address that is already in use, and ask
 * again after at least 10 seconds. */
static void declines(void)
{
    run(2000, true);
    assert_int_equal(address(), 0);
    assert_int_equal(declined, 1);
    assert_int_equal(declined_ip, OFFERED);
    assert_int_equal(declined_server, SERVER);
    run(2000, true);
    assert_string_equal(log_text, "warning: the address 10.0.0.20 that DHCP offers is in use by "
                                  "another machine: declined, and asked again in 10 seconds\n");
    offered = OTHER;
    run(5000, true);
    assert_int_equal(address(), 0);
    run(4000, true);
    assert_int_equal(address(), OTHER);
    assert_int_equal(declined, 1);
}

static void taken_address(void **state)
{
    (void)state;
    is_taken = true;
    declines();
}

/* RFC 5227, 2.1.1: if two hosts probe for the same address at once, neither may take it. */
static void probed_address(void **state)
{
    (void)state;
    is_probed_too = true;
    declines();
}

static void taken_again_and_again(void **state)
{
    (void)state;
    is_taken = true;
    run(26000, true);
    assert_int_equal(address(), 0);
    assert_int_equal(declined, 3);
    assert_non_null(strstr(strstr(log_text, "warning") + 1, "warning"));
}

/* No packet from the network takes the address away. */
static void claimed_later(void **state)
{
    (void)state;
    run(20000, true);
    for (unsigned i = 0; i < 10; i++) {
        neighbour_says(2, OFFERED, 0);
        run(500, false);
    }
    assert_int_equal(address(), OFFERED);
    assert_int_equal(declined, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(free_address, setup, teardown),
        cmocka_unit_test_setup_teardown(taken_address, setup, teardown),
        cmocka_unit_test_setup_teardown(probed_address, setup, teardown),
        cmocka_unit_test_setup_teardown(taken_again_and_again, setup, teardown),
        cmocka_unit_test_setup_teardown(claimed_later, setup, teardown),
    };
    ip4_addr_t none = {0};

    lwip_init();
    netif_add(&wire, &none, &none, &none, NULL, on_init, ethernet_input);
    netif_set_default(&wire);
    netif_set_up(&wire);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
